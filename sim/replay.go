package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// redo executes a command, for the first time or, when the session has moved to
// another replica and nobody knows whether it was done, once more.
type redo func(*session) (string, error)

// adds executes a command that adds messages.
func (s *session) adds(f redo) (string, error) {
	s.redo = f
	return f(s)
}

// unfinished returns the sessions whose last command adds messages: its reply may
// have been lost.
func (w *World) unfinished() []*session {
	var out []*session
	for _, in := range []map[int]*session{w.sessions, w.orphans} {
		for _, s := range in {
			if s.redo != nil {
				out = append(out, s)
			}
		}
	}
	slices.SortFunc(out, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	return out
}

// runReplay moves a session to another replica. Its last command is answered
// from what is known there, or executed again (crdt.md 2.3).
func runReplay(w *World, a *args) (string, error) {
	id, n := a.number(), w.node(a.number())
	s := cmp.Or(w.sessions[id], w.orphans[id])
	if a.bad || !n.serves() || s == nil || s.redo == nil || s.node == n {
		return "", errSkip
	}
	if w.sessions[id] != nil {
		s.account.Close() // its lease is over
	}
	delete(w.sessions, id)
	delete(w.orphans, id)
	moved := &session{id: id, name: s.name, node: n, user: s.user, command: s.command, attempt: s.attempt + 1}
	if result, err := w.enter(moved); err != nil || w.sessions[id] == nil {
		return result, err
	}
	if s.box != nil {
		if result, err := moved.reopen(s.box.Name()); err != nil || result != "" {
			return result, err
		}
	}
	if w.truth.recorded(moved, n.replica.Logged()) {
		return "is known to be done", nil
	}
	w.stats.Done["(replay)"]++
	moved.account.Command(moved.command)
	moved.account.Attempt(moved.attempt)
	return moved.adds(s.redo)
}

// reopen selects the mailbox that the session had selected elsewhere.
func (s *session) reopen(name string) (failed string, err error) {
	box, err := s.account.Select(background, name, false)
	ok, result := s.conclude(err)
	if !ok {
		return result, nil
	}
	s.box = box
	s.update(box.View())
	return "", nil
}

// runPost delivers a message that nobody waits for: it may stay hidden for a
// while (crdt.md 2.4).
func runPost(w *World, a *args) (string, error) {
	n := w.node(a.number())
	user, ok := w.userOf(a.number())
	box, label := a.text(), a.text()
	if a.bad || !n.serves() || !ok || w.truth.body[label] != (crdt.Root{}) {
		return "", errSkip
	}
	n.changed = true
	account, err := n.replica.Open(background, user, w.login(user), w.sessionID())
	if err != nil {
		return "", err
	}
	s := &session{node: n, user: user, account: account}
	defer account.Close()
	err = s.stage(label, func(st *mailstore.Staging) error {
		return account.Deliver(background, box, []mailstore.NewMessage{{Staging: st, Structure: []byte(label)}})
	})
	_, result := s.conclude(err)
	return result, nil
}

// commandOf names what replays of a command have in common.
type commandOf struct {
	user    crdt.AccountID
	session [16]byte
	number  uint64
}

// made is an instance that a command added.
type made struct {
	place
	as      string // what is the same when the command is executed again
	attempt uint32
	dot     crdt.Dot
	deps    crdt.VC
}

// learnCause notes which command added an instance.
func (t *truth) learnCause(op *crdt.Op, at place, as string, index uint32) {
	if op.Cause.IsZero() {
		return
	}
	c := commandOf{op.Account, op.Cause.Session, op.Cause.Command}
	m := made{at, fmt.Sprint(as, index), op.Cause.Attempt, op.Dot, op.Deps}
	t.commands[c] = append(t.commands[c], m)
	t.causes[at] = c
}

// recorded reports whether a replica that has the operations of v knows that a
// session's present command was executed.
func (t *truth) recorded(s *session, v crdt.VC) bool {
	return slices.ContainsFunc(t.commands[commandOf{s.user, s.name, s.command}], func(m made) bool { return v.Has(m.dot) })
}

// superseded returns an operation among those of v that executed again the
// command which added an instance, without knowing of it: then the instance is
// none any more.
func (t *truth) superseded(p place, v crdt.VC) (crdt.Dot, bool) {
	list := t.commands[t.causes[p]]
	i := slices.IndexFunc(list, func(m made) bool { return m.place == p })
	if i < 0 {
		return crdt.Dot{}, false
	}
	for _, m := range list {
		if m.attempt > list[i].attempt && m.as == list[i].as && v.Has(m.dot) && !m.deps.Has(list[i].dot) && !list[i].deps.Has(m.dot) {
			return m.dot, true
		}
	}
	return crdt.Dot{}, false
}

// ended returns an operation among those of v that ended an instance: it was
// removed, or is superseded by a replay.
func (t *truth) ended(p place, v crdt.VC) (crdt.Dot, bool) {
	if d, ok := t.removed(p, v); ok {
		return d, true
	}
	return t.superseded(p, v)
}

// live returns the contents of which an instance is left when everybody has
// everything.
func (t *truth) live(all crdt.VC) map[crdt.Root]bool {
	out := make(map[crdt.Root]bool)
	for p, a := range t.added {
		if _, ended := t.ended(p, all); !ended && all.Has(a.dot) {
			out[a.root] = true
		}
	}
	return out
}
