package e2e

import (
	"bufio"
	"compress/flate"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
	"github.com/go-pluto/pluto/e2e/survival"
)

// rawClient is a mail client that stops in the middle of things.
type rawClient struct {
	t    *testing.T
	conn io.ReadWriteCloser
	r    *bufio.Reader
}

// rawLogin connects to a region as a user.
func rawLogin(t *testing.T, c *cluster.Cluster, r *cluster.Region, user int) *rawClient {
	t.Helper()
	cfg, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", r.IMAP, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * time.Minute)) // fails the test, no more
	raw := &rawClient{t, conn, bufio.NewReader(conn)}
	raw.line()
	name, password := cluster.User(user)
	raw.script(fmt.Sprintf("C: l LOGIN %s %s\nS: l OK", name, password))
	return raw
}

func (c *rawClient) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, text); err != nil {
		c.t.Fatalf("send %.50q: %v", text, err)
	}
}

func (c *rawClient) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %.100q, %v", line, err)
	}
	return strings.TrimRight(line, "\r\n")
}

// deflating compresses what is written (RFC 4978).
type deflating struct {
	io.ReadWriteCloser
	to *flate.Writer
}

func (d deflating) Write(p []byte) (int, error) {
	n, err := d.to.Write(p)
	return n, errors.Join(err, d.to.Flush())
}

// compress has both directions compressed from here on.
func (c *rawClient) compress() {
	c.t.Helper()
	to, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	do(c.t, "deflate", err)
	c.conn, c.r = deflating{c.conn, to}, bufio.NewReader(flate.NewReader(c.r))
}

// script runs a conversation: "C: " sends a line, "C-: " a part of one, "S: " takes
// a line that begins so, "S*: " takes lines up to one that does. "DEFLATE:" compresses.
func (c *rawClient) script(text string) {
	c.t.Helper()
	for line := range strings.Lines(text) {
		how, what, _ := strings.Cut(strings.TrimSpace(line), ":")
		what = strings.TrimPrefix(what, " ")
		switch how {
		case "C":
			c.send(what + "\r\n")
		case "C-":
			c.send(what)
		case "DEFLATE":
			c.compress()
		case "S":
			if got := c.line(); !strings.HasPrefix(got, what) {
				c.t.Fatalf("got %.200q, want %q", got, what)
			}
		case "S*":
			for got := c.line(); !strings.HasPrefix(got, what); got = c.line() {
				if strings.HasPrefix(got, "* BYE") || strings.Contains(got, " BAD ") {
					c.t.Fatalf("got %.200q, want %q", got, what)
				}
			}
		}
	}
}

// append stores messages of a size.
func (c *rawClient) append(box string, n, size int) {
	c.t.Helper()
	message := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcde\n", size/16)
	for range n {
		c.send(fmt.Sprintf("p APPEND %s {%d+}\r\n%s\r\n", box, len(message), message))
		c.script("S*: p OK")
	}
}

// sessionState is what a client is in the middle of when its worker is lost.
type sessionState struct {
	name          string
	before, after string
	check         func(*rawClient) // of what it finds afterwards
}

