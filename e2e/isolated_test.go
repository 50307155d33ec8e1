package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestIsolatedWorker: a worker that has met none of its peers for EvictAfter lets
// clients read and takes no changes, until one of them is back.
func TestIsolatedWorker(t *testing.T) {
	const user = 4
	c := ownCluster(t, cluster.Options{Replication: `EvictAfter = "10s"`})
	if err := storeAndRead(t.Context(), target(t, c, c.EU), user); err != nil {
		t.Fatal(err)
	}
	awaitWell(t, c, c.EU, c.EU.Worker)
	ctx := timeout(t, 2*time.Minute)
	conn := dialUser(t, c, c.EU, user)
	do(t, "SELECT", conn.Select("INBOX"))
	for _, n := range []*cluster.Node{c.US.Worker, c.Storage} {
		n.Kill()
	}
	if _, err := conn.Do(`STORE 1 +FLAGS (\Flagged)`, nil); err != nil {
		t.Fatalf("STORE alone: %v", err)
	}
	until(t, ctx, "the worker to be alone for too long", func() (bool, error) {
		text, err := c.EU.Worker.Ready(ctx)
		return err != nil && strings.Contains(text, "takes no writes"), err
	})
	for range 2 {
		if _, err := conn.Do(`STORE 1 -FLAGS (\Flagged)`, nil); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
			t.Errorf("STORE on an isolated worker: %v", err)
		}
		do(t, "stop", c.EU.Worker.Stop(ctx))
		do(t, "start", c.EU.Worker.Start()) // the second time: it is remembered
		awaitWell(t, c, c.EU, c.EU.Worker)
		conn = dialUser(t, c, c.EU, user)
		do(t, "SELECT", conn.Select("INBOX"))
	}
	flags := ""
	if _, err := conn.Do("FETCH 1 (FLAGS)", func(r *imapc.Response) { flags += string(r.Rest) }); err != nil || !strings.Contains(flags, "Flagged") {
		t.Errorf("FETCH on an isolated worker: %q, %v", flags, err)
	}
	do(t, "start storage", c.Storage.Restart(ctx))
	until(t, ctx, "changes again", func() (bool, error) {
		_, err := conn.Do(`STORE 1 -FLAGS (\Flagged)`, nil)
		return err == nil, err
	})
}
