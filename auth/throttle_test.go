package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// clock is a time that tests set.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time          { return c.now }
func (c *clock) advance(d time.Duration) { c.now = c.now.Add(d) }

func newTestThrottle(o ThrottleOptions) (*Throttle, *clock) {
	c := &clock{now: time.Unix(1e9, 0)}
	o.Now = c.Now
	return NewThrottle(o), c
}

var (
	home      = netip.MustParseAddr("192.0.2.1")
	evil      = netip.MustParseAddr("198.51.100.66")
	mapped    = netip.MustParseAddr("::ffff:198.51.100.66")
	evil6     = netip.MustParseAddr("2001:db8:0:1::1")
	evil6b    = netip.MustParseAddr("2001:db8:0:1:ffff::2%eth0")
	stranger6 = netip.MustParseAddr("2001:db8:0:2::1")
)

func reserve(t *testing.T, th *Throttle, a netip.Addr, login string, want time.Duration) {
	t.Helper()
	if got, err := th.Reserve(a, login); err != nil || got != want {
		t.Errorf("%v as %s: wait %v, %v; want %v", a, login, got, err, want)
	}
}

func TestThrottleAddress(t *testing.T) {
	th, clock := newTestThrottle(ThrottleOptions{})
	for i := range 3 {
		reserve(t, th, evil, "a", 0)
		th.Failed(evil, fmt.Sprint("guess", i))
	}
	for i, want := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 15000, 15000} {
		th.Failed(mapped, fmt.Sprint("guess", i+3))
		reserve(t, th, evil, "b", want*time.Millisecond)
		clock.advance(want * time.Millisecond)
	}
	reserve(t, th, home, "b", 0) // others are not concerned

	// Many at once stand in line, and the line ends.
	reserve(t, th, evil, "c", 15*time.Second)
	reserve(t, th, evil, "d", 30*time.Second)
	if _, err := th.Reserve(evil, "e"); !errors.Is(err, ErrThrottled) {
		t.Errorf("a third in line: %v", err)
	}
	clock.advance(15 * time.Second)
	reserve(t, th, evil, "e", 30*time.Second)

	clock.advance(16 * time.Minute)
	reserve(t, th, evil, "f", 0)
	th.Failed(evil, "f") // counts from 1 again
	reserve(t, th, evil, "f", 0)
}

func TestThrottleIPv6(t *testing.T) {
	th, _ := newTestThrottle(ThrottleOptions{Free: 1})
	th.Failed(evil6, "a")
	th.Failed(evil6b, "b")
	reserve(t, th, evil6, "c", 250*time.Millisecond)
	reserve(t, th, stranger6, "c", 0)
	th.Failed(netip.Addr{}, "a") // as of a Unix socket
}

// TestThrottleLogin: a login guessed from everywhere costs each guesser, but
// not its owner at home, nor forgets it the guesses for it.
func TestThrottleLogin(t *testing.T) {
	th, _ := newTestThrottle(ThrottleOptions{})
	th.Succeeded(home, "alice")
	for i := range 20 {
		th.Failed(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), "alice")
	}
	reserve(t, th, evil, "alice", 2*time.Second)
	reserve(t, th, evil, "bob", 0)
	reserve(t, th, home, "alice", 0)
	th.Failed(home, "alice")
	reserve(t, th, home, "alice", 2*time.Second)
	th.Succeeded(home, "alice")
	reserve(t, th, evil, "alice", 0)
}

// TestThrottleNeighbour: one bad client does not delay others that were there
// before behind the same address.
func TestThrottleNeighbour(t *testing.T) {
	th, _ := newTestThrottle(ThrottleOptions{})
	th.Succeeded(home, "alice")
	for range 20 {
		th.Failed(home, "bob")
	}
	reserve(t, th, home, "alice", 0)
	reserve(t, th, home, "carol", 15*time.Second)
}

func TestThrottleBounded(t *testing.T) {
	th, _ := newTestThrottle(ThrottleOptions{Entries: 10, Free: 1})
	for range 3 {
		th.Failed(evil, "alice")
	}
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		th.Failed(a, fmt.Sprint("user", i))
		th.Succeeded(a, fmt.Sprint("user", i))
		reserve(t, th, evil, "x", 500*time.Millisecond*time.Duration(i%2+1)) // looked at, so not forgotten
		if i%2 == 1 {
			th.addresses.items[network(evil)].Value.(entry[netip.Prefix, *failures]).value.next = time.Time{}
		}
	}
	for name, n := range map[string]int{"addresses": len(th.addresses.items), "logins": len(th.logins.items), "known": len(th.known.items), "order": th.known.order.Len()} {
		if n > 10 {
			t.Errorf("%s: %d", name, n)
		}
	}
}

func TestThrottleWait(t *testing.T) {
	th := NewThrottle(ThrottleOptions{Free: 1, Step: time.Millisecond})
	th.Failed(evil, "a")
	th.Failed(evil, "a")
	if err := th.Wait(t.Context(), evil, "a"); err != nil {
		t.Error(err)
	}
	slow := NewThrottle(ThrottleOptions{Free: 1, Step: time.Hour, MaxAddress: time.Hour, MaxQueue: 2 * time.Hour})
	slow.Failed(evil, "a")
	slow.Failed(evil, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := slow.Wait(ctx, evil, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
