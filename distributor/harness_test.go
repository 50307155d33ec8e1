package distributor

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/imap/wire"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// patience is how long a test waits for the next thing that must come.
const patience = 10 * time.Second

// testTLS is one certificate for everybody.
var testTLS = sync.OnceValues(func() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, MinVersion: tls.VersionTLS13, ServerName: "127.0.0.1",
	}, nil
})

func tlsConfig(t testing.TB) *tls.Config {
	t.Helper()
	c, err := testTLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fakeAuth knows user1/pass1 with ID 1 and so on.
type fakeAuth struct{ down bool }

func (a fakeAuth) Authenticate(_ context.Context, login, password string) (uint32, string, error) {
	if a.down {
		return 0, "", fmt.Errorf("%w: database is away", auth.ErrUnavailable)
	}
	var n uint32
	if _, err := fmt.Sscanf(login, "user%d", &n); err != nil || password != fmt.Sprintf("pass%d", n) {
		return 0, "", auth.ErrCredentials
	}
	return n, login, nil
}

// Quota says of user1 that he may have 1000 bytes, and so on.
func (a fakeAuth) Quota(_ context.Context, login string) (auth.Quota, error) {
	var n int64
	if _, err := fmt.Sscanf(login, "user%d", &n); err != nil {
		return auth.Quota{}, err
	}
	return auth.Quota{Storage: 1000 * n, Messages: auth.NoQuota}, nil
}

// fakeNode is a node that can be stopped and started again.
type fakeNode struct {
	t      testing.TB
	addr   string
	handle tunnel.Handler
	node   *tunnel.Server
	server *grpc.Server
	served chan error
}

func startNode(t testing.TB, h tunnel.Handler) *fakeNode {
	t.Helper()
	n := &fakeNode{t: t, addr: "127.0.0.1:0", handle: h}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *fakeNode) start() {
	n.t.Helper()
	listener, err := net.Listen("tcp", n.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = listener.Addr().String()
	n.node = tunnel.NewServer(n.handle)
	n.server = grpc.NewServer(append(tunnel.ServerOptions(), grpc.Creds(credentials.NewTLS(tlsConfig(n.t))))...)
	tunnel.RegisterNodeServer(n.server, n.node)
	n.served = make(chan error, 1)
	go func() { n.served <- n.server.Serve(listener) }()
}

// stop stops the node as a crash does: connections are cut.
func (n *fakeNode) stop() {
	if n.server == nil {
		return
	}
	n.server.Stop()
	<-n.served
	n.server = nil
}

func (n *fakeNode) replica(name string) Replica {
	return Replica{Name: name, Addr: n.addr}
}

// fakeSession answers every command with a tagged OK; IDLE waits for DONE, APPEND
// takes a literal, LOGOUT ends, WHO tells the name. It can be resumed.
func fakeSession(name string) tunnel.Handler {
	return func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		f := &fake{Conn: c, open: open, name: name, base: open.GetCheckpoint().GetConsumed()}
		f.r = wire.NewReader(c, wire.AfterLogin)
		f.r.SetAsked(int(open.GetContinued()))
		f.r.SetContinue(func() error {
			io.WriteString(c, "+ OK\r\n")
			return c.Continue(f.consumed(), f.read(), nil, nil)
		})
		if open.Checkpoint == nil {
			fmt.Fprintf(c, "%s OK [CAPABILITY IMAP4rev1] %s serves %s (%d)\r\n", open.Tag, name, open.Login, open.UserId)
		}
		if err := c.Answer(f.base, []byte("state"), nil); err != nil {
			return err
		}
		for {
			cmd, err := f.r.Next()
			if err == io.EOF {
				return c.Bye()
			} else if err != nil {
				return err
			}
			if done, err := f.command(cmd); done || err != nil {
				return err
			}
		}
	}
}

// fake is a session of fakeSession.
type fake struct {
	*tunnel.Conn
	open *tunnel.Open
	name string
	r    *wire.Reader
	base uint64 // where in the client's stream the reader began
}

func (f *fake) consumed() uint64 { return f.base + f.r.Consumed() }
func (f *fake) read() uint64     { return f.base + f.r.Position() }

func (f *fake) command(cmd *wire.Command) (done bool, err error) {
	switch cmd.Name {
	case "LOGOUT":
		fmt.Fprintf(f, "* BYE\r\n%s OK bye\r\n", cmd.Tag)
		return true, f.Bye()
	case "IDLE":
		if !f.r.TakeAsked() {
			io.WriteString(f, "+ idling\r\n")
		}
		if err := f.Continue(f.consumed(), f.read(), nil, nil); err != nil {
			return true, err
		}
		if _, err := f.r.ReadLine(100); err != nil {
			if err == io.EOF {
				err = f.Bye()
			}
			return true, err
		}
	case "APPEND":
		if err := f.append(cmd); err != nil {
			return true, err
		}
	case "WHO":
		fmt.Fprintf(f, "* %s\r\n", f.name)
	case "XPLUTOLOST":
		return false, f.lost(cmd)
	case "FETCH": // a long answer of lines
		for n := range 2000 {
			if _, err := fmt.Fprintf(f, "%s %5d\r\n", strings.Repeat("x", 992), n); err != nil {
				return true, err
			}
		}
	case "COMPRESS", "UNAUTHENTICATE":
		if err := cmd.Finish(); err != nil {
			return true, err
		}
		fmt.Fprintf(f, "%s OK %s\r\n", cmd.Tag, cmd.Name)
		if cmd.Name == "COMPRESS" {
			return false, f.Compress(f.consumed(), nil, nil)
		}
		return true, f.Unauthenticate(f.consumed())
	case "TEAR": // part of a long answer, and the stream ends
		io.WriteString(f, "* 1 FETCH (BODY[] {99999}\r\n")
		f.Write(make([]byte, tunnel.MaxFrame))
		return true, errors.New("torn")
	case "TEARONCE": // the same, but the next node has it all
		for n := range 5 {
			io.WriteString(f, response(n, 30000))
		}
		if f.open.GetAttempt() == 0 {
			io.WriteString(f, response(5, 100000)[:60000])
			return true, errors.New("torn")
		}
		io.WriteString(f, response(5, 100000))
	case "CRASH":
		return true, errors.New("crash")
	}
	if err := cmd.Finish(); err != nil {
		return true, err
	}
	fmt.Fprintf(f, "%s OK %s\r\n", cmd.Tag, cmd.Name)
	return false, f.Answer(f.consumed(), nil, nil)
}

// append takes a literal.
func (f *fake) append(cmd *wire.Command) error {
	cmd.SP()
	l, err := cmd.Literal()
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, l)
	if err != nil {
		return err
	}
	fmt.Fprintf(f, "* %d bytes\r\n", n)
	return nil
}

