package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// recoverUsers are the users who change something at a worker that is cut off.
const recoverUsers = 2

// TestEvictedComesBack: a worker is cut off and killed in the middle of commands, which
// are done elsewhere. It goes on serving clients alone, and is evicted. It comes back as
// a new member with its old data beside it, and what was done there is done again,
// once, although it is killed in the middle of that too.
func TestEvictedComesBack(t *testing.T) {
	c := ownCluster(t, cluster.Options{WAN: true})
	w := c.US.Worker
	for user := 1; user <= recoverUsers; user++ {
		conn := dialUser(t, c, c.US, user)
		for _, text := range []string{"stays", "flagged", "expunged", "moved"} {
			storeText(t, conn, "INBOX", text)
		}
	}
	until(t, timeout(t, time.Minute), "everything at eu and storage", func() (bool, error) {
		return metric(t, w, "pluto_replication_lag_operations") == 0, nil
	})
	var writers []*busyWriter
	for user := 1; user <= recoverUsers; user++ {
		writers = append(writers, writeOn(t, c, user))
	}
	for _, b := range writers {
		b.await(t, 5)
	}
	c.Network.Partition(usWorker, "")
	until(t, timeout(t, time.Minute), "a change that nobody else has", func() (bool, error) {
		return metric(t, w, "pluto_replication_lag_operations") > 0, nil
	})
	w.Kill()
	for _, b := range writers {
		b.await(t, 2)
		b.stop()
	}
	<-w.Ended()
	do(t, "start the worker alone", w.Start())
	awaitWell(t, c, c.US, w)
	for user := 1; user <= recoverUsers; user++ {
		conn := dialUser(t, c, c.US, user)
		for i := range 40 {
			storeText(t, conn, "INBOX", fmt.Sprint("alone ", i))
		}
		do(t, "CREATE", doing(conn, "CREATE alone.below"))
		storeText(t, conn, "alone.below", "in a new mailbox")
		do(t, "SELECT", conn.Select("INBOX"))
		for _, command := range []string{`STORE 2 +FLAGS (\Flagged)`, `STORE 3 +FLAGS (\Deleted)`, "MOVE 4 Archive", "EXPUNGE"} {
			do(t, command, doing(conn, command))
		}
		if at := lastReplica(t, c.US.Distributor, user); at != usWorker {
			t.Fatalf("it was %s that did it", at)
		}
		storeText(t, dialUser(t, c, c.EU, user), "INBOX", "meanwhile at eu")
	}
	evict(t, c)
	w.Kill()
	<-w.Ended()
	c.Network.Heal()
	do(t, "start the evicted worker", w.Start())
	awaitLog(t, w, "plutoctl member recover")
	do(t, "stop it", w.Stop(timeout(t, time.Minute)))
	data, old := filepath.Join(c.Dir, "data", w.Name), filepath.Join(c.Dir, "data", w.Name+".old")
	do(t, "move its data away", os.Rename(data, old))
	const changes = "2 messages moved, 2 messages removed, 2 flags changed"
	var seen string
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("recover said last: ", seen)
		}
	})
	until(t, timeout(t, time.Minute), "another member that can do it", func() (_ bool, err error) {
		seen, err = c.Ctl(timeout(t, time.Minute), c.EU, "member", "recover", euWorker, old, "-n")
		return strings.Contains(seen, changes), err
	})
	do(t, "start it anew", w.Start())
	do(t, "join", w.Await(timeout(t, readyTime)))

	for dir, want := range map[string]string{
		"old": "not the absolute path", filepath.Join(c.Dir, "missing"): "no such file", data: "in use by another process",
	} {
		if out, err := c.Ctl(timeout(t, time.Minute), c.US, "member", "recover", w.Name, dir); err == nil || !strings.Contains(out, want) {
			t.Errorf("recover from %s: %v\n%s", dir, err, out)
		}
	}
	recoverOnce := func(args ...string) (string, error) {
		return c.Ctl(timeout(t, time.Minute), c.US, slices.Concat([]string{"member", "recover", w.Name, old}, args)...)
	}
	until(t, timeout(t, time.Minute), "all members to be connected", func() (_ bool, err error) {
		seen, err = recoverOnce("-n")
		return strings.Contains(seen, changes), err
	})
	t.Log(seen)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		recoverOnce()
	}()
	awaitLog(t, w, "recovered what only an evicted replica had")
	w.Kill()
	<-ended
	do(t, "start it after a crash", w.Restart(timeout(t, readyTime)))
	until(t, timeout(t, time.Minute), "the rest to be recovered", func() (bool, error) {
		out, err := recoverOnce()
		return err == nil && strings.Contains(out, "recovered: "), err
	})
	if out, err := recoverOnce(); err != nil || !strings.Contains(out, "recovered: nothing, of 0 users") {
		t.Errorf("once more: %v\n%s", err, out)
	}
	want := []string{"INBOX", "meanwhile at eu", "stays", `flagged \Flagged`, "Archive", "moved", "alone.below", "in a new mailbox"}
	for i := range 40 {
		want = append(want, fmt.Sprint("alone ", i))
	}
	for i, b := range writers {
		want := slices.Concat(want, b.done)
		slices.Sort(want)
		for _, r := range []*cluster.Region{c.US, c.EU} {
			until(t, timeout(t, time.Minute), "the same mail at "+r.Name, func() (bool, error) {
				got, err := texts(t.Context(), t, c, r, i+1, "INBOX", "Archive", "alone.below")
				if at, ok := slices.BinarySearch(got, b.unsure); ok {
					got = slices.Delete(got, at, at+1)
				}
				if !slices.Equal(got, want) {
					err = fmt.Errorf("user %d has %q, not %q, %v", i+1, got, want, err)
				}
				return err == nil, err
			})
		}
	}
	sameAtStorage(t, c, 1, "INBOX", "Archive", "alone.below")
}

