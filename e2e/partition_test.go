package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// Nodes that replicate, as the links between them are named.
const (
	euWorker    = "eu-worker-1"
	usWorker    = "us-worker-1"
	storageNode = "storage"
)

// cut is something that happens to the network.
type cut struct {
	name string
	make func(n *wan.Network)
}

// cuts are all partitions of two nodes, one way and both ways, connections that
// break, and each node all alone.
func cuts() (list []cut) {
	nodes := []string{storageNode, usWorker, euWorker}
	for i, a := range nodes {
		for _, b := range nodes[i+1:] {
			list = append(list,
				cut{a + " to " + b, func(n *wan.Network) { n.Cut(a, b) }},
				cut{b + " to " + a, func(n *wan.Network) { n.Cut(b, a) }},
				cut{a + " and " + b, func(n *wan.Network) { n.Partition(a, b) }},
				cut{a + " and " + b + " broken", func(n *wan.Network) { n.Break(a, b) }})
		}
		list = append(list, cut{a + " alone", func(n *wan.Network) { n.Partition(a, "") }})
	}
	return list
}

// TestPartitions cuts all pairs of nodes off from each other, under the load of two
// writers with their checker: clients notice nothing, not even those of a region
// that is all alone for longer than a peer is waited for, and in the end all three
// replicas show the same.
func TestPartitions(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true})
	c.Network.Set("", "", wan.Conditions{Delay: 20 * time.Millisecond})
	d := loadTime(t, 14*time.Second)
	name, password := cluster.User(1)
	ctx := timeout(t, 2*d+3*time.Minute)
	var r *bench.ConvergeReport
	var err error
	done := make(chan struct{})
	o := bench.ConvergeOptions{A: target(t, c, c.EU), B: target(t, c, c.US), User: name, Password: password,
		Seed: 1, Size: bench.MessageSize{Median: 3000, Sigma: 1, Cap: 100000}, Writers: 1, Duration: d, Settle: time.Minute, MaxMessages: 120,
		Prefix: "part", Keep: true}
	go func() {
		defer close(done)
		r, err = bench.Converge(ctx, o)
	}()
	cutAll(ctx, t, &c.Network, done, d)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	report(t, r)
	t.Logf("acknowledged %v, equal after %s", r.Acknowledged, r.Settled)
	sameAtStorage(t, c, 1, "parta", "partb")
}

// cutAll makes all cuts in turn while load runs for d: each lasts the same time,
// except for the last, which lasts half of all.
func cutAll(ctx context.Context, t *testing.T, n *wan.Network, done <-chan struct{}, d time.Duration) {
	list := cuts()
	for i, x := range list {
		each := d * 4 / 10 / time.Duration(len(list))
		if i == len(list)-1 {
			each = d / 2
		}
		t.Logf("cut %s for %v", x.name, each)
		x.make(n)
		wait(ctx, done, each*9/10)
		n.Heal()
		wait(ctx, done, each/10)
	}
}

// sameAtStorage kills the worker of eu, whose clients then see storage, and wants
// mailboxes to be there as they are at us.
func sameAtStorage(t *testing.T, c *cluster.Cluster, user int, mailboxes ...string) {
	t.Helper()
	c.EU.Worker.Kill()
	until(t, timeout(t, 30*time.Second), "the same at storage", func() (bool, error) {
		there, err := listingOf(t, c, c.US, user, mailboxes...)
		if err != nil {
			return false, err
		}
		here, err := listingOf(t, c, c.EU, user, mailboxes...)
		return err == nil && slices.Equal(here, there), err
	})
	wantTakeover(t, c.EU.Distributor, c.Storage)
}