// lost answers for an upload that was not kept.
func (f *fake) lost(cmd *wire.Command) error {
	begin := f.consumed()
	cmd.SP()
	key, err := cmd.Atom()
	if err != nil || key != fmt.Sprintf("%x", f.open.GetSession()) {
		return fmt.Errorf("key %q: %w", key, err)
	}
	cmd.SP()
	n, err := cmd.Number64()
	if err != nil {
		return err
	}
	if err := cmd.Finish(); err != nil {
		return err
	}
	f.base = begin + n - f.r.Consumed()
	fmt.Fprintf(f, "%s NO [UNAVAILABLE] lost\r\n", cmd.Tag)
	return f.Answer(f.consumed(), nil, nil)
}

// startServer starts a distributor for the nodes, in that order for all users.
func startServer(t testing.TB, change func(*Options), nodes ...Replica) *testServer {
	t.Helper()
	opts := Options{
		TLS: tlsConfig(t), Auth: fakeAuth{}, Replicas: nodes,
		Route:   func(user uint32) []Replica { return nodes },
		DialTLS: func(Replica) *tls.Config { return tlsConfig(t) },
		Limits:  Limits{MaxBadCommands: 4, LoginWait: 10 * time.Millisecond},
	}
	if change != nil {
		change(&opts)
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, t: t}
	ts.tls = ts.listen(s.Serve)
	ts.clear = ts.listen(s.ServeSTARTTLS)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 2 {
			if err := <-ts.served; !errors.Is(err, ErrShutdown) {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return ts
}

type testServer struct {
	*Server
	t          testing.TB
	tls, clear string // addresses
	served     chan error
}

func (s *testServer) listen(serve func(net.Listener) error) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	if s.served == nil {
		s.served = make(chan error, 2)
	}
	go func() { s.served <- serve(l) }()
	return l.Addr().String()
}

// mailClient is the other end.
type mailClient struct {
	t    testing.TB
	raw  net.Conn
	conn net.Conn
	r    *bufio.Reader

	deflater *flate.Writer // nil: nothing is compressed
}

func newMailClient(t testing.TB, conn net.Conn) *mailClient {
	t.Cleanup(func() { conn.Close() })
	c := &mailClient{t: t, raw: conn, conn: conn, r: bufio.NewReader(conn)}
	c.waits()
	return c
}

// waits begins to wait for something anew: how long a whole test takes says how busy
// the machine is.
func (c *mailClient) waits() { c.raw.SetDeadline(time.Now().Add(patience)) }

// connect connects with TLS and takes the greeting.
func (s *testServer) connect() *mailClient {
	s.t.Helper()
	c := s.connectRaw(s.tls)
	c.startTLS()
	c.expect("* OK ")
	return c
}

func (s *testServer) connectRaw(addr string) *mailClient {
	s.t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatal(err)
	}
	return newMailClient(s.t, conn)
}

