package imap

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/go-pluto/pluto/imap/wire"
)

// searchContext is a SEARCH or SORT whose client is told when other messages meet
// its criteria than before (RFC 5267 section 4.3). It lasts as long as the mailbox is
// selected.
type searchContext struct {
	tag        string
	uid        bool // the client spoke of UIDs
	program    program
	found      []UID      // of a SEARCH: what meets the criteria, rising
	table      *sortTable // of a SORT: the same
	attributes *fetchArgs // to be told of new results, nil: none
	seen       ModSeq     // up to which changes were looked at
}

// results returns how many messages meet the criteria.
func (x *searchContext) results() int {
	if x.table != nil {
		return len(x.table.sorted)
	}
	return len(x.found)
}

// unused refuses a search that is to be followed if one with its tag is already
// (RFC 5267 section 4.3).
func (b *selection) unused(tag string, answer *findReturn) error {
	if answer.options&findUpdate != 0 && b.context(tag) >= 0 {
		return badSyntax("Tag reuse")
	}
	return nil
}

func (b *selection) context(tag string) int {
	return slices.IndexFunc(b.contexts, func(x *searchContext) bool { return x.tag == tag })
}

// follow keeps a context up to date from now on, unless there are too many.
func (s *session) follow(x *searchContext) {
	b, results := s.box, x.results()
	for _, other := range b.contexts {
		results += other.results()
	}
	if len(b.contexts) > 0 && (results > maxContextResults || len(b.contexts) == maxContexts) {
		s.noUpdate(x.tag, "Too many contexts")
		return
	}
	x.program.root = b.lasting(x.program.root)
	x.attributes = x.program.answer.attributes
	x.seen = b.latest.HighestModSeq()
	b.contexts = append(b.contexts, x)
	s.stateDirty = stateChanged
	s.stateDirty = stateChanged
}

// lasting returns criteria that mean the same when message numbers have changed:
// these count as they were when the command came (RFC 5267 section 4.3).
func (b *selection) lasting(k *criterion) *criterion {
	other := *k
	if k.op == searchSet {
		other.op, other.spans = searchUIDs, nil
		other.set = wire.NumSet{Ranges: b.lastingRanges(k)}
		return &other
	}
	other.kids = make([]*criterion, len(k.kids))
	for i, kid := range k.kids {
		other.kids[i] = b.lasting(kid)
	}
	return &other
}

// lastingRanges returns the UIDs that a set means, sorted. One of UIDs that is
// open at the end means all that come later too.
func (b *selection) lastingRanges(k *criterion) (ranges []wire.Range) {
	if !k.uid || k.set.Saved {
		for _, uid := range b.uidsAt(k.spans) {
			ranges = append(ranges, wire.Range{Start: uint32(uid), Stop: uint32(uid)})
		}
		return joinRanges(ranges)
	}
	last := uint32(1)
	if n := b.told.Len(); n > 0 {
		last = uint32(b.told.UIDAt(n - 1))
	}
	for _, r := range k.set.Ranges {
		open := r.Start != r.Stop && (r.Start == 0 || r.Stop == 0)
		from, to := cmp.Or(r.Start, last), cmp.Or(r.Stop, last)
		from, to = min(from, to), max(from, to)
		if open {
			to = 1<<32 - 1
		}
		ranges = append(ranges, wire.Range{Start: from, Stop: to})
	}
	return joinRanges(ranges)
}

// joinRanges sorts ranges and joins those that touch.
func joinRanges(ranges []wire.Range) []wire.Range {
	slices.SortFunc(ranges, func(a, b wire.Range) int { return cmp.Compare(a.Start, b.Start) })
	joined := ranges[:0]
	for _, r := range ranges {
		if last := len(joined) - 1; last >= 0 && uint64(r.Start) <= uint64(joined[last].Stop)+1 {
			joined[last].Stop = max(joined[last].Stop, r.Stop)
		} else {
			joined = append(joined, r)
		}
	}
	return joined
}

// inRanges reports whether a number is in sorted ranges.
func inRanges(ranges []wire.Range, n uint32) bool {
	_, found := slices.BinarySearchFunc(ranges, n, func(r wire.Range, n uint32) int {
		if n < r.Start {
			return 1
		}
		if n > r.Stop {
			return -1
		}
		return 0
	})
	return found
}

// uidsAt returns the UIDs under which the client knows the messages at places.
func (b *selection) uidsAt(spans []span) []UID {
	uids := make([]UID, 0, count(spans))
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			uids = append(uids, b.told.UIDAt(i))
		}
	}
	return uids
}

// shrinkContexts tells which results are about to be expunged: before that, so
// that message numbers are still valid (RFC 5267 section 4.3.4).
func (s *session) shrinkContexts(b *selection, expunged []UID) {
	for _, x := range b.contexts {
		s.tellUpdate(x, slices.Clone(expunged), nil)
	}
}

// updateContexts looks again at messages that were changed or added, and tells
// what is a result now and was none, or the other way round. What was added is in
// told by now (RFC 5267 section 4.3.3). Before that it tells what clients want to
// know of new messages (RFC 5465 section 7). An error ends the session.
func (s *session) updateContexts(b *selection, changed, added []UID) error {
	updates := make([]contextUpdate, len(b.contexts))
	for k, x := range b.contexts {
		u := &updates[k]
		u.finder = finder{session: s, box: b, program: x.program}
		u.look(changed, x.seen)
		known := len(u.come)
		u.look(added, 0)
		u.filter.close()
		u.fresh = slices.Clone(u.come[known:])
		x.seen = b.latest.HighestModSeq()
	}
	if err := s.tellNew(b, added, updates); err != nil {
		return err
	}
	for k, x := range b.contexts {
		s.tellUpdate(x, updates[k].gone, updates[k].come)
	}
	return nil
}

