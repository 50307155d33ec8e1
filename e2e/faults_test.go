package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestKill kills a node under the load of two writers, looks that logins go on,
// starts it again, and finds nothing acknowledged missing.
func TestKill(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	for i, n := range []*cluster.Node{c.EU.Worker, c.Storage, c.US.Worker} {
		t.Run(n.Name, func(t *testing.T) {
			d := loadTime(t, 12*time.Second)
			name, password := cluster.User(i + 1)
			a, b := target(t, c, c.EU), target(t, c, c.US)
			var r *bench.ConvergeReport
			var err error
			done := make(chan struct{})
			ctx := timeout(t, 2*d+3*time.Minute)
			go func() {
				defer close(done)
				r, err = bench.Converge(ctx, bench.ConvergeOptions{A: a, B: b, User: name, Password: password, Seed: uint64(i + 1),
					Size: bench.MessageSize{Median: 3000, Sigma: 1, Cap: 100000}, Writers: 1, Duration: d, Settle: time.Minute, MaxMessages: 120,
					TolerateDisconnects: true})
			}()
			defer func() { <-done }()
			wait(ctx, done, d/4)
			n.Kill()
			both(t, c, func(t *testing.T, r *cluster.Region) { worksSoon(t, c, r, userBystander) })
			if n == c.US.Worker { // whose region's file has storage under Failover only
				wantTakeover(t, c.US.Distributor, c.Storage)
			}
			wait(ctx, done, d/4)
			if err := n.Restart(timeout(t, readyTime)); err != nil {
				t.Error(err)
			}
			<-done
			if err != nil {
				t.Fatal(err)
			}
			report(t, r)
			t.Logf("%d reconnects, acknowledged %v, unknown %v, refused %v, equal after %s", r.Reconnects, r.Acknowledged, r.Unknown, r.Refused, r.Settled)
		})
	}
}

// wantTakeover looks that a distributor has opened a session at a node.
func wantTakeover(t *testing.T, d, n *cluster.Node) {
	t.Helper()
	text, err := d.Log()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "replica="+n.Name) {
		t.Errorf("%s opened no session at %s", d.Name, n.Name)
	}
}

// wait lets the load run for a part of its time.
func wait(ctx context.Context, done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-done:
	case <-ctx.Done():
	}
}

// worksSoon wants a user to be able to log in, store and read within a few seconds.
func worksSoon(t *testing.T, c *cluster.Cluster, r *cluster.Region, user int) {
	t.Helper()
	ctx := timeout(t, 20*time.Second)
	until(t, ctx, "a session at "+r.Name, func() (bool, error) {
		err := storeAndRead(ctx, target(t, c, r), user)
		return err == nil, err
	})
}

// storeAndRead logs in, stores a message and reads it.
func storeAndRead(ctx context.Context, target bench.Target, user int) error {
	conn, err := target.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		return err
	}
	uid, err := conn.Append("INBOX", "", []byte(firstMail), false)
	if err != nil {
		return err
	}
	if err := conn.Select("INBOX"); err != nil {
		return err
	}
	whole := false
	_, err = conn.Do(fmt.Sprintf("UID FETCH %d (BODY.PEEK[])", uid.UID), func(r *imapc.Response) {
		body, ok := imapc.FetchItem(r.Rest, "BODY[]")
		whole = whole || ok && string(body.Str) == firstMail
	})
	if err == nil && !whole {
		err = fmt.Errorf("the message stored as UID %d is not there", uid.UID)
	}
	return err
}

// TestAnyOrder starts the nodes one after the other in the order that one would
// not choose.
func TestAnyOrder(t *testing.T) {
	c := newCluster(t, cluster.Options{})
	for _, n := range []*cluster.Node{c.US.Distributor, c.EU.Distributor, c.US.Worker, c.EU.Worker, c.Storage} {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	both(t, c, func(t *testing.T, r *cluster.Region) { worksSoon(t, c, r, 1) })

	t.Run("stop", func(t *testing.T) {
		if err := c.Stop(timeout(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("one worker alone", func(t *testing.T) {
		for _, n := range []*cluster.Node{c.EU.Worker, c.EU.Distributor} {
			if err := n.Start(); err != nil {
				t.Fatal(err)
			}
			if err := n.Await(timeout(t, readyTime)); err != nil {
				t.Fatal(err)
			}
		}
		worksSoon(t, c, c.EU, 2)
	})
	t.Run("the others later", func(t *testing.T) {
		if err := c.Start(timeout(t, readyTime)); err != nil {
			t.Fatal(err)
		}
		conn := dialUser(t, c, c.US, 2)
		until(t, timeout(t, 20*time.Second), "what was stored alone", func() (bool, error) {
			err := conn.Select("INBOX")
			return err == nil && conn.Exists == 1, err
		})
	})
}

// TestWorkerDownAtBoot starts a region without its worker: logins go to storage,
// and the worker finds its mail when it comes.
func TestWorkerDownAtBoot(t *testing.T) {
	c := newCluster(t, cluster.Options{})
	for _, n := range []*cluster.Node{c.Storage, c.US.Worker, c.EU.Distributor} {
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Storage.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	worksSoon(t, c, c.EU, 3)
	if err := c.EU.Worker.Start(); err != nil {
		t.Fatal(err)
	}
	if err := c.EU.Worker.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	c.Storage.Kill()
	until(t, timeout(t, 20*time.Second), "the mail at the worker", func() (bool, error) {
		conn, err := target(t, c, c.EU).Dial(t.Context())
		if err != nil {
			return false, err
		}
		defer conn.Close()
		name, password := cluster.User(3)
		if err := conn.Login(name, password); err != nil {
			return false, err
		}
		err = conn.Select("INBOX")
		return err == nil && conn.Exists == 1, err
	})
}

// TestStop ends every node by SIGTERM while clients are connected: exit code 0,
// the clients are told BYE, and the data are whole afterwards.
func TestStop(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	worksSoon(t, c, c.EU, 4)
	idler := dialUser(t, c, c.EU, 4)
	do(t, "SELECT", idler.Select("INBOX"))
	_, err := idler.Idle()
	do(t, "IDLE", err)
	if err := c.Stop(timeout(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	for told := ""; told != "BYE"; {
		r, err := idler.IdleNext(5 * time.Second)
		if err != nil {
			t.Errorf("the client was not told BYE: %v", err)
			break
		}
		told = r.Name
	}
	if err := c.Start(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	conn := dialUser(t, c, c.EU, 4)
	do(t, "SELECT", conn.Select("INBOX"))
	if conn.Exists != 1 {
		t.Errorf("%d messages after the restart", conn.Exists)
	}
}
