package sim

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

var duration = flag.Duration("sim.for", 40*time.Second, "how long TestRandom runs worlds")

// TestRandom runs random worlds until its time is over.
func TestRandom(t *testing.T) {
	limit := *duration
	if testing.Short() {
		limit = min(limit, 5*time.Second)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	began := time.Now()
	report, err := Campaign{Seed: 1, Workers: runtime.GOMAXPROCS(0)}.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	report.Print(&out, time.Since(began))
	t.Log(out.String())
	if len(report.Failures) > 0 {
		t.Error("promises were broken")
	}
	for i := range table {
		if report.Stats.Runs > 100 && report.Stats.Done[table[i].name] == 0 {
			t.Errorf("%q was never done", table[i].name)
		}
	}
}

// TestDeterministic runs worlds twice from their seed and once from their
// script: the same must happen each time.
func TestDeterministic(t *testing.T) {
	for seed := range uint64(25) {
		first := mustRun(t, seed)
		if again := mustRun(t, seed); !slices.Equal(first.Trace, again.Trace) {
			t.Errorf("seed %d: %s", seed, difference(first.Trace, again.Trace))
		}
		var text strings.Builder
		if _, err := first.Script.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		script, err := ReadScript(strings.NewReader(text.String()))
		if err != nil {
			t.Fatal(err)
		}
		again, err := Replay(script, Options{Trace: true})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(first.Trace, again.Trace) {
			t.Errorf("script of seed %d: %s", seed, difference(first.Trace, again.Trace))
		}
	}
}

func mustRun(t *testing.T, seed uint64) *Result {
	t.Helper()
	r, err := Random(seed, Options{Trace: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trace) < 40 {
		t.Fatalf("seed %d: %d steps", seed, len(r.Trace))
	}
	return r
}

// difference describes where two traces part.
func difference(a, b []string) string {
	for i := range a {
		if i == len(b) || a[i] != b[i] {
			return "first " + a[i] + "\nthen " + strings.Join(b[i:min(i+1, len(b))], "")
		}
	}
	return "one is longer"
}

// deafTo is a fault of a product: replica 2 takes the operations of one kind for
// ones about messages that it does not have.
func deafTo[P crdt.Payload](targets func(P) []crdt.Instance) fakeFault {
	return func(n *node, batch []causal.Entry) {
		if n.id != 2 {
			return
		}
		for i := range batch {
			op, err := crdt.DecodeOp(batch[i].Data)
			if err != nil {
				continue
			}
			if p, ok := op.Payload.(P); ok {
				for j := range targets(p) {
					targets(p)[j].Tag.Index += 1000
				}
				if data, err := op.AppendBinary(nil); err == nil {
					batch[i].Data = data
				}
			}
		}
	}
}

// TestShrink plants faults, and wants scripts that show little else.
func TestShrink(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault fakeFault
		rule  string
		steps int      // at most
		has   []string // actions of the shortened script, or others that come to the same
	}{
		{"expunge", deafTo(func(p *crdt.Expunge) []crdt.Instance { return p.Targets }), "I8", 6, []string{"append post", "remove expunge"}},
		{"store", deafTo(func(p *crdt.Store) []crdt.Instance { return p.Targets }), "I6", 9, []string{"append post", "store"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := Options{plant: test.fault}
			for seed := uint64(1); seed < 200; seed++ {
				long, err := Random(seed, o)
				if err != nil {
					t.Fatal(err)
				}
				if long.Violation == nil || long.Violation.Rule != test.rule || len(long.Script.Steps) < 40 {
					continue
				}
				short, err := Shrink(&long.Script, o)
				if err != nil {
					t.Fatal(err)
				}
				var text strings.Builder
				if _, err := short.Script.WriteTo(&text); err != nil {
					t.Fatal(err)
				}
				t.Logf("seed %d, %d steps: %v\n%s", seed, len(long.Script.Steps), short.Violation, &text)
				if short.Violation == nil || short.Violation.Rule != test.rule || len(short.Script.Steps) > test.steps {
					t.Errorf("shortened to %d steps: %v", len(short.Script.Steps), short.Violation)
				}
				for _, a := range test.has {
					if !slices.ContainsFunc(short.Script.Steps, func(s Step) bool { return slices.Contains(strings.Fields(a), s.Action) }) {
						t.Errorf("none of %s in it", a)
					}
				}
				return
			}
			t.Error("no run found the fault")
		})
	}
}

// TestScripts runs the scripts of faults that were found and mended.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sim")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			script, err := ReadScript(f)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Replay(script, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if r.Violation != nil {
				t.Error(r.Violation)
			}
			if r.Stats.Steps < len(script.Steps) {
				t.Errorf("only %d of %d steps are possible any more", r.Stats.Steps, len(script.Steps))
			}
		})
	}
}

// TestReadScript refuses what is no script.
func TestReadScript(t *testing.T) {
	for _, text := range []string{
		"", "# nothing\n", "append 1 INBOX m1 -\n", "world replicas=0 accounts=1\n", "world replicas=x\n",
		"world replicas=2 accounts=1 colour=3\n", "world replicas=2 accounts=1 leader=3\n", "world replicas=2 accounts=1\ndance 1\n",
	} {
		if s, err := ReadScript(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}

// TestNonsense runs steps whose arguments make no sense: they are skipped.
func TestNonsense(t *testing.T) {
	s := &Script{Config: Config{Seed: 1, Replicas: 2, Accounts: 1, Window: 1000, Batch: 1}}
	for i := range table {
		for _, arguments := range [][]string{nil, {"x", "y", "z", "-"}, {"-9", "9", "9", "9"}, {"-1", "0", "-1", "0"}} {
			s.Steps = append(s.Steps, Step{table[i].name, arguments})
		}
	}
	r, err := Replay(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Violation != nil || r.Stats.Steps != 0 {
		t.Errorf("%d steps done, %v", r.Stats.Steps, r.Violation)
	}
}