// evict evicts the worker of us when the others have noticed that it is away.
func evict(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	until(t, timeout(t, time.Minute), "eviction", func() (bool, error) {
		_, err := c.Ctl(timeout(t, time.Minute), c.EU, "member", "evict", usWorker)
		return err == nil, err
	})
}

func storeText(t *testing.T, conn *imapc.Conn, box, text string) {
	t.Helper()
	_, err := conn.Append(box, "", []byte("Subject: test\r\n\r\n"+text+"\r\n"), false)
	do(t, "APPEND", err)
}

// texts returns the names of mailboxes, and the text of each message with its flags, sorted.
func texts(ctx context.Context, t *testing.T, c *cluster.Cluster, r *cluster.Region, user int, boxes ...string) (out []string, err error) {
	conn, err := target(t, c, r).Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		return nil, err
	}
	for _, box := range boxes {
		if err := conn.Select(box); err != nil {
			return nil, err
		}
		out = append(out, box)
		_, err := conn.Do("FETCH 1:* (FLAGS BODY.PEEK[TEXT])", func(r *imapc.Response) {
			if r.Name != "FETCH" {
				return
			}
			line := string(r.Rest)
			_, text, _ := strings.Cut(line, "}\r\n")
			text, _, _ = strings.Cut(text, "\r\n")
			for _, f := range []string{`\Flagged`, `\Deleted`, `\Seen`} {
				if strings.Contains(line, f) {
					text += " " + f
				}
			}
			out = append(out, text)
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return out, nil
}

// busyWriter stores one message after the other.
type busyWriter struct {
	acked chan struct{} // one for each message
	end   chan struct{} // closed: no more
	ended chan struct{}

	// When it has ended:
	done   []string // stored, as the server said
	unsure string   // under way when the connection ended
}

// writeOn lets a user of us store messages in INBOX.
func writeOn(t *testing.T, c *cluster.Cluster, user int) *busyWriter {
	t.Helper()
	conn := dialUser(t, c, c.US, user)
	b := &busyWriter{acked: make(chan struct{}, 10000), end: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		for i := range cap(b.acked) {
			select {
			case <-b.end:
				return
			default:
			}
			text := fmt.Sprint("busy ", i)
			if _, err := conn.Append("INBOX", "", []byte("Subject: test\r\n\r\n"+text+"\r\n"), false); err != nil {
				b.unsure = text
				return
			}
			b.done = append(b.done, text)
			b.acked <- struct{}{}
		}
	}()
	return b
}

// await waits until n more messages were stored, or the connection has ended.
func (b *busyWriter) await(t *testing.T, n int) {
	t.Helper()
	late := timeout(t, time.Minute)
	for len(b.acked) > 0 {
		<-b.acked
	}
	for range n {
		select {
		case <-b.acked:
		case <-b.ended:
			return
		case <-late.Done():
			t.Fatal("messages are not stored any more")
		}
	}
}

func (b *busyWriter) stop() {
	close(b.end)
	<-b.ended
}
