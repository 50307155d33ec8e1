package distributor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/tunnel"
)

func TestPipelinedLogin(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.connect()
	c.send("a login user1 {5+}\r\npass1\r\nb select inbox\r\nc append {3+}\r\nabc\r\nd log")
	c.script("S: a OK\nS: b OK SELECT\nS: * 3 bytes\nS: c OK APPEND")
	c.send("out\r\n")
	c.script("S: * BYE\nS: d OK\nEND")
}

func TestOpen(t *testing.T) {
	opens := make(chan *tunnel.Open, 1)
	node := startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		opens <- open
		return fakeSession("w")(ctx, open, c)
	})
	s := startServer(t, nil, node.replica("w"))
	c := s.connect()
	c.send("x id (\"name\" \"Mail\")\r\n")
	c.expect("* ID")
	c.expect("x OK")
	c.send("a.1 login user9 pass9\r\n")
	c.expect("a.1 OK")
	o := <-opens
	if o.UserId != 9 || o.Login != "user9" || o.Tag != "a.1" || !o.Tls || len(o.Session) != 16 || o.Checkpoint != nil ||
		o.QuotaStorage == nil || *o.QuotaStorage != 9000 || o.QuotaMessages != nil || o.ClientId != `("name" "Mail")` || o.Remote != c.raw.LocalAddr().String() {
		t.Errorf("open: %v", o)
	}
}

// refusing is a node that does not open sessions.
func refusing(reason tunnel.Refused_Reason) tunnel.Handler {
	return func(_ context.Context, _ *tunnel.Open, c *tunnel.Conn) error { return c.Refuse(reason, "reason") }
}

// hanging is a node that never answers.
func hanging(ctx context.Context, _ *tunnel.Open, _ *tunnel.Conn) error {
	<-ctx.Done()
	return nil
}

func TestFailover(t *testing.T) {
	worker, storage := startNode(t, fakeSession("worker")), startNode(t, fakeSession("storage"))
	far := startNode(t, fakeSession("far"))
	s := startServer(t, nil, startNode(t, refusing(tunnel.Refused_UNAVAILABLE)).replica("refusing"),
		startNode(t, func(context.Context, *tunnel.Open, *tunnel.Conn) error { return errors.New("broken") }).replica("broken"),
		worker.replica("worker"), storage.replica("storage"), far.replica("far"))
	serves := func(name string) {
		t.Helper()
		c := s.connect()
		c.send("a login user1 pass1\r\n")
		if line := c.expect("a OK"); !strings.Contains(line, name) {
			t.Errorf("got %q, want %s", line, name)
		}
	}
	serves("worker")
	worker.stop()
	serves("storage")
	storage.stop()
	serves("far")
	far.stop()
	c := s.connect()
	c.send("a login user1 pass1\r\n")
	c.expect("a NO [UNAVAILABLE]")
	worker.start()
	await(t, "the worker to be used again", func() bool {
		c.send("b login user1 pass1\r\n")
		line := c.expect("b ")
		return strings.Contains(line, "worker serves")
	})
	storage.start()
	serves("worker")
	for _, want := range []struct {
		name, result string
		n            float64
	}{{"refusing", "refused", 5}, {"broken", "failed", 5}, {"worker", "ok", 3}, {"storage", "ok", 1}} {
		if got := value(t, s.metrics.opens.WithLabelValues(want.name, want.result)); got < want.n {
			t.Errorf("%s %s: %v", want.name, want.result, got)
		}
	}
}

func TestPrimaryIsPreferredAgain(t *testing.T) {
	worker, storage := startNode(t, fakeSession("worker")), startNode(t, fakeSession("storage"))
	s := startServer(t, func(o *Options) { o.Limits.MaxConnectionsPerUser = 1e6 }, worker.replica("worker"), storage.replica("storage"))
	served := func() string {
		c := s.connect()
		defer c.conn.Close()
		c.send("a login user1 pass1\r\n")
		return c.expect("a OK")
	}
	if line := served(); !strings.Contains(line, "worker") {
		t.Error(line)
	}
	worker.stop()
	if line := served(); !strings.Contains(line, "storage") {
		t.Error(line)
	}
	worker.start()
	await(t, "the worker to be used again", func() bool { return strings.Contains(served(), "worker") })
	if up := s.Up(); !up[worker.replica("worker")] || !up[storage.replica("storage")] {
		t.Errorf("up: %v", up)
	}
}