// login connects as user1.
func (s *testServer) login() *mailClient {
	s.t.Helper()
	c := s.connect()
	c.send("a LOGIN user1 pass1\r\n")
	c.expect("a OK ")
	return c
}

func (c *mailClient) startTLS() {
	c.t.Helper()
	conn := tls.Client(c.raw, tlsConfig(c.t))
	if err := conn.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.conn, c.r = conn, bufio.NewReader(conn)
}

func (c *mailClient) send(text string) {
	c.t.Helper()
	c.waits()
	if c.deflater != nil {
		if _, err := io.WriteString(c.deflater, text); err != nil {
			c.t.Fatalf("send %q: %v", text, err)
		}
		if err := c.deflater.Flush(); err != nil {
			c.t.Fatalf("send %q: %v", text, err)
		}
		return
	}
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// expect takes a line that begins so.
func (c *mailClient) expect(prefix string) string {
	c.t.Helper()
	c.waits()
	line, err := c.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, prefix) {
		c.t.Fatalf("got %.200q, %v; want %q", line, err, prefix)
	}
	return line
}

// expectEnd takes the end of the connection.
func (c *mailClient) expectEnd() {
	c.t.Helper()
	c.waits()
	rest, err := io.ReadAll(c.r)
	if len(rest) > 0 || err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("got %.200q, %v; want the end", rest, err)
	}
}

// script runs a conversation: lines "C: ..." are sent, "S: ..." are expected as
// prefixes, "END" expects the end.
func (c *mailClient) script(text string) {
	c.t.Helper()
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case line == "END":
			c.expectEnd()
		case strings.HasPrefix(line, "S: "):
			c.expect(line[3:])
		case line == "DEFLATE":
			c.inflate()
		case strings.HasPrefix(line, "C-: "): // without a line's end
			c.send(line[4:])
		case strings.HasPrefix(line, "C:"):
			c.send(strings.TrimPrefix(line[2:], " ") + "\r\n")
		default:
			c.t.Fatalf("script: %q", line)
		}
	}
}

// value returns what a metric is at.
func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

// await waits until something is so that the server tells nobody of.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
