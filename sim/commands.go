package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// What clients do.

func runOpen(w *World, a *args) (string, error) {
	id, n := a.number(), w.node(a.number())
	user, ok := w.userOf(a.number())
	if a.bad || !n.serves() || !ok {
		return "", errSkip
	}
	if old := w.sessions[id]; old != nil {
		old.account.Close()
		delete(w.sessions, id)
	}
	delete(w.orphans, id)
	return w.enter(&session{id: id, name: w.sessionID(), node: n, user: user})
}

// enter opens the account of a session at its replica.
func (w *World) enter(s *session) (result string, err error) {
	n := s.node
	n.changed = true
	if s.account, err = n.replica.Open(background, s.user, w.login(s.user), s.name); err != nil {
		return "", err
	}
	ok, result := s.conclude(nil)
	if !ok {
		s.account.Close()
		return result, nil
	}
	w.sessions[s.id] = s
	return result, nil
}

func runClose(w *World, a *args) (string, error) {
	s := w.sessions[a.number()]
	if s == nil {
		return "", errSkip
	}
	s.account.Close()
	delete(w.sessions, s.id)
	return "OK", nil
}

func runAppend(w *World, a *args) (string, error) {
	id, box, label, flags := a.number(), a.text(), a.text(), a.texts()
	s, err := w.begin(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	if w.truth.body[label] != (crdt.Root{}) {
		return "", errSkip
	}
	return s.adds(func(s *session) (string, error) {
		out, err := s.append(box, label, flags)
		ok, result := s.conclude(err)
		if !ok {
			return result, nil
		}
		if s.box != nil && !s.gone() {
			s.update(s.box.View()) // EXISTS may come with the reply
		}
		return fmt.Sprintf("OK UID %d", out.UIDs[0]), s.added(out, box, []string{label})
	})
}

// added checks that what APPENDUID or COPYUID tells is what is there.
func (s *session) added(out mailstore.Appended, box string, labels []string) error {
	w, n := s.node.w, s.node
	if err := w.observe(n); err != nil {
		return err
	}
	return n.replica.Examine(s.user, func(state crdt.State) error {
		b, err := (&crdt.Site{State: state, Self: crdt.Self{Separator: '.'}}).Lookup(box)
		if err != nil || b == nil {
			w.fail("reply", "%s: %q is not there after messages were added: %v", n.name, box, err)
			return err
		}
		if b.UIDValidity() != out.UIDValidity {
			w.fail("reply", "%s: UIDVALIDITY %d of %q was told, it is %d", n.name, out.UIDValidity, box, b.UIDValidity())
		}
		for i, uid := range out.UIDs {
			tag := w.truth.issued[boxUID{user: s.user, box: b.ID, uid: uid}]
			m, err := state.Message(b.ID, tag)
			if err != nil {
				return err
			}
			switch {
			case m == nil || m.Exp != uid:
				w.fail("reply", "%s: UID %d of %q was told, and is not shown", n.name, uid, box)
			case i < len(labels) && w.truth.label[m.Root] != labels[i]:
				w.fail("reply", "%s: UID %d of %q is %q, should be %q", n.name, uid, box, w.truth.label[m.Root], labels[i])
			}
		}
		if len(out.UIDs) > 0 {
			w.tell(n, s.user, b.ID, slices.Max(out.UIDs)+1, 0)
		}
		return nil
	})
}

func runSelect(w *World, a *args) (string, error) {
	id, name := a.number(), a.text()
	s, err := w.begin(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	if s.box != nil {
		s.box.Close()
		s.box, s.view = nil, nil
	}
	box, err := s.account.Select(background, name, false)
	ok, result := s.conclude(err)
	if !ok {
		return result, nil
	}
	s.box = box
	s.update(box.View())
	return fmt.Sprintf("OK %v UIDNEXT %d", s.labels(), s.view.UIDNext()), nil
}

func runPoll(w *World, a *args) (string, error) {
	s, err := w.selected(a.number())
	if err != nil {
		return "", err
	}
	if s.gone() {
		return "gone", nil
	}
	s.update(s.box.View())
	return fmt.Sprintf("OK %v UIDNEXT %d", s.labels(), s.view.UIDNext()), nil
}

// onMessages runs a command on those messages of the client's picture that have
// one of the labels of the second argument.
func onMessages(w *World, a *args, f onTags) (string, error) {
	id, labels := a.number(), a.texts()
	s, err := w.selected(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	return s.on(labels, f)
}

// onTags is what a command does with messages.
type onTags func(s *session, tags []crdt.Tag) (*mailstore.View, error)

// on does something with those messages of the client's picture that have one of
// some labels.
func (s *session) on(labels []string, f onTags) (string, error) {
	if s.gone() {
		return "gone", nil
	}
	tags := s.find(labels)
	if len(tags) == 0 {
		return "", errSkip
	}
	v, err := f(s, tags)
	ok, result := s.conclude(err)
	if ok && v != nil && !s.gone() {
		s.update(v)
	}
	return result, nil
}

func runStore(w *World, a *args) (string, error) {
	return onMessages(w, a, func(s *session, tags []crdt.Tag) (*mailstore.View, error) {
		change, ok := parseFlags(a.text(), a.texts())
		if !ok {
			return nil, mailstore.ErrCannot
		}
		v, _, err := s.box.Store(background, tags, change)
		if err == nil && !s.node.fuse.burnt() {
			s.stored(v, tags, change)
		}
		return v, err
	})
}

// modes are the three forms of STORE.
var modes = map[string]crdt.StoreMode{"+": crdt.StoreAdd, "-": crdt.StoreRemove, "=": crdt.StoreReplace}

// systemFlags are the flags that are bits.
var systemFlags = map[string]mailstore.Flags{
	`\Seen`: mailstore.Seen, `\Answered`: mailstore.Answered, `\Flagged`: mailstore.Flagged, `\Deleted`: mailstore.Deleted,
}

func parseFlags(mode string, flags []string) (mailstore.FlagChange, bool) {
	op, ok := modes[mode]
	c := mailstore.FlagChange{Op: op}
	for _, f := range flags {
		if bit := systemFlags[f]; bit != 0 {
			c.Flags |= bit
		} else {
			c.Keywords = append(c.Keywords, f)
		}
	}
	return c, ok
}

// stored checks that the reply to a STORE shows what was stored.
func (s *session) stored(v *mailstore.View, tags []crdt.Tag, c mailstore.FlagChange) {
	want := make(map[crdt.Tag]bool, len(tags))
	for _, tag := range tags {
		want[tag] = true
	}
	var m mailstore.Message
	for i := range v.Len() {
		v.At(i, &m)
		if !want[m.Tag] {
			continue
		}
		wrong := c.Op == crdt.StoreAdd && m.Flags&c.Flags != c.Flags ||
			c.Op == crdt.StoreRemove && m.Flags&c.Flags != 0 ||
			c.Op == crdt.StoreReplace && m.Flags != c.Flags
		if wrong {
			s.node.w.fail("reply", "%s: UID %d has flags %05b after STORE mode %d of %05b", s.node.name, m.UID, m.Flags, c.Op, c.Flags)
		}
	}
}

func runExpunge(w *World, a *args) (string, error) {
	return onMessages(w, a, func(s *session, tags []crdt.Tag) (*mailstore.View, error) {
		return s.box.Expunge(background, tags)
	})
}

// runRemove is STORE +FLAGS \Deleted and EXPUNGE.
func runRemove(w *World, a *args) (string, error) {
	return onMessages(w, a, func(s *session, tags []crdt.Tag) (*mailstore.View, error) {
		if _, _, err := s.box.Store(background, tags, mailstore.FlagChange{Op: crdt.StoreAdd, Flags: mailstore.Deleted}); err != nil {
			return nil, err
		}
		v, err := s.box.Expunge(background, tags)
		if err != nil || s.node.fuse.burnt() {
			return v, err
		}
		var m mailstore.Message
		for i := range v.Len() {
			v.At(i, &m)
			for _, tag := range tags {
				if m.Tag == tag {
					w.fail("reply", "%s: UID %d is there after EXPUNGE", s.node.name, m.UID)
				}
			}
		}
		return v, nil
	})
}

func runCopy(w *World, a *args) (string, error) {
	return transfer(w, a, func(s *session, tags []crdt.Tag, to string) (mailstore.Appended, *mailstore.View, error) {
		out, err := s.box.Copy(background, tags, to)
		return out, nil, err
	})
}

func runMove(w *World, a *args) (string, error) {
	return transfer(w, a, func(s *session, tags []crdt.Tag, to string) (mailstore.Appended, *mailstore.View, error) {
		return s.box.Move(background, tags, to)
	})
}

// transfer runs a command that adds messages of the selected mailbox to another one.
func transfer(w *World, a *args, f func(s *session, tags []crdt.Tag, to string) (mailstore.Appended, *mailstore.View, error)) (string, error) {
	id, labels, to := a.number(), a.texts(), a.text()
	s, err := w.selected(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	return s.adds(func(s *session) (string, error) {
		if s.box == nil {
			return "nothing is selected", nil
		}
		var out mailstore.Appended
		result, err := s.on(labels, func(s *session, tags []crdt.Tag) (v *mailstore.View, err error) {
			out, v, err = f(s, tags, to)
			return v, err
		})
		if err != nil || result != "OK" {
			return result, err
		}
		return fmt.Sprintf("OK UIDs %v", out.UIDs), s.added(out, to, nil)
	})
}

// named runs a command that has a mailbox's name as its argument.
func named(w *World, a *args, f func(s *session, name string) error) (string, error) {
	id, name := a.number(), a.text()
	s, err := w.begin(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	_, result := s.conclude(f(s, name))
	return result, nil
}

func runCreate(w *World, a *args) (string, error) {
	return named(w, a, func(s *session, name string) error { return s.account.Create(background, name, "") })
}

func runDelete(w *World, a *args) (string, error) {
	return named(w, a, func(s *session, name string) error { return s.account.Delete(background, name) })
}

func runRename(w *World, a *args) (string, error) {
	return named(w, a, func(s *session, name string) error { return s.account.Rename(background, name, a.text()) })
}

func runSubscribe(w *World, a *args) (string, error) {
	return named(w, a, func(s *session, name string) error {
		return s.account.Subscribe(background, name, a.text() == "on")
	})
}

func runStatus(w *World, a *args) (string, error) {
	id, name := a.number(), a.text()
	s, err := w.begin(id)
	if err != nil || a.bad {
		return "", errSkip
	}
	status, err := s.account.Status(background, name)
	ok, result := s.conclude(err)
	if !ok {
		return result, nil
	}
	w.tell(s.node, s.user, status.ID, status.UIDNext, status.HighestModSeq)
	return fmt.Sprintf("OK %d messages, UIDNEXT %d", status.Messages, status.UIDNext), nil
}

func runList(w *World, a *args) (string, error) {
	s, err := w.begin(a.number())
	if err != nil {
		return "", err
	}
	list, err := s.account.Mailboxes(background)
	ok, result := s.conclude(err)
	if !ok {
		return result, nil
	}
	var names []string
	for _, l := range list {
		names = append(names, l.Name)
	}
	return "OK " + strings.Join(names, " "), nil
}

func runRoam(w *World, a *args) (string, error)   { return w.visit(a, (*roamer).fetch) }
func runResync(w *World, a *args) (string, error) { return w.visit(a, (*roamer).resync) }

// visit has a roaming client look at a mailbox of a replica.
func (w *World) visit(a *args, look func(*roamer, *visit) (string, error)) (string, error) {
	id, n := a.number(), w.node(a.number())
	user, ok := w.userOf(a.number())
	name := a.text()
	if a.bad || !n.serves() || !ok {
		return "", errSkip
	}
	c := w.roamers[id]
	if c == nil {
		c = &roamer{id: id, caches: make(map[string]*cache), synced: make(map[string]*synced), visited: make(map[crdt.Origin]bool)}
		w.roamers[id] = c
	}
	return w.roam(c, n, user, name, look)
}
