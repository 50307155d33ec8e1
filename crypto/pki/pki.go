// Package pki makes all certificates of a system: one internal CA, a
// certificate for every node that the given configurations name, one for
// plutoctl, and, where asked for, self-signed public ones.
//
// [Generate] can be run again at any time: what is there and usable is kept,
// what is missing is made, and what is there but cannot work (it is another
// node's, of another CA, has ended, has lost its key) is an error that says how
// to go on. It never overwrites anything unless told to. Keys are readable by
// their owner only, and a file is either written whole or not at all.
package pki

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto"
)

// Names of the files that are not named by a configuration, in Options.Dir.
const (
	RootCert  = "root-cert.pem"
	RootKey   = "root-key.pem"
	AdminCert = "internal-plutoctl-cert.pem"
	AdminKey  = "internal-plutoctl-key.pem"
)

// AdminName is the name in plutoctl's certificate.
const AdminName = "admin"

// Options say what to make.
type Options struct {
	Configs []*config.Config
	// Dir is where the CA with its key and plutoctl's certificate are kept.
	Dir string
	// Public are the names and addresses for public certificates; none makes
	// no public certificate.
	Public []string
	// Force makes all certificates anew, except the CA.
	Force bool
	// NewCA makes the CA anew too, and so all certificates: those of nodes
	// whose configurations are not given become useless.
	NewCA bool
	// Report is told of each file, as in "made private/x.pem: worker x"; nil
	// for nobody.
	Report func(line string)
	// Now is the time; the zero time stands for time.Now.
	Now time.Time
}

// Generate makes what is missing. All problems are in the error, joined; what
// could be made is made nevertheless.
func Generate(o Options) error {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.Report == nil {
		o.Report = func(string) {}
	}
	if err := config.CheckTogether(o.Configs...); err != nil {
		return err
	}
	ca, err := o.loadCA()
	if err != nil {
		return err
	}
	g := generator{Options: o, ca: ca, done: map[string]crypto.Identity{}}
	g.node(crypto.Identity{Role: crypto.RoleAdmin, Name: AdminName}, filepath.Join(o.Dir, AdminCert), filepath.Join(o.Dir, AdminKey), nil)
	for _, c := range o.Configs {
		g.config(c)
	}
	return errors.Join(g.errs...)
}

// loadCA reads the CA from the directory or makes one.
func (o *Options) loadCA() (*crypto.CA, error) {
	certLoc, keyLoc := filepath.Join(o.Dir, RootCert), filepath.Join(o.Dir, RootKey)
	pair, found, err := readPair(certLoc, keyLoc)
	if err != nil && !o.NewCA {
		return nil, fmt.Errorf("%w; restore the file, or -new-ca makes a new CA and all certificates anew", err)
	}
	if found && !o.NewCA {
		ca, err := crypto.ParseCA(pair)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certLoc, err)
		}
		if !o.Now.Before(ca.NotAfter()) {
			return nil, fmt.Errorf("%s ended on %s; -new-ca makes a new CA and all certificates anew", certLoc, ca.NotAfter().Format(time.DateOnly))
		}
		o.Report(fmt.Sprintf("kept %s: the CA", certLoc))
		return ca, nil
	}
	ca, err := crypto.NewCA(o.Now)
	if err != nil {
		return nil, err
	}
	if err := writePair(certLoc, keyLoc, ca.Pair()); err != nil {
		return nil, err
	}
	o.Report(fmt.Sprintf("made %s: the CA, until %s; keep %s off the nodes", certLoc, ca.NotAfter().Format(time.DateOnly), keyLoc))
	return ca, nil
}

// generator makes certificates with a CA.
type generator struct {
	Options
	ca   *crypto.CA
	done map[string]crypto.Identity // by the certificate's path
	errs []error
}

// config makes what one configuration names.
func (g *generator) config(c *config.Config) {
	g.root(c)
	if d := c.Distributor; d != nil {
		g.node(crypto.Identity{Role: crypto.RoleDistributor, Name: d.Name}, d.InternalCertLoc, d.InternalKeyLoc, hosts(d.PublicMailAddr, d.ListenMailAddr))
		if len(g.Public) > 0 {
			g.public(d.PublicCertLoc, d.PublicKeyLoc)
		}
	}
	for _, w := range c.Workers {
		g.mailNode(crypto.RoleWorker, &w.Node)
	}
	if c.Storage != nil {
		g.mailNode(crypto.RoleStorage, &c.Storage.Node)
	}
}

