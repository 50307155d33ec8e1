package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// Past is what a session was shown of its account and wrote to it, on all replicas
// where it was: what another one has to have applied before it goes on with it.
type Past struct {
	Shown crdt.VC // operations of the account that were shown
	Wrote crdt.VC // of each replica the last operation of this session itself
}

// AppendBinary appends the encoding of s.
func (s Past) AppendBinary(b []byte) []byte {
	b = append(b, byte(len(s.Wrote)))
	for _, d := range s.Wrote {
		b = binary.BigEndian.AppendUint64(b, uint64(d.Origin))
		b = binary.BigEndian.AppendUint64(b, d.N)
	}
	return s.Shown.AppendBinary(b)
}

const (
	dotLen   = 16
	maxWrote = 255 // replicas that a session may have written at
)

// ParsePast reads what AppendBinary wrote; nothing is the zero Past.
func ParsePast(b []byte) (s Past, err error) {
	if len(b) == 0 {
		return s, nil
	}
	n := int(b[0])
	if b = b[1:]; len(b) < n*dotLen {
		return s, fmt.Errorf("what a session has seen: %w", errCorrupt)
	}
	for ; n > 0; n-- {
		s.Wrote.Add(crdt.Dot{Origin: crdt.Origin(binary.BigEndian.Uint64(b)), N: binary.BigEndian.Uint64(b[8:])})
		b = b[dotLen:]
	}
	s.Shown, err = crdt.DecodeVC(b)
	return s, err
}

// Vector returns, encoded, the operations of the account that this session
// wrote or was shown.
func (s *Account) Vector() []byte {
	p := &s.a.publisher
	p.pub.Lock()
	defer p.pub.Unlock()
	return p.shown.AppendBinary(nil)
}

// Past returns, encoded, what another replica has to have to go on with the
// session from here ([ParsePast]).
func (s *Account) Past() []byte {
	p := &s.a.publisher
	p.pub.Lock()
	defer p.pub.Unlock()
	return Past{Shown: p.shown, Wrote: s.wrote}.AppendBinary(make([]byte, 0, 128))
}

