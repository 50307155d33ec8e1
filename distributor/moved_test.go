package distributor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/tunnel"
)

// A login waits for an account that is on its way to another subnet, and finds it there.
func TestMovedAccount(t *testing.T) {
	var asked atomic.Int32
	old := startNode(t, func(_ context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		if open.GetSubnet() != "" {
			t.Errorf("asked for %q where the user belongs", open.GetSubnet())
		}
		if asked.Add(1) <= 2 {
			return c.Refuse(tunnel.Refused_ON_ITS_WAY, "on its way")
		}
		return c.Moved("subnet-2")
	})
	session := fakeSession("new")
	there := startNode(t, func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		if open.GetSubnet() != "subnet-2" {
			t.Errorf("asked for %q", open.GetSubnet())
		}
		return session(ctx, open, c)
	})
	s := startServer(t, func(o *Options) {
		o.RouteIn = func(subnet string) []Replica {
			if subnet != "subnet-2" {
				return nil
			}
			return []Replica{there.replica("new")}
		}
	}, old.replica("old"))
	c := s.login()
	c.send("b NOOP\r\n")
	c.expect("b OK")
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// An account that nobody finds is a matter for the administrator.
func TestMovedNowhere(t *testing.T) {
	old := startNode(t, func(_ context.Context, _ *tunnel.Open, c *tunnel.Conn) error { return c.Moved("subnet-9") })
	c := startServer(t, nil, old.replica("old")).connect()
	c.send("a LOGIN user1 pass1\r\n")
	c.expect("a NO [CONTACTADMIN]")
}

// A session whose account is moved ends at once: nobody goes on with it, however
// long the account is on its way.
func TestMovedSessionEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse func(*tunnel.Conn) error
	}{
		{"on its way", func(c *tunnel.Conn) error { return c.Refuse(tunnel.Refused_ON_ITS_WAY, "on its way") }},
		{"moved", func(c *tunnel.Conn) error { return c.Moved("subnet-2") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := make(chan struct{})
			node := startNode(t, func(_ context.Context, open *tunnel.Open, conn *tunnel.Conn) error {
				if open.GetCheckpoint() != nil {
					return c.refuse(conn)
				}
				fmt.Fprintf(conn, "%s OK hello\r\n", open.GetTag())
				if err := conn.Answer(0, nil, nil); err != nil {
					return err
				}
				<-gone
				return errors.New("the account has left")
			})
			s := startServer(t, func(o *Options) { o.Limits.MoveTimeout = time.Hour }, node.replica("old"))
			client := s.login()
			close(gone)
			client.script("S: * BYE [UNAVAILABLE] Account is being moved\nEND")
			if n := value(t, s.metrics.lost.WithLabelValues("old")); n != 0 {
				t.Errorf("%v sessions count as lost", n)
			}
		})
	}
}
