package auth

import (
	"container/list"
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// ErrThrottled says that so many attempts wait already that another one is not
// even to be tried: NO [UNAVAILABLE] or [LIMIT], and close.
var ErrThrottled = errors.New("too many failed logins, try again later")

// ThrottleOptions are the numbers of a [Throttle]. The zero value of each
// stands for its default.
type ThrottleOptions struct {
	Free       int           // failures that cost nothing; default 3
	Step       time.Duration // delay of the first that does, doubled by each further one; default 250 ms
	MaxAddress time.Duration // longest delay for an address; default 15 s
	MaxLogin   time.Duration // longest delay for a login; default 2 s
	MaxQueue   time.Duration // longest time in line behind others of the same address; default 30 s
	Forget     time.Duration // after so long without failure all is forgiven; default 15 min
	Entries    int           // addresses, logins and known pairs remembered, each; default 65,536
	Now        func() time.Time
}

// Throttle delays attempts after failures.
//
// Attempts from one address (for IPv6 one /64) stand in line: each waits for
// its own delay after the one before, so opening many connections gains
// nothing. A login that is being guessed from many addresses is delayed a
// little for each of them. Neither is so where the same login was used from the
// same address before, until it fails there: guessing does not lock a login's
// owner out, nor does one bad client all others behind its address.
//
// Memory is bounded; what was not used longest is forgotten first. Safe for
// concurrent use; there is no goroutine.
type Throttle struct {
	o ThrottleOptions

	mu        sync.Mutex
	addresses *recent[netip.Prefix, *failures]
	logins    *recent[string, *failures]
	known     *recent[pair, struct{}]
}

// failures is what is remembered of an address or a login.
type failures struct {
	count int
	last  time.Time
	next  time.Time // when the next in line has its turn
}

type pair struct {
	address netip.Prefix
	login   string
}

// NewThrottle returns a throttle.
func NewThrottle(o ThrottleOptions) *Throttle {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Step, 250*time.Millisecond)
	def(&o.MaxAddress, 15*time.Second)
	def(&o.MaxLogin, 2*time.Second)
	def(&o.MaxQueue, 30*time.Second)
	def(&o.Forget, 15*time.Minute)
	if o.Free <= 0 {
		o.Free = 3
	}
	if o.Entries <= 0 {
		o.Entries = 1 << 16
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Throttle{
		o:         o,
		addresses: newRecent[netip.Prefix, *failures](o.Entries),
		logins:    newRecent[string, *failures](o.Entries),
		known:     newRecent[pair, struct{}](o.Entries),
	}
}

// Wait returns when an attempt may be made. The error is [ErrThrottled] or the
// context's.
func (t *Throttle) Wait(ctx context.Context, remote netip.Addr, login string) error {
	delay, err := t.Reserve(remote, login)
	if err != nil || delay <= 0 {
		return err
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Reserve takes a place in line and returns how long to wait for the turn. The
// error is [ErrThrottled].
func (t *Throttle) Reserve(remote netip.Addr, login string) (time.Duration, error) {
	login = key(login)
	address := network(remote)
	now := t.o.Now()
	t.mu.Lock()
	defer t.mu.Unlock()

	if _, ok := t.known.get(pair{address, login}); ok {
		return 0, nil
	}
	var wait time.Duration
	if f := t.remembered(t.addresses.get(address)); f != nil {
		if delay := t.delay(f.count, t.o.MaxAddress); delay > 0 {
			turn := later(now, f.next).Add(delay)
			if wait = turn.Sub(now); wait > t.o.MaxQueue {
				return 0, ErrThrottled
			}
			f.next = turn
		}
	}
	if f := t.remembered(t.logins.get(login)); f != nil {
		wait = max(wait, t.delay(f.count, t.o.MaxLogin))
	}
	return wait, nil
}

// Failed notes that an attempt failed for the credentials (not because
// something was unavailable).
func (t *Throttle) Failed(remote netip.Addr, login string) {
	login = key(login)
	address := network(remote)
	now := t.o.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known.remove(pair{address, login})
	count(t, t.addresses, address, now)
	count(t, t.logins, login, now)
}

// Succeeded notes a login: what the user got wrong before is forgiven, what the
// address got wrong with other logins is not.
func (t *Throttle) Succeeded(remote netip.Addr, login string) {
	login = key(login)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.logins.remove(login)
	t.known.put(pair{network(remote), login}, struct{}{})
}

// count notes a failure.
func count[K comparable](t *Throttle, r *recent[K, *failures], k K, now time.Time) {
	f := t.remembered(r.get(k))
	if f == nil {
		f = &failures{}
		r.put(k, f)
	}
	f.count++
	f.last = now
}

// remembered returns f unless it is to be forgotten.
func (t *Throttle) remembered(f *failures, ok bool) *failures {
	if !ok || t.o.Now().Sub(f.last) > t.o.Forget {
		return nil
	}
	return f
}

// delay doubles from Step, after the failures that are free.
func (t *Throttle) delay(failures int, most time.Duration) time.Duration {
	n := failures - t.o.Free
	if n <= 0 {
		return 0
	}
	delay := t.o.Step
	for ; n > 1 && delay < most; n-- {
		delay *= 2
	}
	return min(delay, most)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// network returns what one client has: an IPv4 address or an IPv6 /64.
func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // the zero address, as of a Unix socket
		return netip.Prefix{}
	}
	return p
}

// key bounds what is kept of a login that nobody has.
func key(login string) string {
	if len(login) > maxLogin {
		return strings.Clone(login[:maxLogin])
	}
	return login
}

// recent is a map that forgets what was not used longest.
type recent[K comparable, V any] struct {
	most  int
	items map[K]*list.Element
	order *list.List // of entry[K, V], the most recent first
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newRecent[K comparable, V any](most int) *recent[K, V] {
	return &recent[K, V]{most: most, items: map[K]*list.Element{}, order: list.New()}
}

func (r *recent[K, V]) get(k K) (v V, ok bool) {
	e, ok := r.items[k]
	if !ok {
		return v, false
	}
	r.order.MoveToFront(e)
	return e.Value.(entry[K, V]).value, true
}

func (r *recent[K, V]) put(k K, v V) {
	r.remove(k)
	if r.order.Len() >= r.most {
		oldest := r.order.Back()
		delete(r.items, oldest.Value.(entry[K, V]).key)
		r.order.Remove(oldest)
	}
	r.items[k] = r.order.PushFront(entry[K, V]{k, v})
}

func (r *recent[K, V]) remove(k K) {
	if e, ok := r.items[k]; ok {
		r.order.Remove(e)
		delete(r.items, k)
	}
}