// contextUpdate sorts messages by whether they meet the criteria.
type contextUpdate struct {
	finder
	gone, come []UID
	fresh      []UID // those of come that were added
}

// look looks at those of the messages that were changed since seen.
func (u *contextUpdate) look(uids []UID, seen ModSeq) {
	for _, uid := range uids {
		i, ok := u.box.told.Find(uid)
		if !ok {
			continue
		}
		if u.box.message(i, &u.scratch); u.scratch.ModSeq <= seen {
			continue
		}
		if meets, err := u.matches(i); meets && err == nil {
			u.come = append(u.come, uid)
		} else {
			u.gone = append(u.gone, uid)
		}
	}
}

// resultUpdate are messages that follow each other in a result. The position is
// that of the first one, from 1; 0 stands for the places that they have in the
// mailbox (RFC 5267 sections 4.3.3 and 4.3.4).
type resultUpdate struct {
	position int
	uids     []UID
}

// tellUpdate takes messages out of a result and adds others, as far as they are
// in it or not in it, and tells of it.
func (s *session) tellUpdate(x *searchContext, gone, come []UID) {
	slices.Sort(gone)
	slices.Sort(come)
	var removed, added []resultUpdate
	if x.table == nil {
		removed, added = x.update(gone, come)
	} else {
		removed = x.table.remove(gone)
		added = s.insert(x, come)
	}
	if len(removed)+len(added) == 0 {
		return
	}
	s.out.buf = append(s.out.buf, "* ESEARCH (TAG "...)
	s.out.buf = append(wire.AppendString(s.out.buf, x.tag), ')')
	if x.uid {
		s.out.buf = append(s.out.buf, " UID"...)
	}
	s.appendUpdates(" REMOVEFROM (", removed, x.uid)
	s.appendUpdates(" ADDTO (", added, x.uid)
	s.out.buf = append(s.out.buf, '\r', '\n')
}

func (s *session) appendUpdates(item string, updates []resultUpdate, uid bool) {
	if len(updates) == 0 {
		return
	}
	s.out.buf = append(s.out.buf, item...)
	for k, u := range updates {
		if k > 0 {
			s.out.buf = append(s.out.buf, ' ')
		}
		s.out.buf = append(strconv.AppendInt(s.out.buf, int64(u.position), 10), ' ')
		if !uid {
			for i, id := range u.uids {
				place, _ := s.box.told.Find(id)
				u.uids[i] = UID(place) + 1
			}
		}
		s.out.buf = appendUIDSet(s.out.buf, u.uids)
	}
	s.out.buf = append(s.out.buf, ')')
}

// update changes the result of a SEARCH, which is in the order of the mailbox.
func (x *searchContext) update(gone, come []UID) (removed, added []resultUpdate) {
	has := func(uid UID) bool { return inUIDs(x.found, uid) }
	gone = slices.DeleteFunc(gone, func(uid UID) bool { return !has(uid) })
	come = slices.DeleteFunc(come, has)
	if len(gone) > 0 {
		x.found = slices.DeleteFunc(x.found, func(uid UID) bool { return inUIDs(gone, uid) })
		removed = []resultUpdate{{0, gone}}
	}
	if len(come) > 0 {
		x.found = append(x.found, come...)
		slices.Sort(x.found)
		added = []resultUpdate{{0, come}}
	}
	return removed, added
}

func inUIDs(sorted []UID, uid UID) bool {
	_, found := slices.BinarySearch(sorted, uid)
	return found
}

// cancelUpdate: RFC 5267 section 4.3.5.
func (s *session) cancelUpdate(c *wire.Command) error {
	var tags []string
	for first := true; first || !c.EOL(); first = false {
		if err := c.SP(); err != nil {
			return err
		}
		tag, err := c.String()
		if err != nil {
			return err
		}
		tags = append(tags, tag)
	}
	if err := c.End(); err != nil {
		return err
	}
	for _, tag := range tags {
		i := s.box.context(tag)
		if i < 0 {
			return &refusal{"", "No search with that tag is followed"}
		}
		s.box.contexts = slices.Delete(s.box.contexts, i, i+1)
		s.stateDirty = stateChanged
		s.stateDirty = stateChanged
	}
	return nil
}

// noUpdate tells that a search is not followed any more (RFC 5267 section 4.3.1).
func (s *session) noUpdate(tag, why string) {
	s.out.tagged("", "NO", "NOUPDATE "+string(wire.AppendString(nil, tag)), why)
}

// saveContexts saves which searches the client follows, but not their results:
// elsewhere they are not followed.
func (s *session) saveContexts(w *stateWriter) {
	if s.box == nil || len(s.box.contexts) == 0 {
		return
	}
	w.number(uint64(len(s.box.contexts)))
	for _, x := range s.box.contexts {
		w.text(x.tag)
	}
}

func (s *session) loadContexts(d *stateReader) error {
	for range d.number(maxContexts) {
		s.noUpdate(d.text(), "Searches are not followed any more, search again")
	}
	return nil
}