func TestContactAdmin(t *testing.T) {
	node, other := startNode(t, refusing(tunnel.Refused_CONTACT_ADMIN)), startNode(t, fakeSession("other"))
	s := startServer(t, nil, node.replica("w"), other.replica("other"))
	s.connect().script("C: a login user1 pass1\nS: a NO [CONTACTADMIN]\nC: b noop\nS: b OK")
	if got := value(t, s.metrics.logins.WithLabelValues(loginContactAdmin)); got != 1 {
		t.Errorf("%v", got)
	}
	s = startServer(t, nil) // no route
	s.connect().script("C: a login user1 pass1\nS: a NO [CONTACTADMIN]\nC: b noop\nS: b OK")
}

func TestHangingNode(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Limits.OpenTimeout = time.Second },
		startNode(t, hanging).replica("hanging"), startNode(t, fakeSession("worker")).replica("worker"))
	c := s.connect()
	c.send("a login user1 pass1\r\n")
	if line := c.expect("a OK"); !strings.Contains(line, "worker") {
		t.Error(line)
	}
	if got := value(t, s.metrics.opens.WithLabelValues("hanging", "failed")); got != 1 {
		t.Errorf("%v", got)
	}
}

// A login waits for a replica that is being started.
func TestLoginWaits(t *testing.T) {
	worker := startNode(t, fakeSession("worker"))
	worker.stop()
	s := startServer(t, func(o *Options) { o.Limits.LoginWait = patience }, worker.replica("worker"))
	c := s.connect()
	c.send("a login user1 pass1\r\n")
	await(t, "the login to fail once", func() bool { return value(t, s.metrics.opens.WithLabelValues("worker", "failed")) > 0 })
	worker.start()
	c.expect("a OK")
}

// A client whose login nobody can serve is told so, and can try again.
func TestLoginWhenAllAreDown(t *testing.T) {
	worker, storage := startNode(t, fakeSession("worker")), startNode(t, fakeSession("storage"))
	worker.stop()
	storage.stop()
	s := startServer(t, nil, worker.replica("worker"), storage.replica("storage"))
	c := s.connect()
	c.script("C: a login user1 pass1\nS: a NO [UNAVAILABLE]\nC: b noop\nS: b OK")
	if got := value(t, s.metrics.logins.WithLabelValues(loginNoReplica)); got != 1 {
		t.Errorf("%v", got)
	}
	storage.start()
	await(t, "a login", func() bool {
		c.send("c login user1 pass1\r\n")
		return strings.HasPrefix(c.expect("c "), "c OK")
	})
}

// A node whose certificate is not the expected one is not used.
func TestWrongNode(t *testing.T) {
	node := startNode(t, fakeSession("w"))
	s := startServer(t, func(o *Options) {
		o.DialTLS = func(Replica) *tls.Config {
			c := tlsConfig(t).Clone()
			c.ServerName = "other"
			return c
		}
	}, node.replica("w"))
	s.connect().script("C: a login user1 pass1\nS: a NO [UNAVAILABLE]\nC: b noop\nS: b OK")
}

// Where nobody can go on with a session, its client is told, if it is not in the
// middle of something.
func TestSessionLost(t *testing.T) {
	node := startNode(t, fakeSession("w"))
	s := startServer(t, func(o *Options) { o.Limits.MoveTimeout = 100 * time.Millisecond }, node.replica("w"))
	idle, busy, torn := s.login(), s.login(), s.login()
	busy.script("C: b crash\nS: * BYE [UNAVAILABLE]\nEND")
	torn.send("b tear\r\n")
	rest, err := io.ReadAll(torn.r)
	if !strings.HasPrefix(string(rest), "* 1 FETCH") || strings.Contains(string(rest), "BYE") || len(rest) != tunnel.MaxFrame || err != nil {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	node.stop()
	idle.script("S: * BYE [UNAVAILABLE]\nEND")
	if got := value(t, s.metrics.lost.WithLabelValues("w")); got != 3 {
		t.Errorf("lost %v", got)
	}
}

func TestUpload(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.login()
	const size = 5 << 20
	c.send(fmt.Sprintf("b append {%d}\r\n", size))
	c.expect("+ OK")
	c.send(strings.Repeat("x", size) + "\r\n")
	c.script(fmt.Sprintf("S: * %d bytes\nS: b OK", size))
}

// A client that does not read is waited for, and is not in the way of others.
func TestBackpressure(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	slow := s.login()
	const fetches = 20
	slow.send(strings.Repeat("b fetch\r\n", fetches)) // 40 MB
	other := s.login()
	for range 50 {
		other.script("C: b noop\nS: b OK")
	}
	for range fetches {
		for range 2000 {
			slow.expect("xxx")
		}
		slow.expect("b OK")
	}
}

func TestClientThatTakesNothing(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Limits.WriteTimeout = 300 * time.Millisecond }, startNode(t, fakeSession("w")).replica("w"))
	c := s.login()
	c.send(strings.Repeat("b fetch\r\n", 50))
	await(t, "the end of the session", func() bool { return value(t, s.metrics.sessions) == 0 })
}

