package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

func convergeOptions(t Target) ConvergeOptions {
	return ConvergeOptions{A: t, B: t, User: "user1", Password: "pass1", Seed: 3, Size: MessageSize{Median: 700}, Writers: 1,
		Duration: 300 * time.Millisecond, Settle: 10 * time.Second, MaxMessages: 40}
}

func TestConvergeGoodServer(t *testing.T) {
	r, err := Converge(t.Context(), convergeOptions((&fakeServer{}).start(t)))
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("violations: %s", strings.Join(r.Violations, "\n"))
	}
	for _, cmd := range []string{"APPEND", "STORE", "UID EXPUNGE", "EXPUNGE", "COPY", "MOVE", "SELECT"} {
		if r.Acknowledged[cmd] == 0 {
			t.Errorf("no %s in the whole run", cmd)
		}
	}
}

// TestConvergeBadServer has servers do what they must not and wants to be told.
func TestConvergeBadServer(t *testing.T) {
	every := func(n int, f fault) func(int) fault {
		return func(i int) fault {
			if i%n == 0 {
				return f
			}
			return noFault
		}
	}
	for _, test := range []struct {
		name   string
		server *fakeServer
		want   string
	}{
		{"loses", &fakeServer{appendFault: every(5, dropIt)}, "it is missing"},
		{"doubles", &fakeServer{appendFault: every(5, doubleIt)}, "times"},
		{"damages", &fakeServer{appendFault: every(5, damageIt)}, "checksum"},
		{"gives UIDs again", &fakeServer{reuseUIDs: true}, "denotes"},
		{"pretends STORE", &fakeServer{pretendStore: true}, "should be true since UID STORE"},
		{"hangs up", &fakeServer{hangUp: 50}, "connection of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := Converge(t.Context(), convergeOptions(test.server.start(t)))
			if err == nil && !contains(r.Violations, test.want) {
				t.Errorf("not seen: %q", r.Violations)
			}
			if err != nil && test.server.hangUp == 0 {
				t.Error(err)
			}
		})
	}
}

// TestConvergeToleratesDisconnects has a good server that hangs up between doing
// a command and answering it.
func TestConvergeToleratesDisconnects(t *testing.T) {
	o := convergeOptions((&fakeServer{hangUp: 40}).start(t))
	o.TolerateDisconnects = true
	r, err := Converge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Errorf("violations: %s", strings.Join(r.Violations, "\n"))
	}
	if r.Reconnects == 0 || len(r.Unknown) == 0 {
		t.Errorf("%d reconnects, unknown %v", r.Reconnects, r.Unknown)
	}
}

// TestConvergeSeesDifference compares two servers that know nothing of each other.
func TestConvergeSeesDifference(t *testing.T) {
	a, b := &fakeServer{}, &fakeServer{}
	o := convergeOptions(a.start(t))
	o.B = b.start(t)
	o.Prefix, o.Settle = "p", time.Second
	b.boxes["pa"], b.boxes["pb"] = &fakeBox{validity: 1, next: 1}, &fakeBox{validity: 2, next: 1}
	r, err := Converge(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !contains(r.Violations, "at A and not at B") && !contains(r.Violations, "at B and not at A") && !contains(r.Violations, " at B") {
		t.Errorf("not seen: %q", r.Violations)
	}
}

func contains(list []string, part string) bool {
	return strings.Contains(strings.Join(list, "\n"), part)
}

func TestLedger(t *testing.T) {
	row := func(uid uint32, id, flags string) viewRow { return viewRow{uid: uid, id: id, flags: flags} }
	put := func(l *ledger, id string) { l.trying(0, id); l.added(0, id) }
	seen := map[string]bool{`\Seen`: true}
	for _, test := range []struct {
		name string
		do   func(l *ledger)
		rows []viewRow
		want string // part of the violation; empty: none
	}{
		{"there", func(l *ledger) { put(l, "a") }, []viewRow{row(1, "a", "")}, ""},
		{"lost", func(l *ledger) { put(l, "a") }, nil, "missing"},
		{"lost, answer too", func(l *ledger) { l.trying(0, "a") }, nil, ""},
		{"kept, answer lost", func(l *ledger) { l.trying(0, "a") }, []viewRow{row(1, "a", "")}, ""},
		{"twice", func(l *ledger) { put(l, "a") }, []viewRow{row(1, "a", ""), row(2, "a", "")}, "there 2 times"},
		{"copied onto itself", func(l *ledger) { put(l, "a"); put(l, "a") }, []viewRow{row(1, "a", ""), row(2, "a", "")}, ""},
		{"expunged", func(l *ledger) { put(l, "a"); l.marking("a"); l.removed(0, "a") }, nil, ""},
		{"back again", func(l *ledger) { put(l, "a"); l.marking("a"); l.removed(0, "a") }, []viewRow{row(1, "a", "")}, "was removed"},
		{"marked by one, gone", func(l *ledger) { put(l, "a"); l.marking("a") }, nil, ""},
		{"marked by one, there", func(l *ledger) { put(l, "a"); l.marking("a") }, []viewRow{row(1, "a", "")}, ""},
		{"moved, gone", func(l *ledger) { put(l, "a"); l.leaving(0, "a") }, nil, ""},
		{"moved away elsewhere, gone", func(l *ledger) { put(l, "a"); l.leaving(1, "a") }, nil, "missing"},
		{"foreign", func(*ledger) {}, []viewRow{row(1, "x", "")}, "nobody put there"},
		{"other mailbox", func(l *ledger) { l.trying(1, "a"); l.added(1, "a") }, nil, ""},
		{"flag", func(l *ledger) { put(l, "a"); l.flagging(0, "a", 1, "STORE", seen) }, []viewRow{row(1, "a", `\Seen`)}, ""},
		{"flag lost", func(l *ledger) { put(l, "a"); l.flagging(0, "a", 1, "STORE", seen) }, []viewRow{row(1, "a", "")}, `\Seen should be true since STORE`},
		{"flag unsure", func(l *ledger) { put(l, "a"); l.flagging(0, "a", 1, "STORE", seen); l.unflagged(0, "a", seen) }, []viewRow{row(1, "a", "")}, ""},
		{"flag of two sessions", func(l *ledger) {
			put(l, "a")
			l.flagging(0, "a", 1, "STORE", seen)
			l.flagging(0, "a", 2, "STORE", map[string]bool{`\Seen`: false})
		}, []viewRow{row(1, "a", `\Seen`)}, ""},
		{"UID of two messages", func(l *ledger) { l.saw(0, 9, 1, "a", "A"); l.saw(0, 9, 1, "b", "B") }, nil, "denotes"},
		{"UID in two mailboxes", func(l *ledger) { l.saw(0, 9, 1, "a", "A"); l.saw(1, 9, 1, "b", "B") }, nil, ""},
		{"UID under two UIDVALIDITYs", func(l *ledger) { l.saw(0, 9, 1, "a", "A"); l.saw(0, 8, 1, "b", "B") }, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLedger()
			test.do(l)
			l.audit(0, "box", test.rows)
			got := l.finish().Violations
			if test.want == "" && len(got) > 0 || test.want != "" && !contains(got, test.want) {
				t.Errorf("violations %q, want %q", got, test.want)
			}
		})
	}
}

