package mailstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// A replica that lacks operations which no log has any more, or that is new,
// loads the accounts of a peer while it goes on serving (crdt.md 6.3):
//
//	peer                                   here
//	ListSnapshots                          BeginLoad
//	Snapshot, Next, Next, ...              FeedLoad each piece, MergeLoad
//	(every account)
//	                                       FinishLoad: the vector rises, and with
//	                                       it the beginning of the log
//
// Pieces are staged apart and may come over several connections; a crash loses
// none that FeedLoad has returned for. When all are there, MergeLoad merges them
// in batches of a bounded size. Sessions see each batch as a change like any
// other: UIDs only rise, what was removed at the peer is expunged. Local commands
// run between the batches. An operation of a peer about an account that is being
// merged waits for the end of that (the rest of the merge is done at once), all
// other accounts go on. Until FinishLoad the replica's vector does not say what
// was loaded, so that nobody takes it for having what it has only in part; whoever
// replicates reads [Replica.Logged] and [Replica.Cut] anew then.
//
// Contents are no part of a snapshot: see [Replica.MissingContents].

var (
	// ErrNoLoad is returned by the methods of a load that was not begun.
	ErrNoLoad = errors.New("no snapshots are being loaded")
	// ErrNotLoaded is returned by FinishLoad while accounts are missing.
	ErrNotLoaded = errors.New("not all accounts are loaded")
)

// BeginLoad begins to load the accounts of a peer. If a load is under way it goes
// on with another list, of the same peer or another one; accounts that are
// loaded stay so, unless they are from before list.Cut. The list survives restarts.
func (r *Replica) BeginLoad(list SnapshotList) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	if n := list.Vector.Get(r.self.Origin); n > r.Logged().Get(r.self.Origin) {
		return fmt.Errorf("load snapshots: the peer has operation %d of this replica, which has not: its data are older than the peer's", n)
	}
	r.SuspendCheckpoints(true)
	for part := range slices.Chunk(list.Accounts, 10000) {
		if err := r.listLoads(part, list.Cut); err != nil {
			return fmt.Errorf("load snapshots: %w", err)
		}
	}
	if err := r.store.db.Set(r.keys.load(nil), list.Vector.AppendBinary(nil), pebble.Sync); err != nil {
		return fmt.Errorf("load snapshots: %w", err)
	}
	return nil
}

