// Package cluster runs a whole pluto system for tests: two regions, eu and us,
// with a distributor and a worker each, and one storage node for both, every node
// a process of its own on loopback, as an operator runs them.
//
// A [Cluster] has a folder with eu.toml, us.toml, the users user1/pass1 to
// user20/pass20, the certificates that pluto-pki made, and the nodes' data and
// logs. Nodes can be started in any order, killed, stopped and started again.
// Waiting is for events: a node is ready when /readyz says so.
//
// Nothing here knows how pluto works inside: what is not a flag, a configuration
// key or a port is not used.
package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/wan"
)

// Users is how many accounts there are.
const Users = 20

// Options say what kind of system to make.
type Options struct {
	Separator string            // hierarchy separator, "." if empty
	Env       map[string]string // further environment of every node
	// WAN puts a link of package wan, without delay or limit at first, between
	// any two nodes that replicate; see [Cluster.Network].
	WAN bool
	// Fronts puts such links between the distributors and the nodes that keep mail.
	Fronts bool
	// Distributors is how many each region has, one if 0.
	Distributors int
	// Ack are lines for every node that keeps mail, as "AckPeers = 2".
	Ack string
	// Replication are lines of that section for every region.
	Replication string
}

// Region is what belongs to one region.
type Region struct {
	Name        string
	Config      string // path of the configuration file
	Distributor *Node
	Worker      *Node
	IMAP        string  // address for mail clients
	Fronts      []Front // all distributors, the one above first
}

// Front is a distributor and its address for mail clients.
type Front struct {
	*Node
	IMAP string
}

// Cluster is a system of five processes. Its methods are not for concurrent use;
// those of different nodes are.
type Cluster struct {
	Dir     string
	CACert  string // PEM file that clients trust
	EU, US  *Region
	AP      *Region // nil before AddRegion
	Storage *Node
	// Network has the links between eu-worker-1, us-worker-1 and storage with
	// [Options].WAN, and those to them from eu-distributor, eu-distributor-2 and so
	// on with [Options].Fronts.
	Network wan.Network

	binaries *Binaries
	ports    map[string]string // every address, by what it is for
	files    []regionFile
	env      map[string]string
}

// New makes the folder's contents and starts nothing.
func New(ctx context.Context, dir string, o Options) (_ *Cluster, err error) {
	bin, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	if o.Separator == "" {
		o.Separator = "."
	}
	c := &Cluster{Dir: dir, binaries: bin, CACert: filepath.Join(dir, "private", "public-distributor-cert.pem")}
	defer func() {
		if err != nil {
			c.Network.Close()
		}
	}()
	regions, err := c.configure(o)
	if err != nil {
		return nil, err
	}
	if err := c.makeCertificates(ctx); err != nil {
		return nil, err
	}
	c.env = o.Env
	c.EU, c.US = c.region(regions[0], o.Env), c.region(regions[1], o.Env)
	for _, f := range c.files[len(regions):] {
		r := c.EU
		if f.Region == c.US.Name {
			r = c.US
		}
		r.Fronts = append(r.Fronts, c.front(f, o.Env))
	}
	c.Storage = c.node("storage", c.EU.Config, regions[0].Addr("storage-http"), o.Env, "-storage")
	return c, nil
}

func (c *Cluster) region(f regionFile, env map[string]string) *Region {
	first := c.front(f, env)
	r := &Region{Name: f.Region, Config: filepath.Join(c.Dir, f.file()), IMAP: first.IMAP, Distributor: first.Node, Fronts: []Front{first}}
	r.Worker = c.node(f.Region+"-worker-1", r.Config, f.Addr("worker-http"), env, "-worker", "worker-1")
	return r
}

// front makes the distributor of a file.
func (c *Cluster) front(f regionFile, env map[string]string) Front {
	config := filepath.Join(c.Dir, f.file())
	return Front{
		Node: c.node(f.Region+"-distributor"+f.Front(), config, f.FrontAddr("distributor-http"), env, "-distributor"),
		IMAP: f.FrontAddr("imap"),
	}
}

func (c *Cluster) node(name, config, http string, env map[string]string, role ...string) *Node {
	n := &Node{Name: name, HTTP: http, dir: c.Dir, log: filepath.Join(c.Dir, name+".log")}
	n.path = c.binaries.Pluto
	n.args = append([]string{"-config", config}, role...)
	for k, v := range env {
		n.env = append(n.env, k+"="+v)
	}
	return n
}

