package mailstore

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
)

// replayWindow is how far apart the dates are, in seconds, on which a message was
// saved by a command and by its replay elsewhere.
const replayWindow = 10 * 60

// plan is what is to be done so that an account has what an evicted replica did to
// it and nobody heard of. It compares two states, the evicted one's and ours, as
// a snapshot is loaded (crdt.md 6.3): what only one of them has was removed at the
// other if the other's vector contains its addition. Nothing is taken from the
// log, of which the beginning may be gone. What the evicted one had not seen it
// does not touch.
type plan struct {
	old, here *remainder
	evicted   map[crdt.Origin]bool
	since     map[crdt.Slot]crdt.Time // see Remains.since
	careful   bool                    // the evicted one's account is not whole: nothing is removed
	// same reports whether a content of the evicted one has the same bytes as one here.
	same func(old, here crdt.Root) (bool, error)

	boxes     []*crdt.Mailbox // to be there, those above others first
	renames   []*crdt.Mailbox // to get the name that they have there, those above others first
	flags     []flagWish
	adds      []addition // in the order in which they were added
	removals  []crdt.Instance
	deletions []crdt.DeleteMailbox
	uses      []*crdt.Mailbox // to get the special use that they have there
	subs      []crdt.Subscribe
	notes     []crdt.Annotated
	ends      []crdt.Tag // of each evicted replica, behind all that it did to the account

	elsewhere int // messages that are here by what others did at the same time

	strangers map[crdt.Root][]placed // messages here that the evicted one did not know
	bySize    map[uint64][]placed    // of these the ones with contents that it did not know
	sources   map[crdt.Root][]placed // messages here that it has removed
}

// addition is a message that is to be added, or moved from where it is here.
type addition struct {
	placed
	from *placed
}

// flagWish is a flag that the evicted replica set or removed at a time.
type flagWish struct {
	at   crdt.Instance
	flag string
	on   bool
	time crdt.Time
}

// lacks reports whether others lack an operation of an evicted replica that the
// old account has.
func (p *plan) lacks(d crdt.Dot) bool { return p.evicted[d.Origin] && !p.here.Vector.Has(d) }

// ahead reports whether there is anything to do: an evicted replica did something
// to the account that others lack, and that was not recovered.
func ahead(old, here *crdt.Account, evicted map[crdt.Origin]bool) bool {
	return slices.ContainsFunc(old.Vector, func(d crdt.Dot) bool {
		return evicted[d.Origin] && !here.Vector.Has(d) && !here.HasRecovered(endOf(d))
	})
}

// endOf is behind everything that an operation and those before it have added.
func endOf(d crdt.Dot) crdt.Tag { return crdt.Tag{Origin: d.Origin, N: d.N, Index: 1<<32 - 1} }

// make fills in what is to be done.
func (p *plan) make() error {
	p.index()
	if err := p.addMessages(); err != nil {
		return err
	}
	p.changeFlags()
	p.removeMessages()
	p.changeMailboxes()
	p.changeNames()
	for _, d := range p.old.Vector {
		if p.lacks(d) {
			p.ends = append(p.ends, endOf(d))
		}
	}
	return nil
}

func (p *plan) index() {
	p.strangers, p.sources = make(map[crdt.Root][]placed), make(map[crdt.Root][]placed)
	p.bySize = make(map[uint64][]placed)
	known := make(map[crdt.Root]bool, len(p.old.messages))
	for _, m := range p.old.messages {
		known[m.Root] = true
	}
	for _, tag := range slices.SortedFunc(maps.Keys(p.here.messages), crdt.Tag.Compare) {
		m := p.here.messages[tag]
		if !p.old.Vector.Has(tag.Dot()) {
			p.strangers[m.Root] = append(p.strangers[m.Root], m)
			if !known[m.Root] {
				p.bySize[m.Size] = append(p.bySize[m.Size], m)
			}
		} else if _, there := p.old.messages[tag]; !there {
			p.sources[m.Root] = append(p.sources[m.Root], m)
		}
	}
}

