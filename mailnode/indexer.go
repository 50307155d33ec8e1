package mailnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/mailstore"
	"github.com/go-pluto/pluto/mailstore/textindex"
)

const (
	// indexDelay is how long it is waited, once something has come, for what comes with
	// it: many contents at once are less work than each alone, and those that go again
	// meanwhile, such as the drafts that a client saves while somebody writes, are none.
	// What is not in the index yet is looked through. At the start it leaves the node to
	// the sessions that come back.
	indexDelay = 15 * time.Second
	// indexRetry is when contents are looked at again that could not be read, and the
	// index is tried again after an error.
	indexRetry = 5 * time.Minute
	// indexSync is how often what is new in the index goes to the disk.
	indexSync = time.Minute
	// A batch is full with so many contents or grams (of eight bytes of memory, and a
	// few for sorting).
	indexContents = 512
	indexGrams    = 1 << 20
	// maxNoted bounds the contents that are remembered as new or gone. Beyond that the
	// account is compared with the index as a whole.
	maxNoted = 100_000
	// indexRoom is how much the index may want of the disk at once.
	indexRoom = 64 << 20
)

// Of the time of one processor, making the index takes one part in so many: what a
// session wants goes first.
const (
	indexShare        = 4
	indexShareStorage = 10
)

// indexer keeps the text index of a replica: what comes is added, what goes is taken out,
// and at the start, and when the index was lost, all accounts are compared with it.
type indexer struct {
	db      *textindex.DB
	replica *mailstore.Replica
	share   int // 1: the whole time of a processor
	logger  log.Logger
	delay   time.Duration
	settled chan struct{} // receives a value when nothing is to be done, for tests; nil: nobody is told

	// Of run:
	collector *textindex.Collector
	debt      time.Duration               // time that is to be rested
	later     map[crdt.AccountID]struct{} // accounts with contents that could not be read

	waiting atomic.Int64 // contents that are to be added, as far as they are known

	mu    sync.Mutex
	noted map[crdt.AccountID]*noted
	count int // contents in it
	wake  chan struct{}
}

// noted is what has happened in an account.
type noted struct {
	contents map[crdt.Root]bool // whether they came last, or went
	came     int                // contents that came last
	all      bool               // more than that, nobody knows what
}

func (n *noted) note(root crdt.Root, came bool) {
	switch was := n.contents[root]; {
	case came && !was:
		n.came++
	case was && !came:
		n.came--
	}
	n.contents[root] = came
}

// which returns the contents that came last, or those that went.
func (n *noted) which(came bool) (list []crdt.Root) {
	for root, is := range n.contents {
		if is == came {
			list = append(list, root)
		}
	}
	return list
}

func newIndexer(db *textindex.DB, share int, logger log.Logger) *indexer {
	return &indexer{
		db: db, share: share, logger: logger, delay: indexDelay,
		later: make(map[crdt.AccountID]struct{}), noted: make(map[crdt.AccountID]*noted), wake: make(chan struct{}, 1),
	}
}

// note is told what has happened, by the replica. It never blocks.
func (x *indexer) note(account crdt.AccountID, came, went []crdt.Root) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.noted[account]
	if n == nil {
		n = &noted{contents: make(map[crdt.Root]bool)}
		x.noted[account] = n
	}
	if !n.all && x.count+len(came)+len(went) > maxNoted {
		x.count -= len(n.contents)
		*n = noted{all: true}
	}
	if !n.all {
		before := len(n.contents)
		for _, root := range came {
			n.note(root, true)
		}
		for _, root := range went {
			n.note(root, false)
		}
		x.count += len(n.contents) - before
	}
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// pending returns how many contents are known to be missing in the index.
func (x *indexer) pending() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.waiting.Load()
	for _, of := range x.noted {
		n += int64(of.came)
	}
	return n
}

// noteAll has an account compared with the index.
func (x *indexer) noteAll(account crdt.AccountID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n := x.noted[account]; n != nil {
		x.count -= len(n.contents)
	}
	x.noted[account] = &noted{all: true}
}

// take returns all that has happened until now, and how many contents came.
func (x *indexer) take() (all map[crdt.AccountID]*noted, came int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all = x.noted
	x.noted, x.count = make(map[crdt.AccountID]*noted), 0
	for _, n := range all {
		came += int64(n.came)
	}
	return all, came
}

// errLost ends what was done with an index that is not there any more.
var errLost = errors.New("text index is made anew")

// run does the work until ctx ends.
func (x *indexer) run(ctx context.Context) {
	x.collector = textindex.NewCollector()
	for ctx.Err() == nil {
		err := x.keep(ctx)
		if ctx.Err() != nil || errors.Is(err, errLost) {
			continue
		}
		level.Warn(x.logger).Log("msg", "text index cannot be kept; trying again later", "err", err)
		wait(ctx, indexRetry)
	}
}

// keep brings the index up to date and keeps it so, until it is lost or something fails.
func (x *indexer) keep(ctx context.Context) error {
	if err := x.db.Repair(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	lost := x.db.Lost()
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-lost:
			cancel(errLost)
		case <-ctx.Done():
		}
	})
	wait(ctx, x.delay)
	err := x.compare(ctx)
	if err == nil {
		err = x.follow(ctx)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	select {
	case <-lost: // what failed is that
		return errLost
	default:
		return err
	}
}