// makeCertificates runs pluto-pki as the README says.
func (c *Cluster) makeCertificates(ctx context.Context) error {
	args := []string{"-dir", "private", "-public", "localhost,127.0.0.1"}
	for _, f := range c.files {
		args = append(args, "-config", f.file())
	}
	cmd := exec.CommandContext(ctx, c.binaries.PKI, args...)
	cmd.Dir = c.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// Nodes returns all nodes.
func (c *Cluster) Nodes() []*Node {
	list := []*Node{c.Storage}
	regions := []*Region{c.EU, c.US}
	if c.AP != nil {
		regions = append(regions, c.AP)
	}
	for _, r := range regions {
		list = append(list, r.Worker)
	}
	for _, r := range regions {
		for _, f := range r.Fronts {
			list = append(list, f.Node)
		}
	}
	return list
}

// AddRegion adds a third region, ap, to the configuration, makes its certificates
// and returns it. Nothing is started; the other nodes know of it when they are
// started again.
func (c *Cluster) AddRegion(ctx context.Context) (*Region, error) {
	f, err := c.addRegion()
	if err != nil {
		return nil, err
	}
	if err := c.makeCertificates(ctx); err != nil {
		return nil, err
	}
	c.AP = c.region(f, c.env)
	return c.AP, nil
}

// Addresses returns every address that a node listens on, by what it is for.
func (c *Cluster) Addresses() map[string]string { return c.ports }

// Start starts all nodes that do not run and waits until they are ready.
func (c *Cluster) Start(ctx context.Context) error {
	for _, n := range c.Nodes() {
		if n.Running() {
			continue
		}
		if err := n.Start(); err != nil {
			return err
		}
	}
	return c.Await(ctx)
}

// Await waits until all nodes are ready.
func (c *Cluster) Await(ctx context.Context) error {
	for _, n := range c.Nodes() {
		if err := n.Await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends all nodes by SIGTERM, as [Node.Stop].
func (c *Cluster) Stop(ctx context.Context) error {
	var errs []error
	for _, n := range c.Nodes() {
		if n.Running() {
			errs = append(errs, n.Stop(ctx))
		}
	}
	return errors.Join(errs...)
}

// Close kills what still runs. The folder stays.
func (c *Cluster) Close() {
	for _, n := range c.Nodes() {
		n.Kill()
	}
	c.Network.Close()
}

// Logs returns the ends of all nodes' logs, for the report of a failed test.
func (c *Cluster) Logs(lines int) string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		fmt.Fprintf(&b, "=== %s (running: %v)\n%s\n", n.Name, n.Running(), n.LogTail(lines))
	}
	return b.String()
}

// TLS returns a configuration that trusts the public certificate.
func (c *Cluster) TLS() (*tls.Config, error) {
	pem, err := os.ReadFile(c.CACert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", c.CACert)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}, nil
}

// User returns the credentials of a user, from 1 to [Users].
func User(n int) (name, password string) {
	return fmt.Sprintf("user%d", n), fmt.Sprintf("pass%d", n)
}

// Target returns a region's first front for package bench.
func (c *Cluster) Target(r *Region) (bench.Target, error) {
	cfg, err := c.TLS()
	return bench.Target{Addr: r.IMAP, TLS: cfg}, err
}

// Client connects to a region's front with go-imap's client, not logged in.
func (c *Cluster) Client(r *Region, o *imapclient.Options) (*imapclient.Client, error) {
	cfg, err := c.TLS()
	if err != nil {
		return nil, err
	}
	if o == nil {
		o = &imapclient.Options{}
	}
	o.TLSConfig = cfg
	return imapclient.DialTLS(r.IMAP, o)
}

// Login connects as a user.
func (c *Cluster) Login(r *Region, user int, o *imapclient.Options) (*imapclient.Client, error) {
	cl, err := c.Client(r, o)
	if err != nil {
		return nil, err
	}
	name, password := User(user)
	if err := cl.Login(name, password).Wait(); err != nil {
		cl.Close()
		return nil, fmt.Errorf("LOGIN %s at %s: %w", name, r.Name, err)
	}
	return cl, nil
}
