package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// regionFile is what a region's configuration is written from.
type regionFile struct {
	Region      string
	Others      []string // the other regions
	Slot        int
	HasStorage  bool
	Separator   string
	Users       int
	Ack         string
	Replication string
	ports       map[string]string
	links       map[[2]string]string // where a node connects to another to replicate; nil: where that listens
	mails       map[[2]string]string // where a distributor opens sessions of a node; nil: where that listens
	front       int                  // which distributor of the region the file is for, from 0
}

// Front is what tells the names of a region's further distributors from the first one's.
func (r regionFile) Front() string {
	if r.front == 0 {
		return ""
	}
	return fmt.Sprintf("-%d", r.front+1)
}

// file is the name of the configuration.
func (r regionFile) file() string { return r.Region + r.Front() + ".toml" }

// FrontAddr returns an address of the file's own distributor.
func (r regionFile) FrontAddr(service string) string { return r.ports[r.Region+"-"+service+r.Front()] }

// MailAddr returns where the file's distributor opens sessions of a node.
func (r regionFile) MailAddr(node string) string {
	if addr, ok := r.mails[[2]string{r.Region + "-distributor" + r.Front(), node}]; ok {
		return addr
	}
	return r.ports[mailService(node)]
}

// mailService names the port on which a node takes sessions.
func mailService(node string) string {
	region, ok := strings.CutSuffix(node, "-worker-1")
	if !ok {
		return "storage-mail"
	}
	return region + "-worker-mail"
}

// Addr returns the region's address of a service; storage belongs to no region.
func (r regionFile) Addr(service string) string {
	if strings.HasPrefix(service, "storage") {
		return r.ports[service]
	}
	return r.ports[r.Region+"-"+service]
}

// SyncAddr returns where a node connects to another to replicate.
func (r regionFile) SyncAddr(from, to string) string {
	if addr, ok := r.links[[2]string{from, to}]; ok {
		return addr
	}
	if to == third+"-worker-1" {
		return r.ports[third+"-worker-sync"]
	}
	return r.ports[syncService[to]]
}

// syncService names the port on which a node takes replication.
var syncService = map[string]string{"eu-worker-1": "eu-worker-sync", "us-worker-1": "us-worker-sync", "storage": "storage-sync"}

// third is the region that [Cluster.AddRegion] adds.
const third = "ap"

var services = []string{"imap", "distributor-http", "worker-mail", "worker-sync", "worker-http"}

var configTemplate = template.Must(template.New("config").Parse(`RootCertLoc = "private/root-cert.pem"

[IMAP]
Greeting = "Pluto ready ({{.Region}})."
HierarchySeparator = "{{.Separator}}"

[Replication]
{{.Replication}}

[Distributor]
Name = "{{.Region}}-distributor{{.Front}}"
PublicMailAddr = "{{.FrontAddr "imap"}}"
ListenMailAddr = "{{.FrontAddr "imap"}}"
PrometheusAddr = "{{.FrontAddr "distributor-http"}}"
PublicCertLoc = "private/public-distributor-cert.pem"
PublicKeyLoc = "private/public-distributor-key.pem"
InternalCertLoc = "private/internal-{{.Region}}-distributor{{.Front}}-cert.pem"
InternalKeyLoc = "private/internal-{{.Region}}-distributor{{.Front}}-key.pem"
AuthAdapter = "AuthFile"

    [Distributor.AuthFile]
    File = "users.txt"
    Separator = ";"

[Workers.worker-1]
Name = "{{.Region}}-worker-1"
PublicMailAddr = "{{.MailAddr (print .Region "-worker-1")}}"
ListenMailAddr = "{{.Addr "worker-mail"}}"
PublicSyncAddr = "{{.Addr "worker-sync"}}"
ListenSyncAddr = "{{.Addr "worker-sync"}}"
PrometheusAddr = "{{.Addr "worker-http"}}"
CertLoc = "private/internal-{{.Region}}-worker-1-cert.pem"
KeyLoc = "private/internal-{{.Region}}-worker-1-key.pem"
UserStart = 1
UserEnd = {{.Users}}
Slot = {{.Slot}}
DataRoot = "data/{{.Region}}-worker-1"
{{.Ack}}

    [Workers.worker-1.Peers.subnet-1]
{{- range .Others}}
    {{.}}-worker-1 = "{{$.SyncAddr (print $.Region "-worker-1") (print . "-worker-1")}}"
{{- end}}
    storage = "{{.SyncAddr (print .Region "-worker-1") "storage"}}"

    [Workers.worker-1.Failover]
{{- if not .HasStorage}}
    storage = "{{.MailAddr "storage"}}"
{{- end}}
{{- range .Others}}
    {{.}}-worker-1 = "{{$.MailAddr (print . "-worker-1")}}"
{{- end}}
{{if .HasStorage}}
[Storage]
Name = "storage"
PublicMailAddr = "{{.MailAddr "storage"}}"
ListenMailAddr = "{{.Addr "storage-mail"}}"
PrometheusAddr = "{{.Addr "storage-http"}}"
CertLoc = "private/internal-storage-cert.pem"
KeyLoc = "private/internal-storage-key.pem"
DataRoot = "data/storage"
{{.Ack}}

    [Storage.SyncAddrs.subnet-1]
    Public = "{{.Addr "storage-sync"}}"
    Listen = "{{.Addr "storage-sync"}}"
    Slot = 3

    [Storage.Peers.subnet-1]
    {{.Region}}-worker-1 = "{{.SyncAddr "storage" (print .Region "-worker-1")}}"
{{- range .Others}}
    {{.}}-worker-1 = "{{$.SyncAddr "storage" (print . "-worker-1")}}"
{{- end}}
{{end}}`))

