package comm

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// errRefused is wrapped by what a handshake finds wrong with the other side.
var errRefused = errors.New("refused")

// roster is what this replica remembers of its peers: who they are, which slots
// they have, and how far their own operations went. It is kept in the peer
// records of the Store: one under each peer's name, and one for each slot that
// was ever taken, under "slot/N", so that the slot of a peer that left the
// configuration is not given away. It is safe for concurrent use.
type roster struct {
	store Store
	cfg   Config

	mu    sync.Mutex
	peers map[string]*Record
	slots map[uint32]*Record
	dirty map[string]bool // peers whose record is not all on disk yet

	evicted map[crdt.Origin]*Evicted
}

func newRoster(store Store, cfg Config) (*roster, error) {
	r := &roster{store: store, cfg: cfg, peers: map[string]*Record{}, slots: map[uint32]*Record{}, dirty: map[string]bool{}, evicted: map[crdt.Origin]*Evicted{}}
	for _, p := range cfg.Peers {
		rec, err := r.load(p.Name)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			r.peers[p.Name] = rec
		}
	}
	for slot := uint32(1); slot <= uint32(crdt.MaxSlot); slot++ {
		rec, err := r.load(slotKey(slot))
		if err != nil {
			return nil, err
		}
		if rec != nil {
			r.slots[slot] = rec
		}
	}
	if err := r.loadEvictions(); err != nil {
		return nil, err
	}
	if rec := r.slots[uint32(store.Slot())]; rec != nil && r.evicted[crdt.Origin(rec.GetOrigin())] == nil {
		return nil, fmt.Errorf("slot %d of %q belongs to %q (incarnation %s): configure another one",
			store.Slot(), cfg.Name, rec.GetName(), crdt.Origin(rec.GetOrigin()))
	}
	return r, nil
}

func slotKey(slot uint32) string { return fmt.Sprintf("slot/%d", slot) }

// Keys of what a replica remembers of itself; no peer has such a name.
const (
	joinedKey = "self/joined"  // it has caught up with the subnet once
	fillKey   = "self/missing" // contents may be missing here
	loadKey   = "self/loading" // whose accounts are loaded, by name
	leftKey   = "self/left"    // accounts that nobody gave then
)

// note remembers that something is so, or is not.
func (r *roster) note(key string, is bool) error {
	rec := &Record{}
	if is {
		rec.Confirmed = uint64(r.store.Origin())
	}
	return r.put(key, rec)
}

func (r *roster) noted(key string) (bool, error) {
	rec, err := r.load(key)
	return rec.GetConfirmed() == uint64(r.store.Origin()) && err == nil, err
}

func (r *roster) load(key string) (*Record, error) {
	b, err := r.store.PeerRecord(key)
	if err != nil {
		return nil, fmt.Errorf("read record of %q: %w", key, err)
	}
	if b == nil {
		return nil, nil
	}
	rec := &Record{}
	if err := proto.Unmarshal(b, rec); err != nil {
		return nil, fmt.Errorf("decode record of %q: %w", key, err)
	}
	return rec, nil
}

func (r *roster) put(key string, rec *Record) error {
	b, err := proto.Marshal(rec)
	if err == nil {
		err = r.store.SetPeerRecord(key, b)
	}
	if err != nil {
		return fmt.Errorf("write record of %q: %w", key, err)
	}
	return nil
}

// confirmed reports whether a peer has ever confirmed this incarnation's slot.
func (r *roster) confirmed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range r.peers {
		if rec.GetConfirmed() == uint64(r.store.Origin()) {
			return true
		}
	}
	return false
}

// memory is what was known of a peer at one moment.
type memory struct {
	here   crdt.VC // what was logged here
	record *Record // nil if there was none

	told   crdt.VC     // what the peer had told to have
	teller crdt.Origin // the incarnation that did
}

// toldBy returns what an incarnation had told to have.
func (m memory) toldBy(origin crdt.Origin) crdt.VC {
	if origin != m.teller {
		return nil
	}
	return m.told
}

// of returns the last known operation of an incarnation.
func (m memory) of(origin crdt.Origin) uint64 {
	n := m.here.Get(origin)
	if m.record.GetOrigin() == uint64(origin) {
		n = max(n, m.record.GetHighest())
	}
	return n
}

// record returns what is remembered of a peer, nil if nothing.
func (r *roster) record(name string) *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers[name]
}

// admit checks a hello, with the vector in it, against what is remembered and
// remembers it. known is what was known before the peer can have written the
// hello, as far as that is possible: operations that overtake their origin's
// hello do not make it stale. An error that wraps [causal.ErrStale] means that
// the peer's data are older than what is known of it.
func (r *roster) admit(h *Hello, logged crdt.VC, known memory) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	origin := crdt.Origin(h.GetOrigin())
	rec := r.peers[h.GetName()]
	if err := r.checkIdentity(h, rec, known.here); err != nil {
		return err
	}
	has := logged.Get(origin)
	if n := known.of(origin); has < n {
		return fmt.Errorf("%w: %q has %d operations of its incarnation %s, but %q knows of %d",
			causal.ErrStale, h.GetName(), has, origin, r.cfg.Name, n)
	}
	if o, n := firstLost(known.toldBy(origin), logged); n > 0 {
		return fmt.Errorf("%w: %q has %d operations of %s, but has told %q of %d",
			causal.ErrStale, h.GetName(), logged.Get(o), o, r.cfg.Name, n)
	}
	next := &Record{Name: h.GetName(), Origin: h.GetOrigin(), Slot: h.GetSlot(), Highest: has}
	if rec.GetOrigin() == h.GetOrigin() {
		next.Highest = max(has, rec.GetHighest())
		next.Confirmed = rec.GetConfirmed()
		next.Sure, next.Beyond, next.Epoch = rec.GetSure(), rec.GetBeyond(), rec.GetEpoch()
	}
	if proto.Equal(rec, next) {
		return nil
	}
	if err := r.put(slotKey(h.GetSlot()), next); err != nil {
		return err
	}
	if err := r.put(h.GetName(), next); err != nil {
		return err
	}
	r.peers[h.GetName()], r.slots[h.GetSlot()] = next, next
	return nil
}

