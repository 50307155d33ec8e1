package mailstore

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
)

// maxWatched is how many mailboxes, and how many annotations, a watch names before
// it says that it has lost count.
const maxWatched = 10000

// Watch tells one session what changes in all mailboxes of its account. Changes
// of one mailbox that were not yet taken are one; it keeps no more than that.
type Watch struct {
	p       *publisher
	session SessionID
	changed chan struct{}

	// Under publisher.pub:
	boxes map[crdt.MailboxID]bool // that changed; whether somebody else did it
	notes map[crdt.Annotation]struct{}
	next  WatchedChanges
}

// WatchedChanges is what has happened since it was asked for before.
type WatchedChanges struct {
	// Mailboxes are those whose messages, flags or counters have changed, by other
	// sessions, other replicas or time; Own those that only this session changed.
	Mailboxes, Own []crdt.MailboxID
	// List says that other names of mailboxes or other subscriptions may be there
	// now; OwnList that this session made them.
	List, OwnList bool
	// Annotations are those that somebody else has set or removed, of the account
	// first, then by mailbox.
	Annotations []crdt.Annotation
	// Lost says that there were too many changes to name.
	Lost bool
}

// Watch begins to watch the account. What is committed from now on is told.
func (s *Account) Watch() *Watch {
	w := &Watch{
		p: &s.a.publisher, session: s.session,
		changed: make(chan struct{}, 1),
		boxes:   make(map[crdt.MailboxID]bool), notes: make(map[crdt.Annotation]struct{}),
	}
	w.p.pub.Lock()
	defer w.p.pub.Unlock()
	if w.p.watches == nil {
		w.p.watches = make(map[*Watch]struct{})
	}
	w.p.watches[w] = struct{}{}
	return w
}

// Close ends the watching.
func (w *Watch) Close() {
	w.p.pub.Lock()
	defer w.p.pub.Unlock()
	delete(w.p.watches, w)
}

// Changed receives a value when there is something to take.
func (w *Watch) Changed() <-chan struct{} { return w.changed }

// Take returns what has changed and may be shown, since it was called before.
func (w *Watch) Take() WatchedChanges {
	w.p.pub.Lock()
	defer w.p.pub.Unlock()
	out := w.next
	for _, id := range slices.Sorted(maps.Keys(w.boxes)) {
		if w.boxes[id] {
			out.Mailboxes = append(out.Mailboxes, id)
		} else {
			out.Own = append(out.Own, id)
		}
	}
	out.Annotations = slices.SortedFunc(maps.Keys(w.notes), func(a, b crdt.Annotation) int {
		return cmp.Or(cmp.Compare(a.Box, b.Box), strings.Compare(a.Entry, b.Entry)) // the account's have no Box
	})
	clear(w.boxes)
	clear(w.notes)
	w.next = WatchedChanges{}
	return out
}

// tell adds a commit that is shown. Under publisher.pub.
func (w *Watch) tell(c *commit) {
	if len(c.touched)+len(c.noted) == 0 && !c.listed {
		return
	}
	other := c.session != w.session || c.session == SessionID{}
	if other {
		for _, of := range c.noted {
			w.notes[of] = struct{}{}
		}
	}
	for _, id := range c.touched {
		w.boxes[id] = w.boxes[id] || other
	}
	w.next.List = w.next.List || c.listed && other
	w.next.OwnList = w.next.OwnList || c.listed && !other
	if len(w.boxes) > maxWatched || len(w.notes) > maxWatched {
		clear(w.boxes)
		clear(w.notes)
		w.next.Lost = true
	}
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// touch notes what the transaction changes for those who watch. Under a.mu,
// before it is installed.
func (t *tx) touch(c *commit) {
	for id, b := range t.boxes {
		c.touched = append(c.touched, id)
		old := t.a.boxes[id]
		c.listed = c.listed || old == nil || !sameName(old.rec, b) || old.rec.SpecialUse != b.SpecialUse
	}
	c.listed = c.listed || len(t.subs) > 0
	c.noted = slices.AppendSeq(c.noted, maps.Keys(t.notes))
}
