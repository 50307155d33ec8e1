package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// What is causally stable needs no memory of how it came about: causes and sources
// are forgotten. The log is cut, and contents that nothing refers to any more are
// deleted (crdt.md 6.2), where all members have come to that get it from the log.
// That happens in a goroutine of its own, in steps of a few contents, each one
// batch under the lock of the account that they belong to: a crash leaves a
// content and what is counted of it whole, or nothing of either.

const (
	// collectStep is how many removals one step looks at.
	collectStep = 64
	// collectRetry is when what could not be deleted is tried again.
	collectRetry = 10 * time.Second
	// sweepEvery is how often staged contents are looked through, stagedFor how
	// old those get that nobody adopts.
	sweepEvery = time.Hour
	stagedFor  = 24 * time.Hour
)

// collector knows what is stable.
type collector struct {
	mu     sync.Mutex
	stable crdt.VC
	spent  crdt.VC // expendable
	holds  map[*crdt.VC]struct{}
	wake   chan struct{}

	late crdt.VC // removals by these operations may have been recorded since they were settled

	// working is held while contents are deleted; removals up to settled are settled.
	working sync.Mutex
	settled crdt.VC

	swept time.Time // of who calls Tick: when staged contents were looked through
}

// Stable implements comm.Store: what is stable is forgotten, and what is
// expendable is deleted, soon.
func (r *Replica) Stable(stable, expendable crdt.VC) {
	r.collector.mu.Lock()
	r.collector.stable.Merge(stable)
	r.collector.spent.Merge(expendable)
	r.collector.mu.Unlock()
	r.collector.notify()
}

func (c *collector) notify() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// remind has removals by an operation looked at again that were settled before:
// the operation has removed something that arrived later.
func (c *collector) remind(d crdt.Dot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.late.Get(d.Origin); old == 0 || d.N < old {
		c.late.Set(d.Origin, d.N)
	}
}

// reconsider takes back that removals are settled of which remind has told.
func (c *collector) reconsider() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for o, n := range c.late.All() {
		c.settled.Set(o, min(c.settled.Get(o), n-1))
	}
	c.late = nil
}

// Hold keeps the log behind v, and the contents that operations behind v have
// removed, until release is called: somebody is given the state at v.
func (r *Replica) Hold(v crdt.VC) (release func()) {
	c := &r.collector
	hold := v.Clone()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds[&hold] = struct{}{}
	return func() {
		c.mu.Lock()
		delete(c.holds, &hold)
		c.mu.Unlock()
		c.notify()
	}
}

// limits returns what may be forgotten and what may be deleted, of what is not held.
func (c *collector) limits() (stable, spent crdt.VC) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stable, spent = c.stable.Clone(), c.spent.Clone()
	for hold := range c.holds {
		stable, spent = stable.Min(*hold), spent.Min(*hold)
	}
	return stable, spent
}

func (r *Replica) startCollector() {
	r.collector.wake = make(chan struct{}, 1)
	r.collector.holds = make(map[*crdt.VC]struct{})
	if !r.opts.ManualTicks {
		r.task(r.collectLoop)
	}
}

func (r *Replica) collectLoop() {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	retry := time.NewTimer(collectRetry)
	defer retry.Stop()
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-sweep.C:
			r.sweepOld()
			continue
		case <-r.collector.wake:
		case <-retry.C:
		case <-trim.C:
		}
		left, err := r.collect()
		if err != nil && r.ctx.Err() == nil {
			r.warn("delete contents", err)
		}
		if left || err != nil {
			retry.Reset(collectRetry)
		}
	}
}

// sweepOld deletes staged contents that nobody will adopt any more.
func (r *Replica) sweepOld() {
	if r.store.enter() != nil {
		return
	}
	defer r.store.leave()
	if err := r.sweepStaged(r.opts.Now().Add(-stagedFor)); err != nil {
		r.warn("delete contents that nobody adopted", err)
	}
}

// collect cuts the log and deletes what nothing needs any more. It reports
// whether something must be tried again later.
func (r *Replica) collect() (left bool, err error) {
	r.collector.working.Lock()
	defer r.collector.working.Unlock()
	stable, limit := r.collector.limits()
	r.collector.reconsider()
	if err := errors.Join(r.cutBehind(limit), r.trim()); err != nil {
		return true, err
	}
	for o, n := range limit.All() {
		next := crdt.Dot{Origin: o, N: r.collector.settled.Get(o) + 1}
		whole := true
		for next.N <= n {
			if r.ctx.Err() != nil {
				return true, r.ctx.Err()
			}
			skipped, behind, err := r.collectSome(next, n, limit)
			if err != nil {
				return true, err
			}
			if whole = whole && !skipped; whole {
				r.collector.settled.Set(o, behind.N-1)
			}
			next = behind
		}
		left = left || !whole
	}
	return left, r.forget(stable)
}