// firstLost returns an origin of whose operations, n in number, some are in told
// and not in logged; 0 if there is none.
func firstLost(told, logged crdt.VC) (o crdt.Origin, n uint64) {
	for o, n := range told.All() {
		if n > logged.Get(o) {
			return o, n
		}
	}
	return 0, 0
}

// checkIdentity refuses a clash of slots or incarnations. rec is what is
// remembered of the peer's name.
func (r *roster) checkIdentity(h *Hello, rec *Record, here crdt.VC) error {
	origin := crdt.Origin(h.GetOrigin())
	own := r.store.Origin()
	switch {
	case r.evicted[origin] != nil:
		return fmt.Errorf("%w: incarnation %s of %q, as its members have told each other: it must start with an empty directory; what it had alone comes back by plutoctl member recover",
			ErrEvicted, origin, h.GetName())
	case origin == 0 || h.GetSlot() == 0 || h.GetSlot() > uint32(crdt.MaxSlot):
		return fmt.Errorf("%w: %q has incarnation %s and slot %d", errRefused, h.GetName(), origin, h.GetSlot())
	case origin == own:
		return fmt.Errorf("%w: %q and %q have the same incarnation %s: the data directory of one is a copy of the other's; start one of them with an empty directory",
			errRefused, r.cfg.Name, h.GetName(), own)
	case h.GetSlot() == uint32(r.store.Slot()):
		return fmt.Errorf("%w: slot %d is claimed by %q (incarnation %s) and by %q (incarnation %s): give one of them another slot",
			errRefused, h.GetSlot(), r.cfg.Name, own, h.GetName(), origin)
	}
	before := crdt.Origin(rec.GetOrigin())
	replaced := before != 0 && (crdt.Origin(h.GetReplaces()) == before || r.evicted[before] != nil)
	if rec != nil && before != origin && !replaced {
		return fmt.Errorf("%w: %q was incarnation %s (slot %d, operations up to %d) and is now %s: an empty disk, or another one. Put the old data back; if they are lost for ever, declare once that the new incarnation replaces %s",
			errRefused, h.GetName(), before, rec.GetSlot(), max(rec.GetHighest(), here.Get(before)), origin, before)
	}
	if rec != nil && before == origin && rec.GetSlot() != h.GetSlot() {
		return fmt.Errorf("%w: %q (incarnation %s) had slot %d and has %d now: a slot stays with its incarnation",
			errRefused, h.GetName(), origin, rec.GetSlot(), h.GetSlot())
	}
	if s := r.slots[h.GetSlot()]; s != nil && s.GetOrigin() != h.GetOrigin() && r.evicted[crdt.Origin(s.GetOrigin())] == nil && !(replaced && s.GetOrigin() == rec.GetOrigin()) {
		return fmt.Errorf("%w: slot %d belongs to %q (incarnation %s) and is claimed by %q (incarnation %s): give the newer one another slot",
			errRefused, h.GetSlot(), s.GetName(), crdt.Origin(s.GetOrigin()), h.GetName(), origin)
	}
	return nil
}

// confirm notes that a peer has confirmed this incarnation's slot.
func (r *roster) confirm(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.peers[name]
	if rec == nil || rec.GetConfirmed() == uint64(r.store.Origin()) {
		return nil
	}
	next := proto.Clone(rec).(*Record)
	next.Confirmed = uint64(r.store.Origin())
	if err := r.put(name, next); err != nil {
		return err
	}
	r.peers[name] = next
	return nil
}

// heard notes how far a peer's own operations go. It is written to disk by save.
func (r *roster) heard(name string, origin crdt.Origin, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.peers[name]
	if rec == nil || rec.GetOrigin() != uint64(origin) || rec.GetHighest() >= n {
		return
	}
	next := proto.Clone(rec).(*Record)
	next.Highest = n
	r.peers[name] = next
	r.dirty[name] = true
}

// sure notes what a peer has surely applied, whether it is behind the log's cut,
// and in which epoch. It is written to disk by save.
func (r *roster) sure(name string, origin crdt.Origin, v crdt.VC, beyond bool, epoch int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.peers[name]
	if rec == nil || len(v) == 0 || rec.GetOrigin() != uint64(origin) {
		return
	}
	b := v.AppendBinary(nil)
	if bytes.Equal(b, rec.GetSure()) && rec.GetBeyond() == beyond && int(rec.GetEpoch()) == epoch {
		return
	}
	next := proto.Clone(rec).(*Record)
	next.Sure, next.Beyond, next.Epoch = b, beyond, uint32(epoch)
	r.peers[name] = next
	r.dirty[name] = true
}

// save writes what heard and sure have noted.
func (r *roster) save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.dirty {
		if err := r.put(name, r.peers[name]); err != nil {
			return err
		}
		delete(r.dirty, name)
	}
	return nil
}
