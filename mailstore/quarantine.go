package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// An operation that cannot be decoded, or that refers to what cannot exist,
// puts its account into quarantine on this replica: the operation and all later
// ones of that account are logged (and passed on) and not applied, and its
// sessions go elsewhere. It stops no process and delays no other account. The
// record of it, which survives restarts, is the operation that began it (origin
// 8, n 8), the time (Unix milliseconds, 8) and the reason.

// Quarantined describes an account in quarantine.
type Quarantined struct {
	Account crdt.AccountID
	Since   crdt.Dot // the operation that could not be applied
	Time    time.Time
	Reason  string
}

// quarantine begins one with operation e. Under a.mu and r.seq.
func (a *account) quarantine(e *causal.Entry, reason error) (*commit, error) {
	t := a.begin()
	defer t.drop()
	t.key = a.r.keys.quarantine(t.key[:0], a.id)
	t.val = binary.BigEndian.AppendUint64(t.val[:0], uint64(e.Dot.Origin))
	t.val = binary.BigEndian.AppendUint64(t.val, e.Dot.N)
	t.val = binary.BigEndian.AppendUint64(t.val, uint64(a.r.now()))
	t.val = append(t.val, reason.Error()...)
	if err := t.set(t.val); err != nil {
		return nil, err
	}
	c, err := a.logWith(t, e)
	if err != nil {
		return nil, err
	}
	a.quarantined = fmt.Errorf("%w: account %d is quarantined on this replica", ErrUnavailable, a.id)
	a.r.store.opts.Metrics.quarantined.Inc()
	level.Error(a.r.logger).Log("msg", "ALARM: account quarantined: an operation cannot be applied here", "account", a.id,
		"origin", e.Dot.Origin, "n", e.Dot.N, "err", reason)
	return c, nil
}

// logOnly logs an operation of an account in quarantine. Under a.mu and r.seq.
func (a *account) logOnly(e *causal.Entry) (*commit, error) {
	t := a.begin()
	defer t.drop()
	return a.logWith(t, e)
}

func (a *account) logWith(t *tx, e *causal.Entry) (*commit, error) {
	if err := t.logReceived(e); err != nil {
		return nil, err
	}
	vector, clock := a.r.seq.vector.Clone(), a.r.seq.clock
	vector.Set(e.Dot.Origin, e.Dot.N)
	c := &commit{account: a, dots: []crdt.Dot{e.Dot}, began: time.Now()}
	return c, a.submit(t, c, vector, clock)
}

// unreadable is the account in whose name operations are logged that do not
// say whose they are. No user has it: it is not loaded and not served.
const unreadable crdt.AccountID = 1<<32 - 1

// receiveUnreadable logs an operation whose header cannot be read.
func (r *Replica) receiveUnreadable(e *causal.Entry, reason error) ([]*commit, error) {
	if reason == nil {
		reason = errors.New("the header names another operation")
	}
	a := r.acquire(unreadable)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return nil, err
	}
	r.seq.Lock()
	defer r.seq.Unlock()
	if known, err := r.expected(e); known || err != nil {
		return nil, err
	}
	c, err := a.logOnly(e)
	if err != nil {
		return nil, err
	}
	r.store.opts.Metrics.undecodable.Inc()
	level.Error(r.logger).Log("msg", "ALARM: an operation cannot be read here, its account is unknown", "origin", e.Dot.Origin, "n", e.Dot.N, "err", reason)
	return []*commit{c.hold()}, nil
}

// Quarantined returns the accounts in quarantine.
func (r *Replica) Quarantined() ([]Quarantined, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	defer r.store.leave()
	return r.quarantined()
}

func (r *Replica) quarantined() ([]Quarantined, error) {
	prefix := r.keys.kind(nil, spaceState, kindQuarantine)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("list quarantined accounts: %w", err)
	}
	var out []Quarantined
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key()[len(prefix):], it.Value()
		if len(k) != 4 || len(v) < 24 {
			return nil, errors.Join(fmt.Errorf("%w: quarantine record", errCorrupt), it.Close())
		}
		out = append(out, Quarantined{
			Account: crdt.AccountID(binary.BigEndian.Uint32(k)),
			Since:   crdt.Dot{Origin: crdt.Origin(binary.BigEndian.Uint64(v)), N: binary.BigEndian.Uint64(v[8:])},
			Time:    time.UnixMilli(int64(binary.BigEndian.Uint64(v[16:]))),
			Reason:  string(v[24:]),
		})
	}
	return out, it.Close()
}

func (r *Replica) countQuarantined() error {
	all, err := r.quarantined()
	if err != nil {
		return err
	}
	r.store.opts.Metrics.quarantined.Add(float64(len(all)))
	for _, q := range all {
		level.Error(r.logger).Log("msg", "ALARM: account is in quarantine", "account", q.Account,
			"origin", q.Since.Origin, "n", q.Since.N, "since", q.Time.UTC().Format(time.RFC3339), "err", q.Reason)
	}
	return nil
}