func TestLedgerIsBounded(t *testing.T) {
	l := newLedger()
	for i := range 10 * maxViolations {
		l.violate("number %d", i)
	}
	r := l.finish()
	if len(r.Violations) != maxViolations || r.Dropped != 9*maxViolations {
		t.Errorf("%d kept, %d dropped", len(r.Violations), r.Dropped)
	}
}

func TestView(t *testing.T) {
	fetch := func(seq, uid int, id string) string {
		head := idHeader + ": " + id + "\r\n\r\n"
		return fmt.Sprintf("* %d FETCH (UID %d FLAGS (\\Seen \\Recent) BODY[HEADER.FIELDS (X-Load-Id)] {%d}\r\n%s)\r\n", seq, uid, len(head), head)
	}
	for _, test := range []struct {
		name, in string
		want     string // part of the violation; empty: none
		rows     int
	}{
		{"grows", "* 1 EXISTS\r\n" + fetch(1, 5, "a") + "* 2 EXISTS\r\n" + fetch(2, 9, "b"), "", 2},
		{"expunge", "* 2 EXISTS\r\n" + fetch(1, 5, "a") + fetch(2, 9, "b") + "* 1 EXPUNGE\r\n" + fetch(1, 9, "b"), "", 1},
		{"shrinks", "* 2 EXISTS\r\n* 1 EXISTS\r\n", "EXISTS went from 2 to 1", 1},
		{"expunges nothing", "* 1 EXPUNGE\r\n", "EXPUNGE of 1", 0},
		{"falls", "* 2 EXISTS\r\n" + fetch(1, 9, "a") + fetch(2, 5, "b"), "follows UID 9", 2},
		{"falls before", "* 2 EXISTS\r\n" + fetch(2, 5, "b") + fetch(1, 9, "a"), "precedes UID 5", 2},
		{"changes UID", "* 1 EXISTS\r\n" + fetch(1, 5, "a") + fetch(1, 6, "a"), "changed from UID 5", 1},
		{"changes message", "* 1 EXISTS\r\n" + fetch(1, 5, "a") + fetch(1, 5, "b"), "denotes", 1},
		{"beyond", "* 1 EXISTS\r\n" + fetch(3, 5, "a"), "FETCH of 3", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := &view{ledger: newLedger(), conn: &imapc.Conn{UIDValidity: 1}, name: "box", where: "A"}
			r := imapc.NewReader(strings.NewReader(test.in))
			for {
				resp, err := r.Next()
				if err != nil {
					break
				}
				v.on(resp)
			}
			got := v.ledger.finish().Violations
			if test.want == "" && len(got) > 0 || test.want != "" && !contains(got, test.want) {
				t.Errorf("violations %q, want %q", got, test.want)
			}
			if len(v.rows) != test.rows {
				t.Errorf("%d rows, want %d", len(v.rows), test.rows)
			}
			if len(v.rows) > 0 && v.rows[0].uid != 0 && v.rows[0].flags != `\Seen` {
				t.Errorf("flags %q", v.rows[0].flags)
			}
		})
	}
}
