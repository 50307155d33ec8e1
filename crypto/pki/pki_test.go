package pki

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto"
)

const template = `
RootCertLoc = "%ROOT%"
[Distributor]
Name = "eu-distributor"
PublicMailAddr = "mail.example.org:993"
ListenMailAddr = ":993"
[Distributor.AuthFile]
File = "users.txt"
[Workers.worker-1]
Name = "eu-worker-1"
PublicMailAddr = "127.0.0.1:20001"
PublicSyncAddr = "192.0.2.1:30001"
UserStart = 1
UserEnd = 10
Slot = 1
[Workers.worker-1.Peers.subnet-1]
us-worker-1 = "127.0.0.1:30101"
storage = "127.0.0.1:31000"
[Storage]
Name = "storage"
PublicMailAddr = "127.0.0.1:21000"
[Storage.SyncAddrs.subnet-1]
Public = "127.0.0.1:31000"
Slot = 3
[Storage.Peers.subnet-1]
eu-worker-1 = "192.0.2.1:30001"
us-worker-1 = "127.0.0.1:30101"
`

var eu = strings.Replace(template, "%ROOT%", "private/root-cert.pem", 1)

// us is the other region; it keeps its certificates elsewhere and shares
// storage.
var us = strings.NewReplacer("%ROOT%", "us/ca.pem", "eu-", "us-", "us-worker-1", "eu-worker-1", "Slot = 1", "Slot = 2", "Name = \"storage\"", "Name = \"storage\"\nCertLoc = \"us/s.pem\"\nKeyLoc = \"us/s.key\"",
	"192.0.2.1:30001", "127.0.0.1:30101", "127.0.0.1:30101", "192.0.2.1:30001").Replace(template)

// setup returns options for both regions in a new directory and what was
// reported with them.
func setup(t *testing.T) (Options, *[]string) {
	t.Helper()
	dir := t.TempDir()
	o := Options{Dir: filepath.Join(dir, "private"), Public: []string{"localhost"}}
	for name, text := range map[string]string{"eu.toml": eu, "us.toml": us} {
		c, err := config.Parse([]byte(text), filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		o.Configs = append(o.Configs, c)
	}
	var lines []string
	o.Report = func(line string) { lines = append(lines, strings.ReplaceAll(line, dir+"/", "")) }
	return o, &lines
}

// contents returns all files below a directory.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(text)
		info, err2 := d.Info()
		if err2 == nil && bytes.Contains(text, []byte("PRIVATE KEY")) && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return errors.Join(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestGenerate(t *testing.T) {
	o, lines := setup(t)
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(o.Dir)
	first := contents(t, root)
	if len(first) != 2+2+1+2*2+2+2*2+2*2 { // CA, plutoctl, copy of the CA, distributors, their shared public one, workers, storage twice
		t.Errorf("%d files: %v", len(first), *lines)
	}
	for _, c := range o.Configs {
		if err := c.Check(config.RoleStorage, ""); err != nil {
			t.Error(err)
		}
		if err := c.Check(config.RoleWorker, "worker-1"); err != nil {
			t.Error(err)
		}
		w := c.Workers[0]
		id := crypto.Identity{Role: crypto.RoleWorker, Name: w.Name}
		if _, err := crypto.LoadNode(c.RootCertLoc, w.CertLoc, w.KeyLoc, id, log.NewNopLogger(), nil); err != nil {
			t.Error(err)
		}
	}

	*lines = nil
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	for _, line := range *lines {
		if !strings.HasPrefix(line, "kept ") {
			t.Errorf("second run: %s", line)
		}
	}
	if second := contents(t, root); !equal(first, second) {
		t.Error("the second run changed files")
	}

	o.Force = true
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	third := contents(t, root)
	for name, text := range first {
		isCA := name == "private/root-cert.pem" || name == "private/root-key.pem" || name == "us/ca.pem"
		if isCA != (third[name] == text) {
			t.Errorf("-force: %s changed: %v", name, third[name] != text)
		}
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// TestAddNode: a node that is new in the configuration gets a certificate of
// the old CA.
func TestAddNode(t *testing.T) {
	o, lines := setup(t)
	both := o.Configs
	o.Configs = nil
	for _, c := range both {
		if strings.HasSuffix(c.Path, "eu.toml") {
			o.Configs = append(o.Configs, c)
		}
	}
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	*lines = nil
	o.Configs = both
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	all := strings.Join(*lines, "\n")
	for _, want := range []string{"kept private/root-cert.pem", "made private/internal-us-worker-1-cert.pem: worker us-worker-1", "kept private/internal-eu-worker-1-cert.pem", "made us/ca.pem", "made us/s.pem: storage storage"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}

// TestUnusable: what is there and cannot work is an error, left as it is, and
// -force or -new-ca is the way out.
func TestUnusable(t *testing.T) {
	swap := func(t *testing.T, dir, a, b string) {
		t.Helper()
		for _, suffix := range []string{"-cert.pem", "-key.pem"} {
			text, err := os.ReadFile(filepath.Join(dir, b+suffix))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, a+suffix), text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(t *testing.T, path ...string) {
		t.Helper()
		if err := os.Remove(filepath.Join(path...)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
		newCA bool
	}{
		{"another node's", func(t *testing.T, dir string) { swap(t, dir, "internal-eu-worker-1", "internal-us-worker-1") }, "it is the certificate of worker us-worker-1, not of worker eu-worker-1; -force makes a new one", false},
		{"without key", func(t *testing.T, dir string) { remove(t, dir, "internal-eu-worker-1-key.pem") }, "there is a certificate", false},
		{"without certificate", func(t *testing.T, dir string) { remove(t, dir, "internal-eu-worker-1-cert.pem") }, "there is a key", false},
		{"CA without key", func(t *testing.T, dir string) { remove(t, dir, "root-key.pem") }, "restore the file, or -new-ca makes a new CA", true},
		{"CA lost", func(t *testing.T, dir string) { remove(t, dir, "root-key.pem"); remove(t, dir, "root-cert.pem") }, "it is not valid with the CA in", false},
		{"copy of another CA", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "..", "us", "ca.pem"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is the certificate of another CA", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			o, _ := setup(t)
			if err := Generate(o); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, o.Dir)
			if err := Generate(o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			o.Force, o.NewCA = !test.newCA, test.newCA
			if err := Generate(o); err != nil {
				t.Fatal(err)
			}
			o.Force, o.NewCA = false, false
			if err := Generate(o); err != nil {
				t.Errorf("after it was made anew: %v", err)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	o, _ := setup(t)
	o.Now = time.Now().Add(-crypto.ValidityNode - time.Hour)
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	o.Now = time.Now()
	if err := Generate(o); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("nodes ended: %v", err)
	}
	o.Now = time.Now().Add(crypto.ValidityCA)
	if err := Generate(o); err == nil || !strings.Contains(err.Error(), "-new-ca makes a new CA") {
		t.Errorf("CA ended: %v", err)
	}
}

// TestKeepsForeignPublic: an operator's own public certificate is kept, with a
// remark if it is not for the hosts that were asked for.
func TestKeepsForeignPublic(t *testing.T) {
	o, lines := setup(t)
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	o.Public = []string{"mail.example.org"}
	*lines = nil
	if err := Generate(o); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(*lines, "\n"); !strings.Contains(all, "but it is not for mail.example.org (-force makes a new one)") {
		t.Errorf("got:\n%s", all)
	}
}
