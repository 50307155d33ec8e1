package sim

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/crdt/crdttest"
)

// serves reports whether a replica takes sessions.
func (n *node) serves() bool { return n != nil && n.up && !n.fresh }

// mayEvict reports whether all others can be told that a replica is gone. Where
// UIDs were used up at once, more may have been given than an epoch skips.
func (w *World) mayEvict(n *node) bool {
	for _, peer := range w.nodes {
		if peer != n && (!peer.serves() || peer.fuse.isArmed()) {
			return false
		}
	}
	return len(w.nodes) > 1 && w.lost == 0
}

// runEvict is a replica whose disk is lost: the others evict it, and it comes
// back as another incarnation, with an empty disk and the same slot (crdt.md 6.4).
// What nobody else had is lost with it, unless its disk turns up (recover.go): operations, contents that nobody had
// pulled yet, and what clients that know no more than UIDNEXT were told there.
func runEvict(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !w.mayEvict(n) {
		return "", errSkip
	}
	for _, peer := range w.nodes {
		if peer == n {
			continue
		}
		peer.changed = true
		if err := peer.apply(); err != nil { // what it has received of it
			return "", err
		}
	}
	if have, err := w.haveContents(n); err != nil || !have {
		return "contents are to be pulled from it", err
	}
	alone, err := w.shownAlone(n)
	if err != nil {
		return "", err
	}
	if n.up {
		if err := n.crash(); err != nil {
			return "", err
		}
	}
	for _, peer := range w.nodes {
		if peer != n {
			n.streams[peer.id].up = nil
		}
	}
	w.evicted = append(w.evicted, eviction{n.name, n.origin})
	w.remains = append(w.remains, remains{n.origin, n.disk, alone})
	for _, peer := range w.nodes {
		if peer == n {
			continue
		}
		if err := peer.learnEviction(n); err != nil {
			return "", err
		}
	}
	w.forgetLost(n)
	return "", n.rejoin()
}

// haveContents reports whether the others have the contents of all their messages,
// and of those that they are about to load.
func (w *World) haveContents(but *node) (bool, error) {
	for _, n := range w.nodes {
		if n == but {
			continue
		}
		missing, err := n.replica.MissingContents(crdt.Root{}, 1)
		if err != nil || len(missing) > 0 || n.loading() {
			return false, err
		}
		if ahead, err := n.aheadOf(but.origin); err != nil || ahead {
			return false, err
		}
	}
	return true, nil
}

// aheadOf reports whether an account was loaded with operations of an origin that
// are not in the log, because the load went on with another peer. If they are lost
// at the origin, the account is put into quarantine, which is not simulated.
func (n *node) aheadOf(o crdt.Origin) (ahead bool, err error) {
	for _, user := range n.w.users() {
		err = errors.Join(err, n.replica.Examine(user, func(s crdt.State) error {
			a, err := s.Account()
			if err == nil && a.Vector.Get(o) > n.replica.Logged().Get(o) {
				ahead = true
			}
			return err
		}))
	}
	return ahead, err
}

// learnEviction is what an operator has a member do when another one is gone.
func (n *node) learnEviction(gone *node) error {
	for _, s := range n.streams {
		s.cut() // members of different epochs do not talk
	}
	n.machine.Evicted(gone.name, gone.origin)
	if err := n.replica.Evicted(crdt.Slot(gone.id), gone.origin); err != nil {
		return err
	}
	return n.replica.RaiseEpoch(background, uint32(len(n.w.evicted)))
}

// eviction is an incarnation that was evicted.
type eviction struct {
	name   string
	origin crdt.Origin
}

// rejoin starts a replica on an empty disk.
func (n *node) rejoin() error {
	n.disk = vfs.NewCrashableMem()
	n.lives++
	n.fresh = true
	n.acked, n.ownAcked, n.seen = nil, 0, 0
	clear(n.accounts)
	clear(n.sure)
	if err := n.start(); err != nil {
		return err
	}
	return n.replica.RaiseEpoch(background, uint32(len(n.w.evicted)))
}

// join ends the youth of a replica that has loaded what its peers have: it serves
// clients from now on. Those that its predecessor gave MODSEQs by a clock that was
// more than an hour ahead, and that nobody had heard of, begin anew: nobody can
// tell such MODSEQs from those that the replica gives itself by then.
func (n *node) join() error {
	birth := n.replica.Clock() + crdt.TimeAt(crdt.EpochMillis+crdt.MaxAhead, 0)
	if err := n.replica.Joined(true); err != nil || n.died() {
		return err
	}
	n.fresh = false
	for _, c := range n.w.roamers {
		for _, x := range c.synced {
			if t := crdt.Time(x.ModSeq); t.Slot() == n.replica.Slot() && t > birth {
				n.w.stats.Done["(clock unheard of)"]++
				x.QResync = crdttest.QResync{}
			}
		}
	}
	return nil
}

// forgetLost takes from what clients are known to have seen the operations of a
// replica that nobody has any more. A client driven by UIDNEXT that was there
// begins anew: it does not ask for messages with lower UIDs that had not arrived
// there, and nobody can know that.
func (w *World) forgetLost(gone *node) {
	o := gone.origin
	var known uint64
	for _, n := range w.nodes {
		if n.up {
			known = max(known, n.replica.Logged().Get(o))
		}
	}
	for _, c := range w.roamers {
		if c.visited[gone.origin] {
			clear(c.caches)
			clear(c.visited)
		}
		for _, x := range c.synced {
			x.vector.Set(o, min(x.vector.Get(o), known))
		}
	}
}
