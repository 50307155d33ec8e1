package sim

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// session is a client connected to a replica, with the mailbox that it has
// selected and the picture that it has of it.
type session struct {
	id      int
	name    mailstore.SessionID // the same at every replica
	node    *node
	user    crdt.AccountID
	account *mailstore.Account
	command uint64
	attempt uint32             // how many replicas may have executed the command before
	redo    redo               // the last command, if it adds messages
	box     *mailstore.Mailbox // nil: none is selected
	view    *mailstore.View    // what the client knows
}

// begin starts a command of a session.
func (w *World) begin(id int) (*session, error) {
	s := w.sessions[id]
	if s == nil {
		return nil, errSkip
	}
	s.command++
	s.attempt, s.redo = 0, nil
	s.account.Command(s.command)
	s.node.changed = true
	return s, nil
}

// selected starts a command that needs a selected mailbox.
func (w *World) selected(id int) (*session, error) {
	if s := w.sessions[id]; s == nil || s.box == nil {
		return nil, errSkip
	}
	return w.begin(id)
}

// wishes are the errors by which a command is refused for good reasons.
var wishes = []error{
	mailstore.ErrNonexistent, mailstore.ErrAlreadyExists, mailstore.ErrCannot,
	mailstore.ErrExpunged, mailstore.ErrLimit,
}

// conclude ends a command. It reports whether the client was told OK; an error
// of a kind that no client should see is a violation.
func (s *session) conclude(err error) (ok bool, result string) {
	w, n := s.node.w, s.node
	if n.died() {
		return false, "power failure"
	}
	for _, wish := range wishes {
		if errors.Is(err, wish) {
			return false, "NO " + wish.Error()
		}
	}
	if err != nil {
		w.fail("available", "%s, session %d: %v", n.name, s.id, err)
		return false, err.Error()
	}
	n.ownAcked = max(n.ownAcked, n.replica.Logged().Get(n.replica.Origin()))
	return true, "OK"
}

// closeSessions ends the sessions of a replica that stops.
func (w *World) closeSessions(n *node) {
	for _, id := range slices.Sorted(maps.Keys(w.sessions)) {
		if s := w.sessions[id]; s.node == n {
			s.account.Close()
			delete(w.sessions, id)
			w.orphans[id] = s
		}
	}
}

// update gives the client a newer picture, and checks that it is one that may
// follow the one before.
func (s *session) update(v *mailstore.View) {
	w, old := s.node.w, s.view
	who := fmt.Sprintf("session %d at %s in %q", s.id, s.node.name, s.box.Name())
	w.tell(s.node, s.user, s.box.ID(), v.UIDNext(), v.HighestModSeq())
	if old != nil && v.UIDNext() < old.UIDNext() {
		w.fail("I2", "%s: UIDNEXT went from %d to %d", who, old.UIDNext(), v.UIDNext())
	}
	if old != nil && v.HighestModSeq() < old.HighestModSeq() {
		w.fail("I4", "%s: HIGHESTMODSEQ went from %d to %d", who, old.HighestModSeq(), v.HighestModSeq())
	}
	if old != nil {
		s.compare(who, old, v)
	}
	s.see(who, v)
	s.view = v
}

// compare checks the difference of two pictures: what is new lies above the old
// UIDNEXT, what is changed above the old HIGHESTMODSEQ.
func (s *session) compare(who string, old, v *mailstore.View) {
	w, d := s.node.w, v.Since(old)
	for _, uid := range d.Added {
		if uid < old.UIDNext() {
			w.fail("I2", "%s: UID %d appears, UIDNEXT was %d", who, uid, old.UIDNext())
		}
	}
	var m mailstore.Message
	for _, uid := range slices.Concat(d.Added, d.Changed) {
		i, ok := v.Find(uid)
		if v.At(i, &m); !ok || m.ModSeq <= old.HighestModSeq() {
			w.fail("I4", "%s: UID %d changed with MODSEQ %d, HIGHESTMODSEQ was %d", who, uid, m.ModSeq, old.HighestModSeq())
		}
	}
}

// see notes what a picture shows.
func (s *session) see(who string, v *mailstore.View) {
	var m mailstore.Message
	for i := range v.Len() {
		v.At(i, &m)
		s.node.w.sees(who, s.user, s.box.ID(), s.box.UIDValidity(), m.UID, m.Root)
		if m.UID >= v.UIDNext() {
			s.node.w.fail("I2", "%s: UID %d is there, UIDNEXT is %d", who, m.UID, v.UIDNext())
		}
		if m.ModSeq > v.HighestModSeq() {
			s.node.w.fail("I4", "%s: UID %d has MODSEQ %d, HIGHESTMODSEQ is %d", who, m.UID, m.ModSeq, v.HighestModSeq())
		}
	}
}

// find returns the messages in the client's picture that have one of the labels.
func (s *session) find(labels []string) []crdt.Tag {
	var out []crdt.Tag
	var m mailstore.Message
	for i := range s.view.Len() {
		s.view.At(i, &m)
		if slices.Contains(labels, s.node.w.truth.label[m.Root]) {
			out = append(out, m.Tag)
		}
	}
	return out
}

// labels returns the labels in the client's picture.
func (s *session) labels() []string {
	var out []string
	var m mailstore.Message
	for i := range s.view.Len() {
		s.view.At(i, &m)
		out = append(out, s.node.w.truth.label[m.Root])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// gone deselects a mailbox that was deleted or renamed under the client.
func (s *session) gone() bool {
	if s.box == nil || !s.box.Gone() {
		return false
	}
	s.box.Close()
	s.box, s.view = nil, nil
	return true
}

// append adds a message with a label to a mailbox.
func (s *session) append(box, label string, flags []string) (out mailstore.Appended, err error) {
	err = s.stage(label, func(st *mailstore.Staging) (err error) {
		out, err = s.account.Append(background, box, []mailstore.NewMessage{{Staging: st, Flags: flags, Structure: []byte(label)}})
		return err
	})
	return out, err
}

// stage does something with the staged message of a label.
func (s *session) stage(label string, f func(*mailstore.Staging) error) error {
	text := content(label)
	st, err := s.account.Stage(background, int64(len(text)))
	if err != nil {
		return err
	}
	defer st.Discard()
	if _, err := io.WriteString(st, text); err != nil {
		return err
	}
	return f(st)
}

// finishClients has every session and roaming client look at last.
func (w *World) finishClients() error {
	for _, id := range slices.Sorted(maps.Keys(w.sessions)) {
		s := w.sessions[id]
		if s.gone() || s.box == nil {
			continue
		}
		s.node.changed = true
		s.update(s.box.View())
		s.complete()
	}
	if err := w.endStep(); err != nil {
		return err
	}
	return w.finishRoamers()
}

// complete checks that a session that has looked at last sees what is shown.
func (s *session) complete() {
	rows := s.node.shown(s.user).box(s.box.ID()).rows
	if s.view.Len() != len(rows) {
		s.node.w.fail("view", "session %d at %s sees %d messages in %q, %d are shown", s.id, s.node.name, s.view.Len(), s.box.Name(), len(rows))
	}
	var m mailstore.Message
	for i := range s.view.Len() {
		if s.view.At(i, &m); rows[m.UID].tag != m.Tag {
			s.node.w.fail("view", "session %d at %s sees %v as UID %d of %q, which is %v", s.id, s.node.name, m.Tag, m.UID, s.box.Name(), rows[m.UID].tag)
		}
	}
}