// cutBehind cuts the log at v, except for the last operation of each origin:
// peers compare it when they connect.
func (r *Replica) cutBehind(v crdt.VC) error {
	if r.opts.KeepLog {
		return nil
	}
	var cut crdt.VC
	for o, n := range v.All() {
		cut.Set(o, n-1)
	}
	return r.CutLog(cut)
}

// collectSome settles some of the removals by operations from `from` to number
// to of its origin. It returns where to go on, and whether some must be tried
// again later.
func (r *Replica) collectSome(from crdt.Dot, to uint64, stable crdt.VC) (skipped bool, next crdt.Dot, err error) {
	if err := r.store.enter(); err != nil {
		return true, from, err
	}
	defer r.store.leave()
	if err := r.store.Err(); err != nil {
		return true, from, err
	}
	list, next, err := r.removals(from, to)
	if err != nil {
		return true, from, fmt.Errorf("read removals: %w", err)
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].account == list[0].account {
			n++
		}
		s, err := r.collectAccount(list[:n], stable)
		if err != nil {
			return true, from, fmt.Errorf("account %d: %w", list[0].account, err)
		}
		skipped = skipped || s
		list = list[n:]
	}
	return skipped, next, nil
}

// removal is a recorded removal with the account that it happened in.
type removal struct {
	crdt.Removal
	account crdt.AccountID
}

// removals reads at least those of one operation, and about collectStep, ordered
// by account. next is the operation behind them.
func (r *Replica) removals(from crdt.Dot, to uint64) (list []removal, next crdt.Dot, err error) {
	prefix := r.keys.kind(nil, spaceContent, kindRemoval)
	it, err := r.store.db.NewIter(&pebble.IterOptions{
		LowerBound: r.keys.removals(nil, from),
		UpperBound: after(r.keys.removals(nil, crdt.Dot{Origin: from.Origin, N: to})),
	})
	if err != nil {
		return nil, from, err
	}
	next = crdt.Dot{Origin: from.Origin, N: to + 1}
	for ok := it.First(); ok; ok = it.Next() {
		x, err := parseRemovalRecord(it.Key()[len(prefix):], it)
		if err != nil {
			return nil, from, errors.Join(err, it.Close())
		}
		if len(list) >= collectStep && x.By != list[len(list)-1].By {
			next = x.By
			break
		}
		list = append(list, x)
	}
	if err := it.Close(); err != nil {
		return nil, from, err
	}
	slices.SortStableFunc(list, func(a, b removal) int { return int(int64(a.account) - int64(b.account)) })
	return list, next, nil
}

func parseRemovalRecord(key []byte, it *pebble.Iterator) (x removal, err error) {
	if x.Removal, err = parseRemoval(key); err != nil {
		return x, err
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return x, err
	}
	if len(v) != 4 {
		return x, fmt.Errorf("%w: removal by %s/%d", errCorrupt, x.By.Origin, x.By.N)
	}
	x.account = crdt.AccountID(binary.BigEndian.Uint32(v))
	return x, nil
}

// collectAccount settles removals of one account in one batch. It skips
// contents that somebody reads or writes, and an account in quarantine, whose
// instances are not what the operations say.
func (r *Replica) collectAccount(list []removal, stable crdt.VC) (skipped bool, err error) {
	a := r.acquire(list[0].account)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return true, err
	}
	if a.quarantined != nil {
		return true, nil
	}
	free, release := r.contents.reserve(list)
	defer release()
	t := a.begin()
	defer t.drop()
	deleted, err := crdt.Collect(t, free, stable)
	if damaged(err) {
		return true, a.damage(err) // the others go on
	}
	if err != nil {
		return true, err
	}
	// Not synced: what a crash brings back is deleted again.
	if err := r.store.db.Apply(t.batch, pebble.NoSync); err != nil {
		return true, err
	}
	t.tellContents()
	r.store.opts.Metrics.deleted.Add(float64(len(deleted)))
	return len(free) < len(list), nil
}

// deleteContent puts the deletion of a content, with what is kept about it,
// into a batch.
func (r *Replica) deleteContent(b *pebble.Batch, root crdt.Root) error {
	key := r.keys.content(nil, kindStructure, root)
	v, err := r.store.get(key)
	if err != nil {
		return err
	}
	err = errors.Join(b.Delete(key, nil), b.Delete(r.keys.content(nil, kindCount, root), nil))
	if t, e := parseTrailer(v); v != nil && e == nil {
		for i := range t.chunks() {
			err = errors.Join(err, b.Delete(r.keys.chunk(nil, root, i), nil))
		}
		return err
	}
	return errors.Join(err, r.deletePieces(b, root))
}

// deletePieces puts into a batch the deletion of what is there of a content that
// is not complete. A range deletion would do, but a database with thousands of
// them in memory gets slow.
func (r *Replica) deletePieces(b *pebble.Batch, root crdt.Root) error {
	prefix := r.keys.chunks(nil, root)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	err = b.Delete(r.keys.content(nil, kindStaging, root), nil)
	for ok := it.First(); ok; ok = it.Next() {
		err = errors.Join(err, b.Delete(it.Key(), nil))
	}
	return errors.Join(err, it.Close())
}
