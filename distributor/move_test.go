package distributor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/tunnel"
)

// startPair starts a worker and a storage, and a distributor that prefers the worker.
func startPair(t *testing.T, change func(*Options)) (s *testServer, worker, storage *fakeNode) {
	t.Helper()
	worker, storage = startNode(t, fakeSession("worker")), startNode(t, fakeSession("storage"))
	s = startServer(t, change, worker.replica("worker"), storage.replica("storage"))
	s.awaitWell("worker", true)
	s.awaitWell("storage", true)
	return s, worker, storage
}

func (s *testServer) awaitWell(name string, well bool) {
	s.t.Helper()
	await(s.t, fmt.Sprintf("%s is well: %v", name, well), func() bool {
		s.replicas.mu.Lock()
		defer s.replicas.mu.Unlock()
		for which, n := range s.replicas.nodes {
			if which.Name == name {
				return n.isWell() == well
			}
		}
		return false
	})
}

// moves returns how many sessions have moved to a replica.
func (s *testServer) moves(reason, to string) float64 {
	s.t.Helper()
	return value(s.t, s.metrics.moves.WithLabelValues(reason, to))
}

// A client in any state does not notice that its worker dies.
func TestSessionsMove(t *testing.T) {
	for _, c := range []struct{ name, before, after string }{
		{"idle", "", "C: b who\nS: * storage\nS: b OK"},
		{"after commands", "C: b who\nS: * worker\nS: b OK", "C: c who\nS: * storage\nS: c OK"},
		{"in IDLE", "C: b idle\nS: + idling", "C: DONE\nS: b OK IDLE\nC: c who\nS: * storage\nS: c OK"},
		{"in a literal", "C: b append {10}\nS: + OK\nC: abc", "C: def\nC: \nS: * 10 bytes\nS: b OK APPEND\nC: c who\nS: * storage\nS: c OK"},
		{"in a line", "C-: b wh", "C: o\nS: * storage\nS: b OK"},
		{"compressing", "C: b compress deflate\nS: b OK\nDEFLATE\nC: c noop\nS: c OK", "C: d who\nS: * storage\nS: d OK"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, worker, _ := startPair(t, nil)
			client := s.login()
			client.script(c.before)
			worker.stop()
			await(t, "the session to move", func() bool { return s.moves(moveDied, "storage") == 1 })
			client.script(c.after)
			client.script("C: z logout\nS: * BYE\nS: z OK\nEND")
		})
	}
}

// What was sent and not answered is sent again, in order.
func TestPipelinedCommandsMove(t *testing.T) {
	s := startServer(t, nil, startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		fmt.Fprintf(c, "%s OK hello\r\n", open.Tag)
		c.Answer(0, nil, nil)
		buf := make([]byte, 8)
		if _, err := c.Read(buf); err != nil {
			return err
		}
		fmt.Fprint(c, "b OK first\r\n")
		c.Answer(8, nil, nil)
		return fmt.Errorf("crash")
	}).replica("worker"), startNode(t, fakeSession("storage")).replica("storage"))
	s.awaitWell("storage", true)
	c := s.connect()
	c.send("a login user1 pass1\r\nb noop\r\nc noop\r\nd append {3+}\r\nabc\r\ne who\r\n")
	c.script("S: a OK\nS: b OK first\nS: c OK NOOP\nS: * 3 bytes\nS: d OK\nS: * storage\nS: e OK")
}

// An answer that was torn goes on where it was, in the middle of a literal.
func TestAnswerGoesOn(t *testing.T) {
	s, _, _ := startPair(t, nil)
	c := s.login()
	c.send("b tearonce\r\n")
	var want strings.Builder
	for n := range 5 {
		want.WriteString(response(n, 30000))
	}
	want.WriteString(response(5, 100000) + "b OK TEARONCE\r\n")
	for line := range strings.Lines(want.String()) {
		if got, err := c.r.ReadString('\n'); got != line {
			t.Fatalf("%d bytes %.50q, %v; want %d bytes %.50q", len(got), got, err, len(line), line)
		}
	}
	c.script("C: c who\nS: * storage\nS: c OK")
}

// An upload that is too large to be kept is answered in its place, whenever its
// worker dies.
func TestLargeUploadIsAnswered(t *testing.T) {
	for name, sent := range map[string]int{"in the middle": 2 << 20, "at its end": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			s, worker, _ := startPair(t, nil)
			c := s.login()
			const size = 3 << 20
			c.send(fmt.Sprintf("b noop\r\nc append {%d}\r\n", size))
			c.script("S: b OK\nS: + OK")
			c.send(strings.Repeat("x", sent))
			await(t, "the bytes", func() bool { return value(t, s.metrics.fromClients) > float64(sent) })
			worker.stop()
			await(t, "the session to move", func() bool { return s.moves(moveDied, "storage") == 1 })
			c.send(strings.Repeat("x", size-sent) + "\r\nd who\r\n")
			c.script("S: c NO [UNAVAILABLE]\nS: * storage\nS: d OK\nC: e noop\nS: e OK")
		})
	}
}

