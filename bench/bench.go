// Package bench puts load on IMAP servers, any of them, and measures or checks
// what they do. The command pluto-bench is its front.
//
//   - [Opodis] replays the workload of the OPODIS 2017 evaluation of pluto.
//   - [Closed] runs mixes of commands in a closed loop.
//   - [Lag] measures how long a change at one server takes to be seen at another.
//   - [Conns] measures what idle connections cost.
//   - [Bigbox] times commands on one large mailbox.
//   - [Check] is no measurement but a check: many sessions use the same mailboxes
//     at random, and every response is compared with what the session was told.
//   - [Converge] is no measurement but a check: several clients change the same
//     mailboxes at two servers, and everything that the servers acknowledged is
//     compared with what is there in the end.
//
// Latency is from the first byte of a command sent to its tagged answer read;
// for APPEND it takes in the wait for the continuation request. Failed commands
// are counted and are not in the latencies. A NO or BAD is a failure, and so is a
// FETCH that answers for fewer messages than asked, or a message that came back
// with other bytes than it was stored with. Nothing is pipelined.
//
// Every run is bounded in commands and by its context, and draws from a seed:
// the same seed gives the same commands and messages (not the same interleaving).
// The package asserts nothing about time; it reports.
package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// Target is a server and how to reach it.
type Target struct {
	Addr    string
	TLS     *tls.Config   // nil: no TLS
	Timeout time.Duration // of the dial and of each command; 0 means a minute
}

// Dial opens a connection and reads the greeting.
func (t Target) Dial(ctx context.Context) (*imapc.Conn, error) {
	return imapc.Dial(ctx, imapc.Options{Addr: t.Addr, TLS: t.TLS, Timeout: t.Timeout})
}

// Users are the accounts of a load: %d in both patterns stands for the number.
type Users struct {
	Name, Password string
	First, Last    int
}

// Of returns the credentials of the i-th connection, from 0, round and round.
func (u Users) Of(i int) (name, password string) {
	n := strconv.Itoa(u.First + i%u.Count())
	return strings.ReplaceAll(u.Name, "%d", n), strings.ReplaceAll(u.Password, "%d", n)
}

// Count returns how many accounts there are.
func (u Users) Count() int { return u.Last - u.First + 1 }

// Options are what all measurements share.
type Options struct {
	Target      Target
	Users       Users
	Seed        uint64
	Size        MessageSize
	Label       string // name of the server in the output
	LiteralPlus bool   // send literals at once where LITERAL+ is offered
	PIDs        []int  // the server's processes, measured with all their children
	Cgroup      string // directory of the server's cgroup, for memory.current
}

func (o *Options) check() error {
	switch {
	case o.Target.Addr == "":
		return errors.New("no server address given")
	case o.Users.Count() < 1 || o.Users.First < 0:
		return fmt.Errorf("users %d to %d: no range", o.Users.First, o.Users.Last)
	}
	return nil
}

// rng returns the random numbers of one stream of a run.
func (o *Options) rng(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, stream)) }

// connect dials t and logs in as the i-th connection's user, recording both.
func (o *Options) connect(ctx context.Context, t Target, i int, rec *recorder) (*imapc.Conn, error) {
	var conn *imapc.Conn
	err := rec.time("CONNECT", func() (err error) {
		conn, err = t.Dial(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	name, password := o.Users.Of(i)
	if err := rec.time("LOGIN", func() error { return conn.Login(name, password) }); err != nil {
		conn.Close()
		return nil, fmt.Errorf("LOGIN %s: %w", name, err)
	}
	return conn, nil
}

func (o *Options) nonSync(c *imapc.Conn) bool { return o.LiteralPlus && c.Caps["LITERAL+"] }

// runID returns a short word that differs from run to run, for mailbox names.
func runID() string { return strconv.FormatInt(time.Now().UnixMilli()%46656e3, 36) }

// rest waits for d or the end of the context.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
