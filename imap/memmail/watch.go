package memmail

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap"
)

// watch implements [imap.Watch]. Its fields are guarded by the account's mu.
type watch struct {
	session *session
	changed chan struct{}
	boxes   map[string]bool // that changed; whether another session did it
	notes   map[imap.AnnotationKey]struct{}
	next    imap.WatchedChanges
}

// Watch implements [imap.Account].
func (s *session) Watch() imap.Watch {
	w := &watch{
		session: s, changed: make(chan struct{}, 1),
		boxes: make(map[string]bool), notes: make(map[imap.AnnotationKey]struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watches[w] = struct{}{}
	return w
}

// Changed implements [imap.Watch].
func (w *watch) Changed() <-chan struct{} { return w.changed }

// Take implements [imap.Watch].
func (w *watch) Take() imap.WatchedChanges {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	out := w.next
	for _, id := range slices.Sorted(maps.Keys(w.boxes)) {
		if w.boxes[id] {
			out.Mailboxes = append(out.Mailboxes, id)
		} else {
			out.Own = append(out.Own, id)
		}
	}
	out.Annotations = slices.SortedFunc(maps.Keys(w.notes), func(a, b imap.AnnotationKey) int {
		return cmp.Or(strings.Compare(a.MailboxID, b.MailboxID), strings.Compare(a.Entry, b.Entry))
	})
	clear(w.boxes)
	clear(w.notes)
	w.next = imap.WatchedChanges{}
	return out
}

// Close implements [imap.Watch].
func (w *watch) Close() {
	w.session.mu.Lock()
	defer w.session.mu.Unlock()
	delete(w.session.watches, w)
}

// begin locks the account for a change by the session.
func (s *session) begin() {
	s.mu.Lock()
	s.author = s
}

// touched tells those who watch that a mailbox has changed. The caller holds mu.
func (a *account) touched(id string) {
	for w := range a.watches {
		w.boxes[id] = w.boxes[id] || w.session != a.author
		w.wake()
	}
}

// listed tells them that the list of mailboxes or subscriptions has changed. The
// caller holds mu.
func (a *account) listed() {
	for w := range a.watches {
		w.next.List = w.next.List || w.session != a.author
		w.next.OwnList = w.next.OwnList || w.session == a.author
		w.wake()
	}
}

// noted tells them that an annotation was set or removed. The caller holds mu.
func (a *account) noted(key imap.AnnotationKey) {
	for w := range a.watches {
		if w.session != a.author {
			w.notes[key] = struct{}{}
			w.wake()
		}
	}
}

func (w *watch) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}
