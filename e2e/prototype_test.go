package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestPrototype does to the system what broke the prototype of 2017; the table in
// the package documentation says what happened there. What a single client can do
// is in TestHostile. Each part has a user of its own; after it all nodes must run
// and both regions show the same.
func TestPrototype(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true})
	awaitPeers(t, c.EU.Worker, 2)
	for i, x := range []struct {
		name  string
		boxes []string
		f     func(t *testing.T, p *part)
	}{
		// First, while sessions are where they belong.
		{"failover with a live session", []string{"INBOX"}, failoverWithSession},
		{"flag set against flag set and removed", []string{"INBOX"}, flagAgainstFlag},
		{"DELETE against STORE", []string{"INBOX"}, deleteAgainstStore},
		{"one appender in each region", []string{"INBOX"}, appenderInEachRegion},
		{"batches that are sent again", []string{"INBOX"}, batchesSentAgain},
		{"a dead peer", []string{"INBOX"}, deadPeer},
		{"restart with a backlog", []string{"INBOX"}, restartWithBacklog},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := &part{c: c, user: i + 1}
			x.f(t, p)
			for _, n := range c.Nodes() {
				if !n.Running() {
					t.Errorf("%s has ended", n.Name)
				}
			}
			p.same(t, x.boxes...)
		})
	}
}

// part is one part of the test.
type part struct {
	c    *cluster.Cluster
	user int
}

