package crypto

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
)

// pki is a CA with a directory for what it makes.
type pki struct {
	t   *testing.T
	dir string
	ca  *CA
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	p := &pki{t: t, dir: t.TempDir(), ca: ca}
	p.write("root.pem", ca.Pair().Cert)
	return p
}

func (p *pki) path(name string) string { return filepath.Join(p.dir, name) }

func (p *pki) write(name string, content []byte) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pki) issue(file string, who Identity, at time.Time) {
	p.t.Helper()
	pair, err := p.ca.Issue(at, who, []string{"127.0.0.1", "localhost", "localhost", ""})
	if err != nil {
		p.t.Fatal(err)
	}
	p.write(file+".pem", pair.Cert)
	p.write(file+".key", pair.Key)
}

func (p *pki) node(role Role, name string) *Node {
	p.t.Helper()
	p.issue(name, Identity{role, name}, time.Now())
	n, err := LoadNode(p.path("root.pem"), p.path(name+".pem"), p.path(name+".key"), Identity{role, name}, log.NewNopLogger(), nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

func TestIdentityURI(t *testing.T) {
	for s, want := range map[string]Identity{
		"pluto://worker/eu-worker-1": {RoleWorker, "eu-worker-1"},
		"pluto://plutoctl/admin":     {RoleAdmin, "admin"},
		"pluto://storage/s.t_1":      {RoleStorage, "s.t_1"},
	} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseIdentity(u); err != nil || got != want || got.URI().String() != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"http://worker/a", "pluto://boss/a", "pluto://worker", "pluto://worker/", "pluto://worker/a/b",
		"pluto://worker/a?b", "pluto://u@worker/a", "pluto://worker:1/a", "pluto:worker/a", "pluto://worker/a#b", "pluto:///a"} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseIdentity(u); err == nil {
			t.Errorf("%s: accepted as %v", s, got)
		}
	}
}

func TestIdentityOf(t *testing.T) {
	a, b := Identity{RoleWorker, "a"}, Identity{RoleWorker, "b"}
	other := &url.URL{Scheme: "spiffe", Host: "x"}
	if got, err := IdentityOf(&x509.Certificate{URIs: []*url.URL{other, a.URI()}}); err != nil || got != a {
		t.Errorf("among others: %v, %v", got, err)
	}
	for _, uris := range [][]*url.URL{nil, {other}, {a.URI(), b.URI()}} {
		if got, err := IdentityOf(&x509.Certificate{URIs: uris}); err == nil {
			t.Errorf("%v: accepted as %v", uris, got)
		}
	}
}

func TestIssue(t *testing.T) {
	p := newPKI(t)
	p.issue("w", Identity{RoleWorker, "w"}, time.Now())
	text, err := os.ReadFile(p.path("w.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if len(cert.DNSNames) != 1 || len(cert.IPAddresses) != 1 || cert.IsCA || len(cert.URIs) != 1 {
		t.Errorf("names %v, addresses %v, CA %v, URIs %v", cert.DNSNames, cert.IPAddresses, cert.IsCA, cert.URIs)
	}
	if cert.NotAfter.After(p.ca.NotAfter()) {
		t.Error("outlives its CA")
	}
	if _, err := p.ca.Issue(time.Now(), Identity{"boss", "w"}, nil); err == nil {
		t.Error("a certificate for an unknown role")
	}
	if _, err := ParseCA(Pair{Cert: text, Key: p.ca.Pair().Key}); err == nil {
		t.Error("a certificate and somebody else's key taken for a CA")
	}
}

func TestLoadNodeErrors(t *testing.T) {
	p, foreign := newPKI(t), newPKI(t)
	want := Identity{RoleWorker, "w"}
	now := time.Now()
	p.issue("ok", want, now)
	p.issue("other", Identity{RoleStorage, "w"}, now)
	p.issue("old", want, now.Add(-ValidityNode-time.Hour))
	foreign.issue("f", want, now)
	foreignCert, err := os.ReadFile(foreign.path("f.pem"))
	if err != nil {
		t.Fatal(err)
	}
	foreignKey, err := os.ReadFile(foreign.path("f.key"))
	if err != nil {
		t.Fatal(err)
	}
	p.write("foreign.pem", foreignCert)
	p.write("foreign.key", foreignKey)
	self, err := SelfSigned(now, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	p.write("self.pem", self.Cert)
	p.write("self.key", self.Key)
	p.write("garbage.pem", []byte("garbage"))
	p.write("badder.pem", []byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	for _, test := range []struct{ root, cert, key, want string }{
		{"root.pem", "ok.pem", "ok.key", ""},
		{"none.pem", "ok.pem", "ok.key", "read the CA's certificate: open " + p.path("none.pem")},
		{"garbage.pem", "ok.pem", "ok.key", "is not a PEM file with certificates"},
		{"badder.pem", "ok.pem", "ok.key", "read the CA's certificate " + p.path("badder.pem")},
		{"ok.key", "ok.pem", "ok.key", "contains a PRIVATE KEY"},
		{"root.pem", "none.pem", "ok.key", "read the internal certificate: stat " + p.path("none.pem")},
		{"root.pem", "ok.pem", "none.key", "read the key of the internal certificate: stat " + p.path("none.key")},
		{"root.pem", "ok.pem", "other.key", "certificate " + p.path("ok.pem") + " with key " + p.path("other.key")},
		{"root.pem", "other.pem", "other.key", "it is that of storage w, not of worker w"},
		{"root.pem", "self.pem", "self.key", "was it made by pluto-pki?"},
		{"root.pem", "foreign.pem", "foreign.key", "it is not valid with the CA in " + p.path("root.pem")},
		{"root.pem", "old.pem", "old.key", "expired"},
	} {
		_, err := LoadNode(p.path(test.root), p.path(test.cert), p.path(test.key), want, log.NewNopLogger(), nil)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%v: %v", test, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%v: got %v", test, err)
		}
	}
}

// handshake connects a client to a server over loopback and returns both ends'
// errors; TLS 1.3 clients learn of a refusal with their first read.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		if err := s.Handshake(); err != nil {
			done <- err
			return
		}
		_, err = s.Write([]byte("x"))
		done <- err
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		conn.Close()
	}
	return <-done, err
}

