package comm

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// ErrIsolated is wrapped by the reason why a replica takes no writes that has met
// no peer for [Config].EvictAfter (crdt.md 6.4): the others may have evicted it
// meanwhile, and what is written here would then be nowhere else. It ends when a
// peer is there that has not.
var ErrIsolated = errors.New("this replica has met no peer for too long and takes no writes")

// contactKey is where the roster keeps when a peer was met last: the time, in Unix
// milliseconds, as the record's highest number.
const contactKey = "self/contact"

// contact is when a peer was met last, and what follows from that.
type contact struct {
	mu       sync.Mutex
	last     time.Time // that a peer was there
	saved    time.Time // what of it is on the disk
	isolated error     // why writes are refused; nil: they are not
}

// resumeContact reads when an earlier life met a peer last. A time that has not come
// yet is that of a clock that was wrong.
func (g *Group) resumeContact() error {
	now := time.Now()
	rec, err := g.roster.load(contactKey)
	if err != nil {
		return err
	}
	c := &g.contact
	c.last = now
	if ms := int64(rec.GetHighest()); ms > 0 && ms < now.UnixMilli() {
		c.last = time.UnixMilli(ms)
		c.saved = c.last
	}
	return nil
}

// meets reports whether a stream to or from a peer is up.
func (g *Group) meets() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, s := range g.senders {
		if in := g.inbound[name]; s.up || in != nil && in.accepted.Load() {
			return true
		}
	}
	return false
}

// checkContact notes whether a peer is there, and refuses or allows writes: at the
// start, at every heartbeat and when a peer comes.
func (g *Group) checkContact() {
	if g.cfg.EvictAfter <= 0 || len(g.cfg.Peers) == 0 || g.Fault() != nil {
		return
	}
	meets, now, c := g.meets(), time.Now(), &g.contact
	c.mu.Lock()
	defer c.mu.Unlock()
	if meets {
		c.last = now
	}
	// Rarely: what a crash takes of it makes an isolation begin a little early.
	if c.last.Sub(c.saved) > g.cfg.EvictAfter/32 {
		g.saveContact(c)
	}
	alone := now.Sub(c.last)
	switch is := alone >= g.cfg.EvictAfter; {
	case is && c.isolated == nil:
		c.isolated = fmt.Errorf("%w: none since %s", ErrIsolated, c.last.UTC().Format(time.DateTime))
		g.isolating.Set(1)
		level.Error(g.logger).Log("msg", "ALARM: no peer was met for EvictAfter: this replica takes no writes until one comes, because the others may have evicted it",
			"last", c.last.UTC().Format(time.DateTime), "evict_after", g.cfg.EvictAfter)
	case !is && c.isolated != nil:
		c.isolated = nil
		g.isolating.Set(0)
		level.Info(g.logger).Log("msg", "a peer is there: this replica takes writes again")
	default:
		return
	}
	if g.Fault() == nil {
		g.cfg.Isolated(c.isolated)
	}
}

// saveContact remembers over restarts when a peer was met last. Under c.mu.
func (g *Group) saveContact(c *contact) {
	if err := g.roster.put(contactKey, &Record{Highest: uint64(c.last.UnixMilli())}); err != nil {
		level.Warn(g.logger).Log("msg", "remember when a peer was met", "err", err)
		return
	}
	c.saved = c.last
}

// closeContact remembers it at the end.
func (g *Group) closeContact() {
	c := &g.contact
	c.mu.Lock()
	defer c.mu.Unlock()
	if g.cfg.EvictAfter > 0 && c.last.After(c.saved) {
		g.saveContact(c)
	}
}

// Isolated returns why this replica takes no writes for want of peers; nil if that
// is not so.
func (g *Group) Isolated() error {
	g.contact.mu.Lock()
	defer g.contact.mu.Unlock()
	return g.contact.isolated
}