// sessionStates are those of which nobody may notice anything. Each has a mailbox
// of its own, which has three messages and is called as BOX says.
var sessionStates = []sessionState{
	{"idle connection", "", "C: b STATUS BOX (MESSAGES)\nS: * STATUS BOX (MESSAGES 3)\nS: b OK", nil},
	{"selected", "C: b SELECT BOX\nS*: b OK", "C: c FETCH 2:3 UID\nS: * 2 FETCH\nS: * 3 FETCH\nS: c OK\n" +
		"C: d STORE 2 FLAGS (\\Deleted)\nS: * 2 FETCH\nS: d OK\nC: e EXPUNGE\nS: * 2 EXPUNGE\nS*: e OK", nil},
	{"in IDLE", "C: b SELECT BOX\nS*: b OK\nC: c IDLE\nS: + idling", "OTHER\nS: * 4 EXISTS\nS: * 4 RECENT\nC: DONE\nS: c OK\nC: d NOOP\nS: d OK", nil},
	{"in a literal", "C: b APPEND BOX {20}\nS: + OK\nC-: Subject: y", "C: \nC: \nC: text\nC: \nS: b OK [APPENDUID\nC: c STATUS BOX (MESSAGES)\nS: * STATUS BOX (MESSAGES 4)\nS: c OK", nil},
	{"pipelining", "C: b SELECT BOX\nS*: b OK", "S*: e OK [APPENDUID\nS*: f OK\nS*: g OK", nil},
	{"with QRESYNC", "C: b ENABLE QRESYNC\nS: * ENABLED\nS: b OK\nC: c SELECT BOX\nS*: c OK", "C: d UID STORE 1:* FLAGS.SILENT (\\Deleted)\nS*: d OK\n" +
		"C: e EXPUNGE\nS: * VANISHED \nS*: e OK", nil},
	{"with COMPRESS", "C: b COMPRESS DEFLATE\nS: b OK\nDEFLATE:\nC: c SELECT BOX\nS*: c OK\nC: d FETCH 1 BODY.PEEK[]\nS*: d OK\nC: e IDLE\nS: + idling",
		"OTHER\nS: * 4 EXISTS\nS: * 4 RECENT\nC: DONE\nS: e OK\nC: f FETCH 3:4 UID\nS: * 3 FETCH\nS: * 4 FETCH\nS: f OK", nil},
	{"with NOTIFY", "C: b NOTIFY SET (SELECTED (MessageNew MessageExpunge))\nS: b OK\nC: c SELECT BOX\nS*: c OK", "OTHER\nS*: * 4 EXISTS\nC: d NOOP\nS*: d OK", nil},
}

// faults are the ways in which a worker is lost, and comes back.
var faults = []struct {
	name       string
	lose, back func(*testing.T, *cluster.Cluster, *cluster.Node)
}{
	{"SIGKILL", func(_ *testing.T, _ *cluster.Cluster, n *cluster.Node) { n.Kill() }, restart},
	{"SIGTERM", func(t *testing.T, _ *cluster.Cluster, n *cluster.Node) { do(t, "SIGTERM", n.Signal(syscall.SIGTERM)) }, restart},
	{"SIGSTOP", func(t *testing.T, _ *cluster.Cluster, n *cluster.Node) { do(t, "SIGSTOP", n.Pause()) },
		func(t *testing.T, _ *cluster.Cluster, n *cluster.Node) { do(t, "SIGCONT", n.Resume()) }},
	{"network cut", func(_ *testing.T, c *cluster.Cluster, n *cluster.Node) { c.Network.Partition(n.Name, "") },
		func(_ *testing.T, c *cluster.Cluster, _ *cluster.Node) { c.Network.Heal() }},
}

func restart(t *testing.T, _ *cluster.Cluster, n *cluster.Node) {
	t.Helper()
	n.Kill() // it may be on its way out
	do(t, "start", n.Restart(timeout(t, readyTime)))
}

// TestSessionsSurvive loses the worker under sessions in every state. Their clients
// notice nothing, and find afterwards what they did, once.
func TestSessionsSurvive(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Fronts: true})
	for f, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			awaitWell(t, c, c.EU, c.EU.Worker)
			var clients []*rawClient
			var boxes []string
			for i, state := range sessionStates {
				box := fmt.Sprintf("f%ds%d", f, i)
				raw := rawLogin(t, c, c.EU, 1+i)
				raw.script("C: p CREATE " + box + "\nS: p OK")
				raw.append(box, 3, 1000)
				raw.script(strings.ReplaceAll(state.before, "BOX", box))
				clients, boxes = append(clients, raw), append(boxes, box)
			}
			long := longFetch(t, c, 15)
			upload := largeUpload(t, c, 16, fmt.Sprintf("f%d", f))
			fault.lose(t, c, c.EU.Worker)
			for i, state := range sessionStates {
				if state.name == "pipelining" {
					clients[i].send("c NOOP\r\nd CREATE " + boxes[i] + ".x\r\ne APPEND " + boxes[i] + ".x {14+}\r\nSubject: z\r\n\r\n\r\n" +
						"f STORE 1 +FLAGS (\\Flagged)\r\ng CLOSE\r\n")
				}
			}
			for i, state := range sessionStates {
				goesOn(t, c, state, clients[i], boxes[i], 1+i)
			}
			upload()
			long()
			fault.back(t, c, c.EU.Worker)
		})
	}
	text, err := c.EU.Distributor.Metrics(timeout(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"died", "silent", "drained"} {
		if !regexp.MustCompile(`pluto_distributor_moves_total{reason="` + reason + `",to="storage"} [1-9]`).MatchString(text) {
			t.Errorf("no session has moved because its worker %s", reason)
		}
	}
}

