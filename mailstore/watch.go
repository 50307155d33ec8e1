package mailstore

import (
	"maps"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// maxWatched is how many mailboxes a watch names before it says that it has lost
// count.
const maxWatched = 10000

// Watch tells one session what changes in all mailboxes of its account. Changes
// of one mailbox that were not yet taken are one; it keeps no more than that.
type Watch struct {
	p       *publisher
	session SessionID
	changed chan struct{}

	// Under publisher.pub:
	boxes map[crdt.MailboxID]bool // that changed; whether somebody else did it
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
	// Lost says that there were too many changes to name.
	Lost bool
}

// Watch begins to watch the account. What is committed from now on is told.
func (s *Account) Watch() *Watch {
	w := &Watch{
		p: &s.a.publisher, session: s.session,
		changed: make(chan struct{}, 1), boxes: make(map[crdt.MailboxID]bool),
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
	clear(w.boxes)
	w.next = WatchedChanges{}
	return out
}

// tell adds a commit that is shown. Under publisher.pub.
func (w *Watch) tell(c *commit) {
	if len(c.touched) == 0 && !c.listed {
		return
	}
	other := c.session != w.session || c.session == SessionID{}
	for _, id := range c.touched {
		w.boxes[id] = w.boxes[id] || other
	}
	w.next.List = w.next.List || c.listed && other
	w.next.OwnList = w.next.OwnList || c.listed && !other
	if len(w.boxes) > maxWatched {
		clear(w.boxes)
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
}
