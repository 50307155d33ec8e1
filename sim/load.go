package sim

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/mailstore"
)

// load is a replica that is given the accounts of another one (crdt.md 6.3),
// piece by piece, while both go on. A crash of either ends it; what is on the
// disk by then stays, and the next one goes on from there.
type load struct {
	from    *node
	release func()                    // the source cuts its log again
	reader  *mailstore.SnapshotReader // of the account that is under way, nil between two
}

// behind reports whether n lacks operations that a peer's log has no more.
func (n *node) behind(peer *node) bool {
	return !peer.replica.Cut().LessEqual(n.replica.Logged())
}

// loading reports whether a load has begun on the replica's disk.
func (n *node) loading() bool {
	_, err := n.replica.LoadProgress()
	return err == nil
}

// mayLoad reports whether n may load from a peer now.
func (n *node) mayLoad(peer *node) bool {
	if n == peer || !n.up || !peer.up || !n.w.passes(n, peer) || !n.w.passes(peer, n) {
		return false
	}
	if n.load != nil {
		return n.load.from == peer
	}
	return !peer.fresh && (n.fresh || n.behind(peer) || n.loading())
}

// runTruncate cuts the log at what the replica has, as happens when the log is
// too large or too old: others may lack what goes.
func runTruncate(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !n.up {
		return "", errSkip
	}
	return "", n.replica.CutLog(n.replica.Logged())
}

func runLoad(w *World, a *args) (string, error) {
	n, peer, count := w.node(a.number()), w.node(a.number()), a.number()
	if a.bad || n == nil || peer == nil || !n.mayLoad(peer) {
		return "", errSkip
	}
	return n.loadSome(peer, count)
}

// loadSome takes some pieces from a peer. It merges an account when it is whole,
// and ends the load with the last one.
func (n *node) loadSome(peer *node, count int) (string, error) {
	n.changed = true
	if n.load == nil {
		if err := n.beginLoad(peer); err != nil {
			return "", err
		}
	}
	for ; count > 0; count-- {
		more, err := n.loadPiece()
		if n.died() {
			return "power failure", nil
		}
		if errors.Is(err, mailstore.ErrUnavailable) {
			n.endLoad()
			return "the source is loading that account itself", nil
		}
		if err != nil {
			return "", fmt.Errorf("%s loads from %s: %w", n.name, peer.name, err)
		}
		if !more {
			return "", n.finishLoad()
		}
	}
	return "", nil
}

func (n *node) beginLoad(peer *node) error {
	list, err := peer.replica.ListSnapshots()
	if err != nil {
		return err
	}
	n.load = &load{from: peer, release: peer.replica.Hold(list.Vector)}
	return n.replica.BeginLoad(list)
}

// loadPiece takes the next piece. more: there is something left to do.
func (n *node) loadPiece() (more bool, err error) {
	l := n.load
	progress, err := n.replica.LoadProgress()
	if err != nil || len(progress.Left) == 0 {
		return false, err
	}
	user := progress.Left[0].Account
	if progress.Left[0].Staged {
		n.w.stats.Done["(account loaded)"]++
		return true, n.replica.MergeLoad(background, user)
	}
	if l.reader == nil {
		if l.reader, err = l.from.replica.Snapshot(user); err != nil {
			return false, err
		}
	}
	piece, err := l.reader.Next()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err != nil || piece == nil {
		return true, errors.Join(err, l.close())
	}
	return true, n.replica.FeedLoad(piece)
}

// close ends the reading of an account.
func (l *load) close() error {
	if l.reader == nil {
		return nil
	}
	err := l.reader.Close()
	l.reader = nil
	return err
}

// endLoad ends what is in memory of a load.
func (n *node) endLoad() {
	if n.load == nil {
		return
	}
	if err := n.load.close(); err != nil {
		n.w.fail("load", "%s: %v", n.load.from.name, err)
	}
	n.load.release()
	n.load = nil
}

// endLoads ends the loads in which a replica that stops takes part.
func (n *node) endLoads() {
	n.endLoad()
	for _, peer := range n.w.nodes {
		if peer.load != nil && peer.load.from == n {
			peer.endLoad()
		}
	}
}

// finishLoad lets the replica's vector rise to what it has loaded. Streams begin
// anew, as the log does.
func (n *node) finishLoad() error {
	from := n.load.from
	err := n.replica.FinishLoad()
	if err == nil && !n.died() {
		// Before it lets go, the source learns that this replica counts again.
		from.machine.Heard(n.name, n.origin, n.replica.Logged())
	}
	n.endLoad()
	if err != nil || n.died() {
		return err
	}
	n.w.stats.Done["(loaded)"]++
	if n.fresh {
		if err := n.join(); err != nil || n.died() {
			return err
		}
	}
	n.unplug()
	n.machine = causal.New(n.w.machineConfig(n), n.replica.Logged(), n.w.wall())
	n.recall()
	return nil
}

// loadAll has every replica load that lacks what logs have no more, until none does.
func (w *World) loadAll() error {
	for range maxRounds {
		n, peer := w.loader()
		if n == nil {
			return nil
		}
		if _, err := n.loadSome(peer, 1000); err != nil {
			return err
		}
		if err := w.endStep(); err != nil || w.violation != nil {
			return err
		}
	}
	w.fail("load", "loads do not end")
	return nil
}

// loader returns a replica that is to load, and from whom: who has begun first.
func (w *World) loader() (n, peer *node) {
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			if a.mayLoad(b) && (n == nil || a.loading() && !n.loading()) {
				n, peer = a, b
			}
		}
	}
	return n, peer
}
