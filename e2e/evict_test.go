package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestRestoredAndEvicted gives a worker back an old copy of its data: it finds out
// and serves nobody. It is evicted then, and begins anew with an empty disk, in the
// same slot; the mail that it had is there again, also what is newer than the copy.
func TestRestoredAndEvicted(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	fill(t, c, joinUsers*3, 1)
	w := c.US.Worker
	data, copied := filepath.Join(c.Dir, "data", "us-worker-1"), filepath.Join(c.Dir, "copy")
	stop := func() {
		t.Helper()
		if err := w.Stop(timeout(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	begin := func() {
		t.Helper()
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	begin()
	if err := w.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	until(t, timeout(t, readyTime), "a message that us stored itself", func() (bool, error) {
		err := storeAndRead(timeout(t, 20*time.Second), target(t, c, c.US), userBystander)
		text, failed := w.Metrics(t.Context())
		return err == nil && ownOperations.MatchString(text), errors.Join(err, failed)
	})
	secondProcess(t, w)
	until(t, timeout(t, time.Minute), "the message of us at eu", func() (bool, error) {
		return metric(t, w, "pluto_replication_lag_operations") == 0, nil
	})
	stop()
	if err := errors.Join(os.RemoveAll(data), os.Rename(copied, data)); err != nil {
		t.Fatal(err)
	}
	begin()
	awaitLog(t, w, "this replica takes no more writes: its data were restored from an old copy")
	if text, err := w.Ready(t.Context()); err == nil || !strings.Contains(text, "older than what its peers have of it") {
		t.Errorf("a worker with old data: %v, %s", err, text)
	}

	evict := []string{"member", "evict", "us-worker-1"}
	out, err := c.Ctl(timeout(t, time.Minute), c.EU, evict...)
	if err != nil || !strings.Contains(out, "us-worker-1 (slot 2, incarnation ") || !strings.Contains(out, "epoch 1") {
		t.Fatalf("member evict: %v\n%s", err, out)
	}
	stop()
	begin()
	until(t, timeout(t, time.Minute), "that it knows it, which the log may say of the process before", func() (bool, error) {
		text, err := w.Ready(t.Context())
		return strings.Contains(text, comm.ErrEvicted.Error()), err
	})
	stop()
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	begin()
	if err := w.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	until(t, timeout(t, time.Minute), "the same mail everywhere", func() (bool, error) {
		want, err := counts(t, c, c.EU)
		if err != nil {
			return false, err
		}
		got, err := counts(t, c, c.US)
		if !slices.Equal(got, want) {
			return false, fmt.Errorf("us has %v, eu %v", got, want)
		}
		return true, err
	})
	both(t, c, func(t *testing.T, r *cluster.Region) { worksSoon(t, c, r, userBystander) })
	out, err = c.Ctl(timeout(t, time.Minute), c.US, "member", "list")
	if err != nil || strings.Count(out, "us-worker-1 ") != 2 || !strings.Contains(out, "subnet-1, epoch 1") {
		t.Errorf("member list: %v\n%s", err, out)
	}
}

var ownOperations = regexp.MustCompile(`(?m)^pluto_operations_total\{from="own"\} [1-9]`)

// secondProcess starts a node once more on its data.
func secondProcess(t *testing.T, n *cluster.Node) {
	t.Helper()
	out, err := n.Command(timeout(t, time.Minute)).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "DataRoot") {
		t.Errorf("a second process on the same data: %v\n%s", err, out)
	}
}

func awaitLog(t *testing.T, n *cluster.Node, part string) {
	t.Helper()
	until(t, timeout(t, time.Minute), part, func() (bool, error) {
		log, err := n.Log()
		return strings.Contains(log, part), err
	})
}
