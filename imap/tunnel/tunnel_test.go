package tunnel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// mutualTLS returns a configuration for both ends of a loopback connection.
func mutualTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

// serve runs a node and returns a client of it.
func serve(t testing.TB, h Handler) (*Client, *Server) {
	t.Helper()
	return serveNode(t, NewServer(h))
}

func serveNode(t testing.TB, node *Server) (*Client, *Server) {
	t.Helper()
	creds := credentials.NewTLS(mutualTLS(t))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(ServerOptions(), grpc.Creds(creds))...)
	RegisterNodeServer(server, node)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), append(DialOptions(), grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(conn)
	following, stop := context.WithCancel(context.Background())
	var followers sync.WaitGroup
	followers.Go(func() { client.Run(following) })
	t.Cleanup(func() {
		stop()
		followers.Wait()
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := node.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return client, node
}

func start(t testing.TB, node *Client, open *Open) *Session {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := node.Start(ctx, cancel, open)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abort)
	return s
}

func recv(t testing.TB, s *Session) *Down {
	t.Helper()
	down, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return down
}

// echo answers what it reads until the client is gone.
func echo(ctx context.Context, open *Open, c *Conn) error {
	p := make([]byte, 4096)
	consumed := uint64(0)
	for {
		n, err := c.Read(p)
		if err == io.EOF {
			return c.Bye()
		}
		if err != nil {
			return err
		}
		consumed += uint64(n)
		if _, err := c.Write(p[:n]); err != nil {
			return err
		}
		if err := c.Answer(consumed, nil, nil); err != nil {
			return err
		}
	}
}

func TestSession(t *testing.T) {
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		if open.UserId != 7 || open.Login != "user" || open.Tag != "a1" {
			return errors.New("wrong open")
		}
		io.WriteString(c, "a1 OK\r\n")
		if err := c.Answer(0, []byte("state"), []byte("vector")); err != nil {
			return err
		}
		io.WriteString(c, "+ OK\r\n")
		if err := c.Continue(1, 1, nil, nil); err != nil {
			return err
		}
		line := make([]byte, 4)
		if _, err := io.ReadFull(c, line); err != nil {
			return err
		}
		c.Write(line)
		return c.Bye()
	})
	s := start(t, node, &Open{UserId: 7, Login: "user", Tag: "a1"})
	if a := recv(t, s).GetAnswer(); string(a.GetData()) != "a1 OK\r\n" || a.GetContinuation() ||
		string(a.GetCheckpoint().GetState()) != "state" || string(a.GetCheckpoint().GetVector()) != "vector" {
		t.Errorf("answer: %v", a)
	}
	if a := recv(t, s).GetAnswer(); string(a.GetData()) != "+ OK\r\n" || !a.GetContinuation() ||
		a.GetRead() != 1 || a.GetCheckpoint().GetConsumed() != 1 || len(a.GetCheckpoint().GetState()) != 0 {
		t.Errorf("continuation: %v", a)
	}
	if err := s.Send([]byte("QUIT")); err != nil {
		t.Fatal(err)
	}
	if b := recv(t, s).GetBye(); string(b.GetData()) != "QUIT" {
		t.Errorf("bye: %v", b)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestAnswersInFrames(t *testing.T) {
	sizes := []int{0, 1, MaxFrame - 1, MaxFrame, MaxFrame + 1, 5*MaxFrame + 3, 10}
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		for i, size := range sizes {
			text := bytes.Repeat([]byte{byte('a' + i)}, size)
			c.Write(text[:size/3])
			c.Write(text[size/3:])
			if err := c.Answer(0, nil, nil); err != nil {
				return err
			}
		}
		return nil
	})
	s := start(t, node, &Open{})
	for i, size := range sizes {
		got, last := 0, false
		for !last {
			down := recv(t, s)
			data := down.GetPartial().GetData()
			if down.GetAnswer() != nil {
				data, last = down.GetAnswer().GetData(), true
			} else if len(data) != MaxFrame {
				t.Errorf("answer of %d bytes: a piece of %d", size, len(data))
			}
			if bytes.Count(data, []byte{byte('a' + i)}) != len(data) {
				t.Errorf("answer of %d bytes has others", size)
			}
			got += len(data)
		}
		if got != size {
			t.Errorf("got %d bytes of %d", got, size)
		}
	}
}

