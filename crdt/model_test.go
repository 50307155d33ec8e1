package crdt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// modelDir is where the executable model of crdt.md is, if it is here.
const modelDir = "../../shared/model"

// modelSchedule is a random schedule, in the model's terms: replicas and
// mailboxes count from 0, UIDs are smaller by a block (its slots begin with 0).
type modelSchedule struct {
	Replicas int
	Lazy     bool // nobody watches: the horizon moves when somebody looks
	Gap      UID
	Steps    []modelStep
}

type modelStep struct {
	Do      string
	At, To  int
	Box     int
	UID     uint32
	Dst     int
	Content int
	Flag    string
	On      bool
	Now     int64 // ms since the schedule began
}

// TestAgainstModel gives the same random schedules to this package and to the
// executable model, and compares after every step what the replica shows: UIDs,
// contents, flags, vanished UIDs, UIDNEXT, the largest known UID.
//
// Not compared, because they differ by design: MODSEQs (one per operation here,
// one per change there); re-issues by others than the leader (waits per message
// here, per mailbox there); messages removed before anybody looked, which raise
// UIDNEXT here only (so a schedule has removals or a lazy horizon); STORE on a
// message with a live twin (here only copies that it changes are listed); restarts
// where a message waits at a non-leader or has twins (the model asks again, and
// re-issues for losers).
func TestAgainstModel(t *testing.T) {
	if _, err := os.Stat(filepath.Join(modelDir, "core.go")); err != nil {
		t.Skipf("SKIPPED: the executable model is not at %s", modelDir)
	}
	count := 500
	if testing.Short() {
		count = 300
	}
	var in bytes.Buffer
	var want [][]string
	var schedules []modelSchedule
	enc, steps := json.NewEncoder(&in), 0
	for seed := range count {
		g := newModelRun(int64(seed))
		g.run()
		if len(g.w.truth.errs) > 0 {
			t.Fatalf("schedule %d: %s", seed, strings.Join(g.w.truth.errs, "\n"))
		}
		if err := enc.Encode(g.s); err != nil {
			t.Fatal(err)
		}
		want, schedules, steps = append(want, g.views), append(schedules, g.s), steps+len(g.views)
	}
	dec := json.NewDecoder(bytes.NewReader(runModel(t, &in)))
	for seed := range want {
		var got []string
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("schedule %d: %v", seed, err)
		}
		for i := range want[seed] {
			if got[i] != want[seed][i] {
				t.Fatalf("schedule %d differs after step %d:\n%s\nthe model has\n%s\nthis package has\n%s",
					seed, i, describe(schedules[seed].Steps[:i+1]), got[i], want[seed][i])
			}
		}
	}
	t.Logf("%d schedules, %d steps, the same after each", count, steps)
}

func describe(steps []modelStep) string {
	var out strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&out, "%+v\n", s)
	}
	return out.String()
}

