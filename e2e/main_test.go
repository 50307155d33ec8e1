package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// readyTime is how long a system may take to be ready; it is generous because
// the machine may be busy with other tests.
const readyTime = time.Minute

// shared is the system that tests use which break nothing. Each takes users of
// its own: see the constants below.
var shared struct {
	once sync.Once
	dir  string
	c    *cluster.Cluster
	err  error
}

// Users of the shared system, by test, so that no test sees another's mail.
const (
	userBasics = iota + 1
	userReplication
	userCurl
	userPython
	userMbsync
	userNeomutt
	userCorpus
	userConverge
	userHostile
	userBystander
	userLag
	userUnderFire
	userOfflineimap
	userImapflow
	userThunderbird
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	defer func() {
		if shared.c != nil {
			shared.c.Close()
		}
		os.RemoveAll(shared.dir)
		if err := cluster.Cleanup(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	return m.Run()
}

// sharedCluster returns the system of all tests that break nothing.
func sharedCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	skipShort(t)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "pluto-e2e-"); shared.err == nil {
			shared.c, shared.err = startCluster(shared.dir, cluster.Options{})
		}
	})
	if shared.err != nil {
		t.Fatalf("the system does not start: %v", shared.err)
	}
	showLogs(t, shared.c)
	return shared.c
}

// ownCluster starts a system for one test.
func ownCluster(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	c := newCluster(t, o)
	if err := c.Start(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	return c
}

// newCluster makes a system for one test and starts nothing.
func newCluster(t *testing.T, o cluster.Options) *cluster.Cluster {
	t.Helper()
	skipShort(t)
	c, err := cluster.New(timeout(t, 5*time.Minute), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	showLogs(t, c)
	return c
}

func startCluster(dir string, o cluster.Options) (*cluster.Cluster, error) {
	building, stop := context.WithTimeout(context.Background(), 5*time.Minute)
	defer stop()
	c, err := cluster.New(building, dir, o)
	if err != nil {
		return nil, err
	}
	starting, stop := context.WithTimeout(context.Background(), readyTime)
	defer stop()
	return c, c.Start(starting)
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes: not with -short")
	}
}

// showLogs prints the ends of the nodes' logs when the test failed. A panic or a
// data race in them makes it fail.
func showLogs(t *testing.T, c *cluster.Cluster) {
	t.Cleanup(func() {
		for _, n := range c.Nodes() {
			if log, err := n.Log(); err != nil || strings.Contains(log, "\npanic: ") || strings.Contains(log, "DATA RACE") {
				t.Errorf("%s: a panic or a data race in its log (%v):\n%s", n.Name, err, n.LogTail(80))
			}
		}
		if t.Failed() {
			t.Log(c.Logs(25))
		}
	})
}

// timeout returns a context that ends with the test or after d.
func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// needs returns the path of a program, or skips.
func needs(t *testing.T, program string) string {
	t.Helper()
	skipShort(t)
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed", program)
	}
	return path
}

// loadTime is how long tests under load last.
func loadTime(t *testing.T, usual time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv("PLUTO_E2E_DURATION")
	if text == "" {
		return usual
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("PLUTO_E2E_DURATION: %v", err)
	}
	return d
}

// both runs a test at both regions.
func both(t *testing.T, c *cluster.Cluster, f func(t *testing.T, r *cluster.Region)) {
	for _, r := range []*cluster.Region{c.EU, c.US} {
		t.Run(r.Name, func(t *testing.T) { f(t, r) })
	}
}

// login connects a user with go-imap's client; the test's end closes it.
func login(t *testing.T, c *cluster.Cluster, r *cluster.Region, user int, o *imapclient.Options) *imapclient.Client {
	t.Helper()
	cl, err := c.Login(r, user, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// dial connects with the lean client of package bench, not logged in.
func dial(t *testing.T, c *cluster.Cluster, r *cluster.Region) *imapc.Conn {
	t.Helper()
	conn, err := target(t, c, r).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialUser connects a user with the lean client.
func dialUser(t *testing.T, c *cluster.Cluster, r *cluster.Region, user int) *imapc.Conn {
	t.Helper()
	conn := dial(t, c, r)
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		t.Fatal(err)
	}
	return conn
}

func target(t *testing.T, c *cluster.Cluster, r *cluster.Region) bench.Target {
	t.Helper()
	target, err := c.Target(r)
	if err != nil {
		t.Fatal(err)
	}
	target.Timeout = 30 * time.Second
	return target
}

// until asks again and again until f agrees; what is asked must be cheap.
func until(t *testing.T, ctx context.Context, what string, f func() (bool, error)) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := f()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not in time (%v)", what, err)
		case <-tick.C:
		}
	}
}