func TestMutualTLS(t *testing.T) {
	p, foreign := newPKI(t), newPKI(t)
	w, d := p.node(RoleWorker, "w"), p.node(RoleDistributor, "d")
	stranger := foreign.node(RoleDistributor, "d")
	outsider := &tls.Config{InsecureSkipVerify: true}
	old := d.ClientTLS("w", RoleWorker)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, test := range []struct {
		name           string
		client         *tls.Config
		server, errors string // what the server's and the client's errors say
	}{
		{"the node meant", d.ClientTLS("w", RoleWorker), "", ""},
		{"one of several roles", d.ClientTLS("w", RoleStorage, RoleWorker), "", ""},
		{"another name", d.ClientTLS("w2", RoleWorker), "bad certificate", "expected node w2, reached worker w"},
		{"another role", d.ClientTLS("w", RoleStorage), "bad certificate", "expected node w, reached worker w"},
		{"a client of another CA", stranger.ClientTLS("w", RoleWorker), "", "unknown authority"},
		{"a client without certificate", outsider, "didn't provide a certificate", "certificate required"},
		{"an old protocol", old, "unsupported versions", "protocol version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			serverErr, clientErr := handshake(t, w.ServerTLS(), test.client)
			if test.errors == "" {
				if serverErr != nil || clientErr != nil {
					t.Fatalf("server %v, client %v", serverErr, clientErr)
				}
				return
			}
			if clientErr == nil || !strings.Contains(clientErr.Error(), test.errors) {
				t.Errorf("client: %v, want %s", clientErr, test.errors)
			}
			if serverErr == nil || !strings.Contains(serverErr.Error(), test.server) {
				t.Errorf("server: %v, want %s", serverErr, test.server)
			}
		})
	}
	// The server's side must refuse too, whatever the client thinks of it.
	lax := stranger.ClientTLS("w", RoleWorker)
	lax.VerifyConnection = nil
	if serverErr, clientErr := handshake(t, w.ServerTLS(), lax); serverErr == nil || clientErr == nil {
		t.Errorf("a client of another CA got in: server %v, client %v", serverErr, clientErr)
	}
}

func TestPublicReload(t *testing.T) {
	p := newPKI(t)
	var logged bytes.Buffer
	put := func(host string) *x509.CertPool {
		t.Helper()
		pair, err := SelfSigned(time.Now(), []string{host, "127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		p.write("pub.pem", pair.Cert)
		p.write("pub.key", pair.Key)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pair.Cert)
		return pool
	}
	first := put("one.example")
	pair, err := LoadKeyPair(p.path("pub.pem"), p.path("pub.key"), "public", log.NewLogfmtLogger(&logged), NewMetrics(nil))
	if err != nil {
		t.Fatal(err)
	}
	server := PublicTLS(pair)
	expect := func(what string, pool *x509.CertPool, ok bool) {
		t.Helper()
		_, err := handshake(t, server, &tls.Config{RootCAs: pool})
		if (err == nil) != ok {
			t.Fatalf("%s: %v", what, err)
		}
	}
	expect("first", first, true)

	second := put("two.example")
	expect("the new one", second, true)
	expect("the old one no more", first, false)

	p.write("pub.key", []byte("garbage"))
	logged.Reset()
	expect("with a broken key", second, true)
	expect("with a broken key, again", second, true)
	if n := strings.Count(logged.String(), "keeping the old one"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, logged.String())
	}

	if err := os.Remove(p.path("pub.key")); err != nil {
		t.Fatal(err)
	}
	logged.Reset()
	third, err := SelfSigned(time.Now(), []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	p.write("pub.pem", third.Cert)
	expect("without a key", second, true)
	if !strings.Contains(logged.String(), "pub.key") {
		t.Errorf("the missing key is not logged:\n%s", logged.String())
	}
	p.write("pub.key", third.Key)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(third.Cert)
	expect("complete again", pool, true)
	if strings.Contains(logged.String(), "PRIVATE") {
		t.Error("the log has a key in it")
	}

	if _, err := handshake(t, server, &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 accepted")
	}
}

// TestNodeReload: a node does not take up a certificate that is another's.
func TestNodeReload(t *testing.T) {
	p := newPKI(t)
	w, d := p.node(RoleWorker, "w"), p.node(RoleDistributor, "d")
	p.issue("w", Identity{RoleWorker, "other"}, time.Now())
	if s, c := handshake(t, w.ServerTLS(), d.ClientTLS("w", RoleWorker)); s != nil || c != nil {
		t.Errorf("server %v, client %v", s, c)
	}
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("pluto://worker/eu-worker-1")
	f.Add("pluto://u:p@worker:1/a/b?c#d")
	f.Add("pluto://worker/%2f%00")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		i, err := ParseIdentity(u)
		if err != nil {
			return
		}
		if again, err := ParseIdentity(i.URI()); err != nil || again != i {
			t.Errorf("%s: %v, then %v, %v", s, i, again, err)
		}
	})
}
