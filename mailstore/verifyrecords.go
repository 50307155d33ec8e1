package mailstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// headKinds are the kinds of records that are neither an account's, nor the log, nor
// contents.
var headKinds = [...]struct {
	space, kind byte
	name        string
}{
	{spaceState, kindVector, "vector"}, {spaceState, kindCut, "beginning of the log"}, {spaceState, kindEpochs, "epochs"},
	{spaceState, kindPeer, "peers"}, {spaceState, kindQuarantine, "quarantines"}, {spaceState, kindAwait, "waiting messages"},
	{spaceState, kindFiled, "accounts with causes"}, {spaceState, kindCheckpoint, "checkpoints"}, {spaceState, kindCommand, "commands"},
	{spaceState, kindLoad, "loads"}, {spaceContent, kindRemoval, "removals"}, {spaceContent, kindStaging, "staged contents"},
}

// heads reads the records that the replica itself needs.
func (w *verifier) heads() error {
	for _, k := range headKinds {
		prefix := w.r.keys.kind(nil, k.space, k.kind)
		var sound bool
		err := w.r.inStore(func() (err error) {
			sound, err = w.r.eachRecord(prefix, after(prefix), false, func([]byte, []byte) bool {
				w.progress(&w.sum.Records)
				return w.ctx.Err() == nil
			})
			return err
		})
		if err := errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
		if !sound {
			w.headDamage(k.name, errBlock)
		}
	}
	return nil
}

// headDamage notes a damage of records for which no member has others.
func (w *verifier) headDamage(name string, err error) {
	w.found(Damage{What: name + " of the replica", Err: fmt.Errorf("%w: %w", unreadableBlock(err), errHeads)}, nil)
}

// verifyPage is how many records are read with one iterator, which keeps what was
// deleted meanwhile on the disk.
const verifyPage = 10000

// accounts reads all records of accounts. Those that are found damaged go into
// quarantine.
func (w *verifier) accounts() error {
	kind := w.r.keys.kind(nil, spaceState, kindAccount)
	w.next = kind
	for {
		var p page
		err := w.r.inStore(func() (err error) {
			p, err = w.page(after(kind))
			return err
		})
		if err := errors.Join(err, w.ctx.Err()); err != nil {
			return err
		}
		switch {
		case p.damage != nil:
			w.accountDamage(p.account, p.damage)
		case !p.sound:
			if err := w.gap(kind); err != nil {
				return err
			}
		case p.last:
			return nil
		}
	}
}

// page is what was found in a part of the records.
type page struct {
	sound, last bool
	account     crdt.AccountID
	damage      error // of that account's record
}

// page reads records from the next one on.
func (w *verifier) page(end []byte) (p page, err error) {
	n := 0
	prefix := w.r.keys.kind(nil, spaceState, kindAccount)
	p.last = true
	p.sound, err = w.r.eachRecord(bytes.Clone(w.next), end, false, func(key, v []byte) bool {
		w.next = append(append(w.next[:0:0], key...), 0)
		w.progress(&w.sum.Records)
		if p.account, p.damage = w.record(key[len(prefix):], v); p.damage != nil {
			w.bad = p.account
		}
		n++
		p.last = n < verifyPage && p.damage == nil && w.ctx.Err() == nil
		return p.last
	})
	return p, err
}

// record checks a record, unless its account is known to be damaged.
func (w *verifier) record(key, v []byte) (crdt.AccountID, error) {
	id, err := parseAccount(key)
	if err != nil || len(key) < accountPrefixLen-prefixLen {
		return 0, nil // no account has it
	}
	if id == w.bad && id != 0 {
		return id, nil
	}
	if err := checkRecord(key[accountPrefixLen-prefixLen-1:], v); err != nil {
		return id, fmt.Errorf("record %x: %w", key, err)
	}
	return id, nil
}

// accountDamage notes that an account is damaged, and has it loaded anew.
func (w *verifier) accountDamage(id crdt.AccountID, bad error) {
	w.found(Damage{What: fmt.Sprintf("account %d", id), Account: id, Err: bad}, func() error {
		err := w.r.inStore(func() error { return w.r.quarantineDamaged(id, bad) })
		if err != nil || w.Resync == nil {
			return errors.Join(err, errors.New("it is in quarantine"))
		}
		return w.Resync(w.ctx, id)
	})
}

// gap deals with what cannot be read behind the last record that was read.
func (w *verifier) gap(kind []byte) error {
	var g *gap
	err := w.r.inStore(func() (err error) {
		id := crdt.AccountID(0)
		if len(w.next) > len(kind) {
			if id, err = parseAccount(w.next[len(kind):]); err != nil {
				return err
			}
		}
		g, err = w.r.gapAt(id)
		return err
	})
	if g == nil || err != nil {
		return err // it was dealt with meanwhile, and is read again
	}
	bad := fmt.Errorf("%w: records of it may lie there", errBlock)
	cut := errors.New("not cut out")
	if w.Repair {
		cut = w.r.inStore(func() error {
			if err := w.r.isolateGap(g, bad); err != nil {
				return err
			}
			return w.r.cutOutGap(g)
		})
		if cut != nil {
			bad = fmt.Errorf("%w: %w", bad, cut)
		}
	}
	for _, id := range g.accounts {
		if cut == nil {
			w.accountDamage(id, bad)
			continue
		}
		w.found(Damage{What: fmt.Sprintf("account %d", id), Account: id, Err: bad}, nil)
	}
	switch {
	case cut != nil: // it is still there
		w.next = g.end
	case g.value != nil:
		w.next = append(g.start, 0)
	default:
		w.next = kind
	}
	return nil
}

// soundContents returns a content, of a later time than one, behind which the counts
// can be read again, nil if there is none.
func (r *Replica) soundContents(behind crdt.Root) (next *crdt.Root, err error) {
	var ms [8]byte
	copy(ms[2:], behind[:6])
	at := binary.BigEndian.Uint64(ms[:])
	end := after(r.keys.kind(nil, spaceContent, kindCount))
	for step := uint64(1); at+step < 1<<48; step *= 2 {
		var root crdt.Root
		binary.BigEndian.PutUint64(ms[:], at+step)
		copy(root[:6], ms[2:])
		var sound bool
		err := r.inStore(func() (err error) {
			sound, err = r.eachRecord(r.keys.content(nil, kindCount, root), end, false, func([]byte, []byte) bool { return false })
			return err
		})
		if err != nil {
			return nil, err
		}
		if sound {
			return &root, nil
		}
	}
	return nil, nil
}