// addMessages finds the messages that only the evicted replica has added.
func (p *plan) addMessages() error {
	for _, tag := range slices.SortedFunc(maps.Keys(p.old.messages), crdt.Tag.Compare) {
		m := p.old.messages[tag]
		if !p.lacks(tag.Dot()) {
			continue
		}
		if done, ok := m.Cause.Recovers(); p.here.HasRecovered(tag) || ok && p.here.HasRecovered(done) {
			takeFirst(p.strangers, m.Root, anyone) // it is there, or has gone since
			continue
		}
		if m.Exp == 0 && m.Refused == 0 && !m.Held {
			continue // it was hidden behind a twin
		}
		from := p.source(m)
		is, err := from == nil && p.isElsewhere(m), error(nil)
		if from == nil && !is {
			is, err = p.isReplayed(m)
		}
		switch {
		case err != nil:
			return err
		case is:
			p.elsewhere++
		default:
			p.adds = append(p.adds, addition{m, from})
		}
	}
	return nil
}

// takeFirst takes the first message under a key for which ok is true out of a list.
func takeFirst[K comparable](list map[K][]placed, key K, ok func(placed) bool) (placed, bool) {
	i := slices.IndexFunc(list[key], ok)
	if i < 0 {
		return placed{}, false
	}
	m := list[key][i]
	list[key] = slices.Delete(list[key], i, i+1)
	return m, true
}

func anyone(placed) bool { return true }

// source returns the message here that was moved to become m: the one that it was,
// or, after several moves, one of that content that was removed there.
func (p *plan) source(m placed) *placed {
	if m.Src.IsZero() {
		return nil
	}
	from, ok := takeFirst(p.sources, m.Root, func(s placed) bool { return s.Tag == m.Src })
	if !ok && !p.careful {
		from, ok = takeFirst(p.sources, m.Root, anyone)
	}
	if !ok {
		return nil
	}
	return &from
}

// isElsewhere reports whether m was moved at the evicted replica and, at the same
// time, moved or copied here: then it stays where it is here.
func (p *plan) isElsewhere(m placed) bool {
	if m.Src.IsZero() {
		return false
	}
	_, ok := takeFirst(p.strangers, m.Root, anyone)
	return ok
}

// isReplayed reports whether the command that added m was done here too: its
// session lost the replica before the answer came, and went on here (crdt.md 2.3).
// What is remembered of that may be forgotten by now. But a message of the same
// bytes was saved here at about the same time, for each such one. If the client has
// removed it since, m is added again: too much rather than too little.
func (p *plan) isReplayed(m placed) (bool, error) {
	if m.Cause.IsZero() {
		return false, nil
	}
	near := func(s placed) bool { return max(s.Saved-m.Saved, m.Saved-s.Saved) <= replayWindow }
	if m.Copied {
		_, ok := takeFirst(p.strangers, m.Root, func(s placed) bool { return s.box == m.box && near(s) })
		return ok, nil
	}
	var failed error
	_, ok := takeFirst(p.bySize, m.Size, func(s placed) bool {
		if failed != nil || !near(s) {
			return false
		}
		same, err := p.same(m.Root, s.Root)
		failed = err
		return same
	})
	return ok, failed
}

// changeFlags finds the flags that only the evicted replica has changed, of
// messages that are here: a flag is as whoever changed it last wanted it.
func (p *plan) changeFlags() {
	for _, tag := range slices.SortedFunc(maps.Keys(p.old.messages), crdt.Tag.Compare) {
		m := p.old.messages[tag]
		if here, ok := p.here.messages[tag]; ok {
			p.changeFlagsOf(here, m.Message, 0, p.isOld)
			continue
		}
		if p.lacks(tag.Dot()) || p.careful {
			continue
		}
		// Others have moved it on: what was done to it there since then counts.
		for _, s := range p.strangers[m.Root] {
			if s.Src == tag || s.Src.IsZero() && !s.Copied && len(p.strangers[m.Root]) == 1 {
				p.changeFlagsOf(s, m.Message, 0, func(t crdt.Time) bool { return !p.isOwn(t) })
			}
		}
	}
	for i := range p.adds {
		if a := &p.adds[i]; a.from != nil {
			// A move keeps the flags that are set, and no register of others.
			p.changeFlagsOf(*a.from, a.Message, a.SrcTime, p.isOld)
		}
	}
}

