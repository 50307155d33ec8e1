package imap

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// notifying is what a client that has used NOTIFY wants to hear (RFC 5465), and
// what it knows of mailboxes that are not selected.
type notifying struct {
	notifyArgs
	watch Watch // nil: nothing about other mailboxes is wanted

	text string // of the arguments, as the client wrote them; empty: they had literals

	boxes   map[string]*watchedBox // by identity
	names   map[string]bool        // subscribed ones, of mailboxes or not
	pending []*watchedBox          // that have to be compared
	retell  bool                   // the session came from elsewhere: how mailboxes are is to be told
}

// watchedBox is a mailbox as the client knows it.
type watchedBox struct {
	MailboxInfo
	events events
	status Status
	stale  bool // it is among the pending
}

// startNotify is NOTIFY (RFC 5465 section 3.1).
func (s *session) startNotify(c *wire.Command) error {
	n, err := s.readNotifying(c)
	if err != nil {
		return err
	}
	s.stopNotify()
	s.notify = n
	s.stateDirty = stateChanged
	if wanted := n.selected.attributes; wanted != nil && wanted.modSeq {
		s.switchOn(modeCondStore) // RFC 7162 section 3.1
	}
	if n.status {
		return s.tellWatched()
	}
	return nil
}

// readNotifying reads the arguments of NOTIFY and begins to watch.
func (s *session) readNotifying(c *wire.Command) (*notifying, error) {
	text, _ := c.Rest()
	a, err := s.readNotify(c)
	if err != nil {
		return nil, err
	}
	n := &notifying{notifyArgs: a, text: text}
	if len(a.groups) == 0 {
		return n, nil
	}
	n.watch = s.account.Watch() // before the looking: nothing is missed
	if err := s.lookAround(n); err != nil {
		n.watch.Close()
		return nil, err
	}
	return n, nil
}

// saveNotify saves what the client listens to.
func (s *session) saveNotify(w *stateWriter) {
	n := s.notify
	if n == nil {
		return
	}
	if n.text == "" || len(n.text) > maxNotifyBytes {
		w.byte(notifyTooMany)
		return
	}
	w.byte(notifyText)
	w.text(n.text)
}

const (
	notifyText = iota
	notifyTooMany
)

// loadNotify makes the session one that listens again. How other mailboxes were
// when the client was told of them last is not known here: it will be told how
// they are.
func (s *session) loadNotify(d *stateReader) error {
	if d.byte() == notifyTooMany {
		return ErrNotResumable
	}
	text := d.text()
	if d.bad {
		return errState
	}
	r := wire.NewReader(strings.NewReader("x NOTIFY"+text+"\r\n"), wire.AfterLogin)
	c, err := r.Next()
	if err != nil {
		return fmt.Errorf("%w: notifications: %w", errState, err)
	}
	n, err := s.readNotifying(c)
	if err != nil {
		return fmt.Errorf("%w: notifications: %w", errState, err)
	}
	n.retell = true
	s.notify = n
	return nil
}

// stopNotify ends what a NOTIFY has begun.
func (s *session) stopNotify() {
	if s.notify != nil && s.notify.watch != nil {
		s.notify.watch.Close()
	}
	s.notify = nil
}

// lookAround takes note of how mailboxes are now.
func (s *session) lookAround(n *notifying) error {
	infos, err := s.account.Mailboxes(s.ctx)
	if err != nil {
		return err
	}
	if len(infos) > maxNotifyNames {
		return &refusal{"NOTIFICATIONOVERFLOW", "Too many mailboxes"}
	}
	n.boxes, n.names = make(map[string]*watchedBox), make(map[string]bool)
	for _, info := range infos {
		if info.Subscribed {
			n.names[info.Name] = true
		}
		if !info.Exists {
			continue
		}
		w := &watchedBox{MailboxInfo: info, events: n.wanted(info.Name, info.Subscribed, s.opts.Separator)}
		if err := s.lookAt(w); err != nil {
			return err
		}
		n.boxes[info.ID] = w
	}
	return nil
}

// lookAt takes note of how a mailbox is now, if that is wanted.
func (s *session) lookAt(w *watchedBox) (err error) {
	if w.events&(eventMessages|eventFlags) == 0 {
		return nil
	}
	w.status, err = s.account.Status(s.ctx, w.Name)
	if errors.Is(err, ErrNonexistent) { // that is an event that will come
		return nil
	}
	return err
}

// wanted returns the events that are wanted of a mailbox: those of all groups
// that are about it (RFC 5465 section 6).
func (n *notifying) wanted(name string, subscribed bool, separator byte) (all events) {
	for i := range n.groups {
		if g := &n.groups[i]; g.covers(name, subscribed, separator) {
			all |= g.events
		}
	}
	return all
}

