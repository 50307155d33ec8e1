package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestLargeMessageDelaysNobody stores a message that takes a thin line between the
// regions for seconds. Meanwhile another user's changes go through, one after the
// other, each seen in the other region before the next is made.
func TestLargeMessageDelaysNobody(t *testing.T) {
	const size, rate, most = 6 << 20, 1 << 20, 200
	c := ownCluster(t, cluster.Options{WAN: true, Ack: "AckPeers = 1"})
	awaitPeers(t, c.EU.Worker, 2)
	c.Network.Set("", "", wan.Conditions{Delay: 20 * time.Millisecond, Rate: rate})
	ctx := timeout(t, 2*time.Minute)
	body := noise(size)
	large := dialUser(t, c, c.EU, 1)
	done := make(chan error, 1)
	go func() {
		_, err := large.Append("INBOX", "", body, false)
		done <- err
	}()
	here, there := dialUser(t, c, c.EU, 2), dialUser(t, c, c.US, 2)
	do(t, "SELECT", there.Select("INBOX"))
	seen, err := 0, error(nil)
	for over := false; !over && seen < most; {
		if _, err := here.Append("INBOX", "", []byte(firstMail), false); err != nil {
			t.Fatal(err)
		}
		seen++
		until(t, ctx, "the small change", func() (bool, error) {
			_, err := there.Do("NOOP", nil)
			return err == nil && int(there.Exists) >= seen, err
		})
		select {
		case err = <-done:
			over = true
		default:
		}
	}
	if seen == most {
		err = <-done
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d small changes were seen while the large one went", seen)
	if seen < 5 {
		t.Errorf("only %d small changes were seen while the large message went", seen)
	}
	until(t, ctx, "the large message at us", func() (bool, error) { return hasBody(ctx, t, c, c.US, 1, body) })
	if n := shortfalls(t, c.EU.Worker); n != "0" {
		t.Errorf("%s OKs were given on fewer disks: a peer was thought to be behind", n)
	}
}

// noise returns a message that does not compress and has no line of its own.
func noise(size int) []byte {
	rng := rand.New(rand.NewPCG(1, 7))
	m := []byte("Subject: noise\r\n\r\n")
	for len(m) < size {
		m = append(m, byte(128+rng.IntN(128)))
	}
	return m
}

// hasBody reports whether a user's first message has the bytes.
func hasBody(ctx context.Context, t *testing.T, c *cluster.Cluster, r *cluster.Region, user int, want []byte) (bool, error) {
	t.Helper()
	conn, err := target(t, c, r).Dial(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		return false, err
	}
	if err := conn.Select("INBOX"); err != nil || conn.Exists == 0 {
		return false, err
	}
	same, got := false, 0
	_, err = conn.Do("FETCH 1 BODY.PEEK[]", func(r *imapc.Response) {
		if v, ok := imapc.FetchItem(r.Rest, "BODY[]"); ok {
			same, got = bytes.Equal(v.Str, want), len(v.Str)
		}
	})
	if err == nil && !same {
		err = fmt.Errorf("%d bytes, or other ones", got)
	}
	return same, err
}