func TestClientLeaves(t *testing.T) {
	commands := make(chan string, 10)
	node := startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		if err := c.Answer(0, nil, nil); err != nil {
			return err
		}
		b, err := io.ReadAll(c)
		commands <- string(b)
		return err
	})
	s := startServer(t, nil, node.replica("w"))
	c := s.connect()
	c.send("a login user1 pass1\r\nb store\r\n")
	c.conn.Close()
	if got := <-commands; got != "b store\r\n" {
		t.Errorf("got %q", got)
	}
	if got := value(t, s.metrics.lost.WithLabelValues("w")); got != 0 {
		t.Errorf("lost %v", got)
	}
}

func TestShutdown(t *testing.T) {
	gate := make(chan struct{})
	node := startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		if open.UserId != 2 {
			return fakeSession("w")(ctx, open, c)
		}
		io.WriteString(c, open.Tag+" OK\r\n")
		if err := c.Answer(0, nil, nil); err != nil {
			return err
		}
		p := make([]byte, 100)
		n, err := c.Read(p)
		if err != nil {
			return err
		}
		<-gate
		io.WriteString(c, "b OK slow\r\n")
		if err := c.Answer(uint64(n), nil, nil); err != nil {
			return err
		}
		if _, err := c.Read(p); err != io.EOF {
			return err
		}
		return c.Bye()
	})
	s := startServer(t, nil, node.replica("w"))
	before, idle, idling, busy := s.connect(), s.login(), s.login(), s.connect()
	idling.script("C: b idle\nS: + idling")
	busy.script("C: a login user2 pass2\nS: a OK\nC: b slow")
	await(t, "the commands", func() bool { return value(t, s.metrics.fromClients) == float64(len("b idle\r\nb slow\r\n")) })
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- s.Shutdown(ctx)
	}()
	for _, c := range []*mailClient{before, idle, idling} {
		c.script("S: * BYE [UNAVAILABLE]\nEND")
		c.conn.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("ended too early: %v", err)
	default:
	}
	close(gate)
	busy.script("S: b OK slow\nS: * BYE [UNAVAILABLE]\nEND")
	busy.conn.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", s.tls); err == nil {
		conn.Close()
		t.Error("the listener is still there")
	}
}