// Sessions go home when their worker is back, and not while it comes and goes.
func TestGoingHome(t *testing.T) {
	s, worker, _ := startPair(t, func(o *Options) { o.Limits.HomeDelay = 50 * time.Millisecond })
	c, idling := s.login(), s.login()
	idling.script("C: b idle\nS: + idling")
	worker.stop()
	await(t, "the sessions to move", func() bool { return s.moves(moveDied, "storage") == 2 })
	c.script("C: c who\nS: * storage\nS: c OK")
	worker.start()
	await(t, "the sessions to go home", func() bool { return s.moves(moveHome, "worker") == 2 })
	c.script("C: d who\nS: * worker\nS: d OK")
	idling.script("C: DONE\nS: b OK\nC: c who\nS: * worker\nS: c OK")
	if n := s.away.Load(); n != 0 {
		t.Errorf("%d sessions are away", n)
	}
}

func TestHomeIsPutOff(t *testing.T) {
	var h health
	home := func(at time.Time) bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.atHome(at, time.Second)
	}
	h.note(true, time.Second)
	for n := range 4 {
		if wait := time.Second << max(n-1, 0); home(h.since.Add(wait-1)) || !home(h.since.Add(wait)) {
			t.Errorf("after %d losses home is not in %v", n, wait)
		}
		h.note(false, time.Second)
		if home(time.Now().Add(time.Hour)) {
			t.Error("home although it is lost")
		}
		h.note(true, time.Second)
	}
}

// A node that drains is rid of its sessions, and gets no new ones.
func TestDrain(t *testing.T) {
	s, worker, _ := startPair(t, nil)
	c, idling := s.login(), s.login()
	idling.script("C: b idle\nS: + idling")
	worker.node.Drain()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := worker.node.Emptied(ctx); err != nil {
		t.Fatal(err)
	}
	c.script("C: c who\nS: * storage\nS: c OK")
	idling.script("C: DONE\nS: b OK")
	s.login().script("C: b who\nS: * storage\nS: b OK")
	if got := s.moves(moveDrained, "storage"); got != 2 {
		t.Errorf("%v were moved", got)
	}
}

// A node that is stopped with sessions that could not be moved ends them so that
// they go on elsewhere.
func TestStopMovesWhatIsLeft(t *testing.T) {
	s, worker, _ := startPair(t, nil)
	c := s.login()
	c.script("C: b append {10}\nS: + OK\nC-: abc")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := worker.node.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	c.script("C: defgh\nC: \nS: * 10 bytes\nS: b OK\nC: c who\nS: * storage\nS: c OK")
}

// When all nodes are down for a moment, sessions go on with the first that is back.
func TestSessionsWait(t *testing.T) {
	s, worker, storage := startPair(t, nil)
	c := s.login()
	worker.stop()
	storage.stop()
	c.send("b who\r\n")
	s.connect().script("C: a login user1 pass1\nS: a NO [UNAVAILABLE]")
	storage.start()
	c.script("S: * storage\nS: b OK")
}

// Chunks are kept once, as long as a session has them.
func TestChunks(t *testing.T) {
	var all chunks
	name := func(data string) []byte {
		n := chunkNameOf([]byte(data))
		return n[:]
	}
	say := func(old []*chunk, names []string, data ...string) ([]*chunk, error) {
		p := &tunnel.Checkpoint{}
		for _, n := range names {
			p.Chunks = append(p.Chunks, name(n)...)
		}
		for _, d := range data {
			p.Data = append(p.Data, []byte(d))
		}
		return all.replace(old, p)
	}
	want := func(n, bytes int) {
		t.Helper()
		if gotN, gotBytes := all.size(); gotN != n || gotBytes != bytes {
			t.Errorf("%d chunks of %d bytes, want %d of %d", gotN, gotBytes, n, bytes)
		}
	}
	a, err := say(nil, []string{"one", "two"}, "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	b, err := say(nil, []string{"two", "three"}, "two", "three")
	if err != nil {
		t.Fatal(err)
	}
	want(3, 11)
	if a, err = say(a, []string{"two", "four"}, "four"); err != nil {
		t.Fatal(err)
	}
	want(3, 12)
	if _, err := say(a, []string{"five"}); err == nil {
		t.Error("a chunk that nobody has was taken")
	}
	if _, err := say(a, []string{"six"}, strings.Repeat("6", maxChunk+1)); err == nil {
		t.Error("a chunk that is too large was taken")
	}
	want(3, 12)
	all.release(a)
	all.release(b)
	want(0, 0)
}