// A session that does not read stops its client and takes pings all the same.
func TestWindow(t *testing.T) {
	gate := make(chan struct{})
	const total = 10 * WindowSize
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		if err := c.Answer(0, nil, nil); err != nil {
			return err
		}
		<-gate
		n, err := io.CopyN(io.Discard, c, total)
		if err != nil {
			return err
		}
		return c.Answer(uint64(n), nil, nil)
	})
	s := start(t, node, &Open{})
	recv(t, s)
	sent := make(chan error, 1)
	go func() { sent <- s.Send(make([]byte, total)) }()
	received := make(chan uint64, 1)
	go func() {
		down, err := s.Recv()
		if err != nil {
			t.Error(err)
		}
		received <- down.GetAnswer().GetCheckpoint().GetConsumed()
	}()
	select {
	case err := <-sent:
		t.Fatalf("sent more than the window (%v)", err)
	case <-time.After(PingInterval + PingInterval/2): // so that a ping is sent
	}
	if got := s.lease.bytes(); got != WindowSize {
		t.Errorf("%d bytes under way, want %d", got, WindowSize)
	}
	close(gate)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if n := <-received; n != total {
		t.Errorf("consumed %d", n)
	}
	if s.number == 0 {
		t.Error("no ping")
	}
}

// A client that does not read stops its session, not another one.
func TestSlowReader(t *testing.T) {
	stopped := make(chan struct{})
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		if open.UserId == 2 {
			return echo(ctx, open, c)
		}
		defer close(stopped)
		for {
			if _, err := c.Write(make([]byte, MaxFrame)); err != nil {
				return err
			}
		}
	})
	slow := start(t, node, &Open{UserId: 1})
	recv(t, slow)
	other := start(t, node, &Open{UserId: 2})
	for range 100 {
		if err := other.Send([]byte("noop")); err != nil {
			t.Fatal(err)
		}
		recv(t, other)
	}
	select {
	case <-stopped:
		t.Fatal("the slow session ended")
	default:
	}
	slow.Abort()
	<-stopped
}

func TestClientLeaves(t *testing.T) {
	read := make(chan string, 1)
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		read <- string(b)
		if ctx.Err() != nil {
			return errors.New("cancelled before the grace was over")
		}
		return c.Bye()
	})
	s := start(t, node, &Open{})
	if err := s.Send([]byte("last wish")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if got := <-read; got != "last wish" {
		t.Errorf("read %q", got)
	}
	if recv(t, s).GetBye() == nil {
		t.Error("no bye")
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Error(err)
	}
}

func TestDistributorDies(t *testing.T) {
	ended := make(chan error, 1)
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		if err := c.Answer(0, nil, nil); err != nil {
			return err
		}
		<-ctx.Done()
		_, err := c.Read(make([]byte, 1))
		ended <- err
		return nil
	})
	s := start(t, node, &Open{})
	recv(t, s)
	s.Abort()
	if err := <-ended; err != io.EOF {
		t.Errorf("read: %v", err)
	}
	if err := s.Send([]byte("x")); err == nil {
		t.Error("sent after the end")
	}
}

func TestRefusedAndBroken(t *testing.T) {
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		if open.UserId == 1 {
			return c.Refuse(Refused_CONTACT_ADMIN, "other name")
		}
		return errors.New("disk full")
	})
	if r := recv(t, start(t, node, &Open{UserId: 1})).GetRefused(); r.GetReason() != Refused_CONTACT_ADMIN {
		t.Errorf("refused: %v", r)
	}
	_, err := start(t, node, &Open{UserId: 2}).Recv()
	if status.Code(errors.Unwrap(err)) != codes.Unavailable {
		t.Errorf("broken: %v", err)
	}
}