func (g *generator) mailNode(role crypto.Role, n *config.Node) {
	addrs := []string{n.PublicMailAddr, n.ListenMailAddr}
	for _, s := range n.Subnets {
		addrs = append(addrs, s.PublicSyncAddr, s.ListenSyncAddr)
	}
	g.node(crypto.Identity{Role: role, Name: n.Name}, n.CertLoc, n.KeyLoc, hosts(addrs...))
}

// hosts returns the hosts of addresses that others can connect to, each once.
func hosts(addrs ...string) []string {
	list := []string{"localhost"}
	for _, a := range addrs {
		host, _, err := net.SplitHostPort(a)
		if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() || slices.Contains(list, host) {
			continue
		}
		list = append(list, host)
	}
	return list
}

// root puts the CA's certificate where a configuration wants it.
func (g *generator) root(c *config.Config) {
	if sameFile(c.RootCertLoc, filepath.Join(g.Dir, RootCert)) {
		return
	}
	want := g.ca.Pair().Cert
	have, err := os.ReadFile(c.RootCertLoc)
	switch {
	case err == nil && string(have) == string(want):
		g.Report(fmt.Sprintf("kept %s: the CA's certificate", c.RootCertLoc))
		return
	case err == nil && !g.Force && !g.NewCA:
		g.fail("%s is the certificate of another CA than the one in %s; give the directory of that one with -dir, or -force replaces it", c.RootCertLoc, g.Dir)
		return
	case err != nil && !os.IsNotExist(err):
		g.fail("%w", err)
		return
	}
	if err := writeFile(c.RootCertLoc, want, 0o644); err != nil {
		g.fail("%w", err)
		return
	}
	g.Report(fmt.Sprintf("made %s: the CA's certificate", c.RootCertLoc))
}

// node makes or keeps a node's certificate.
func (g *generator) node(who crypto.Identity, certLoc, keyLoc string, hosts []string) {
	if other, ok := g.done[absolute(certLoc)]; ok {
		if other != who {
			g.fail("%s is to be the certificate of %s and of %s; give each its own CertLoc and KeyLoc", certLoc, other, who)
		}
		return
	}
	g.done[absolute(certLoc)] = who
	pair, found, err := readPair(certLoc, keyLoc)
	if !g.Force && !g.NewCA {
		if err == nil && found {
			err = g.usable(pair, who)
		}
		if err != nil {
			g.fail("%s: %w; -force makes a new one", certLoc, err)
			return
		}
		if found {
			g.Report(fmt.Sprintf("kept %s: %s", certLoc, who))
			return
		}
	}
	if pair, err = g.ca.Issue(g.Now, who, hosts); err != nil {
		g.fail("%w", err)
		return
	}
	if err := writePair(certLoc, keyLoc, pair); err != nil {
		g.fail("%w", err)
		return
	}
	g.Report(fmt.Sprintf("made %s: %s", certLoc, who))
}

// public makes or keeps a public certificate. One that is there may be the
// operator's own, from any CA, so little is asked of it.
func (g *generator) public(certLoc, keyLoc string) {
	if _, ok := g.done[absolute(certLoc)]; ok {
		return
	}
	g.done[absolute(certLoc)] = crypto.Identity{}
	pair, found, err := readPair(certLoc, keyLoc)
	if err != nil && !g.Force {
		g.fail("%s: %w; -force makes a new one", certLoc, err)
		return
	}
	if found && !g.Force {
		g.Report(fmt.Sprintf("kept %s: public%s", certLoc, g.publicRemarks(pair)))
		return
	}
	if pair, err = crypto.SelfSigned(g.Now, g.Public); err != nil {
		g.fail("%w", err)
		return
	}
	if err := writePair(certLoc, keyLoc, pair); err != nil {
		g.fail("%w", err)
		return
	}
	g.Report(fmt.Sprintf("made %s: public, self-signed, for %v", certLoc, g.Public))
}

func (g *generator) fail(format string, args ...any) {
	g.errs = append(g.errs, fmt.Errorf(format, args...))
}
