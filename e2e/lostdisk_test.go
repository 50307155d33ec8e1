package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestLostDisk takes a worker's data away and declares that it begins anew: it
// gets back all mail, also after the others had time to delete what is expunged.
func TestLostDisk(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	name, password := cluster.User(1)
	report1, err := bench.Converge(timeout(t, 2*time.Minute), bench.ConvergeOptions{A: target(t, c, c.EU), B: target(t, c, c.US), User: name, Password: password,
		Seed: 1, Size: bench.MessageSize{Median: 3000, Sigma: 1, Cap: 100000}, Writers: 1, Duration: loadTime(t, 3*time.Second), Settle: time.Minute, MaxMessages: 100,
		Prefix: "lost", Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	report(t, report1)
	want, err := listing(t, c, c.EU, "losta", "lostb")
	if err != nil {
		t.Fatal(err)
	}

	w := c.US.Worker
	data := filepath.Join(c.Dir, "data", "us-worker-1")
	if err := w.Stop(timeout(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	begin := func(args ...string) {
		t.Helper()
		if err := os.RemoveAll(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Start(args...); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	origin := lostOrigin(t, c.EU.Worker)
	if err := w.Stop(timeout(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	begin("-replaces", origin)
	if err := w.Await(timeout(t, readyTime)); err != nil {
		t.Fatal(err)
	}
	until(t, timeout(t, time.Minute), "all mail at us", func() (bool, error) {
		got, err := listing(t, c, c.US, "losta", "lostb")
		if err != nil {
			return false, err
		}
		if !slices.Equal(got, want) {
			return false, fmt.Errorf("us shows %d lines, eu %d", len(got), len(want))
		}
		return true, nil
	})
	both(t, c, func(t *testing.T, r *cluster.Region) { worksSoon(t, c, r, userBystander) })
}

var incarnation = regexp.MustCompile(`was incarnation ([0-9a-f]{16})`)

// lostOrigin waits until a node says whose data are missing.
func lostOrigin(t *testing.T, n *cluster.Node) (origin string) {
	t.Helper()
	until(t, timeout(t, 30*time.Second), "the name of the lost incarnation", func() (bool, error) {
		text, err := n.Log()
		if m := incarnation.FindStringSubmatch(text); m != nil {
			origin = m[1]
		}
		return origin != "", err
	})
	return origin
}

// listing returns what mailboxes of user 1 show: UIDVALIDITY, UIDs, flags,
// contents. \Recent is left out, which belongs to sessions.
func listing(t *testing.T, c *cluster.Cluster, r *cluster.Region, mailboxes ...string) (lines []string, err error) {
	t.Helper()
	return listingOf(t, c, r, 1, mailboxes...)
}

// listingOf is listing for any user.
func listingOf(t *testing.T, c *cluster.Cluster, r *cluster.Region, user int, mailboxes ...string) (lines []string, err error) {
	t.Helper()
	conn := dialUser(t, c, r, user)
	defer conn.Close()
	for _, name := range mailboxes {
		if err := conn.Select(name); err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprint(name, " ", conn.UIDValidity))
		_, err := conn.Do("FETCH 1:* (UID FLAGS BODY.PEEK[])", func(r *imapc.Response) {
			if r.Name == "FETCH" {
				lines = append(lines, strings.ReplaceAll(fmt.Sprintf("%d %s", r.Num, r.Rest), `\Recent`, ""))
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return lines, nil
}
