package comm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// A member that is lost for ever holds up what waits for all members: the log,
// contents that are to be deleted, its slot. It is evicted (crdt.md 6.4): an
// administrator says so at one member, members tell each other, and each raises the
// epoch of its accounts, because the lost one may have shown UIDs that nobody else
// heard of. Evictions are a set that only grows; the epoch is their number. So it does
// not matter who hears of which first, or that two are said at two members at once.

var (
	// ErrEvicted is wrapped by what is said to, and by, an incarnation that was evicted.
	ErrEvicted = errors.New("evicted")
	// errEvictedHere is that about this replica.
	errEvictedHere = fmt.Errorf("%w: this incarnation of the replica", ErrEvicted)
	// ErrConnected is returned by [Group.Evict] for a member that is there.
	ErrConnected = errors.New("the member is connected")
	// ErrNotMember is returned by [Group.Evict] for a name of which nothing is known.
	ErrNotMember = errors.New("no member of that name was ever met")
)

// maxEvictions bounds what peers may tell.
const maxEvictions = causal.MaxOrigins

// Eviction is a member's incarnation that was evicted.
type Eviction struct {
	Name   string
	Origin crdt.Origin
	Slot   crdt.Slot
}

// Evict declares a peer's present incarnation lost for ever. It returns when that is
// durable here; the others learn of it when they are connected. Without force a
// peer to or from which there is a stream is refused.
func (g *Group) Evict(name string, force bool) (Eviction, error) {
	if err := g.open(); err != nil {
		return Eviction{}, err
	}
	rec := g.roster.record(name)
	if rec.GetOrigin() == 0 {
		return Eviction{}, fmt.Errorf("evict %q: %w", name, ErrNotMember)
	}
	g.mu.Lock()
	connected := g.inbound[name] != nil || g.senders[name] != nil && g.senders[name].up
	g.mu.Unlock()
	if connected && !force {
		return Eviction{}, fmt.Errorf("evict %q: %w: stop it first", name, ErrConnected)
	}
	e := &Evicted{Origin: rec.GetOrigin(), Name: name, Slot: rec.GetSlot()}
	return Eviction{name, crdt.Origin(e.GetOrigin()), crdt.Slot(e.GetSlot())}, g.learn(g.cfg.Name, []*Evicted{e})
}

// evictions returns all that were evicted.
func (g *Group) evictions() []Eviction {
	var list []Eviction
	for _, e := range g.roster.evictions() {
		list = append(list, Eviction{e.GetName(), crdt.Origin(e.GetOrigin()), crdt.Slot(e.GetSlot())})
	}
	return list
}

// learn takes over which incarnations were evicted. from says who told. The error
// says that this replica, or the one that told, is among them.
func (g *Group) learn(from string, list []*Evicted) error {
	if len(list) > maxEvictions {
		return fmt.Errorf("%w: %d evictions, limit %d", causal.ErrProtocol, len(list), maxEvictions)
	}
	fresh, err := g.roster.evict(list)
	if slices.ContainsFunc(list, func(e *Evicted) bool { return crdt.Origin(e.GetOrigin()) == g.origin }) {
		return errors.Join(fmt.Errorf("%w, says %q", errEvictedHere, from), err)
	}
	if err != nil || len(fresh) == 0 {
		return err
	}
	for _, e := range fresh {
		level.Warn(g.logger).Log("msg", "a member was evicted; what it may have shown is not used again", "peer", e.GetName(),
			"origin", crdt.Origin(e.GetOrigin()), "slot", e.GetSlot(), "told_by", from)
		g.part(e)
	}
	notify(g.epochWake)
	g.wakeInbound() // peers are told
	return nil
}

// part ends the streams of an evicted incarnation. Those that came from others end
// too: what they brought of it and could not be applied is dropped.
func (g *Group) part(e *Evicted) {
	gone := fmt.Errorf("%w: incarnation %s of %q", ErrEvicted, crdt.Origin(e.GetOrigin()), e.GetName())
	var ends []*life
	g.step(func(_ time.Time, m *causal.Machine) {
		m.Evicted(e.GetName(), crdt.Origin(e.GetOrigin()))
		delete(g.lost, crdt.Origin(e.GetOrigin()))
		for _, in := range g.inbound { // who forwards what it made begins anew
			ends = append(ends, &in.life)
		}
		if s := g.senders[e.GetName()]; s != nil && s.up {
			ends = append(ends, &s.life)
		}
	})
	for _, l := range ends {
		if cancel := l.cancel.Load(); cancel != nil {
			(*cancel)(gone)
		}
	}
}

// fenceIfEvicted fences this replica if it heard in an earlier life that it was
// evicted.
func (g *Group) fenceIfEvicted() {
	if slices.ContainsFunc(g.roster.evictions(), func(e *Evicted) bool { return crdt.Origin(e.GetOrigin()) == g.origin }) {
		g.fence(errEvictedHere)
	}
}

// epochLoop raises the epoch when members were evicted, and what an earlier life
// began of it.
func (g *Group) epochLoop() {
	pause := newBackoff(g.cfg.MaxBackoff)
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.epochWake:
		}
		list := g.evictions()
		if len(list) == 0 || g.cfg.Evicted == nil {
			continue
		}
		err := g.cfg.Evicted(g.ctx, list)
		if err == nil {
			pause.reset()
			continue
		}
		level.Warn(g.logger).Log("msg", "raise the epoch after an eviction; trying again", "epoch", len(list), "err", err)
		if !pause.wait(g.ctx, nil) {
			return
		}
		notify(g.epochWake)
	}
}

// evictedKey is where the roster keeps who was evicted.
const evictedKey = "self/evicted"

func (r *roster) loadEvictions() error {
	b, err := r.store.PeerRecord(evictedKey)
	if err != nil {
		return fmt.Errorf("read evictions: %w", err)
	}
	list := &EvictedList{}
	if err := proto.Unmarshal(b, list); err != nil {
		return fmt.Errorf("decode evictions: %w", err)
	}
	for _, e := range list.GetEvicted() {
		r.evicted[crdt.Origin(e.GetOrigin())] = e
	}
	return nil
}

// evictions returns all that were evicted, in an order that is the same everywhere.
func (r *roster) evictions() []*Evicted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.allEvicted()
}

func (r *roster) allEvicted() []*Evicted {
	var list []*Evicted
	for _, o := range slices.Sorted(maps.Keys(r.evicted)) {
		list = append(list, r.evicted[o])
	}
	return list
}

// evict remembers, durably, that incarnations were evicted, and returns those that
// are new.
func (r *roster) evict(list []*Evicted) (fresh []*Evicted, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.evicted)
	for _, e := range list {
		if o := crdt.Origin(e.GetOrigin()); o != 0 && all[o] == nil {
			all[o] = e
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil, nil
	}
	if len(all) > maxEvictions {
		return nil, fmt.Errorf("%w: more than %d evictions", causal.ErrProtocol, maxEvictions)
	}
	old := r.evicted
	r.evicted = all
	b, err := proto.Marshal(&EvictedList{Evicted: r.allEvicted()})
	if err == nil {
		err = r.store.SetPeerRecord(evictedKey, b)
	}
	if err != nil {
		r.evicted = old
		return nil, fmt.Errorf("write evictions: %w", err)
	}
	return fresh, nil
}