// tellWatched tells the STATUS of the mailboxes whose messages are watched (RFC
// 5465 section 3.1).
func (s *session) tellWatched() error {
	for _, w := range s.notify.sorted() {
		items := statusSet(0)
		if w.events&eventMessages != 0 {
			items |= statusOf("MESSAGES", "UIDNEXT", "UIDVALIDITY")
		}
		if w.events&eventFlags != 0 {
			items |= statusOf("UIDVALIDITY", "HIGHESTMODSEQ")
		}
		if items == 0 || s.isSelected(w.ID) {
			continue
		}
		if err := s.tellStatusOf(w.Name, items, &w.status); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns the watched mailboxes by name.
func (n *notifying) sorted() []*watchedBox {
	list := make([]*watchedBox, 0, len(n.boxes))
	for _, w := range n.boxes {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *watchedBox) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *session) isSelected(id string) bool { return s.box != nil && s.box.mailbox.MailboxID() == id }

// selectedWish returns what the client wants to hear of the selected mailbox. Who
// has not used NOTIFY wants to hear all, but only when a command allows it.
func (s *session) selectedWish() events {
	if s.notify == nil {
		return eventMessages | eventFlags
	}
	return s.notify.selected.events
}

// leaveSelected says that the selected mailbox will be one of the others: the
// client knows of it what it was told.
func (s *session) leaveSelected() {
	b := s.box
	if s.notify == nil || s.notify.watch == nil {
		return
	}
	w := s.notify.boxes[b.mailbox.MailboxID()]
	if w == nil {
		return
	}
	s.notify.suspect(w)
	w.status.Messages, w.status.UIDNext = uint32(b.told.Len()), b.told.UIDNext()
	w.status.UIDValidity, w.status.HighestModSeq = b.mailbox.UIDValidity(), b.shown
}

// suspect makes a mailbox one that has to be compared with what the client knows.
func (n *notifying) suspect(w *watchedBox) {
	if !w.stale && w.events&(eventMessages|eventFlags) != 0 {
		w.stale = true
		n.pending = append(n.pending, w)
	}
}

// tellEvents tells what has happened elsewhere than in the selected mailbox. It returns an error when
// the session ends.
func (s *session) tellEvents() error {
	if err := s.tellNotes(); err != nil {
		return err
	}
	n := s.notify
	if n == nil {
		return nil
	}
	retell := n.retell
	if n.retell = false; n.watch == nil {
		return nil
	}
	if retell {
		if err := cmp.Or(s.tellWatched(), s.retellWatchedNotes()); err != nil {
			return err
		}
	}
	changes := n.watch.Take()
	if changes.Lost {
		return s.overflow()
	}
	err := s.takeEvents(&changes)
	if err == nil {
		err = s.tellPending()
	}
	if err != nil && isMailError(err) {
		return s.overflow()
	}
	return cmp.Or(err, s.out.spill())
}

// takeEvents takes note of what has happened, and tells of names.
func (s *session) takeEvents(changes *WatchedChanges) error {
	n := s.notify
	if changes.List || changes.OwnList {
		if err := s.tellList(changes.List); err != nil {
			return err
		}
	}
	for _, id := range changes.Mailboxes {
		if w := n.boxes[id]; w != nil {
			n.suspect(w)
		}
	}
	for _, id := range changes.Own {
		w := n.boxes[id]
		if w == nil || w.stale || s.isSelected(id) {
			continue
		}
		if err := s.lookAt(w); err != nil { // RFC 5465 section 5: the client's own doings are not told
			return err
		}
	}
	return s.tellWatchedNotes(changes.Annotations)
}

// tellPending tells how the mailboxes that have changed are now, by name. The
// selected one waits until it is not any more.
func (s *session) tellPending() error {
	n := s.notify
	pending := n.pending
	n.pending = nil
	slices.SortFunc(pending, func(a, b *watchedBox) int { return strings.Compare(a.Name, b.Name) })
	for _, w := range pending {
		w.stale = false
		if s.isSelected(w.ID) {
			n.suspect(w)
			continue
		}
		if n.boxes[w.ID] == nil {
			continue
		}
		if err := s.tellChange(w); err != nil {
			return err
		}
	}
	return nil
}

// overflow says that there will be no more notifications (RFC 5465 section 5.8).
func (s *session) overflow() error {
	s.stopNotify()
	s.notify = new(notifying)
	s.stateDirty = stateChanged
	s.out.line("OK [NOTIFICATIONOVERFLOW] There is too much to tell")
	return s.out.spill()
}

// tellChange tells what differs in a mailbox from what the client knows.
func (s *session) tellChange(w *watchedBox) error {
	known := w.status
	if err := s.lookAt(w); err != nil {
		return err
	}
	now, items := &w.status, statusSet(0)
	if w.events&eventMessages != 0 && (now.Messages != known.Messages || now.UIDNext != known.UIDNext) {
		items |= statusOf("MESSAGES", "UIDNEXT") // RFC 5465 sections 5.2 and 5.3
	}
	if w.events&eventFlags != 0 && now.HighestModSeq != known.HighestModSeq {
		if now.Unseen != known.Unseen {
			items |= statusOf("UNSEEN") // RFC 5465 section 5.1
		}
		if s.on(modeCondStore) {
			items |= statusOf("UIDVALIDITY")
		}
	}
	if now.UIDValidity != known.UIDValidity && known.UIDValidity != 0 {
		items |= statusOf("UIDVALIDITY")
	}
	if items == 0 {
		return nil
	}
	if s.on(modeCondStore) {
		items |= statusOf("HIGHESTMODSEQ")
	}
	return s.tellStatusOf(w.Name, items, now)
}
