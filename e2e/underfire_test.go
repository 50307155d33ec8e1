package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestSequenceNumbersUnderFire: sessions in both regions change the same mailboxes at
// random, and every response fits what its session was told before.
// PLUTO_E2E_DURATION makes it longer.
func TestSequenceNumbersUnderFire(t *testing.T) {
	c := sharedCluster(t)
	name, password := cluster.User(userUnderFire)
	o := bench.CheckOptions{
		A: target(t, c, c.EU), B: target(t, c, c.US), User: name, Password: password,
		Seed: uint64(time.Now().UnixNano()), Sessions: 4, MaxMessages: 40,
		Duration: loadTime(t, 12*time.Second), Settle: 30 * time.Second,
	}
	t.Logf("seed %d", o.Seed)
	r, err := bench.Check(timeout(t, o.Duration+2*time.Minute), o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	r.WriteText(&text)
	if !r.OK() || r.Checkpoints == 0 || r.Responses == 0 {
		t.Fatal(text.String())
	}
	if r.Recent > 0 && !sessionsMoved(t, c) {
		t.Errorf("%d times a message was \\Recent for two sessions of a replica", r.Recent)
	}
	t.Log(text.String())
}

// sessionsMoved reports whether a session has gone on at another replica so far.
func sessionsMoved(t *testing.T, c *cluster.Cluster) bool {
	t.Helper()
	for _, front := range []*cluster.Node{c.EU.Distributor, c.US.Distributor} {
		text, err := front.Metrics(timeout(t, time.Minute))
		do(t, "metrics", err)
		if strings.Contains(text, "\npluto_distributor_moves_total{") {
			return true
		}
	}
	return false
}