// runModel runs the driver, in a module of its own that has the model beside it.
func runModel(t *testing.T, in *bytes.Buffer) []byte {
	t.Helper()
	dir := t.TempDir()
	model, err := filepath.Abs(modelDir)
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("testdata/model/main.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	mod := fmt.Sprintf("module driver\n\ngo 1.24\n\nrequire model v0.0.0\n\nreplace model => %q\n", model)
	for name, data := range map[string][]byte{"main.go": source, "go.mod": []byte(mod)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Dir, cmd.Stdin = dir, in
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the model's driver: %v\n%s", err, &stderr)
	}
	return out
}

// modelRun makes a schedule while this package runs it.
type modelRun struct {
	rng      *rand.Rand
	w        *world
	s        modelSchedule
	views    []string
	contents int
	restarts bool // and no MOVE
}

func newModelRun(seed int64) *modelRun {
	rng := rand.New(rand.NewSource(seed))
	g := &modelRun{rng: rng, restarts: rng.Intn(2) == 0}
	g.s = modelSchedule{Replicas: 2 + rng.Intn(3), Lazy: rng.Intn(3) == 0, Gap: UID(rng.Intn(2) * 64)}
	g.w = newWorld(g.s.Replicas)
	g.w.noAudit = true
	g.w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	g.w.flow()
	for i, r := range g.w.reps {
		r.self.Policy = Policy{Batch: 1, Wait: 1 << 40, Quiet: 1 << 40, Gap: g.s.Gap}
		g.watch(i)
	}
	return g
}

func (g *modelRun) watch(i int) {
	if !g.s.Lazy {
		g.w.reps[i].watched = map[MailboxID]bool{Inbox: true, mailboxA: true}
	}
}

func (g *modelRun) run() {
	for range 20 + g.rng.Intn(60) {
		g.step()
	}
	for again := true; again; { // until nothing is on its way or waits for the leader
		again = false
		for i := range g.w.reps {
			for j := range g.w.reps {
				for g.deliver(i, j) {
					again = true
				}
			}
			waits := len(g.w.reps[i].mem.awaiting) > 0
			g.do(modelStep{Do: "tick", At: i})
			again = again || waits
		}
	}
}

// step does one random thing.
func (g *modelRun) step() {
	i := g.rng.Intn(len(g.w.reps))
	switch n := g.rng.Intn(16); {
	case n < 4:
		g.contents++
		g.do(modelStep{Do: "append", At: i, Box: g.rng.Intn(2), Content: g.contents})
	case n < 9:
		g.deliver(i, g.rng.Intn(len(g.w.reps)))
	case n < 11:
		g.do(modelStep{Do: "announce", At: i, Box: g.rng.Intn(2)})
	case n < 12:
		g.do(modelStep{Do: "tick", At: i})
	case n < 13:
		if g.restarts && (i == 0 || len(g.w.reps[i].mem.awaiting) == 0) {
			g.do(modelStep{Do: "restart", At: i})
		}
	default:
		g.change(i)
	}
}

// change is a command about a message that is shown.
func (g *modelRun) change(i int) {
	box := g.rng.Intn(2)
	list := g.w.visible(i, modelBox(box))
	if len(list) == 0 {
		return
	}
	at := list[g.rng.Intn(len(list))]
	m := g.w.reps[i].mem.messages[at]
	s := modelStep{At: i, Box: box, UID: modelUID(m.Exp)}
	switch n := g.rng.Intn(3); {
	case n == 0 || g.s.Lazy:
		if twins, _ := (&Site{State: g.w.reps[i].mem}).copies(at, m); len(twins) > 0 {
			return
		}
		s.Do, s.Flag = "store", []string{FlagSeen, FlagFlagged}[g.rng.Intn(2)]
		s.On = !m.Has(s.Flag)
	case n == 1 || g.restarts:
		s.Do = "expunge"
	default:
		s.Do, s.Dst = "move", g.rng.Intn(2)
	}
	g.do(s)
}

func modelBox(n int) MailboxID { return []MailboxID{Inbox, mailboxA}[n] }

// modelUID returns what the model calls a UID: its slots begin with 0.
func modelUID(u UID) uint32 { return max(u.Number(), uidBlock) - uidBlock }

func (g *modelRun) deliver(i, j int) bool {
	if !g.w.ready(i, j) {
		return false
	}
	g.do(modelStep{Do: "deliver", At: i, To: j})
	return true
}

// do takes a step: time passes, so that clocks agree on what is later.
func (g *modelRun) do(s modelStep) {
	g.w.now += 10
	s.Now = g.w.now - simStart
	extra, at := "", s.At
	switch s.Do {
	case "announce":
		next, _ := g.w.announce(s.At, modelBox(s.Box))
		extra = fmt.Sprintf(" UIDNEXT %d", modelUID(next-1)+1)
	case "tick":
		g.w.tick(s.At, false)
	case "restart":
		g.w.restart(s.At)
		g.watch(s.At)
	case "deliver":
		g.w.deliver(s.At, s.To)
		at = s.To
	default:
		g.command(s)
	}
	g.s.Steps = append(g.s.Steps, s)
	g.views = append(g.views, g.view(at)+extra)
}

func (g *modelRun) command(s modelStep) {
	box := modelBox(s.Box)
	op, err := g.w.do(s.At, func(site *Site) (Payload, error) {
		if s.Do == "append" {
			return site.PrepareAppend(box, []Added{{Root: Root{byte(s.Content), byte(s.Content >> 8)}}}, true)
		}
		var in []Instance
		for _, at := range g.w.visible(s.At, box) {
			if modelUID(g.w.reps[s.At].mem.messages[at].Exp) == s.UID {
				in = append(in, at)
			}
		}
		switch s.Do {
		case "store":
			mode := StoreRemove
			if s.On {
				mode = StoreAdd
			}
			return site.PrepareStore(in, mode, []string{s.Flag})
		case "expunge":
			return site.PrepareExpunge(in)
		}
		return site.PrepareMove(in, modelBox(s.Dst))
	})
	if err != nil || op == nil {
		g.w.truth.fail("%+v: %v, %v", s, op, err)
	}
}

// view describes what a replica shows, and what it reports as vanished.
func (g *modelRun) view(i int) string {
	var b strings.Builder
	mem := g.w.reps[i].mem
	for n := range 2 {
		box := modelBox(n)
		list := g.w.visible(i, box)
		slices.SortFunc(list, func(a, b Instance) int { return less(mem.messages[a].Exp < mem.messages[b].Exp) })
		fmt.Fprintf(&b, "%d:", n)
		for _, at := range list {
			m := mem.messages[at]
			flags := m.FlagNames()
			slices.Sort(flags)
			fmt.Fprintf(&b, " %d=%d(%s)", modelUID(m.Exp), int(m.Root[0])|int(m.Root[1])<<8, strings.Join(flags, ","))
		}
		var gone []uint32
		for u := range mem.vanished[box] {
			gone = append(gone, modelUID(u))
		}
		slices.Sort(gone)
		fmt.Fprintf(&b, " vanished %v N %d\n", gone, modelUID(mem.boxes[box].N))
	}
	return b.String()
}
