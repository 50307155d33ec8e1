package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/imap/tunnel"
)

// An account that was moved to another subnet (plutoctl user move) is asked for
// where its user ID belongs; the replicas there know where it lives. So distributors
// need no table of those that were moved, which would have to be the same everywhere.

const (
	// moveWait is how long a login waits for an account that is on its way.
	moveWait = 30 * time.Second
	// moveRetry is when it asks again.
	moveRetry = 200 * time.Millisecond
	// maxHops bounds how often an account can have moved on.
	maxHops = 4
)

// movedError says that an account lives in another subnet, "" that it is on its
// way to one.
type movedError struct{ subnet string }

func (e *movedError) Error() string {
	if e.subnet == "" {
		return "the account is on its way to another subnet"
	}
	return "the account lives in " + e.subnet
}

// open opens a session where the account lives. The error is errNoRoute,
// errContactAdmin or errNoReplica.
func (r *replicas) open(ctx context.Context, list []Replica, open *tunnel.Open) (*opened, error) {
	patience, cancel := context.WithTimeout(ctx, moveWait)
	defer cancel()
	home := list
	for hops := 0; ; {
		session, err := r.openSoon(ctx, list, open)
		var moved *movedError
		if !errors.As(err, &moved) {
			return session, err
		}
		if moved.subnet != "" && hops < maxHops {
			hops++
			if list = r.routeIn(moved.subnet); len(list) == 0 {
				return nil, fmt.Errorf("%w: nobody is known in %s, to which the account was moved", errNoRoute, moved.subnet)
			}
			open.Subnet = moved.subnet
			continue
		}
		if !wait(patience, moveRetry) {
			return nil, errNoReplica
		}
		hops, list, open.Subnet = 0, home, ""
	}
}

func (r *replicas) routeIn(subnet string) []Replica {
	if r.opts.RouteIn == nil {
		return nil
	}
	return r.opts.RouteIn(subnet)
}

// wait waits for some time, and reports false if ctx ends before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