// awaitWell waits until a region's distributor gives sessions to a node.
func awaitWell(t *testing.T, c *cluster.Cluster, r *cluster.Region, n *cluster.Node) {
	t.Helper()
	ctx := timeout(t, time.Minute)
	until(t, ctx, n.Name+" to be well", func() (bool, error) {
		text, err := r.Distributor.Metrics(ctx)
		return strings.Contains(text, fmt.Sprintf("pluto_distributor_replica_well{replica=%q} 1", n.Name)), err
	})
}

// goesOn plays the part of a conversation that comes after the loss. OTHER is another
// client that stores a message in the same mailbox.
func goesOn(t *testing.T, c *cluster.Cluster, state sessionState, client *rawClient, box string, user int) {
	t.Helper()
	began := time.Now()
	after := strings.ReplaceAll(state.after, "BOX", box)
	if rest, ok := strings.CutPrefix(after, "OTHER\n"); ok {
		other := rawLogin(t, c, c.EU, user)
		other.append(box, 1, 1000)
		after = rest
	}
	client.script(after)
	t.Logf("%s: went on after %v", state.name, time.Since(began).Round(time.Millisecond))
}

// longFetch begins a FETCH of much, of which the client reads nothing for now, and
// returns what reads it: a message is whole or the connection has ended.
func longFetch(t *testing.T, c *cluster.Cluster, user int) func() {
	t.Helper()
	raw := rawLogin(t, c, c.EU, user)
	const n, size = 60, 160000
	raw.script("C: a STATUS INBOX (MESSAGES)\nS: * STATUS\nS: a OK")
	raw.append("INBOX", n, size)
	raw.script("C: b SELECT INBOX\nS*: b OK\nC: c FETCH 1:60 (FLAGS)")
	raw.script("S*: c OK\nC: d FETCH 1:60 BODY.PEEK[]")
	return func() {
		t.Helper()
		got := map[string]int{}
		for {
			line, err := raw.r.ReadString('\n')
			if err != nil {
				t.Logf("the long FETCH ended after %d messages", len(got))
				if len(got) == 0 {
					t.Error("nothing of a long FETCH came")
				}
				return
			}
			if strings.HasPrefix(line, "d OK") {
				break
			}
			if number, _, ok := strings.Cut(strings.TrimPrefix(line, "* "), " FETCH (BODY[] {"); ok {
				got[number]++
				if _, err := io.CopyN(io.Discard, raw.r, int64(literalSize(line))); err != nil {
					return // BYE is not possible in the middle of a message
				}
			}
		}
		for number, times := range got {
			if times != 1 {
				t.Errorf("message %s came %d times", number, times)
			}
		}
		if len(got) != n {
			t.Errorf("%d messages of %d came", len(got), n)
		}
	}
}

func literalSize(line string) (n int) {
	if _, err := fmt.Sscanf(line[strings.LastIndexByte(line, '{'):], "{%d}", &n); err != nil {
		return 0
	}
	return n
}

// largeUpload begins to store a message that is too large to be kept, and returns
// what does the rest: the answer is in its place, and true.
func largeUpload(t *testing.T, c *cluster.Cluster, user int, box string) func() {
	t.Helper()
	raw := rawLogin(t, c, c.EU, user)
	const size = 4 << 20
	raw.script("C: a CREATE " + box + "\nS: a OK\nC: a SELECT " + box + "\nS*: a OK")
	raw.script(fmt.Sprintf("C: b APPEND "+box+" {%d}\nS: + OK", size))
	raw.send(strings.Repeat("x", size/2))
	return func() {
		t.Helper()
		raw.send(strings.Repeat("y", size-size/2) + "\r\nc SEARCH LARGER 1000000\r\n")
		stored, answer := false, raw.line()
		for !strings.HasPrefix(answer, "b ") {
			answer = raw.line()
		}
		for line := raw.line(); !strings.HasPrefix(line, "c OK"); line = raw.line() {
			stored = stored || strings.HasPrefix(line, "* SEARCH ") && len(line) > len("* SEARCH ")
		}
		raw.script("C: d NOOP\nS*: d OK\nC: e LOGOUT\nS: * BYE\nS: e OK")
		if refused := strings.HasPrefix(answer, "b NO [UNAVAILABLE]"); refused == stored {
			t.Errorf("the large upload was answered by %q, and it is there: %v", answer, stored)
		}
	}
}

