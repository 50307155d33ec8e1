package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// What AckPeers promises, each proven by taking a disk away for ever right after an
// OK. AckTimeout is long in these tests: how many disks a change is on when the
// time is over is no promise.

// ackUsers are the users that store messages when the disk is taken away.
const ackUsers = 4

// disk returns where a node keeps its data.
func disk(c *cluster.Cluster, name string) string { return filepath.Join(c.Dir, "data", name) }

// destroy kills nodes at once and deletes their disks.
func destroy(t *testing.T, c *cluster.Cluster, nodes map[string]*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Kill()
	}
	for name := range nodes {
		if err := os.RemoveAll(disk(c, name)); err != nil {
			t.Error(err)
		}
	}
}

// storing is users who store messages one after the other at eu.
type storing struct {
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	acked  map[int][]string // by user: identities of messages whose OK came
	refuse []string         // answers other than OK
	got    chan struct{}    // signalled by OKs
}

// store has users store messages until their connections break or ctx ends.
func store(ctx context.Context, t *testing.T, c *cluster.Cluster) *storing {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	s := &storing{t: t, cancel: cancel, acked: map[int][]string{}, got: make(chan struct{}, 1)}
	for user := 1; user <= ackUsers; user++ {
		conn := dialUser(t, c, c.EU, user)
		s.done.Go(func() { s.run(ctx, conn, user) })
	}
	return s
}

func (s *storing) run(ctx context.Context, conn *imapc.Conn, user int) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("ack-%d-%d", user, i)
		_, err := conn.Append("INBOX", "", []byte("Subject: "+id+"\r\n\r\n"+strings.Repeat("text ", 500)+"\r\n"), false)
		s.mu.Lock()
		switch {
		case err == nil:
			s.acked[user] = append(s.acked[user], id)
			select {
			case s.got <- struct{}{}:
			default:
			}
		case imapc.IsStatus(err):
			s.refuse = append(s.refuse, err.Error())
		}
		s.mu.Unlock()
		if err != nil && !imapc.IsStatus(err) {
			return
		}
	}
}

// end stops the users, if they have not lost their connections.
func (s *storing) end() {
	s.cancel()
	s.done.Wait()
}

// more waits for so many further OKs.
func (s *storing) more(ctx context.Context, n int) {
	s.t.Helper()
	for want := s.count() + n; s.count() < want; {
		select {
		case <-s.got:
		case <-ctx.Done():
			s.t.Fatal("too few OKs in time")
		}
	}
}

// count returns how many OKs there were.
func (s *storing) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ids := range s.acked {
		n += len(ids)
	}
	return n
}

// wantAll waits until a region shows every message whose OK came.
func (s *storing) wantAll(c *cluster.Cluster, r *cluster.Region) {
	s.t.Helper()
	ctx := timeout(s.t, time.Minute)
	for user, ids := range s.acked {
		until(s.t, ctx, fmt.Sprintf("all messages of user %d at %s", user, r.Name), func() (bool, error) {
			there, err := subjects(ctx, s.t, c, r, user)
			if err != nil {
				return false, err
			}
			for _, id := range ids {
				if !there[id] {
					return false, fmt.Errorf("%s is not there, %d messages are, the OKs of %d came", id, len(there), len(ids))
				}
			}
			return true, nil
		})
	}
}

var subject = regexp.MustCompile(`Subject: (\S+)`)

// subjects returns the subjects in a user's INBOX.
func subjects(ctx context.Context, t *testing.T, c *cluster.Cluster, r *cluster.Region, user int) (map[string]bool, error) {
	t.Helper()
	conn, err := target(t, c, r).Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		return nil, err
	}
	if err := conn.Select("INBOX"); err != nil {
		return nil, err
	}
	there := map[string]bool{}
	_, err = conn.Do("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", func(r *imapc.Response) {
		if m := subject.FindSubmatch(r.Rest); m != nil {
			there[string(m[1])] = true
		}
	})
	if imapc.IsStatus(err) && conn.Exists == 0 {
		err = nil // 1:* of nothing
	}
	return there, err
}

var (
	streamUp  = regexp.MustCompile(`(?m)^pluto_replication_connected\{[^}]*\} 1$`)
	shortfall = regexp.MustCompile(`(?m)^pluto_ack_shortfalls_total\{[^}]*\} ([0-9.e+]+)$`)
)

// awaitPeers waits until a node has streams to so many peers.
func awaitPeers(t *testing.T, n *cluster.Node, peers int) {
	t.Helper()
	ctx := timeout(t, 30*time.Second)
	until(t, ctx, n.Name+" connected", func() (bool, error) {
		text, err := n.Metrics(ctx)
		return len(streamUp.FindAllString(text, -1)) == peers, err
	})
}

// shortfalls returns how many OKs were given on fewer disks than configured.
func shortfalls(t *testing.T, n *cluster.Node) string {
	t.Helper()
	text, err := n.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := shortfall.FindStringSubmatch(text)
	if m == nil {
		t.Fatal("no pluto_ack_shortfalls_total")
	}
	return m[1]
}

