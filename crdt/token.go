package crdt

import "maps"

// MaxAhead is how far, in milliseconds, a client's MODSEQ may be ahead of the
// clock and still be believed (crdt.md 4.2).
const MaxAhead = 60 * 60 * 1000

// Floor is what a replica makes of a MODSEQ that a client has: the client knows
// all that changed here with a MODSEQ up to Time. 0 means that nothing is certain:
// the client is to be told everything.
type Floor struct {
	Time Time
	// Own says that the MODSEQ was given here, and is exact. For that of another
	// replica the UIDs of messages that ever had several must be told anyway.
	Own bool
}

// Tokens translates MODSEQs that other replicas gave to clients into own ones
// (crdt.md 4.2). One of them serves all accounts of a replica. It has no I/O
// and no clock; not safe for concurrent use.
//
// A MODSEQ of a peer says what the peer had shown. What it had applied at that
// time follows from its checkpoints: vectors that it told, each with its clock.
// Own checkpoints say which own changes stem from operations in such a vector.
type Tokens struct {
	slot    Slot
	birth   Time
	spacing Spacing
	hidden  int64 // Policy.Hidden
	own     Checkpoints
	peers   map[Slot]*peerHistory
}

// peerHistory is what is known of the present incarnation in a slot.
type peerHistory struct {
	origin Origin
	since  Time // what is older may be about MODSEQs of the incarnation before
	heard  Time // the latest that it told in this life, also where that is no checkpoint
	list   Checkpoints
}

// NewTokens makes the translator of a replica. birth is its clock when its
// incarnation began: older MODSEQs of its slot are another incarnation's.
func NewTokens(self Self, birth Time, s Spacing) *Tokens {
	return &Tokens{
		slot: self.Slot, birth: birth, spacing: s, hidden: self.policy().Hidden,
		peers: make(map[Slot]*peerHistory),
	}
}

// Clone returns an independent copy.
func (k *Tokens) Clone() *Tokens {
	c := *k
	c.own = k.own.Clone()
	c.peers = maps.Clone(k.peers)
	for slot, p := range c.peers {
		q := *p
		q.list = p.list.Clone()
		c.peers[slot] = &q
	}
	return &c
}

// Note takes a checkpoint of this replica: its vector and the last time that its
// clock drew, at one moment between two operations. See [Checkpoints.Add].
func (k *Tokens) Note(c Checkpoint) (kept bool, dropped []Time) { return k.own.Add(c, k.spacing) }

// Birth returns the time before which MODSEQs of the own slot are another incarnation's.
func (k *Tokens) Birth() Time { return k.birth }

// Reborn tells that this incarnation, which serves nobody yet, has the slot of a
// lost one, whose clock may have been an hour ahead of t: MODSEQs up to there are
// not its own.
func (k *Tokens) Reborn(t Time) { k.birth = max(k.birth, t.add(MaxAhead)) }

// LastHeard returns the latest time that the incarnation in a slot is known to
// have told, 0 if none is known.
func (k *Tokens) LastHeard(slot Slot) Time {
	p := k.peers[slot]
	if p == nil {
		return 0
	}
	last, _ := p.list.Last()
	return max(p.heard, last.Time)
}

// Forget drops the own checkpoints: after a snapshot was loaded, changes here no
// longer stem from what the vector said at their time.
func (k *Tokens) Forget() { k.own = Checkpoints{} }

// RestoreOwn makes what was read from a disk the own checkpoints.
func (k *Tokens) RestoreOwn(list []Checkpoint) { k.own.Restore(list) }

// HeardOp takes what the header of a peer's operation says. Only the incarnation
// that is known to hold the slot counts, or the first one that is heard of.
func (k *Tokens) HeardOp(o Origin, c Checkpoint) (kept bool, dropped []Time) {
	p := k.peers[c.Time.Slot()]
	if p == nil {
		p = k.incarnation(c.Time.Slot(), o, 0)
	}
	return k.hear(p, o, c)
}