// listLoads notes accounts that are to be loaded, also those that were from a
// snapshot which the peer's log, cut at cut, does not continue.
func (r *Replica) listLoads(users []crdt.AccountID, cut crdt.VC) error {
	b := r.store.db.NewBatch()
	defer b.Close()
	for _, id := range users {
		old, err := r.loadRecordIn(r.store.db, id)
		if err != nil {
			return err
		}
		if old != nil && (old.phase != loadDone || cut.LessEqual(old.vector)) {
			continue
		}
		if err := b.Set(r.keys.accountLoad(nil, id), new(accountLoad).append(nil), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

// LoadProgress says how far a load has come.
type LoadProgress struct {
	Vector crdt.VC // of the list
	Loaded int
	Left   []AccountProgress
}

// AccountProgress is an account that is not loaded yet. Snapshot and Pieces tell
// where the transfer can go on, if the peer still has that snapshot.
type AccountProgress struct {
	Account  crdt.AccountID
	Snapshot uint64
	Pieces   uint32 // staged
	Staged   bool   // all are: MergeLoad is next
}

// LoadProgress returns how far the load has come; ErrNoLoad if none is under way.
func (r *Replica) LoadProgress() (p LoadProgress, err error) {
	if err := r.store.enter(); err != nil {
		return p, err
	}
	defer r.store.leave()
	v, err := r.store.get(r.keys.load(nil))
	if err != nil || v == nil {
		return p, errors.Join(err, ErrNoLoad)
	}
	if p.Vector, err = crdt.DecodeVC(v); err != nil {
		return p, fmt.Errorf("%w: load: %w", errCorrupt, err)
	}
	err = r.eachLoad(func(id crdt.AccountID, l *accountLoad) error {
		if l.phase == loadDone {
			p.Loaded++
			return nil
		}
		p.Left = append(p.Left, AccountProgress{id, l.snapshot, l.next, l.phase >= loadStaged})
		return nil
	})
	return p, err
}

// FeedLoad stages a piece and returns when it is durable. Pieces of one account
// come in order; the first one of another snapshot throws away what there is. A
// piece that is there already is ignored. ErrPiece: it is none, or does not fit.
func (r *Replica) FeedLoad(piece []byte) error {
	id, entries, err := parsePiece(piece)
	if err != nil {
		return err
	}
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	if err := errors.Join(r.store.Err(), r.store.room(int64(len(piece)))); err != nil {
		return err
	}
	l, err := r.loadRecordIn(r.store.db, id.account)
	if err != nil {
		return err
	}
	if l == nil {
		return fmt.Errorf("%w: account %d is not to be loaded: %w", ErrPiece, id.account, ErrNoLoad)
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	switch {
	case l.phase > loadStaged || l.snapshot == id.snapshot && id.number < l.next:
		return nil
	case id.number == 0:
		prefix := r.keys.staged(nil, id.account)
		if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
			return err
		}
		*l = accountLoad{snapshot: id.snapshot, broken: l.broken, load: l.load}
	case l.snapshot != id.snapshot || id.number != l.next:
		return fmt.Errorf("%w: number %d of snapshot %x, expected %d of %x", ErrPiece, id.number, id.snapshot, l.next, l.snapshot)
	}
	if err := r.stageEntries(b, id, l, entries); err != nil {
		return err
	}
	l.next++
	if err := b.Set(r.keys.accountLoad(nil, id.account), l.append(nil), nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("stage a piece: %w", r.store.fail(err))
	}
	return nil
}

// stageEntries puts the entries of a piece into a batch.
func (r *Replica) stageEntries(b *pebble.Batch, id pieceID, l *accountLoad, entries []pieceEntry) error {
	prefix := r.keys.staged(nil, id.account)
	for i, e := range entries {
		s, err := e.staged()
		if err != nil {
			return fmt.Errorf("%w: entry of kind %q: %w", ErrPiece, e.kind, err)
		}
		if (s.head != nil) != (id.number == 0 && i == 0) || l.phase == loadStaged {
			return fmt.Errorf("%w: beginning or end in the wrong place", ErrPiece)
		}
		switch {
		case s.all != 0 && s.all != id.number+1:
			return fmt.Errorf("%w: %d of %d pieces", ErrPiece, id.number+1, s.all)
		case s.all != 0:
			l.phase = loadStaged
			continue
		case s.head != nil:
			if n := s.head.vector.Get(r.self.Origin); n > r.Logged().Get(r.self.Origin) {
				return fmt.Errorf("%w: it has operation %d of this replica, which has not", ErrPiece, n)
			}
			l.vector, l.clock = s.head.vector, s.head.clock
		}
		if err := b.Set(append(slices.Clip(prefix), s.key...), s.value, nil); err != nil {
			return err
		}
		if s.also == nil {
			continue
		}
		if err := b.Set(append(slices.Clip(prefix), s.also...), nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// MergeLoad merges the staged pieces of an account, batch by batch, and returns
// when all of it is durable. After an error or a crash it goes on where it was.
// An account in quarantine leaves it then. ErrUnavailable: its records here are
// damaged, and the snapshot lacks operations of this replica; a newer one is
// needed. ErrWithheld: it stays in quarantine. ErrPiece: pieces are missing.
func (r *Replica) MergeLoad(ctx context.Context, user crdt.AccountID) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	a := r.acquire(user)
	defer r.release(a)
	if a.isDamaged() {
		if err := r.mendRecords(user); err != nil {
			return fmt.Errorf("merge the snapshot of account %d: %w", user, err)
		}
	}
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if more, err = a.mergeSome(); err != nil {
			return fmt.Errorf("merge the snapshot of account %d: %w", user, err)
		}
	}
	if err := r.catchUp(user); err != nil {
		return fmt.Errorf("merge the snapshot of account %d: %w", user, err)
	}
	return nil
}

// mergeSome merges one batch durably. more: there are others behind it.
func (a *account) mergeSome() (more bool, err error) {
	c, more, err := a.mergeLocked()
	if c == nil || err != nil {
		return more, err
	}
	if err := a.r.synced(c); err != nil {
		return false, err
	}
	a.settle(c, nil)
	return more, nil
}

// FinishLoad ends a load of which all accounts are merged, but for those that
// nobody gives: the replica's vector rises to what all of them contain, and the log
// begins there. It returns when that is durable. The accounts that are left out are
// in quarantine here until they are loaded by themselves ([Replica.ReloadAccount]).
func (r *Replica) FinishLoad(without ...crdt.AccountID) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	reached, err := r.loadedVector(without)
	for _, id := range without {
		if err == nil {
			err = r.leaveOut(id, reached)
		}
	}
	if err != nil {
		return fmt.Errorf("finish loading: %w", err)
	}
	if err := r.riseTo(reached); err != nil {
		return fmt.Errorf("finish loading: %w", err)
	}
	r.SuspendCheckpoints(false)
	return nil
}

// loadedVector returns what all loaded accounts contain, but for those that are
// left out.
func (r *Replica) loadedVector(without []crdt.AccountID) (crdt.VC, error) {
	v, err := r.store.get(r.keys.load(nil))
	if err != nil {
		return nil, err
	}
	if v == nil {
		return nil, ErrNoLoad
	}
	reached, err := crdt.DecodeVC(v)
	if err != nil {
		return nil, fmt.Errorf("%w: load: %w", errCorrupt, err)
	}
	err = r.eachLoad(func(id crdt.AccountID, l *accountLoad) error {
		if slices.Contains(without, id) && !l.merging() && l.phase != loadDone {
			return nil
		}
		if l.phase != loadDone {
			return fmt.Errorf("%w: account %d", ErrNotLoaded, id)
		}
		reached = reached.Min(l.vector)
		return nil
	})
	return reached, err
}

// riseTo makes operations known that are not in the log: it begins behind them.
func (r *Replica) riseTo(reached crdt.VC) error {
	r.cut.cutting.Lock()
	defer r.cut.cutting.Unlock()
	b := r.store.db.NewBatch()
	defer b.Close()
	r.seq.Lock()
	vector, cut := r.seq.vector.Clone(), r.Cut()
	old := r.Cut()
	for o, n := range reached.All() {
		if n > vector.Get(o) {
			vector.Set(o, n)
			cut.Set(o, n)
		}
	}
	load := r.keys.kind(nil, spaceState, kindLoad)
	err := errors.Join(
		b.Set(r.keys.vector(nil), appendClock(nil, r.seq.clock.Last, vector), nil),
		b.Set(r.keys.cut(nil), cut.AppendBinary(nil), nil),
		b.DeleteRange(load, after(load), nil))
	for o, n := range cut.All() {
		if from := old.Get(o); n > from {
			err = errors.Join(err, b.DeleteRange(r.keys.log(nil, crdt.Dot{Origin: o, N: from + 1}), r.keys.log(nil, crdt.Dot{Origin: o, N: n + 1}), nil))
		}
	}
	if err == nil {
		// Whoever reads the log meanwhile is told that it begins later.
		r.cut.Lock()
		r.cut.vector = cut
		r.cut.Unlock()
		err = r.store.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err == nil {
		r.seq.vector = vector
	}
	r.seq.Unlock()
	if err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return r.store.fail(err)
	}
	r.logSize.forgetCut(cut)
	r.durable.Lock()
	r.durable.vector.Merge(reached)
	r.durable.Unlock()
	return nil
}

// resumeLoad is part of opening a replica whose load is not finished.
func (r *Replica) resumeLoad() error {
	v, err := r.store.get(r.keys.load(nil))
	if err != nil || v == nil {
		return err
	}
	r.SuspendCheckpoints(true)
	return nil
}

// AbandonLoad forgets a load of which no account was merged yet. Otherwise it
// must be finished: the account's vector says more than the replica's.
func (r *Replica) AbandonLoad() error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	err := r.eachLoad(func(id crdt.AccountID, l *accountLoad) error {
		if l.phase > loadStaged {
			return fmt.Errorf("account %d is loaded already", id)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("abandon loading: %w", err)
	}
	prefix := r.keys.kind(nil, spaceState, kindLoad)
	if err := r.store.db.DeleteRange(prefix, after(prefix), pebble.Sync); err != nil {
		return fmt.Errorf("abandon loading: %w", r.store.fail(err))
	}
	r.SuspendCheckpoints(false)
	return nil
}

// MissingContents returns up to n contents behind one (the zero value: from the
// first) that messages refer to and that are not here, as after a load.
func (r *Replica) MissingContents(behind crdt.Root, n int) ([]crdt.Root, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	defer r.store.leave()
	prefix := r.keys.kind(nil, spaceContent, kindCount)
	it, err := r.store.db.NewIter(iterBounds(append(r.keys.content(nil, kindCount, behind), 0), after(prefix)))
	if err != nil {
		return nil, fmt.Errorf("list missing contents: %w", err)
	}
	var out []crdt.Root
	for ok := it.First(); ok && len(out) < n; ok = it.Next() {
		root := crdt.Root(it.Key()[len(prefix):])
		c, err := parseCount(it.Value())
		var have []byte
		if err == nil && c.Live > 0 {
			have, err = r.store.get(r.keys.content(nil, kindStructure, root))
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("list missing contents: %w", err), it.Close())
		}
		if c.Live > 0 && have == nil {
			out = append(out, root)
		}
	}
	return out, it.Close()
}