// compare compares all accounts with the index.
func (x *indexer) compare(ctx context.Context) error {
	known, last := make(map[crdt.AccountID]bool), time.Now()
	for next := crdt.AccountID(0); ; {
		account, ok, err := x.replica.NextAccount(next)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		known[account] = true
		err = x.update(ctx, account, &noted{all: true})
		if err == nil && time.Since(last) >= x.delay {
			err = x.updateNoted(ctx)
			last = time.Now()
		}
		if err != nil {
			return err
		}
		if next = account + 1; next == 0 {
			break
		}
	}
	owners, err := x.db.Owners()
	if err != nil {
		return err
	}
	for _, o := range owners {
		if o.Replica == x.replica.Origin() && !known[o.Account] {
			if err := x.db.Drop(o); err != nil {
				return err
			}
		}
	}
	return x.db.Sync()
}

// follow adds what comes and takes out what goes.
func (x *indexer) follow(ctx context.Context) error {
	sync, retry := time.NewTicker(indexSync), time.NewTicker(indexRetry)
	defer sync.Stop()
	defer retry.Stop()
	changed := false
	for {
		select {
		case x.settled <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.wake:
			wait(ctx, x.delay)
			changed = true
		case <-retry.C:
			for account := range x.later {
				x.noteAll(account)
			}
			clear(x.later)
		case <-sync.C:
			if changed {
				changed = false
				if err := x.db.Sync(); err != nil {
					return err
				}
			}
			continue
		}
		if err := x.updateNoted(ctx); err != nil {
			return err
		}
	}
}

// updateNoted deals with all that has happened until now. What happens meanwhile waits
// for the next time: the more there is to do, the more has gone again by then.
func (x *indexer) updateNoted(ctx context.Context) error {
	batch, left := x.take()
	x.waiting.Add(left)
	defer func() { x.waiting.Add(-left) }()
	for account, n := range batch {
		x.waiting.Add(-int64(n.came))
		left -= int64(n.came)
		if err := x.update(ctx, account, n); err != nil {
			return err
		}
	}
	return nil
}

// update brings the index up to date with what has happened in an account. What cannot be
// read now is tried again later.
func (x *indexer) update(ctx context.Context, account crdt.AccountID, n *noted) (err error) {
	owner := textindex.Owner{Replica: x.replica.Origin(), Account: account}
	var missing []crdt.Root
	if n.all {
		list, err := x.replica.ContentsOf(ctx, account)
		if err != nil {
			if ctx.Err() == nil {
				level.Warn(x.logger).Log("msg", "account cannot be read for the text index", "account", account, "err", err)
				x.later[account] = struct{}{}
				return nil
			}
			return err
		}
		missing, err = x.db.Reconcile(owner, list)
		if err != nil {
			return err
		}
	} else if missing, err = x.db.Missing(owner, n.which(true)); err != nil {
		return err
	}
	if err := x.add(ctx, owner, missing); err != nil {
		return err
	}
	if went := n.which(false); len(went) > 0 {
		began := time.Now()
		err = x.db.Remove(owner, went)
		x.rest(ctx, time.Since(began))
	}
	return err
}

// add adds contents that are not in the index.
func (x *indexer) add(ctx context.Context, owner textindex.Owner, list []crdt.Root) error {
	x.waiting.Add(int64(len(list)))
	left := len(list)
	defer func() { x.waiting.Add(-int64(left)) }()
	var batch []textindex.Content
	grams, unread := 0, false
	flush := func() error {
		began := time.Now()
		err := x.db.Add(owner, batch)
		left -= len(batch)
		x.waiting.Add(-int64(len(batch)))
		batch, grams = nil, 0
		x.rest(ctx, time.Since(began))
		return err
	}
	for _, root := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		c, err := x.content(ctx, root)
		x.rest(ctx, time.Since(began))
		if err != nil {
			unread = unread || !errors.Is(err, mailstore.ErrExpunged)
			continue
		}
		batch = append(batch, c)
		if grams += c.Grams(); len(batch) < indexContents && grams < indexGrams {
			continue
		}
		if err := x.room(); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if err := x.room(); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	if unread {
		x.later[owner.Account] = struct{}{}
	}
	return nil
}

func (x *indexer) room() error {
	if err := x.replica.Room(indexRoom); err != nil {
		return fmt.Errorf("add to the text index: %w", err)
	}
	return nil
}

// content reads a content. Of one that makes the reading fail in a way that cannot be,
// everything is thought possible.
func (x *indexer) content(ctx context.Context, root crdt.Root) (c textindex.Content, err error) {
	defer func() {
		if value := recover(); value != nil {
			level.Error(x.logger).Log("msg", "fault in reading a message for the text index", "content", fmt.Sprintf("%x", root), "err", fmt.Sprint(value))
			x.collector = textindex.NewCollector()
			c, err = textindex.Opaque(root), nil
		}
	}()
	body, data, err := x.replica.LocalContent(ctx, root)
	if err != nil {
		return c, err
	}
	defer body.Close()
	structure, err := mime.Decode(data)
	if err != nil { // sessions do the same
		structure, err = mime.Parse(io.NewSectionReader(body, 0, body.Size()))
	}
	if err == nil {
		err = structure.FoldedTexts(body, x.collector.Headers(), x.collector.Texts())
	}
	c = x.collector.Take(root) // also to begin anew
	if err != nil {
		return c, fmt.Errorf("read content %x: %w", root, err)
	}
	return c, nil
}

// rest leaves the processor to others for a time that goes with the time spent.
func (x *indexer) rest(ctx context.Context, spent time.Duration) {
	const least = 10 * time.Millisecond
	if x.debt += spent * time.Duration(x.share-1); x.debt >= least {
		wait(ctx, x.debt)
		x.debt = 0
	}
}

// wait waits for a time, at most until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