func TestShutdown(t *testing.T) {
	node, server := serve(t, echo)
	s := start(t, node, &Open{})
	if err := s.Send([]byte("x")); err != nil {
		t.Fatal(err)
	}
	recv(t, s)
	if server.Sessions() != 1 {
		t.Errorf("%d sessions", server.Sessions())
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if recv(t, s).GetLeave() == nil {
		t.Error("the session is not to go on elsewhere")
	}
	if r := recv(t, start(t, node, &Open{})).GetRefused(); r.GetReason() != Refused_UNAVAILABLE {
		t.Errorf("refused: %v", r)
	}
}

// What a hostile distributor sends ends its session with an error.
func TestProtocolViolations(t *testing.T) {
	node, _ := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		<-ctx.Done()
		return nil
	})
	open := &Up{Message: &Up_Open{Open: &Open{}}}
	data := &Up{Message: &Up_Data{Data: make([]byte, 100<<10)}}
	for name, messages := range map[string][]*Up{
		"nothing first": {{}},
		"data first":    {data},
		"open twice":    {open, open},
		"nothing":       {open, {}},
		"too much":      {open, data, data, data},
	} {
		if err := node.await(t.Context()); err != nil {
			t.Fatal(err)
		}
		stream, err := node.node.Session(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			m.Beat = node.latest.Load()
			if err := stream.Send(m); err != nil && err != io.EOF {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadDeadline(t *testing.T) {
	var b inbox
	b.wake = make(chan struct{}, 1)
	p := make([]byte, 10)
	timedOut := func() {
		t.Helper()
		if _, _, err := b.take(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	b.setDeadline(time.Now().Add(-time.Second))
	timedOut()
	b.setDeadline(time.Now().Add(time.Millisecond))
	timedOut()
	b.setDeadline(time.Now().Add(time.Hour))
	go b.setDeadline(time.Now().Add(time.Millisecond)) // while it waits
	timedOut()
	b.setDeadline(time.Time{})
	go b.put([]byte("abc"))
	if n, _, err := b.take(p); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	go b.end(true)
	if _, _, err := b.take(p); err != io.EOF {
		t.Fatal(err)
	}
}

func TestLease(t *testing.T) {
	s := &Session{}
	_, s.cancel = context.WithCancelCause(t.Context())
	l := &s.lease
	l.init(s, 0)
	l.running = true // no timer: the ticks are made here
	l.timer = time.AfterFunc(time.Hour, func() {})
	defer l.stop()
	tick := func(wantPing bool) {
		t.Helper()
		l.running = true
		if ping, stalled := l.next(); ping != wantPing || stalled {
			t.Fatalf("ping %t, stalled %t", ping, stalled)
		}
	}
	tick(true) // not opened yet
	l.answered(0, false)
	tick(false)
	l.running = true
	l.sent(10)
	tick(true)
	l.answered(5, false) // the second of two commands runs
	tick(true)
	l.answered(5, true) // and waits for its client
	for range maxAsked {
		tick(true)
	}
	tick(false)
	l.answered(5, false) // an announcement of IDLE
	tick(false)
	l.running = true
	l.sent(6)
	tick(true)
	for range 2 * StallTimeout / PingInterval { // its client does not read
		tick(true)
	}
	l.receiving(true)
	for range StallTimeout / PingInterval {
		tick(true)
	}
	if _, stalled := l.next(); !stalled {
		t.Error("not stalled")
	}
}

// BenchmarkRoundTrip is a command and its answer over loopback with mutual TLS.
func BenchmarkRoundTrip(b *testing.B) {
	for name, size := range map[string]int{"100B": 100, "16KiB": 16 << 10} {
		b.Run(name, func(b *testing.B) {
			node, _ := serve(b, func(ctx context.Context, open *Open, c *Conn) error {
				p, consumed := make([]byte, size), uint64(0)
				for {
					if _, err := io.ReadFull(c, p); err != nil {
						return nil
					}
					consumed += uint64(size)
					if _, err := c.Write(p); err != nil {
						return err
					}
					if err := c.Answer(consumed, nil, nil); err != nil {
						return err
					}
				}
			})
			s := start(b, node, &Open{})
			p := make([]byte, size)
			b.ReportAllocs()
			b.SetBytes(int64(2 * size))
			for b.Loop() {
				if err := s.Send(p); err != nil {
					b.Fatal(err)
				}
				recv(b, s)
			}
		})
	}
}