// TestShutdownTakesTurns has a client whose turn to go has not come yet go on working.
func TestShutdownTakesTurns(t *testing.T) {
	node := startNode(t, fakeSession("w"))
	s := startServer(t, func(o *Options) { o.farewellEvery = time.Hour }, node.replica("w"))
	clients := []*mailClient{s.login(), s.login()}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	said := make(chan *mailClient, len(clients))
	for _, c := range clients {
		go func() {
			if _, err := c.r.Peek(1); err != nil {
				t.Error(err)
			}
			said <- c
		}()
	}
	first := <-said
	first.script("S: * BYE [UNAVAILABLE]\nEND")
	first.conn.Close()
	if !s.Closing() {
		t.Error("the server does not say that it is closing")
	}
	second := clients[0]
	if first == second {
		second = clients[1]
	}
	second.waits()
	second.send("b hello\r\n")
	<-said
	second.script("S: b OK HELLO")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestShutdownInTime has more clients than could go one after the other in the time.
func TestShutdownInTime(t *testing.T) {
	node := startNode(t, fakeSession("w"))
	s := startServer(t, func(o *Options) { o.farewellEvery = time.Hour }, node.replica("w"))
	clients := []*mailClient{s.login(), s.login(), s.login()}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	for _, c := range clients {
		c.script("S: * BYE [UNAVAILABLE]\nEND")
		c.conn.Close()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownCutsOff(t *testing.T) {
	node := startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		if err := c.Answer(0, nil, nil); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	s := startServer(t, nil, node.replica("w"))
	c := s.connect()
	c.send("a login user1 pass1\r\nb noop\r\n")
	s.connectRaw(s.tls) // in the middle of nothing
	await(t, "the command", func() bool { return value(t, s.metrics.fromClients) == float64(len("b noop\r\n")) })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestUnconfirmed(t *testing.T) {
	u := unconfirmed{chunks: new(chunks)}
	confirm := func(n uint64, state string, continuation bool) error {
		return u.confirm(&tunnel.Answer{Continuation: continuation, Read: 6, Checkpoint: &tunnel.Checkpoint{Consumed: n, State: []byte(state)}})
	}
	if !u.movable() || confirm(0, "s0", false) != nil {
		t.Fatal("not idle at the beginning")
	}
	u.add([]byte("abc"))
	u.add([]byte("def"))
	if u.movable() || string(u.kept) != "abcdef" {
		t.Errorf("%q", u.kept)
	}
	if err := confirm(2, "s1", true); err != nil || string(u.kept) != "cdef" || !u.movable() {
		t.Errorf("%q, %v", u.kept, err)
	}
	if err := confirm(6, "", false); err != nil || len(u.kept) > 0 || string(u.state) != "s1" || u.confirmed != 6 {
		t.Errorf("%q, %v", u.kept, err)
	}
	if confirm(7, "", false) == nil || confirm(5, "", false) == nil {
		t.Error("confirmed what was not sent")
	}
	u.add(make([]byte, maxUnconfirmed))
	u.add([]byte("x"))
	if !u.lost || u.kept != nil || u.closeIdle() {
		t.Errorf("kept %d bytes", len(u.kept))
	}
	if err := confirm(100, "", false); err != nil || !u.lost {
		t.Error("found again", err)
	}
	if err := confirm(6+maxUnconfirmed+1, "", false); err != nil || u.lost {
		t.Error("still lost", err)
	}
	u.add([]byte("y"))
	if string(u.kept) != "y" {
		t.Errorf("%q", u.kept)
	}
}

// Of a client that is sent away nothing more is taken, so that it can say it again;
// one that waits for something is not sent away.
func TestSentAway(t *testing.T) {
	u := unconfirmed{chunks: new(chunks)}
	if !u.add([]byte("a noop\r\n")) || u.closeIdle() || !u.add([]byte("b noop\r\n")) {
		t.Error("sent away while it waits for an answer")
	}
	if err := u.confirm(&tunnel.Answer{Checkpoint: &tunnel.Checkpoint{Consumed: 16}}); err != nil {
		t.Fatal(err)
	}
	if !u.closeIdle() || u.add([]byte("c noop\r\n")) || u.total() != 16 {
		t.Errorf("%d bytes passed on", u.total())
	}
}

// A client may have sent its literal before it is noted that it was asked for it: its
// command is under way then, and would be done twice if it were sent away.
func TestQuickClientIsNotSentAway(t *testing.T) {
	const line, literal = "a append x {3}\r\n", "abc\r\n"
	ask := &tunnel.Answer{Continuation: true, Read: uint64(len(line)), Checkpoint: &tunnel.Checkpoint{}}
	u := unconfirmed{chunks: new(chunks)}
	u.add([]byte(line))
	u.add([]byte(literal))
	if err := u.confirm(ask); err != nil || u.closeIdle() || u.movable() {
		t.Error("taken for one that is waited for", err)
	}
	u = unconfirmed{chunks: new(chunks)}
	u.add([]byte(line))
	if err := u.confirm(ask); err != nil || !u.movable() || !u.closeIdle() {
		t.Error("not sent away while it is waited for", err)
	}
}

// BenchmarkCommand is a command and its answer through TLS, distributor and tunnel.
func BenchmarkCommand(b *testing.B) {
	s := startServer(b, nil, startNode(b, fakeSession("w")).replica("w"))
	c := s.login()
	c.raw.SetDeadline(time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		c.send("b noop\r\n")
		c.expect("b OK")
	}
}
