package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// What a session may cost the distributor that has a mailbox of 1,000 messages selected
// and does nothing, in KiB: memory in use after garbage collections, stacks included, and
// what the process has grown by, with garbage that is not collected yet. 27.6 to 31.5
// and 32.7 to 35.8 were measured: how large the stacks are that new goroutines get varies.
const (
	maxSessionKiB   = 36
	maxGrownKiB     = 40
	sessionMessages = 1000
)

// TestMemoryOfSessions measures what sessions cost their distributor.
func TestMemoryOfSessions(t *testing.T) {
	const users, each = 16, 48 // of one user there may be fifty
	c := ownCluster(t, cluster.Options{})
	message := []byte("Subject: x\r\n\r\ntext\r\n")
	for user := 1; user <= users; user++ {
		conn := dialUser(t, c, c.EU, user)
		for range sessionMessages / 100 {
			_, err := conn.AppendMulti("INBOX", "", slices.Repeat([][]byte{message}, 100), true)
			do(t, "APPEND", err)
		}
		do(t, "LOGOUT", conn.Logout())
	}
	open := func(n int) {
		t.Helper()
		for i := range n {
			do(t, "SELECT", dialUser(t, c, c.EU, 1+i%users).Select("INBOX"))
		}
	}
	// What the first sessions bring with them is not of each.
	open(users)
	before, beforeRSS := inUse(t, c.EU.Distributor), resident(t, c.EU.Distributor)
	const n = users * (each - 1)
	open(n)
	// The process has then what logging in took, too: some of it goes back to the system
	// later, the rest is for the next logins.
	rss := float64(resident(t, c.EU.Distributor)-beforeRSS) / n / 1024
	kib := (inUse(t, c.EU.Distributor) - before) / n / 1024
	t.Logf("a session with %d messages selected: %.1f KiB in use, the process has grown by %.1f KiB (%d of them)", sessionMessages, kib, rss, n)
	if os.Getenv(cluster.EnvRace) != "" {
		return // the race detector takes several times as much
	}
	if kib > maxSessionKiB || rss > maxGrownKiB {
		t.Errorf("more than %d KiB in use and %d KiB of growth", maxSessionKiB, maxGrownKiB)
	}
}

// inUse returns the bytes of memory that a process uses when it has had nothing to do
// for some time: garbage is collected every two minutes at least.
func inUse(t *testing.T, n *cluster.Node) (bytes float64) {
	t.Helper()
	for range 4 { // each halves stacks that are larger than necessary
		resp, err := http.Get("http://" + n.HTTP + "/debug/pprof/heap?gc=1")
		do(t, "collect garbage", err)
		resp.Body.Close()
	}
	text, err := n.Metrics(timeout(t, time.Minute))
	do(t, "metrics", err)
	for _, of := range []string{"heap", "stack", "mspan", "mcache"} {
		_, rest, ok := strings.Cut(text, "\ngo_memstats_"+of+"_inuse_bytes ")
		line, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.ParseFloat(line, 64)
		if !ok || err != nil {
			t.Fatalf("no figure of the %s: %v", of, err)
		}
		bytes += v
	}
	return bytes
}

// resident returns the bytes of memory that a process has.
func resident(t *testing.T, n *cluster.Node) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.PID()))
	if err != nil {
		t.Skipf("SKIPPED: no /proc here: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib * 1024
}

// TestCostOfCheckpoints measures what it costs that sessions survive: the CPU time of
// worker and distributor for the mix "mixed" on 16 connections, beside that of binaries
// without checkpoints (build tag nocheckpoints), in turn.
// PLUTO_E2E_CHECKPOINTS says how often, and has it run at all.
func TestCostOfCheckpoints(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("PLUTO_E2E_CHECKPOINTS"))
	if err != nil {
		t.Skip("minutes of load: set PLUTO_E2E_CHECKPOINTS to the number of rounds")
	}
	cost := map[bool][]float64{}
	for range rounds {
		for _, without := range []bool{false, true} {
			c := newCluster(t, cluster.Options{})
			if without {
				for _, n := range c.Nodes() {
					n.UseProgram(withoutCheckpoints(t))
				}
			}
			do(t, "start", c.Start(timeout(t, readyTime)))
			cost[without] = append(cost[without], mixedCost(t, c))
			do(t, "stop", c.Stop(timeout(t, time.Minute)))
		}
	}
	var ratios []float64
	for i, with := range cost[false] {
		ratios = append(ratios, with/cost[true][i])
	}
	t.Logf("CPU ms for a command with checkpoints: %.3f, without: %.3f, ratios: %.3f", cost[false], cost[true], ratios)
	slices.Sort(ratios)
	t.Logf("median ratio: %.3f", ratios[len(ratios)/2])
}

// withoutCheckpoints builds a pluto whose sessions do not survive.
func withoutCheckpoints(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pluto")
	cmd := exec.CommandContext(timeout(t, 5*time.Minute), "go", "build", "-tags", "nocheckpoints", "-o", path, "github.com/go-pluto/pluto/cmd/pluto")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// mixedCost returns the milliseconds of CPU that worker and distributor take for a command.
func mixedCost(t *testing.T, c *cluster.Cluster) float64 {
	t.Helper()
	r, err := bench.Closed(timeout(t, 5*time.Minute), bench.ClosedOptions{
		Options: bench.Options{
			Target: target(t, c, c.EU), Users: bench.Users{Name: "user%d", Password: "pass%d", First: 1, Last: 16},
			Seed: 1, Size: bench.MessageSize{Median: 3000, Sigma: 1, Cap: 100000}, PIDs: []int{c.EU.Worker.PID(), c.EU.Distributor.PID()},
		},
		Conns: 16, Ops: 1500, Mix: "mixed", Prefill: 200, Page: 50, NoClean: true,
	})
	if err != nil || len(r.Errors) > 0 {
		t.Fatal(err, r)
	}
	for _, row := range r.Rows {
		if ms := row.Extra["server_cpu_ms_per_op"]; ms > 0 {
			return ms
		}
	}
	t.Fatalf("no CPU time in %+v", r.Rows)
	return 0
}
