package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
)

// startEngine runs pluto's protocol engine on mail in memory, for user1. spoil,
// which may be nil, changes what the server sends.
func startEngine(t *testing.T, spoil func(line string) string) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	store := memmail.New('/')
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { serveEngine(ctx, conn, store, spoil) })
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		sessions.Wait()
	})
	return Target{Addr: l.Addr().String(), Timeout: 20 * time.Second}
}

func serveEngine(ctx context.Context, conn net.Conn, store *memmail.Store, spoil func(string) string) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte("* OK ready\r\n")); err != nil {
		return
	}
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	tag, _, _ := strings.Cut(line, " ")
	account, err := store.Open(ctx, 1, "user1", imap.SessionID{})
	if err != nil {
		return
	}
	defer account.Close()
	var client net.Conn = conn
	if spoil != nil {
		client = &spoiled{conn, spoil}
	}
	imap.Serve(ctx, imaptest.NewConn(client), account, imap.Options{Tag: tag})
}

// spoiled is a connection of a server that does wrong.
type spoiled struct {
	net.Conn
	spoil func(line string) string
}

func (c *spoiled) Write(p []byte) (int, error) {
	var out strings.Builder
	for line := range strings.Lines(string(p)) {
		out.WriteString(c.spoil(line))
	}
	if _, err := c.Conn.Write([]byte(out.String())); err != nil {
		return 0, err
	}
	return len(p), nil
}

func checkOptions(t Target) CheckOptions {
	return CheckOptions{A: t, User: "user1", Password: "pass1", Seed: 1, Sessions: 5,
		Duration: time.Second, Settle: 10 * time.Second, MaxMessages: 40}
}

func TestCheckGoodServer(t *testing.T) {
	r, err := Check(t.Context(), checkOptions(startEngine(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.WriteText(&text)
	if !r.OK() || r.Checkpoints == 0 || r.Responses == 0 {
		t.Fatal(text.String())
	}
	for _, name := range []string{"FETCH", "UID FETCH", "STORE", "UID STORE", "APPEND", "COPY", "MOVE", "EXPUNGE", "SEARCH", "IDLE", "SELECT"} {
		if r.Commands[name] == 0 {
			t.Errorf("no %s among\n%s", name, text.String())
		}
	}
}

// What comes from the other front at a checkpoint is no fault: here somebody goes on
// adding messages, as a replica does that is behind.
func TestCheckTakesWhatComesLate(t *testing.T) {
	front := startEngine(t, nil)
	o := checkOptions(front)
	o.B, o.Sessions, o.Prefix = front, 2, "late"
	ctx, cancel := context.WithCancel(t.Context())
	var adding sync.WaitGroup
	adding.Go(func() {
		conn, err := front.Dial(ctx)
		if err == nil {
			defer conn.Close()
			err = conn.Login("user1", "pass1")
		}
		added := 0
		for err == nil && ctx.Err() == nil && added < 200 { // or a busy machine never sees the end
			for _, box := range []string{"latea", "lateb"} {
				if _, err := conn.Append(box, "", []byte(checkContent(fmt.Sprintf("late.%d", added))), true); err == nil {
					added++
				}
			}
			rest(ctx, 2*time.Millisecond)
		}
		if added == 0 {
			t.Errorf("nothing was added: %v", err)
		}
	})
	r, err := Check(t.Context(), o)
	cancel()
	adding.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if r.Checkpoints == 0 || !r.OK() {
		var text strings.Builder
		r.WriteText(&text)
		t.Fatal(text.String())
	}
}

func TestCheckBadServer(t *testing.T) {
	every := func(n int, part string, change func(line string) string) func() func(string) string {
		return func() func(string) string {
			var mu sync.Mutex
			seen := 0
			return func(line string) string {
				mu.Lock()
				defer mu.Unlock()
				if !strings.Contains(line, part) {
					return line
				}
				if seen++; seen%n != 0 {
					return line
				}
				return change(line)
			}
		}
	}
	replace := func(old, new string) func(string) string {
		return func(line string) string { return strings.ReplaceAll(line, old, new) }
	}
	for name, test := range map[string]struct {
		spoil func() func(string) string
		want  string
	}{
		"forgets an EXPUNGE":      {every(5, " EXPUNGE\r\n", func(string) string { return "" }), "is refused"},
		"tells another UID":       {every(9, "FETCH (UID 3", replace("(UID 3", "(UID 13")), "has UID"},
		"hides a flag":            {every(7, `\Flagged`, replace(`\Flagged`, `\Draft`)), "was told"},
		"expunges during a FETCH": {every(20, "))\r\n", func(line string) string { return line + "* 1 EXPUNGE\r\n" }), "EXPUNGE during"},
		"keeps FLAGS to itself":   {every(1, "* FLAGS (", replace("$", "x")), "is not among FLAGS"},
		"mixes up contents":       {every(10, "X-Check: 1.", replace("1.", "7.")), "other bytes"},
		"loses a keyword":         {every(5, "$check1", replace("$check1", "$Shared")), "not what the session did"},
		"answers BAD":             {every(30, "OK FETCH", replace("OK FETCH", "BAD FETCH")), "is refused"},
		"leaves out a message": {every(15, "))\r\n", func(line string) string {
			if strings.Contains(line, " FETCH (UID ") {
				return ""
			}
			return line
		}), "no answer for"},
		"counts wrong": {every(2, "UNSEEN ", replace("UNSEEN ", "UNSEEN 1")), "unseen, not"},
	} {
		found := func(t *testing.T, fronts int) {
			o := checkOptions(startEngine(t, test.spoil()))
			if fronts == 2 {
				o.B, o.Settle = o.A, 200*time.Millisecond
			}
			o.Duration, o.Sessions = time.Second, 2
			var all string
			for o.Seed = 1; o.Seed <= 20; o.Seed++ { // a busy machine gets little done in a second
				r, err := Check(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				all += strings.Join(r.Violations, "\n")
				if strings.Contains(all, test.want) || fronts == 2 && strings.Contains(all, "the fronts do not show the same") {
					return
				}
			}
			t.Fatalf("no violation with %q in\n%.2000s", test.want, all)
		}
		t.Run(name, func(t *testing.T) { found(t, 1) })
		t.Run(name+", two fronts", func(t *testing.T) { found(t, 2) })
	}
}

// \Recent for two sessions is counted, not judged: who moved sessions knows.
func TestCheckCountsRecent(t *testing.T) {
	o := checkOptions(startEngine(t, func(line string) string {
		return strings.ReplaceAll(line, "FLAGS (\\Seen", "FLAGS (\\Recent \\Seen")
	}))
	o.Duration, o.Sessions = time.Second, 2
	for o.Seed = 1; o.Seed <= 20; o.Seed++ { // a busy machine gets little done in a second
		r, err := Check(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() {
			t.Fatal(r.Violations)
		}
		if r.Recent > 0 {
			return
		}
	}
	t.Error("nothing counted")
}

func TestCheckNeedsSensibleOptions(t *testing.T) {
	if _, err := Check(t.Context(), CheckOptions{A: Target{Addr: "localhost:1"}}); err == nil {
		t.Fatal("no error")
	}
}
