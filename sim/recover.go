package sim

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// remains is the disk of a replica that was evicted, which turns up again.
type remains struct {
	origin crdt.Origin
	disk   *vfs.MemFS
	alone  []message // that only it showed
}

// message is one that was appended, wherever it is by now.
type message struct {
	user  crdt.AccountID
	label string
}

// shownAlone returns the messages that a replica shows and that no other one has,
// as far as they survive a crash.
func (w *World) shownAlone(n *node) ([]message, error) {
	if !n.up || n.fuse.burnt() {
		return nil, nil
	}
	if err := w.observe(n); err != nil {
		return nil, err
	}
	var known uint64
	for _, peer := range w.nodes {
		if peer != n {
			known = max(known, peer.replica.Logged().Get(n.origin))
		}
	}
	last := n.replica.Logged().Get(n.origin)
	var out []message
	err := w.eachMessage(n, func(user crdt.AccountID, m *crdt.Message) {
		if m.Exp != 0 && m.Tag.Origin == n.origin && m.Tag.N > known && m.Tag.N <= last {
			out = append(out, message{user, w.truth.label[m.Root]})
		}
	})
	return out, err
}

// eachMessage calls f for each message that is at a replica.
func (w *World) eachMessage(n *node, f func(crdt.AccountID, *crdt.Message)) error {
	for _, user := range w.users() {
		err := n.replica.Examine(user, func(s crdt.State) error {
			boxes, err := s.Mailboxes()
			if err != nil {
				return err
			}
			for _, b := range boxes {
				tags, err := s.Tags(b.ID)
				if err != nil {
					return err
				}
				for _, tag := range tags {
					m, err := s.Message(b.ID, tag)
					if err != nil {
						return err
					}
					f(user, m)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayRecover reports whether a replica has everything of the evicted ones that any
// other one has, so that it can recover what nobody has.
func (w *World) mayRecover(n *node) bool {
	if n == nil || len(w.remains) == 0 {
		return false
	}
	for _, peer := range w.nodes {
		if !peer.serves() || peer.loading() || peer != n && peer.fuse.isArmed() {
			return false
		}
		for _, e := range w.evicted {
			if peer.replica.Logged().Get(e.origin) != n.replica.Logged().Get(e.origin) {
				return false
			}
		}
	}
	return true
}

// runRecover has a replica do again what only an evicted one had, whose disk has
// turned up. It may crash meanwhile, and be told to do so again.
func runRecover(w *World, a *args) (string, error) {
	n, i := w.node(a.number()), a.number()
	if a.bad || i < 1 || i > len(w.remains) || !w.mayRecover(n) {
		return "", errSkip
	}
	r := &w.remains[i-1]
	done, err := w.recover(n, r, false)
	n.changed = true
	if err != nil {
		return "", err
	}
	if n.died() {
		r.alone = nil // clients may remove what is there by now
		return "power fails meanwhile", nil
	}
	left, err := w.recover(n, r, true)
	if err != nil {
		return "", err
	}
	if left.Added+left.Moved+left.Flags+left.Removed+left.Elsewhere > 0 {
		w.fail("recovered", "%s has done %+v and finds %+v", n.name, done, left)
	}
	if err := w.checkRecovered(n, r); err != nil {
		return "", err
	}
	w.stats.Done["(recovered messages)"] += done.Added + done.Moved
	return fmt.Sprintf("%d added, %d moved, %d flags, %d removed", done.Added, done.Moved, done.Flags, done.Removed), nil
}

// recover does it, or only looks, and returns the sum of all accounts.
func (w *World) recover(n *node, r *remains, look bool) (sum mailstore.Recovered, err error) {
	from, err := mailstore.OpenRemains(dataDir, "subnet", mailstore.Options{FS: r.disk})
	if err != nil {
		return sum, err
	}
	how := mailstore.Recovery{Look: look, Report: func(one mailstore.Recovered) {
		sum.Added += one.Added
		sum.Moved += one.Moved
		sum.Flags += one.Flags
		sum.Removed += one.Removed
		sum.Elsewhere += one.Elsewhere
	}}
	for _, e := range w.evicted {
		how.Evicted = append(how.Evicted, e.origin)
	}
	err = n.replica.Recover(background, from, how)
	return sum, errors.Join(err, from.Close())
}

// checkRecovered wants all messages that only the evicted replica showed to be there,
// once: nobody can have removed them yet. Later they are messages like all others.
func (w *World) checkRecovered(n *node, r *remains) error {
	there := make(map[message]bool)
	err := w.eachMessage(n, func(user crdt.AccountID, m *crdt.Message) { there[message{user, w.truth.label[m.Root]}] = true })
	for _, m := range r.alone {
		if !there[m] {
			w.fail("I7", "%s has recovered what only %v had, and %q of account %d is not there", n.name, r.origin, m.label, m.user)
		}
	}
	r.alone = nil
	return err
}
