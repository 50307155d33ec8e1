package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

const (
	// soakRound is how long two writers write before what they did is checked.
	soakRound = 25 * time.Second
	// soakUp and soakDown are how long a node lives and is dead, at most.
	soakUp, soakDown = 2 * time.Second, time.Second
	// soakCut is how long a cut of the network lasts at most, and the peace after it.
	soakCut, soakPeace = 2 * time.Second, 6 * time.Second
)

// soakState is what goes on from run to run.
type soakState struct {
	Kills        map[string]int // by node
	Cuts         int
	Rounds       int
	Seconds      float64
	Acknowledged map[string]int // by command
	Unknown      int            // commands whose answer did not come
	Reconnects   int
	Observations int
	Violations   []string
}

func (s *soakState) kills() (n int) {
	for _, k := range s.Kills {
		n += k
	}
	return n
}

// TestSoakKills kills workers and storage by SIGKILL at random moments, several at
// a time too, and cuts the network, while writers in both regions write and their
// checker looks on; after each round both regions and storage must show the same,
// with nothing lost or doubled. $PLUTO_SOAK_KILLS says after how many kills it
// ends. With $PLUTO_SOAK_DIR, a folder, it goes on where the run before ended,
// with the same data.
func TestSoakKills(t *testing.T) {
	want, err := strconv.Atoi(os.Getenv("PLUTO_SOAK_KILLS"))
	if err != nil {
		t.Skip("SKIPPED: PLUTO_SOAK_KILLS is not set to a number")
	}
	dir := os.Getenv("PLUTO_SOAK_DIR")
	if dir == "" {
		dir = t.TempDir()
	}
	state, err := readSoak(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(timeout(t, 5*time.Minute), dir, cluster.Options{WAN: true, Ack: "AckPeers = 1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	showLogs(t, c)
	if err := c.Start(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	c.Network.Set("", "", wan.Conditions{Delay: 10 * time.Millisecond})
	for before := state.kills(); state.kills()-before < want && len(state.Violations) == 0; {
		soakOnce(t, c, state)
		if err := writeSoak(dir, state); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d kills %v, %d cuts, acknowledged %v, unknown %d, %d reconnects, %d observations, %d violations, %.0f s in all",
			state.Rounds, state.kills(), state.Kills, state.Cuts, state.Acknowledged, state.Unknown, state.Reconnects, state.Observations, len(state.Violations), state.Seconds)
		if t.Failed() {
			return
		}
	}
	for _, v := range state.Violations {
		t.Error(v)
	}
}

// soakOnce is one round: load with kills, peace, comparison.
func soakOnce(t *testing.T, c *cluster.Cluster, state *soakState) {
	t.Helper()
	began := time.Now()
	state.Rounds++
	user := 1 + state.Rounds%cluster.Users
	name, password := cluster.User(user)
	prefix := fmt.Sprintf("soak%d", state.Rounds)
	seed := uint64(state.Rounds)
	ctx := timeout(t, soakRound+5*time.Minute)
	var r *bench.ConvergeReport
	var err error
	done := make(chan struct{})
	o := bench.ConvergeOptions{A: target(t, c, c.EU), B: target(t, c, c.US), User: name, Password: password, Seed: seed,
		Size: bench.MessageSize{Median: 3000, Sigma: 1, Cap: 1 << 20}, Writers: 2, Duration: soakRound, Settle: 2 * time.Minute, MaxMessages: 120,
		Prefix: prefix, TolerateDisconnects: true, Keep: true}
	go func() {
		defer close(done)
		r, err = bench.Converge(ctx, o)
	}()
	havoc(ctx, t, c, state, seed, soakRound*9/10)
	<-done
	if err != nil {
		t.Errorf("round %d: %v", state.Rounds, err)
		return
	}
	for cmd, n := range r.Acknowledged {
		state.Acknowledged[cmd] += n
	}
	for _, n := range r.Unknown {
		state.Unknown += n
	}
	state.Reconnects += r.Reconnects
	state.Observations += r.Observations
	for _, v := range r.Violations {
		state.Violations = append(state.Violations, fmt.Sprintf("round %d: %s", state.Rounds, v))
	}
	sameAtStorage(t, c, user, prefix+"a", prefix+"b")
	state.Kills["eu-worker-1"]++
	if err := c.EU.Worker.Restart(timeout(t, readyTime)); err != nil {
		t.Error(err)
		return
	}
	conn := dialUser(t, c, c.EU, user)
	for _, box := range []string{prefix + "a", prefix + "b"} {
		if _, err := conn.Do("DELETE "+box, nil); err != nil {
			t.Errorf("DELETE %s: %v", box, err)
		}
	}
	conn.Close()
	state.Seconds += time.Since(began).Seconds()
}

// havoc kills nodes and cuts the network for a while, and leaves both whole.
func havoc(ctx context.Context, t *testing.T, c *cluster.Cluster, state *soakState, seed uint64, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	nodes := map[string]*cluster.Node{euWorker: c.EU.Worker, usWorker: c.US.Worker, storageNode: c.Storage}
	kills := map[string]*int{}
	for i, name := range []string{euWorker, usWorker, storageNode} {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		n := new(int)
		kills[name] = n
		wg.Go(func() { *n = killOften(ctx, t, nodes[name], rng) })
	}
	cutN := 0
	wg.Go(func() { cutN = cutOften(ctx, &c.Network, rand.New(rand.NewPCG(seed, 9))) })
	wg.Wait()
	for name, n := range kills {
		state.Kills[name] += *n
	}
	state.Cuts += cutN
}

// killOften kills a node and starts it again until ctx ends. In the end it runs.
func killOften(ctx context.Context, t *testing.T, n *cluster.Node, rng *rand.Rand) (kills int) {
	for {
		if !restFor(ctx, rng, soakUp) {
			return kills
		}
		n.Kill()
		kills++
		restFor(ctx, rng, soakDown)
		if err := n.Start(); err != nil {
			t.Error(err)
			return kills
		}
		// Not always until it is ready: one that is just beginning is killed too.
		if rng.IntN(4) > 0 || ctx.Err() != nil {
			ready, cancel := context.WithTimeout(t.Context(), readyTime)
			err := n.Await(ready)
			cancel()
			if err != nil {
				t.Error(err)
				return kills
			}
		}
	}
}

// cutOften makes random cuts until ctx ends, and heals them.
func cutOften(ctx context.Context, n *wan.Network, rng *rand.Rand) (count int) {
	list := cuts()
	for restFor(ctx, rng, soakPeace) {
		list[rng.IntN(len(list))].make(n)
		count++
		restFor(ctx, rng, soakCut)
		n.Heal()
	}
	return count
}

// restFor waits for a random time of up to most; false if ctx ended before.
func restFor(ctx context.Context, rng *rand.Rand, most time.Duration) bool {
	timer := time.NewTimer(time.Duration(rng.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func soakFile(dir string) string { return filepath.Join(dir, "soak.json") }

func readSoak(dir string) (*soakState, error) {
	s := &soakState{Kills: map[string]int{}, Acknowledged: map[string]int{}}
	b, err := os.ReadFile(soakFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return s, os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(b, s)
}

// writeSoak replaces the file whole, so that a run can be ended at any time.
func writeSoak(dir string, s *soakState) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := soakFile(dir) + ".next"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, soakFile(dir))
}