// CatchUp returns when this replica shows all that a session has seen elsewhere,
// or with an error when ctx ends. It is called before anything else, for a session
// that has moved here.
func (s *Account) CatchUp(ctx context.Context, seen Past) error {
	s.wrote = seen.Wrote.Clone()
	for {
		p := &s.a.publisher
		p.pub.Lock()
		if seen.Shown.LessEqual(p.shown) {
			p.pub.Unlock()
			return nil
		}
		if p.news == nil {
			p.news = make(chan struct{})
		}
		news := p.news
		p.pub.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("%w: this replica lacks changes that the session has seen: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// Has reports whether all that the session itself wrote is here.
func (s *Account) Has(seen Past) bool {
	p := &s.a.publisher
	p.pub.Lock()
	defer p.pub.Unlock()
	return seen.Wrote.LessEqual(p.shown)
}

// noteWritten remembers an own operation as the session's last one here.
func (s *Account) noteWritten(c *commit) {
	if c != nil && len(c.dots) > 0 {
		s.noteMade(crdt.Dot{Origin: s.a.r.self.Origin, N: c.own})
	}
}

// noteMade remembers an operation as one of the session's, wherever it was made.
func (s *Account) noteMade(d crdt.Dot) {
	if was := s.wrote.Get(d.Origin); was < d.N && (was > 0 || len(s.wrote) < maxWrote) {
		s.wrote = s.wrote.With(d.Origin, d.N)
	}
}

// Told is what a client knows of the mailbox that it has selected.
type Told struct {
	ID          crdt.MailboxID
	Name        string
	ReadOnly    bool
	UIDValidity uint32
	UIDNext     uint32
	High        crdt.Time  // the largest MODSEQ that it was told, by whichever replica
	Flags       crdt.Time  // the flags of all changes up to this MODSEQ it knows; 0: of none
	Past        Past       // of all changes here too
	UIDs        []UIDRange // of the messages, rising
}

// maxStrays is how many messages get another UID because a session came that did
// not know them.
const maxStrays = 10000

// Resume opens a mailbox for a client that has it selected at another replica, and
// returns the picture that the client has: its messages, each with the UID that it
// knows. Messages that changed since, or may have, differ from those in the
// mailbox's View; those that are not here under their UID are in the picture all
// the same. What the client was not told of has a UID above UIDNext in View, if
// necessary another one than before (crdt.md 4.3). ErrNonexistent: the mailbox is
// gone, or what the client knows of it holds no more.
func (s *Account) Resume(ctx context.Context, told Told) (*Mailbox, *View, error) {
	m := &Mailbox{s: s, name: told.Name, readOnly: told.ReadOnly, changed: make(chan struct{}, 1)}
	view, err := s.resume(ctx, m, &told)
	if err != nil {
		m.close()
		return nil, nil, fmt.Errorf("resume %q: %w", told.Name, err)
	}
	s.selects[m] = struct{}{}
	return m, view, nil
}

func (s *Account) resume(ctx context.Context, m *Mailbox, told *Told) (*View, error) {
	if err := s.admit(ctx, m, told); err != nil {
		return nil, err
	}
	var view *View
	err := s.tell(ctx, func(t *tx) (err error) {
		floor := t.a.r.floor(told.High)
		var above crdt.Time
		if !floor.Own {
			above = t.a.r.observe(told.High)
		}
		if err := t.mayTell(told.ID, above); err != nil {
			return err
		}
		latest, err := t.announceAbove(m.box, told.High, above)
		if err != nil {
			return err
		}
		view, err = t.picture(latest, told, s.session)
		return err
	})
	return view, err
}

// admit opens the mailbox, raises the horizon over what the client was told, and
// gives what lies below it and is unknown to the client other UIDs.
func (s *Account) admit(ctx context.Context, m *Mailbox, told *Told) error {
	return s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		b, err := t.Mailbox(told.ID)
		if err != nil {
			return nil, err
		}
		if b == nil || !b.Live() || b.UIDValidity() != told.UIDValidity {
			return nil, ErrNonexistent
		}
		next := crdt.NewUID(b.Era(), told.UIDNext)
		if err := t.site().Shown(b.ID, next); err != nil {
			return nil, err
		}
		if m.box == nil {
			if err := t.attach(m, b.ID); err != nil {
				return nil, err
			}
			m.validity = b.Validity()
		}
		strays, err := strays(m.box.head, next, told.UIDs)
		if err != nil || len(strays) == 0 {
			return nil, err
		}
		return t.site().PrepareReissue(b.ID, strays)
	}, nil)
}

// strays returns the messages of a view below next that are not among the UIDs.
func strays(v *View, next crdt.UID, known []UIDRange) ([]crdt.Tag, error) {
	var out []crdt.Tag
	var m Message
	end, _ := v.Find(next)
	for _, r := range unknown(v, end, known) {
		for i := r[0]; i < r[1]; i++ {
			if len(out) == maxStrays {
				return nil, fmt.Errorf("%w: a session knows too little of what is here", ErrUnavailable)
			}
			v.At(i, &m)
			out = append(out, m.Tag)
		}
	}
	return out, nil
}

// unknown returns the places of v below end whose UIDs are not within ranges,
// which rise.
func unknown(v *View, end int, ranges []UIDRange) (out [][2]int) {
	at := 0
	for _, r := range ranges {
		from, _ := v.Find(crdt.NewUID(v.Era(), r.First))
		to, _ := v.Find(crdt.NewUID(v.Era(), r.Last) + 1)
		if from = min(from, end); from > at {
			out = append(out, [2]int{at, from})
		}
		at = max(at, min(to, end))
	}
	if at < end {
		out = append(out, [2]int{at, end})
	}
	return out
}

// picture makes the client's picture of the newest one.
func (t *tx) picture(latest *View, told *Told, session SessionID) (*View, error) {
	var changes []change
	for _, r := range unknown(latest, latest.Len(), told.UIDs) {
		for i := r[0]; i < r[1]; i++ {
			changes = append(changes, change{uid: latest.UIDAt(i), gone: true})
		}
	}
	changes = append(changes, t.unknownChanges(latest, told)...)
	absent, err := t.absentees(latest, told, session)
	if err != nil {
		return nil, err
	}
	next := max(crdt.NewUID(latest.Era(), told.UIDNext), 1)
	return latest.detached().update(append(changes, absent...), next, told.High), nil
}

// detached returns a view whose last chunk shares no room behind it with others:
// update may extend it although it is not the newest.
func (v *View) detached() *View {
	w := *v
	if n := len(v.chunks) - 1; n >= 0 {
		c := v.chunks[n]
		w.chunks = slices.Clone(v.chunks)
		w.chunks[n] = &chunk{uids: slices.Clip(c.uids), fixed: slices.Clip(c.fixed), state: slices.Clip(c.state)}
	}
	return &w
}

// unknownChanges returns the rows, without MODSEQ, of messages whose flags the
// client may not know.
func (t *tx) unknownChanges(latest *View, told *Told) []change {
	var out []change
	add := func(c *chunk, j int) {
		r := c.row(j)
		r.mod = 0
		if i, ok := slices.BinarySearchFunc(told.UIDs, r.uid.Number(), func(r UIDRange, n uint32) int {
			switch {
			case r.Last < n:
				return -1
			case r.First > n:
				return 1
			}
			return 0
		}); ok && i < len(told.UIDs) {
			out = append(out, change{uid: r.uid, row: r})
		}
	}
	targets, ok := t.flagged(told)
	if ok && len(targets) == 0 {
		return nil
	}
	floor := crdt.Time(0)
	if !ok {
		floor = t.a.r.floor(told.Flags).Time
	}
	for _, c := range latest.chunks {
		for j := range c.state {
			tag := crdt.Tag{Origin: c.fixed[j].origin, N: c.fixed[j].n, Index: c.fixed[j].index}
			if ok && targets[tag] || !ok && c.state[j].mod > floor {
				add(c, j)
			}
		}
	}
	return out
}

// maxNews is how many entries of the log are looked at for what a session has not
// been told of.
const maxNews = 5000

// flagged returns the messages of the mailbox whose flags were changed by
// operations that are applied here and that the client has not been told of;
// false: the log does not say. That it is damaged is no damage to the account.
func (t *tx) flagged(told *Told) (map[crdt.Tag]bool, bool) {
	a := t.a
	if told.Past.Shown == nil || a.loading != nil {
		return nil, false
	}
	targets, left := map[crdt.Tag]bool{}, maxNews
	for _, d := range a.rec.Vector {
		from := told.Past.Shown.Get(d.Origin) + 1
		if from > d.N {
			continue
		}
		if left -= int(min(d.N-from+1, maxNews+1)); left < 0 || a.r.logCut(d.Origin) >= from {
			return nil, false
		}
		n, legible := from, true
		err := a.r.eachLogged(d.Origin, from, d.N, func(d crdt.Dot, entry []byte) (_ bool, err error) {
			n++
			legible, err = a.flags(d, entry, told.ID, targets)
			return legible, err
		})
		if err != nil && !errors.Is(err, ErrCut) {
			a.r.warn("cannot read in the log what a session was not told of; see plutoctl verify", err)
		}
		if err != nil || !legible || n <= d.N {
			return nil, false
		}
	}
	return targets, true
}

// flags adds the messages of a mailbox whose flags an operation changes that is in the
// log, if it is one of this account. It reports whether it could be read.
func (a *account) flags(d crdt.Dot, entry []byte, box crdt.MailboxID, targets map[crdt.Tag]bool) (bool, error) {
	_, data, err := cutLogEntry(d, entry)
	if err != nil {
		return false, err
	}
	if id, err := crdt.AccountOf(data); err != nil || id != a.id {
		return err == nil, nil
	}
	op, err := crdt.DecodeOp(data)
	if err != nil {
		return false, nil
	}
	if p, ok := op.Payload.(*crdt.Store); ok {
		for _, i := range p.Targets {
			if i.Box == box {
				targets[i.Tag] = true
			}
		}
	}
	return true, nil
}

// absentees returns rows for the UIDs of a client that denote nothing here: with
// the message that it means, where that is known, so that commands reach it.
func (t *tx) absentees(latest *View, told *Told, session SessionID) ([]change, error) {
	missing := latest.without(told.UIDs)
	if len(missing) == 0 {
		return nil, nil
	}
	meant, err := t.meant(latest, told.ID, session)
	if err != nil {
		return nil, err
	}
	var out []change
	for _, r := range missing {
		for n := r.First; ; n++ {
			uid := crdt.NewUID(latest.Era(), n)
			row := meant[uid]
			row.uid, row.mod = uid, 0
			out = append(out, change{uid: uid, row: row})
			if n == r.Last {
				break
			}
		}
	}
	return out, nil
}

// meant returns what UIDs denoted that denote nothing here now: messages that
// have another UID, and those that this session has moved away.
func (t *tx) meant(latest *View, id crdt.MailboxID, session SessionID) (map[crdt.UID]row, error) {
	out := map[crdt.UID]row{}
	list, err := t.recordsOf(session)
	if err != nil {
		return nil, err
	}
	for i := range list {
		for _, s := range list[i].sources {
			if s.uid != 0 {
				out[s.uid] = row{fixedRow: fixedRow{origin: s.tag.Origin, n: s.tag.N, index: s.tag.Index}}
			}
		}
	}
	var changed, gone []crdt.UID
	if err := t.several(id, &changed, &gone); err != nil {
		return nil, err
	}
	for _, uid := range changed {
		i, ok := latest.Find(uid)
		if !ok {
			continue
		}
		c, j := latest.locate(i)
		r := c.row(j)
		e, err := t.message(crdt.Instance{Box: id, Tag: crdt.Tag{Origin: r.origin, N: r.n, Index: r.index}})
		if err != nil || e.m == nil {
			return nil, errors.Join(err, errCorrupt)
		}
		for _, old := range e.m.All {
			out[old] = r
		}
	}
	return out, nil
}