// HeardPeer takes what a peer said of itself: origin, vector and clock. It is the
// authority on which incarnation holds the slot: changed is true if that is
// another one than before, whose checkpoints are dropped then. The first hour of
// the new one does not count, lest a MODSEQ of the old one, from a clock that was
// ahead, be taken for one of the new.
func (k *Tokens) HeardPeer(o Origin, c Checkpoint) (kept bool, dropped []Time, changed bool) {
	slot := c.Time.Slot()
	p := k.peers[slot]
	switch {
	case p == nil:
		p, changed = k.incarnation(slot, o, 0), true
	case p.origin != o:
		p, changed = k.incarnation(slot, o, c.Time.add(MaxAhead)), true
	}
	kept, dropped = k.hear(p, o, c)
	return kept, dropped, changed
}

// Evicted tells that the incarnation in a slot is gone for ever with what nobody
// else had of it. Nothing is certain any more of clients that come from there: the
// lost operations are none that replicas could tell them about.
func (k *Tokens) Evicted(slot Slot, o Origin) (changed bool) {
	if p := k.peers[slot]; p != nil && (p.origin != o || p.since == maxTime) {
		return false // another one has taken its place, or it is known
	}
	k.incarnation(slot, o, maxTime)
	return true
}

func (k *Tokens) incarnation(slot Slot, o Origin, since Time) *peerHistory {
	p := &peerHistory{origin: o, since: since}
	if slot != k.slot && slot != 0 {
		k.peers[slot] = p
	}
	return p
}

func (k *Tokens) hear(p *peerHistory, o Origin, c Checkpoint) (bool, []Time) {
	if p.origin != o || c.Time.Slot() == k.slot {
		return false, nil
	}
	if p.heard = max(p.heard, c.Time); c.Time < p.since {
		return false, nil
	}
	return p.list.Add(c, k.spacing)
}

// RestorePeer makes what was read from a disk the history of a slot.
func (k *Tokens) RestorePeer(slot Slot, o Origin, since Time, list []Checkpoint) {
	k.incarnation(slot, o, since).list.Restore(list)
}

// Incarnation returns which incarnation holds a slot as far as is known, and
// since when its checkpoints count.
func (k *Tokens) Incarnation(slot Slot) (o Origin, since Time, ok bool) {
	p := k.peers[slot]
	if p == nil {
		return 0, 0, false
	}
	return p.origin, p.since, true
}

// Floor translates a client's MODSEQ. last is the time that the own clock drew
// last, now is Unix milliseconds.
//
// Why it holds: an own change up to the floor stems from an operation that the
// peer had applied Hidden before it gave the MODSEQ, so that the client has been
// shown it by then. Which UID is shown may still differ, but only for messages
// with several.
func (k *Tokens) Floor(t, last Time, now int64) Floor {
	if t.Slot() == k.slot {
		if t < k.birth || t > last {
			return Floor{} // of an incarnation before this one, or of nobody
		}
		return Floor{Time: t, Own: true}
	}
	p := k.peers[t.Slot()]
	if p == nil || !k.Credible(t, now) {
		return Floor{}
	}
	then, ok := p.list.At(t.add(-k.hidden))
	if !ok {
		return Floor{}
	}
	here, _ := k.own.Within(then.Vector)
	return Floor{Time: here.Time}
}

// Credible reports whether a MODSEQ can have been given by somebody: it is not
// more than an hour ahead of the clock, or of what a peer's clock is known to show.
// Only then may the own clock be moved past it.
func (k *Tokens) Credible(t Time, now int64) bool {
	if t <= TimeAt(now, MaxSlot).add(MaxAhead) {
		return true
	}
	if p := k.peers[t.Slot()]; p != nil {
		last, ok := p.list.Last()
		return ok && t <= last.Time
	}
	return false
}

// add returns the time ms milliseconds after t, or before it.
func (t Time) add(ms int64) Time {
	d := ms << (slotBits + counterBits)
	if d < 0 && Time(-d) > t {
		return 0
	}
	return t + Time(d)
}

// Several reports whether clients may know m by a UID that is not the one shown
// here: it has had others in this era, or the one that it shall have is not shown.
func (m *Message) Several() bool {
	if m.Exp != m.Reg {
		return true
	}
	for _, u := range m.All {
		if u != m.Exp && u.Era() == m.Exp.Era() {
			return true
		}
	}
	return false
}