// TestRollingRestart restarts every node that keeps mail, one after the other, under
// a session that works and one in IDLE.
func TestRollingRestart(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	busy, idle := rawLogin(t, c, c.EU, 1), rawLogin(t, c, c.EU, 1)
	busy.script("C: a SELECT INBOX\nS*: a OK")
	idle.script("C: a SELECT INBOX\nS*: a OK\nC: b IDLE\nS: + idling")
	done := make(chan struct{})
	ctx := timeout(t, 3*time.Minute)
	go func() {
		defer close(done)
		for _, n := range []*cluster.Node{c.EU.Worker, c.Storage, c.US.Worker, c.EU.Worker} {
			if err := n.Stop(ctx); err != nil {
				t.Error(err)
			}
			if err := n.Restart(ctx); err != nil {
				t.Error(err)
			}
		}
	}()
	n := 0
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		n++
		busy.append("INBOX", 1, 100)
		busy.script(fmt.Sprintf("C: c STORE %d +FLAGS (\\Seen)\nS*: c OK\nC: d NOOP\nS*: d OK", n))
	}
	idle.script(fmt.Sprintf("S*: * %d EXISTS\nC: DONE\nS*: b OK", n))
	busy.script(fmt.Sprintf("C: z STATUS INBOX (MESSAGES UNSEEN)\nS*: * STATUS INBOX (MESSAGES %d UNSEEN 0)\nS*: z OK", n))
	t.Logf("%d messages were stored", n)
}

// TestFailoverUnderLoad kills the nodes under working sessions, one after the other,
// as pluto-bench failover does for longer.
func TestFailoverUnderLoad(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	awaitWell(t, c, c.EU, c.EU.Worker)
	awaitWell(t, c, c.EU, c.Storage)
	r, err := survival.On(timeout(t, 3*time.Minute), c, survival.Options{
		Fault: survival.Kill, Sessions: 20, Time: loadTime(t, 8*time.Second), Every: 4 * time.Second, Think: 20 * time.Millisecond, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if r.Write(&text); r.Failed() || r.Stored == 0 {
		t.Error(text.String())
	}
	t.Log(text.String())
}

// TestRollingRestartOfEverything restarts all nodes of both regions under load, the
// distributors too, of which each region has two. Their clients are sent away and go on
// at the other one.
func TestRollingRestartOfEverything(t *testing.T) {
	c := ownCluster(t, survival.System(survival.Rolling))
	r, err := survival.On(timeout(t, 4*time.Minute), c, survival.Options{
		Fault: survival.Rolling, Sessions: 20, Time: loadTime(t, 20*time.Second), Every: time.Second, Think: 20 * time.Millisecond, Seed: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if r.Write(&text); r.Failed() || r.Stored == 0 || r.Farewells == 0 {
		t.Error(text.String())
	}
	t.Log(text.String())
}

// TestDrainCommand has plutoctl empty and end a worker under a session.
func TestDrainCommand(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	awaitWell(t, c, c.EU, c.EU.Worker)
	idle := rawLogin(t, c, c.EU, 1)
	idle.script("C: a SELECT INBOX\nS*: a OK\nC: b IDLE\nS: + idling")
	ctx := timeout(t, time.Minute)
	out, err := c.Ctl(ctx, c.EU, "drain", c.EU.Worker.Name)
	if err != nil || !strings.Contains(out, "1 sessions were moved") {
		t.Errorf("%v: %s", err, out)
	}
	until(t, ctx, "the end of the worker", func() (bool, error) { return !c.EU.Worker.Running(), nil })
	other := rawLogin(t, c, c.EU, 1)
	other.append("INBOX", 1, 100)
	idle.script("S: * 1 EXISTS\nS: * 1 RECENT\nC: DONE\nS: b OK")
}
