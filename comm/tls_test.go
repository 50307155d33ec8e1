package comm_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-kit/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crypto"
)

// TestTLS runs two replicas over loopback with the certificates that nodes have,
// and a third one whose certificate is of another CA.
func TestTLS(t *testing.T) {
	c := newCluster(t, "w1", "w2", "xx")
	ours, theirs := newCA(t), newCA(t)
	listeners := map[string]net.Listener{}
	for _, name := range c.names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[name] = l
	}
	for name, ca := range map[string]*crypto.CA{"w1": ours, "w2": ours, "xx": theirs} {
		c.startTLS(name, certificate(t, ca, name), listeners)
	}
	c.await(c.nodes["w1"].commit(1), "w2")
	c.await(c.nodes["w2"].commit(1), "w1")
	c.refused("xx", "certificate")
	c.refused("w1", "certificate")
	if c.nodes["xx"].store.Logged().Get(1) != 0 {
		t.Error("xx got in")
	}
	// Bytes that are no TLS.
	conn, err := net.Dial("tcp", listeners["w1"].Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	drain(conn, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	c.await(c.nodes["w1"].commit(1), "w2")
}

// startTLS boots a node that listens and dials as in production.
func (c *cluster) startTLS(name string, id *crypto.Node, listeners map[string]net.Listener, changes ...func(*comm.Config)) {
	c.t.Helper()
	n := c.nodes[name]
	cfg := c.config(name)
	cfg.Dial = nil
	cfg.Credentials = func(peer string) (credentials.TransportCredentials, error) {
		return credentials.NewTLS(id.ClientTLS(peer, crypto.RoleWorker)), nil
	}
	for _, change := range changes {
		change(&cfg)
	}
	for i := range cfg.Peers {
		cfg.Peers[i].Addr = listeners[cfg.Peers[i].Name].Addr().String()
	}
	var err error
	if n.group, err = comm.NewGroup(n.store, cfg); err != nil {
		c.t.Fatal(err)
	}
	service, err := comm.NewService(comm.ServiceOptions{Logger: n.log, Identify: func(ctx context.Context) (string, error) {
		who, err := crypto.Require(ctx, crypto.RoleWorker)
		return who.Name, err
	}}, n.group)
	if err != nil {
		c.t.Fatal(err)
	}
	n.server = grpc.NewServer(append(comm.ServerOptions(), grpc.Creds(credentials.NewTLS(id.ServerTLS())))...)
	comm.RegisterReceiverServer(n.server, service)
	n.group.Start(c.ctx)
	n.served.Go(func() { _ = n.server.Serve(listeners[name]) })
}

func newCA(t testing.TB) *crypto.CA {
	t.Helper()
	ca, err := crypto.NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func certificate(t testing.TB, ca *crypto.CA, name string) *crypto.Node {
	t.Helper()
	who := crypto.Identity{Role: crypto.RoleWorker, Name: name}
	pair, err := ca.Issue(time.Now(), who, []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, cert, key := filepath.Join(dir, "root.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, content := range map[string][]byte{root: ca.Pair().Cert, cert: pair.Cert, key: pair.Key} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node, err := crypto.LoadNode(root, cert, key, who, log.NewNopLogger(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return node
}
