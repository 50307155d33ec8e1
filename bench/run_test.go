package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func mustPass(t *testing.T, r *Result, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() > 0 {
		t.Fatalf("%d commands failed: %v", r.Failed(), r.Errors)
	}
}

func TestOpodis(t *testing.T) {
	o := OpodisDefaults()
	o.Options = testOptions(startServer(t))
	o.Threads, o.Sessions = 3, 20
	r, err := Opodis(t.Context(), o)
	mustPass(t, r, err)
	total, _ := r.Row("TOTAL")
	login, _ := r.Row("LOGIN")
	if login.N != o.Sessions || total.N < 16*o.Sessions || total.N > 40*o.Sessions {
		t.Errorf("%d logins, %d commands", login.N, total.N)
	}
	var table bytes.Buffer
	r.WriteTable(&table)
	WriteOpodisComparison(&table, r)
	for _, want := range []string{"EXPUNGE", "TOTAL", "Dovecot+dsync"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %s in\n%s", want, table.String())
		}
	}
}

// TestOpodisLeavesNothing runs twice with one seed: folder names would clash if
// the first run had left its folders.
func TestOpodisLeavesNothing(t *testing.T) {
	o := OpodisDefaults()
	o.Options = testOptions(startServer(t))
	o.Threads, o.Sessions = 1, 5
	for range 2 {
		r, err := Opodis(t.Context(), o)
		mustPass(t, r, err)
	}
}

func TestClosed(t *testing.T) {
	target := startServer(t)
	for _, mix := range []string{WriteMix, "mixed", "read", "append", "expunge", "create", "STORE=1,NOOP=1"} {
		t.Run(mix, func(t *testing.T) {
			o := ClosedOptions{Options: testOptions(target), Conns: 3, Ops: 60, Mix: mix, Prefill: 5, Page: 10}
			r, err := Closed(t.Context(), o)
			mustPass(t, r, err)
			if total, _ := r.Row("TOTAL"); total.N < o.Conns*o.Ops || total.N > o.Conns*(o.Ops+1) {
				t.Errorf("%d commands", total.N)
			}
		})
	}
}

func TestClosedTellsWrongData(t *testing.T) {
	o := ClosedOptions{Options: testOptions(startServer(t)), Conns: 1, Ops: 1, Mix: "fetchbody", Prefill: 1, Page: 1}
	l := newLoop(&o)
	defer l.close()
	c := l.clients[0]
	p, err := o.picker()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.setup(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	c.uids[0] += 5 // a message that is not there
	if err := fetchBody(c); err == nil || fatal(err) {
		t.Errorf("a FETCH without answer: %v", err)
	}
}

func TestLag(t *testing.T) {
	target := (&fakeServer{}).start(t)
	for _, poll := range []string{"auto", "noop", "status"} {
		for _, op := range []string{"append", "store"} {
			if poll == "status" && op == "store" {
				continue
			}
			t.Run(poll+" "+op, func(t *testing.T) {
				r, err := Lag(t.Context(), LagOptions{Options: testOptions(target), B: target, Poll: poll, Op: op, N: 6, Burst: 2,
					Every: time.Millisecond, Max: 10 * time.Second})
				mustPass(t, r, err)
				ack, _ := r.Row("ack")
				sent, _ := r.Row("visible after send")
				if ack.N != 6 || sent.N != 6 || sent.MaxUs == 0 {
					t.Errorf("%+v", r.Rows)
				}
			})
		}
	}
}

// TestPaced: every change is made and seen, in the mailbox of its pair.
func TestPaced(t *testing.T) {
	target := startServer(t)
	o := testOptions(target)
	r, err := Paced(t.Context(), PacedOptions{Options: o, B: target, Conns: 3, Rate: 300, N: 20, Max: 10 * time.Second})
	mustPass(t, r, err)
	for _, name := range []string{"ack", "visible after send", "visible after ack"} {
		if row, _ := r.Row(name); row.N != 20 {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

func TestConns(t *testing.T) {
	r, err := Conns(t.Context(), ConnsOptions{Options: testOptions(startServer(t)), K: 20, Parallel: 4, Idle: 0.1})
	mustPass(t, r, err)
	total, _ := r.Row("TOTAL")
	if total.Extra["open"] != 20 || total.Extra["idling"] != 10 {
		t.Errorf("%v", total.Extra)
	}
}

func TestBigbox(t *testing.T) {
	r, err := Bigbox(t.Context(), BigboxOptions{Options: testOptions(startServer(t)), K: 60, Rounds: 2, Conns: 2, Batch: 10, Mailbox: "Big", Drop: true})
	mustPass(t, r, err)
	if row, ok := r.Row("warm FETCH 1:* FLAGS"); !ok || row.N != 1 {
		t.Errorf("%+v", r.Rows)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	target := Target{Addr: "127.0.0.1:1"}
	for name, f := range map[string]func() error{
		"no address": func() error { _, err := Opodis(t.Context(), OpodisDefaults()); return err },
		"no users": func() error {
			_, err := Conns(t.Context(), ConnsOptions{Options: Options{Target: target, Users: Users{First: 2, Last: 1}}, K: 1, Parallel: 1})
			return err
		},
		"no threads": func() error {
			o := OpodisDefaults()
			o.Target, o.Threads = target, 0
			_, err := Opodis(t.Context(), o)
			return err
		},
		"no second server": func() error { _, err := Lag(t.Context(), LagOptions{Options: testOptions(target)}); return err },
		"no duration": func() error {
			_, err := Converge(t.Context(), ConvergeOptions{A: target, B: target, Writers: 1})
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSummary(t *testing.T) {
	var lines bytes.Buffer
	for _, ops := range []float64{100, 300, 200} {
		r := Result{Rows: []Row{{Label: "x", Mode: "closed", Mix: "read", Conns: 1, Cmd: "TOTAL", OpsS: ops, P50Us: 1500}, {Cmd: "NOOP"}}}
		if err := r.AppendJSON("-", &lines); err != nil {
			t.Fatal(err)
		}
	}
	var s Summary
	if err := s.Read(&lines); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s.WriteMarkdown(&out)
	if want := "| closed | read | 1 | TOTAL | x | 3 | 0 | 200 (100–300) | 1.50 |"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out.String())
	}
	if err := s.Read(strings.NewReader("{}\nnonsense\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("nonsense: %v", err)
	}
}
