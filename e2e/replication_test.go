package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestStoredHereSeenThere has a session in IDLE in one region see what happens
// in the other, both ways.
func TestStoredHereSeenThere(t *testing.T) {
	c := sharedCluster(t)
	for _, way := range [][2]*cluster.Region{{c.EU, c.US}, {c.US, c.EU}} {
		t.Run(way[0].Name+" to "+way[1].Name, func(t *testing.T) {
			exists, flags := make(chan uint32, 100), make(chan []imap.Flag, 100)
			there := login(t, c, way[1], userReplication, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
				Mailbox: func(d *imapclient.UnilateralDataMailbox) {
					if d.NumMessages != nil {
						exists <- *d.NumMessages
					}
				},
				Fetch: func(m *imapclient.FetchMessageData) {
					if b, err := m.Collect(); err == nil {
						flags <- b.Flags
					}
				},
			}})
			sel, err := there.Select("INBOX", nil).Wait()
			do(t, "SELECT", err)
			idle, err := there.Idle()
			do(t, "IDLE", err)

			here := login(t, c, way[0], userReplication, nil)
			appendMail(t, here, "INBOX", firstMail, nil)
			await(t, "the message in IDLE", exists, func(n uint32) bool { return n == sel.NumMessages+1 })
			_, err = here.Select("INBOX", nil).Wait()
			do(t, "SELECT", err)
			do(t, "STORE", here.Store(imap.SeqSetNum(sel.NumMessages+1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close())
			await(t, "the flag in IDLE", flags, func(f []imap.Flag) bool { return slices.Contains(f, imap.FlagFlagged) })
			do(t, "DONE", idle.Close())
			do(t, "IDLE", idle.Wait())

			whole := &imap.FetchItemBodySection{Peek: true}
			msgs, err := there.Fetch(imap.SeqSetNum(sel.NumMessages+1), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
			do(t, "FETCH", err)
			if len(msgs) != 1 || string(msgs[0].FindBodySection(whole)) != firstMail {
				t.Errorf("other bytes there: %+v", msgs)
			}
		})
	}
}

// await reads from a channel until a value is right.
func await[T any](t *testing.T, what string, c <-chan T, right func(T) bool) {
	t.Helper()
	ctx := timeout(t, 10*time.Second)
	for {
		select {
		case v := <-c:
			if right(v) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("%s: not in time", what)
		}
	}
}

// TestMailboxesReplicate follows CREATE, SUBSCRIBE, RENAME and DELETE.
func TestMailboxesReplicate(t *testing.T) {
	c := sharedCluster(t)
	eu, us := login(t, c, c.EU, userReplication, nil), login(t, c, c.US, userReplication, nil)
	ctx := timeout(t, 10*time.Second)
	there := func(name string) func() (bool, error) {
		return func() (bool, error) {
			l, err := us.List("", name, nil).Collect()
			return err == nil && len(l) == 1, err
		}
	}
	do(t, "CREATE", eu.Create("Plans.2026", nil).Wait())
	until(t, ctx, "the new mailbox", there("Plans.2026"))
	do(t, "RENAME", eu.Rename("Plans", "Schemes", nil).Wait())
	until(t, ctx, "the renamed mailbox", there("Schemes.2026"))
	do(t, "DELETE", us.Delete("Schemes.2026").Wait())
	do(t, "DELETE", us.Delete("Schemes").Wait())
	until(t, ctx, "the deletion", func() (bool, error) {
		l, err := eu.List("", "Schemes*", nil).Collect()
		return err == nil && len(l) == 0, err
	})
}

// TestTwoWriters lets a writer in each region loose on the same mailboxes: on
// large ones without rest, and on small ones with pauses, in which messages get
// other UIDs before their writer has been told.
func TestTwoWriters(t *testing.T) {
	c := sharedCluster(t)
	d := loadTime(t, 8*time.Second) / 2
	for _, o := range []bench.ConvergeOptions{{MaxMessages: 120}, {MaxMessages: 8, Pause: 8 * time.Millisecond}} {
		t.Run(fmt.Sprintf("%d messages", o.MaxMessages), func(t *testing.T) {
			o.Duration = d
			r := converge(t, c, userConverge, o)
			t.Logf("acknowledged %v, equal after %s", r.Acknowledged, r.Settled)
		})
	}
}

// converge runs the check of package bench and fails the test for violations.
func converge(t *testing.T, c *cluster.Cluster, user int, o bench.ConvergeOptions) *bench.ConvergeReport {
	t.Helper()
	o.User, o.Password = cluster.User(user)
	o.A, o.B, o.Seed, o.Writers, o.Settle = target(t, c, c.EU), target(t, c, c.US), 1, 1, time.Minute
	o.Size = bench.MessageSize{Median: 3000, Sigma: 1, Cap: 100000}
	r, err := bench.Converge(timeout(t, 2*o.Duration+3*time.Minute), o)
	if err != nil {
		t.Fatal(err)
	}
	report(t, r)
	return r
}

func report(t *testing.T, r *bench.ConvergeReport) {
	t.Helper()
	if r.OK() && r.Acknowledged["APPEND"] > 0 && r.Acknowledged["MOVE"] > 0 {
		return
	}
	var b strings.Builder
	r.WriteText(&b)
	t.Errorf("two writers:\n%s", b.String())
}

// TestLag reports how long changes take to the other region. It fails only for
// what no busy machine explains.
func TestLag(t *testing.T) {
	c := sharedCluster(t)
	for _, op := range []string{"append", "store"} {
		r, err := bench.Lag(timeout(t, time.Minute), bench.LagOptions{
			Options: bench.Options{Target: target(t, c, c.EU), Users: bench.Users{Name: "user%d", Password: "pass%d", First: userLag, Last: userLag},
				Seed: 1, Size: bench.MessageSize{Median: 8192}},
			B: target(t, c, c.US), Poll: "idle", Op: op, N: 30, Burst: 1, Every: time.Millisecond, Max: 5 * time.Second,
		})
		if err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		var line string
		for _, row := range r.Rows {
			line += fmt.Sprintf(" %s: %.1f ms;", row.Cmd, row.P50Us/1e3)
		}
		t.Logf("%s, medians:%s", op, line)
		if sent, _ := r.Row("visible after send"); sent.P50Us > 1e6 {
			t.Errorf("%s: a change takes %.0f ms", op, sent.P50Us/1e3)
		}
	}
}