// changeFlagsOf compares the flags of a message there and here. Those of which
// nothing is known there were off at the given time. What was set when skip says
// so does not count.
func (p *plan) changeFlagsOf(here placed, there *crdt.Message, off crdt.Time, skip func(crdt.Time) bool) {
	seen := make(map[string]bool)
	for _, list := range [][]crdt.Flag{there.Flags, here.Flags} {
		for _, f := range list {
			key := strings.ToLower(f.Name)
			if seen[key] {
				continue
			}
			seen[key] = true
			t, on := flagOf(there, f.Name, off)
			if was, is := flagOf(here.Message, f.Name, 0); t > was && on != is && !skip(t) {
				p.flags = append(p.flags, flagWish{here.at(), f.Name, on, t})
			}
		}
	}
}

// isOld reports whether others know what happened at a time.
func (p *plan) isOld(t crdt.Time) bool {
	since, ok := p.since[t.Slot()]
	return ok && t < since
}

// isOwn reports whether an evicted replica did what happened at a time, and others
// do not know it.
func (p *plan) isOwn(t crdt.Time) bool {
	since, ok := p.since[t.Slot()]
	return ok && t >= since
}

// flagOf returns whether a flag is set, and since when.
func flagOf(m *crdt.Message, name string, off crdt.Time) (crdt.Time, bool) {
	for _, f := range m.Flags {
		if strings.EqualFold(f.Name, name) && f.Time >= m.Base {
			return f.Time, f.On
		}
	}
	return max(m.Base, off), false
}

// removeMessages finds what the evicted replica has seen and removed. Sources of
// moves are gone from the list.
func (p *plan) removeMessages() {
	if p.careful {
		return
	}
	for _, list := range p.sources {
		for _, m := range list {
			p.removals = append(p.removals, m.at())
		}
	}
	slices.SortFunc(p.removals, crdt.Instance.Compare)
}

// changeMailboxes finds the mailboxes that only the evicted replica has created,
// renamed or deleted.
func (p *plan) changeMailboxes() {
	for _, id := range slices.Sorted(maps.Keys(p.old.boxes)) {
		b, here := p.old.boxes[id], p.here.boxes[id]
		switch {
		case here == nil || !here.Live():
			if b.Live() && slices.ContainsFunc(b.Dots, p.lacks) {
				p.boxes = append(p.boxes, b)
			}
			continue
		case b.Live():
			if b.Name.Time > here.Name.Time && b.Name.Value != here.Name.Value {
				p.renames = append(p.renames, b)
			}
			if b.SpecialUse.Time > here.SpecialUse.Time && b.SpecialUse.Value != here.SpecialUse.Value {
				p.uses = append(p.uses, b)
			}
			continue
		}
		var dots []crdt.Dot
		for _, d := range here.Dots {
			if d.Origin == 0 && p.old.Provisioned || d.Origin != 0 && p.old.Vector.Has(d) {
				dots = append(dots, d)
			}
		}
		if len(dots) > 0 && !p.careful {
			p.deletions = append(p.deletions, crdt.DeleteMailbox{ID: id, Dots: dots})
		}
	}
	above := func(a, b *crdt.Mailbox) int {
		return cmp.Or(cmp.Compare(len(a.Name.Value), len(b.Name.Value)), strings.Compare(a.Name.Value, b.Name.Value))
	}
	slices.SortFunc(p.boxes, above)
	slices.SortFunc(p.renames, above)
}

// changeNames finds the subscriptions and annotations that only the evicted
// replica has changed.
func (p *plan) changeNames() {
	for _, name := range slices.Sorted(maps.Keys(p.old.subs)) {
		if r, here := p.old.subs[name], p.here.subs[name]; r.Time > here.Time && r.Value != here.Value {
			p.subs = append(p.subs, crdt.Subscribe{Name: name, On: r.Value})
		}
	}
	for of, r := range p.old.notes {
		if here := p.here.notes[of]; r.Time > here.Time && r.Value != here.Value {
			p.notes = append(p.notes, crdt.Annotated{Of: of, Value: r.Value})
		}
	}
	slices.SortFunc(p.notes, func(a, b crdt.Annotated) int {
		return cmp.Or(cmp.Compare(a.Of.Box, b.Of.Box), strings.Compare(a.Of.Entry, b.Of.Entry))
	})
}
