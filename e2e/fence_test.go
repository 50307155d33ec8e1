package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestC22WorkerHangs stops a worker's process for longer than a lease. The command
// that a client sent just after the stop is executed elsewhere, and taken back
// there; when the worker goes on it does nothing late.
func TestC22WorkerHangs(t *testing.T) {
	const user = 5
	c := ownCluster(t, cluster.Options{})
	if err := storeAndRead(t.Context(), target(t, c, c.EU), user); err != nil {
		t.Fatal(err)
	}
	awaitWell(t, c, c.EU, c.EU.Worker)
	late, idle := dialUser(t, c, c.EU, user), dialUser(t, c, c.EU, user)
	do(t, "SELECT", late.Select("INBOX"))
	do(t, "SELECT", idle.Select("INBOX"))
	do(t, "SIGSTOP", c.EU.Worker.Pause())
	for _, command := range []string{`STORE 1 +FLAGS (\Deleted)`, `STORE 1 -FLAGS (\Deleted)`} {
		if _, err := late.Do(command, nil); err != nil {
			t.Errorf("%s while the worker hangs: %v", command, err)
		}
	}
	do(t, "SIGCONT", c.EU.Worker.Resume())
	awaitWell(t, c, c.EU, c.EU.Worker)
	worksSoon(t, c, c.EU, user) // at the worker
	for _, session := range []*imapc.Conn{late, idle} {
		flags := ""
		if _, err := session.Do("FETCH 1 (FLAGS)", func(r *imapc.Response) {
			if r.Name == "FETCH" {
				flags = string(r.Rest)
			}
		}); err != nil {
			t.Errorf("after the worker has gone on: %v", err)
		}
		if flags == "" || strings.Contains(flags, "Deleted") {
			t.Errorf("the message has the flags %q after the late command", flags)
		}
	}
}

// TestStaleWorker restores an old copy of a worker's data while its peers are away.
// When it meets one of them it takes no write any more, also not of a session
// that lives there.
func TestStaleWorker(t *testing.T) {
	const user = 6
	c := ownCluster(t, cluster.Options{})
	if err := storeAndRead(t.Context(), target(t, c, c.EU), user); err != nil {
		t.Fatal(err)
	}
	worker, ctx := c.EU.Worker, timeout(t, 3*time.Minute)
	data := filepath.Join(c.Dir, "data", worker.Name)
	restart := func(n *cluster.Node) { // until sessions go there again
		t.Helper()
		do(t, "start", n.Restart(ctx))
		awaitWell(t, c, c.EU, n)
	}
	replace := func(from, to string) {
		t.Helper()
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	do(t, "stop", worker.Stop(ctx))
	backup := filepath.Join(t.TempDir(), "backup")
	replace(data, backup)
	restart(worker)
	worksSoon(t, c, c.EU, user)
	for _, n := range []*cluster.Node{worker, c.Storage, c.US.Worker} {
		do(t, "stop", n.Stop(ctx))
	}
	replace(backup, data)
	restart(worker) // alone: it does not know

	conn := dialUser(t, c, c.EU, user)
	do(t, "SELECT", conn.Select("INBOX"))
	do(t, "start", c.Storage.Restart(ctx))
	until(t, ctx, "the worker to learn it", func() (bool, error) {
		text, err := worker.Ready(ctx)
		return err != nil && strings.Contains(text, "older"), err
	})
	if _, err := conn.Do(`STORE 1 +FLAGS (\Deleted)`, nil); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
		t.Errorf("STORE on a stale worker: %v", err)
	}
	if _, err := conn.Do("FETCH 1 (FLAGS)", func(r *imapc.Response) {
		if strings.Contains(string(r.Rest), "Deleted") {
			t.Errorf("what was refused is there: %s", r.Rest)
		}
	}); err != nil {
		t.Errorf("FETCH on a stale worker: %v", err)
	}
	worksSoon(t, c, c.EU, user) // at the storage node
}
