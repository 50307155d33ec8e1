package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// layout is the whole system that -dev runs: two regions on loopback with all
// their ports, derived from one port number.
type layout struct {
	Dir  string
	Port int // public port of eu; us has the one 1000 above
}

const (
	regionStep = 1000 // between the ports of two regions
	devUsers   = 20
)

// region is one region of a layout, as its configuration file is written from it.
type region struct {
	layout
	Region, Other   string
	Slot            int
	Base, OtherBase int  // public ports of this region and the other one
	Storage         bool // the storage node is in this region's file
}

func (l layout) regions() []region {
	return []region{
		{layout: l, Region: "eu", Other: "us", Slot: 1, Base: l.Port, OtherBase: l.Port + regionStep, Storage: true},
		{layout: l, Region: "us", Other: "eu", Slot: 2, Base: l.Port + regionStep, OtherBase: l.Port},
	}
}

// At and OtherAt give loopback addresses by their distance to the region's port.
func (r region) At(offset int) string      { return fmt.Sprintf("127.0.0.1:%d", r.Base+offset) }
func (r region) OtherAt(offset int) string { return fmt.Sprintf("127.0.0.1:%d", r.OtherBase+offset) }

// StorageAt gives addresses of the storage node, which is in eu.
func (r region) StorageAt(offset int) string {
	return fmt.Sprintf("127.0.0.1:%d", r.Port+offset)
}

// Users is the last user ID.
func (r region) Users() int { return devUsers }

func (r region) path() string { return filepath.Join(r.Dir, r.Region+".toml") }

// Distances of ports to a region's public port, beside those that only the
// configuration below names: 1 distributor metrics; 10, 11, 12 worker mail, sync
// and metrics; 20, 21, 22 the same of storage.
const (
	portWorkerMetrics  = 12
	portStorageMetrics = 22
)

var regionFile = template.Must(template.New("region").Parse(`# Made by pluto -dev: region {{.Region}}. See config.toml.example for all keys.
RootCertLoc = "private/root-cert.pem"

[IMAP]
Greeting = "Pluto ready ({{.Region}})."
HierarchySeparator = "."

[Distributor]
Name = "{{.Region}}-distributor"
PublicMailAddr = "{{.At 0}}"
ListenMailAddr = "{{.At 0}}"
PrometheusAddr = "{{.At 1}}"
PublicCertLoc = "private/public-distributor-cert.pem"
PublicKeyLoc = "private/public-distributor-key.pem"
InternalCertLoc = "private/internal-{{.Region}}-distributor-cert.pem"
InternalKeyLoc = "private/internal-{{.Region}}-distributor-key.pem"
AuthAdapter = "AuthFile"

    [Distributor.AuthFile]
    File = "users.txt"
    Separator = ";"

[Workers.worker-1]
Name = "{{.Region}}-worker-1"
PublicMailAddr = "{{.At 10}}"
ListenMailAddr = "{{.At 10}}"
PublicSyncAddr = "{{.At 11}}"
ListenSyncAddr = "{{.At 11}}"
PrometheusAddr = "{{.At 12}}"
CertLoc = "private/internal-{{.Region}}-worker-1-cert.pem"
KeyLoc = "private/internal-{{.Region}}-worker-1-key.pem"
UserStart = 1
UserEnd = {{.Users}}
Slot = {{.Slot}}
DataRoot = "data/{{.Region}}-worker-1"

    [Workers.worker-1.Peers.subnet-1]
    {{.Other}}-worker-1 = "{{.OtherAt 11}}"
    storage = "{{.StorageAt 21}}"

    [Workers.worker-1.Failover]
{{- if not .Storage}}
    storage = "{{.StorageAt 20}}"
{{- end}}
    {{.Other}}-worker-1 = "{{.OtherAt 10}}"
{{if .Storage}}
[Storage]
Name = "storage"
PublicMailAddr = "{{.StorageAt 20}}"
ListenMailAddr = "{{.StorageAt 20}}"
PrometheusAddr = "{{.StorageAt 22}}"
CertLoc = "private/internal-storage-cert.pem"
KeyLoc = "private/internal-storage-key.pem"
DataRoot = "data/storage"

    [Storage.SyncAddrs.subnet-1]
    Public = "{{.StorageAt 21}}"
    Listen = "{{.StorageAt 21}}"
    Slot = 3

    [Storage.Peers.subnet-1]
    {{.Region}}-worker-1 = "{{.At 11}}"
    {{.Other}}-worker-1 = "{{.OtherAt 11}}"
{{end}}`))

// letter is the path of a message to try the system with.
func (l layout) letter() string { return filepath.Join(l.Dir, "hello.eml") }

// prepare writes the configuration and user files that are not there yet, and
// returns the paths of the two configuration files.
func (l layout) prepare() (files []string, err error) {
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for -dev: %w", err)
	}
	var users strings.Builder
	for i := 1; i <= devUsers; i++ {
		fmt.Fprintf(&users, "user%d;pass%d\n", i, i)
	}
	if err := writeOnce(filepath.Join(l.Dir, "users.txt"), users.String()); err != nil {
		return nil, err
	}
	if err := writeOnce(l.letter(), "From: me@example.org\r\nSubject: hello\r\n\r\nHello from eu.\r\n"); err != nil {
		return nil, err
	}
	for _, r := range l.regions() {
		var text strings.Builder
		if err := regionFile.Execute(&text, r); err != nil {
			return nil, fmt.Errorf("write %s: %w", r.path(), err)
		}
		// The ports may differ from those of the last start: the file follows.
		if err := os.WriteFile(r.path(), []byte(text.String()), 0o600); err != nil {
			return nil, fmt.Errorf("write the configuration of %s: %w", r.Region, err)
		}
		files = append(files, r.path())
	}
	return files, nil
}

// writeOnce writes a file that does not exist.
func writeOnce(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