// dial connects the part's user. A distributor needs a moment to find a node that
// was started again.
func (p *part) dial(t *testing.T, r *cluster.Region) (conn *imapc.Conn) {
	t.Helper()
	name, password := cluster.User(p.user)
	until(t, timeout(t, 30*time.Second), "a session at "+r.Name, func() (_ bool, err error) {
		if conn, err = target(t, p.c, r).Dial(t.Context()); err != nil {
			return false, err
		}
		if err = conn.Login(name, password); err != nil {
			conn.Close()
		}
		return err == nil, err
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

func (p *part) at(t *testing.T, r *cluster.Region, box string) *imapc.Conn {
	t.Helper()
	conn := p.dial(t, r)
	do(t, "SELECT "+box, conn.Select(box))
	return conn
}

// same waits until both regions show the same.
func (p *part) same(t *testing.T, boxes ...string) (lines []string) {
	t.Helper()
	until(t, timeout(t, time.Minute), "the same in both regions", func() (bool, error) {
		here, err := listingOf(t, p.c, p.c.EU, p.user, boxes...)
		if err != nil {
			return false, err
		}
		there, err := listingOf(t, p.c, p.c.US, p.user, boxes...)
		if err == nil && !slices.Equal(here, there) {
			err = fmt.Errorf("eu shows %.300q, us %.300q", here, there)
		}
		lines = here
		return err == nil, err
	})
	return lines
}

// count waits until a region shows so many messages.
func (p *part) count(t *testing.T, r *cluster.Region, box string, n int) {
	t.Helper()
	conn := p.dial(t, r)
	until(t, timeout(t, time.Minute), fmt.Sprintf("%d messages at %s", n, r.Name), func() (bool, error) {
		err := conn.Select(box)
		return err == nil && int(conn.Exists) == n, err
	})
}

// fill appends messages at eu.
func (p *part) fill(t *testing.T, conn *imapc.Conn, box string, n int) {
	t.Helper()
	for range n {
		if _, err := conn.Append(box, "", []byte(firstMail), false); err != nil {
			t.Fatalf("APPEND: %v", err)
		}
	}
}

func mustDo(t *testing.T, conn *imapc.Conn, text string) {
	t.Helper()
	if _, err := conn.Do(text, nil); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// flagAgainstFlag: one region sets a flag while the other, cut off from it, sets
// and removes it.
func flagAgainstFlag(t *testing.T, p *part) {
	p.fill(t, p.dial(t, p.c.EU), "INBOX", 1)
	p.count(t, p.c.US, "INBOX", 1)
	eu, us := p.at(t, p.c.EU, "INBOX"), p.at(t, p.c.US, "INBOX")
	p.c.Network.Partition(euWorker, "")
	mustDo(t, eu, `STORE 1 +FLAGS (\Seen)`)
	mustDo(t, us, `STORE 1 +FLAGS (\Seen)`)
	mustDo(t, us, `STORE 1 -FLAGS (\Seen)`)
	p.c.Network.Heal()
	p.same(t, "INBOX")
	mustDo(t, us, `STORE 1 +FLAGS (\Flagged)`)
	p.same(t, "INBOX")
}

// deleteAgainstStore: one region deletes a mailbox while the other changes what is
// in it; then all nodes are killed and started again.
func deleteAgainstStore(t *testing.T, p *part) {
	conn := p.dial(t, p.c.EU)
	mustDo(t, conn, "CREATE Doomed")
	p.fill(t, conn, "Doomed", 3)
	until(t, timeout(t, time.Minute), "the mailbox at us", func() (bool, error) {
		us := p.dial(t, p.c.US)
		defer us.Close()
		err := us.Select("Doomed")
		return err == nil && us.Exists == 3, err
	})
	us := p.at(t, p.c.US, "Doomed")
	p.c.Network.Partition(euWorker, "")
	mustDo(t, conn, "DELETE Doomed")
	mustDo(t, us, `STORE 1:* +FLAGS (\Flagged)`)
	p.fill(t, us, "Doomed", 1)
	p.c.Network.Heal()
	p.fill(t, p.dial(t, p.c.US), "INBOX", 1)
	p.count(t, p.c.EU, "INBOX", 1) // eu has applied what us did
	for _, n := range []*cluster.Node{p.c.EU.Worker, p.c.US.Worker, p.c.Storage} {
		n.Kill()
		if err := n.Restart(timeout(t, readyTime)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, timeout(t, time.Minute), "the same list of mailboxes", func() (bool, error) {
		eu, us := p.dial(t, p.c.EU), p.dial(t, p.c.US)
		defer eu.Close()
		defer us.Close()
		here, there := listAll(t, eu), listAll(t, us)
		if !maps.Equal(here, there) {
			return false, fmt.Errorf("eu lists %v, us %v", here, there)
		}
		return true, nil
	})
}

// appenderInEachRegion: two clients store into one mailbox at the same time.
func appenderInEachRegion(t *testing.T, p *part) {
	const each = 150
	var both sync.WaitGroup
	for _, r := range []*cluster.Region{p.c.EU, p.c.US} {
		conn := p.dial(t, r)
		both.Go(func() {
			for range each {
				if _, err := conn.Append("INBOX", "", []byte(firstMail), false); err != nil {
					t.Errorf("APPEND at %s: %v", r.Name, err)
					return
				}
			}
		})
	}
	both.Wait()
	p.count(t, p.c.EU, "INBOX", 2*each)
	p.count(t, p.c.US, "INBOX", 2*each)
}

// batchesSentAgain: connections break while operations are under way, so that they
// are sent again, and some come by way of storage.
func batchesSentAgain(t *testing.T, p *part) {
	const n = 300
	ctx, cancel := context.WithCancel(t.Context())
	var broken sync.WaitGroup
	broken.Go(func() {
		tick := time.NewTicker(40 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.c.Network.Break([...]string{euWorker, usWorker, storageNode}[i%3], "")
			}
		}
	})
	p.fill(t, p.dial(t, p.c.EU), "INBOX", n)
	cancel()
	broken.Wait()
	p.count(t, p.c.US, "INBOX", n)
}

// deadPeer: with storage gone the regions replicate, also after a restart.
func deadPeer(t *testing.T, p *part) {
	p.c.Storage.Kill()
	p.fill(t, p.dial(t, p.c.EU), "INBOX", 20)
	p.count(t, p.c.US, "INBOX", 20)
	p.c.EU.Worker.Kill()
	if err := p.c.EU.Worker.Restart(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	p.fill(t, p.dial(t, p.c.US), "INBOX", 20)
	p.count(t, p.c.US, "INBOX", 40)
	p.same(t, "INBOX")
	if err := p.c.Storage.Restart(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
}

// restartWithBacklog: a worker dies with much to send to a peer that is down.
func restartWithBacklog(t *testing.T, p *part) {
	const n = 300
	p.c.US.Worker.Kill()
	p.c.Storage.Kill()
	p.fill(t, p.dial(t, p.c.EU), "INBOX", n)
	p.c.EU.Worker.Kill()
	for _, x := range []*cluster.Node{p.c.EU.Worker, p.c.US.Worker, p.c.Storage} {
		if err := x.Restart(timeout(t, readyTime)); err != nil {
			t.Fatal(err)
		}
	}
	p.count(t, p.c.US, "INBOX", n)
}

// failoverWithSession: a worker dies under a session that works in a mailbox; its
// next commands are storage's to answer, and storage goes on.
func failoverWithSession(t *testing.T, p *part) {
	conn := p.dial(t, p.c.EU)
	p.fill(t, conn, "INBOX", 5)
	do(t, "SELECT", conn.Select("INBOX"))
	mustDo(t, conn, `STORE 1:3 +FLAGS (\Seen)`)
	pid := p.c.Storage.PID()
	p.c.EU.Worker.Kill()
	mustDo(t, conn, `STORE 4:5 +FLAGS (\Seen)`)
	worksSoon(t, p.c, p.c.EU, p.user)
	wantTakeover(t, p.c.EU.Distributor, p.c.Storage)
	if !p.c.Storage.Running() || p.c.Storage.PID() != pid {
		t.Error("storage has ended")
	}
	if err := p.c.EU.Worker.Restart(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
}