// TestAckPeers0: an OK means this disk. A worker that is cut off from everybody
// gives it at once; what it acknowledged is there after kill -9, and goes to the
// others when it can.
func TestAckPeers0(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 0"})
	awaitPeers(t, c.EU.Worker, 2)
	c.Network.Partition(euWorker, "")
	ctx := timeout(t, time.Minute)
	s := store(ctx, t, c)
	s.more(ctx, 50)
	s.end() // storage would go on with what is under way
	c.EU.Worker.Kill()
	if err := c.EU.Worker.Restart(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	for user := range s.acked {
		there, err := subjects(ctx, t, c, c.US, user)
		if err != nil || len(there) > 0 {
			t.Errorf("user %d has %d messages at us, which is cut off (%v)", user, len(there), err)
		}
	}
	c.Network.Break(euWorker, "") // new connections come about at once, not when the old ones are given up
	c.Network.Heal()
	s.wantAll(c, c.EU)
	s.wantAll(c, c.US)
}

// TestAckPeers0LostDisk: an OK means this disk and nothing more. What did not get
// to another before it was taken away is gone.
func TestAckPeers0LostDisk(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 0"})
	awaitPeers(t, c.EU.Worker, 2)
	conn := dialUser(t, c, c.EU, 1)
	c.Network.Partition(euWorker, "")
	if _, err := conn.Append("INBOX", "", []byte("Subject: lost\r\n\r\n"), false); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	destroy(t, c, map[string]*cluster.Node{euWorker: c.EU.Worker})
	c.Network.Break(euWorker, "") // nobody sends again what was under way
	c.Network.Heal()
	ctx := timeout(t, 30*time.Second)
	until(t, ctx, "eu at storage, without the message", func() (bool, error) {
		there, err := subjects(ctx, t, c, c.EU, 1)
		return err == nil && len(there) == 0, err
	})
	wantTakeover(t, c.EU.Distributor, c.Storage)
}

// TestAckPeers1: an OK means one more disk. The worker's is taken away right after
// one, while the other region is far; what storage has gets there from storage.
func TestAckPeers1(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 1\nAckTimeout = \"1m\""})
	c.Network.Set(euWorker, usWorker, wan.Conditions{Delay: 300 * time.Millisecond})
	awaitPeers(t, c.EU.Worker, 2)
	ctx := timeout(t, time.Minute)
	s := store(ctx, t, c)
	s.more(ctx, 100)
	if n := shortfalls(t, c.EU.Worker); n != "0" {
		t.Errorf("%s OKs were given on fewer disks", n)
	}
	s.more(ctx, 1)
	destroy(t, c, map[string]*cluster.Node{euWorker: c.EU.Worker})
	s.end()
	t.Logf("%d OKs", s.count())
	s.wantAll(c, c.US)
	s.wantAll(c, c.EU) // which is storage now
	wantTakeover(t, c.EU.Distributor, c.Storage)
}

// TestAckPeers2: an OK means two more disks. Those of the worker and of storage are
// taken away right after one; the other region has everything, far as it is.
func TestAckPeers2(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 2\nAckTimeout = \"1m\""})
	c.Network.Set(euWorker, usWorker, wan.Conditions{Delay: 50 * time.Millisecond})
	awaitPeers(t, c.EU.Worker, 2)
	ctx := timeout(t, time.Minute)
	s := store(ctx, t, c)
	s.more(ctx, 50)
	if n := shortfalls(t, c.EU.Worker); n != "0" {
		t.Errorf("%s OKs were given on fewer disks", n)
	}
	s.more(ctx, 1)
	destroy(t, c, map[string]*cluster.Node{euWorker: c.EU.Worker, storageNode: c.Storage})
	s.end()
	t.Logf("%d OKs", s.count())
	s.wantAll(c, c.US)
	s.wantAll(c, c.EU) // which is us now
}

// TestAckStrict: no OK on fewer disks, whatever happens to the network; the disk
// is taken away when it is cut off, and every OK that was ever given holds.
func TestAckStrict(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 1\nAckTimeout = \"500ms\"\nAckStrict = true"})
	awaitPeers(t, c.EU.Worker, 2)
	ctx := timeout(t, time.Minute)
	conn := dialUser(t, c, c.EU, ackUsers+1)
	s := store(ctx, t, c)
	s.more(ctx, 50)
	c.Network.Partition(euWorker, storageNode)
	s.more(ctx, 50) // us is enough
	c.Network.Partition(euWorker, "")
	until(t, ctx, "a refusal", func() (bool, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, text := range s.refuse {
			if !strings.Contains(text, "UNAVAILABLE") {
				return false, fmt.Errorf("refused by %q", text)
			}
		}
		return len(s.refuse) > 0, nil
	})
	before := s.count()
	for range 3 {
		if _, err := conn.Append("INBOX", "", []byte("Subject: refused\r\n\r\n"), false); err == nil || !strings.Contains(err.Error(), "UNAVAILABLE") {
			t.Errorf("APPEND without a peer: %v, want NO [UNAVAILABLE]", err)
		}
	}
	if after := s.count(); after != before {
		t.Errorf("%d OKs while cut off from all peers", after-before)
	}
	destroy(t, c, map[string]*cluster.Node{euWorker: c.EU.Worker})
	s.end()
	c.Network.Heal()
	t.Logf("%d OKs, %d refused", s.count(), len(s.refuse))
	s.wantAll(c, c.US)
}
