package mailstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Verified counts what a verification has read.
type Verified struct {
	Records    uint64 // of accounts, and of the replica itself
	Operations uint64 // in the log
	Contents   uint64
	Bytes      uint64 // of contents
	Damaged    uint64 // found
	Repaired   uint64 // of them
}

// Damage is something that a verification has found.
type Damage struct {
	What     string
	Account  crdt.AccountID // 0: not known
	Repaired bool
	Err      error // what is wrong, or why it could not be repaired
}

// Verification is how a replica's disk is checked.
type Verification struct {
	// Repair has damage repaired as it is found: contents come from peers, and
	// accounts are handed to Resync. Without it nothing is changed.
	Repair bool
	// Resync loads an account anew from a peer; nil: a damaged account is put
	// into quarantine only.
	Resync func(context.Context, crdt.AccountID) error
	// Report is told of each damage, Progress now and then of how far it is.
	Report   func(Damage)
	Progress func(Verified)
}

// verifyStep is after how many records or contents Progress is called.
const verifyStep = 1000

// Verify reads everything that the disk has of this replica (the checksums of all
// blocks are checked by that) and compares what belongs together. It goes on behind
// what cannot be read. It takes no lock for longer than a record; clients are served
// meanwhile.
func (r *Replica) Verify(ctx context.Context, v Verification) (Verified, error) {
	w := &verifier{r: r, ctx: ctx, Verification: v}
	for _, step := range []func() error{w.heads, w.accounts, w.log, w.contents} {
		if err := step(); err != nil {
			return w.sum, fmt.Errorf("verify: %w", err)
		}
	}
	return w.sum, nil
}

type verifier struct {
	Verification
	r   *Replica
	ctx context.Context
	sum Verified

	next []byte         // of the records of accounts: where to go on
	bad  crdt.AccountID // of which a record was found damaged
}

func (w *verifier) progress(n *uint64) {
	if *n++; *n%verifyStep == 0 && w.Progress != nil {
		w.Progress(w.sum)
	}
}

// found notes a damage, and has repair deal with it.
func (w *verifier) found(d Damage, repair func() error) {
	w.sum.Damaged++
	if w.Repair && repair != nil {
		if err := repair(); err != nil {
			d.Err = fmt.Errorf("%w; not repaired: %w", d.Err, err)
		} else {
			d.Repaired = true
			w.sum.Repaired++
		}
	}
	if w.Report != nil {
		w.Report(d)
	}
}

// checkRecord reads one record of an account; key begins with its kind.
func checkRecord(key, v []byte) (err error) {
	switch key[0] {
	case recAccount:
		_, err = crdt.DecodeAccount(v)
	case recMailbox:
		if len(v) < boxHeader {
			return errCorrupt
		}
		_, err = crdt.DecodeMailbox(v[boxHeader:])
	case recMessage:
		var m crdt.Message
		err = m.UnmarshalBinary(v)
	case recSubscription:
		_, err = parseSubscription(v)
	case recReplay:
		var k crdt.TwinKey
		var rest []byte
		if k, rest, err = parseTwinKey(key[1:]); err == nil {
			_, err = parseReplay(k, rest, v)
		}
	}
	if err != nil && !damaged(err) {
		err = fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// quarantineDamaged puts an account into quarantine that was found damaged.
func (r *Replica) quarantineDamaged(id crdt.AccountID, reason error) error {
	a := r.acquire(id)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return err
	}
	return a.damage(reason)
}

// log reads all operations that are in the log. What is damaged there is repaired by
// cutting the log behind it: who lacks it gets it from another member's log, or takes
// a snapshot.
func (w *verifier) log() error {
	logged := w.r.Logged()
	for o, last := range logged.All() {
		for n := w.r.logCut(o); n < last; {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			var count int
			err := w.r.inStore(func() error {
				list, err := w.r.readLog(o, n+1, last, withheldStep)
				count = len(list)
				return err
			})
			n += uint64(count)
			w.sum.Operations += uint64(count)
			switch cut := w.r.logCut(o); {
			case err == nil && count > 0:
			case cut > n: // meanwhile
				n = cut
			default:
				err = unreadableBlock(errors.Join(err, fmt.Errorf("%w: log of %s behind %d", errCorrupt, o, n)))
				cut := n
				w.found(Damage{What: fmt.Sprintf("log of %s from %d", o, n+1), Err: err}, func() error {
					return w.r.inStore(func() (err error) {
						cut, err = w.r.cutDamage(o, n+1, last)
						return err
					})
				})
				if cut == n { // not repaired
					cut = last
				}
				n = cut
			}
		}
	}
	return nil
}

// contents reads all contents that messages refer to.
func (w *verifier) contents() error {
	for behind := (crdt.Root{}); ; {
		var list []crdt.Root
		err := w.r.inStore(func() (err error) {
			list, err = w.r.liveContents(behind, 100)
			return err
		})
		if damaged(err) {
			w.headDamage("counts of contents", err)
			next, err := w.r.soundContents(behind)
			if next == nil || err != nil {
				return err
			}
			behind = *next
			continue
		}
		if err != nil || len(list) == 0 {
			return err
		}
		for _, root := range list {
			if err := w.ctx.Err(); err != nil {
				return err
			}
			w.content(root)
		}
		behind = list[len(list)-1]
	}
}

// liveContents returns up to n contents behind one that messages refer to.
func (r *Replica) liveContents(behind crdt.Root, n int) ([]crdt.Root, error) {
	prefix := r.keys.kind(nil, spaceContent, kindCount)
	it, err := r.store.db.NewIter(iterBounds(append(r.keys.content(nil, kindCount, behind), 0), after(prefix)))
	if err != nil {
		return nil, err
	}
	var out []crdt.Root
	for ok := it.First(); ok && len(out) < n; ok = it.Next() {
		if c, err := parseCount(it.Value()); err != nil || c.Live > 0 {
			out = append(out, crdt.Root(it.Key()[len(prefix):]))
		}
	}
	return out, errors.Join(it.Error(), it.Close())
}

func (w *verifier) content(root crdt.Root) {
	defer w.progress(&w.sum.Contents)
	size, bad := w.r.checkContent(w.ctx, root)
	w.sum.Bytes += size
	if bad == nil || errors.Is(bad, ErrExpunged) { // meanwhile
		return
	}
	w.found(Damage{What: fmt.Sprintf("content %x", root), Err: bad}, func() error {
		if err := w.r.mendContent(w.ctx, root, bad); err != nil {
			return err
		}
		_, err := w.r.checkContent(w.ctx, root)
		return err
	})
}

// checkContent reads all of a content and returns its size.
func (r *Replica) checkContent(ctx context.Context, root crdt.Root) (size uint64, err error) {
	if err := r.contents.pin(ctx, root); err != nil {
		return 0, err
	}
	defer r.contents.unpin(root)
	err = r.inStore(func() error {
		t, err := r.trailer(root)
		if err != nil {
			return err
		}
		size = t.size
		b := Body{r: r, root: root, size: int64(t.size)}
		var first [1]byte
		for off := int64(0); off < b.size; off += chunkSize {
			if _, err := b.read(first[:], off); err != nil {
				return err
			}
		}
		return nil
	})
	return size, err
}

// mendContent gets a content anew in which something is missing or damaged.
func (r *Replica) mendContent(ctx context.Context, root crdt.Root, bad error) error {
	if errors.Is(bad, errBlock) {
		if err := r.inStore(func() error { return r.cutOut(root) }); err != nil {
			return err
		}
	}
	return r.pull(ctx, root)
}