// configure writes users.txt, eu.toml and us.toml.
func (c *Cluster) configure(o Options) (regions [2]regionFile, err error) {
	names := []string{"storage-mail", "storage-sync", "storage-http", "eu", "us"}
	for _, region := range names[3:] {
		for n := 2; n <= o.Distributors; n++ {
			names = append(names, fmt.Sprintf("%s-imap-%d", region, n), fmt.Sprintf("%s-distributor-http-%d", region, n))
		}
	}
	if c.ports, err = freePorts(names...); err != nil {
		return regions, err
	}
	links, err := c.connect(o)
	if err != nil {
		return regions, err
	}
	mails, err := c.connectFronts(o)
	if err != nil {
		return regions, err
	}
	common := regionFile{mails: mails, Separator: o.Separator, Users: Users, Ack: o.Ack, Replication: o.Replication, ports: c.ports, links: links}
	regions = [2]regionFile{common, common}
	regions[0].Region, regions[0].Others, regions[0].Slot, regions[0].HasStorage = "eu", []string{"us"}, 1, true
	regions[1].Region, regions[1].Others, regions[1].Slot = "us", []string{"eu"}, 2
	var users strings.Builder
	for i := 1; i <= Users; i++ {
		name, password := User(i)
		fmt.Fprintf(&users, "%s;%s\n", name, password)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "users.txt"), []byte(users.String()), 0o600); err != nil {
		return regions, err
	}
	c.files = append(c.files, regions[:]...)
	for n := 1; n < o.Distributors; n++ {
		for _, r := range regions {
			r.front = n
			c.files = append(c.files, r)
		}
	}
	return regions, c.writeConfigs()
}

// writeConfigs writes the configuration of every region.
func (c *Cluster) writeConfigs() error {
	for _, r := range c.files {
		var text strings.Builder
		if err := configTemplate.Execute(&text, r); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(c.Dir, r.file()), []byte(text.String()), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// addRegion writes the configuration of a third region, and it into those of the
// others.
func (c *Cluster) addRegion() (regionFile, error) {
	ports, err := freePorts(third)
	if err != nil {
		return regionFile{}, err
	}
	for name, addr := range ports {
		c.ports[name] = addr
	}
	r := c.files[1]
	r.Region, r.Others, r.Slot = third, nil, 4
	for i := range c.files {
		if c.files[i].front == 0 {
			r.Others = append(r.Others, c.files[i].Region)
		}
		c.files[i].Others = append(c.files[i].Others, third)
	}
	c.files = append(c.files, r)
	return r, c.writeConfigs()
}

// connect puts links between the nodes that replicate. They listen on another
// address of loopback than the nodes: the configuration would be refused if it
// had another port for a node of the same host than that node itself.
func (c *Cluster) connect(o Options) (links map[[2]string]string, err error) {
	if !o.WAN {
		return nil, nil
	}
	links = map[[2]string]string{}
	for from := range syncService {
		for to, service := range syncService {
			if from == to {
				continue
			}
			if links[[2]string{from, to}], err = c.Network.Add(from, to, "127.0.0.2:0", c.ports[service]); err != nil {
				return nil, err
			}
		}
	}
	return links, nil
}

// connectFronts puts links between the distributors and the nodes that keep mail.
func (c *Cluster) connectFronts(o Options) (mails map[[2]string]string, err error) {
	if !o.Fronts {
		return nil, nil
	}
	mails = map[[2]string]string{}
	for _, region := range []string{"eu", "us"} {
		for n := range max(o.Distributors, 1) {
			from := region + "-distributor" + regionFile{front: n}.Front()
			for to := range syncService {
				if mails[[2]string{from, to}], err = c.Network.Add(from, to, "127.0.0.2:0", c.ports[mailService(to)]); err != nil {
					return nil, err
				}
			}
		}
	}
	return mails, nil
}

// Ports are drawn from below the range that systems take for outgoing
// connections: a node that is down must find its port free when it comes back.
const (
	firstPort = 12000
	lastPort  = 30000
	portTries = 1000
)

// freePorts finds a free loopback port for every name, and for every service of
// one that is a region. All are held until all are found, so that no two are equal.
func freePorts(of ...string) (ports map[string]string, err error) {
	var names []string
	for _, name := range of {
		if strings.Contains(name, "-") {
			names = append(names, name)
			continue
		}
		for _, s := range services {
			names = append(names, name+"-"+s)
		}
	}
	ports = map[string]string{}
	for _, name := range names {
		l, err := listenSomewhere()
		if err != nil {
			return nil, fmt.Errorf("find a port for %s: %w", name, err)
		}
		defer l.Close()
		ports[name] = l.Addr().String()
	}
	return ports, nil
}

func listenSomewhere() (l net.Listener, err error) {
	for range portTries {
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(lastPort-firstPort)))
		if err == nil {
			return l, nil
		}
	}
	return nil, err
}
