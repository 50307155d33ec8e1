package mailstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// ErrWithheld is returned for an account that stays in quarantine.
var ErrWithheld = errors.New("account stays in quarantine")

// retryQuarantines tries at the start whether this version can apply what an
// earlier one could not.
func (r *Replica) retryQuarantines() error {
	list, err := r.quarantined()
	if err != nil {
		return err
	}
	for _, q := range list {
		err := r.catchUp(q.Account)
		if err != nil && !errors.Is(err, ErrWithheld) {
			return err
		}
		if err != nil {
			level.Error(r.logger).Log("msg", "ALARM: account is in quarantine", "account", q.Account, "origin", q.Since.Origin, "n", q.Since.N,
				"since", q.Time.UTC().Format(time.RFC3339), "damaged", q.Damaged, "err", err)
		}
	}
	return nil
}

// catchUp applies the operations of an account that were withheld, in causal
// order, and ends its quarantine. ErrWithheld: one of them cannot be applied by
// this version either, or is no longer in the log. What was applied before stays so.
func (r *Replica) catchUp(id crdt.AccountID) error {
	a := r.acquire(id)
	defer r.release(a)
	commits, err := a.applyWithheld()
	for _, c := range commits {
		if e := r.synced(c); e != nil {
			err = errors.Join(err, e)
			continue
		}
		a.settle(c, nil)
	}
	return err
}

func (a *account) applyWithheld() (commits []*commit, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return nil, err
	}
	q := a.quarantined
	switch {
	case q == nil:
		return nil, nil
	case q.Damaged, a.loading != nil:
		return nil, fmt.Errorf("%w: %s", ErrWithheld, q.Reason)
	}
	list, err := a.withheld()
	if err != nil {
		return nil, err
	}
	for i := range list {
		c, err := a.applyLate(&list[i])
		if errors.Is(err, errImpossible) {
			return commits, fmt.Errorf("%w: operation %s/%d: %w", ErrWithheld, list[i].Dot.Origin, list[i].Dot.N, err)
		}
		if err != nil {
			return commits, a.suspect(err)
		}
		commits = append(commits, c)
	}
	// Not synced: after a crash there is nothing left to apply, and it is done again.
	if err := a.r.store.db.Delete(a.r.keys.quarantine(nil, a.id), pebble.NoSync); err != nil {
		return commits, err
	}
	a.readmit()
	return commits, nil
}

// withheld reads the operations that were not applied from the log, by rising
// time, which is causal order. Under a.mu.
func (a *account) withheld() ([]causal.Entry, error) {
	r := a.r
	var out []causal.Entry
	for o, last := range a.quarantined.withheld.All() {
		n := max(a.quarantined.from.Get(o), a.rec.Vector.Get(o))
		if n < last && r.logCut(o) > n {
			return nil, fmt.Errorf("%w: operations after %s/%d are no longer in the log; load it anew", ErrWithheld, o, n)
		}
		for n < last {
			list, err := r.readLog(o, n+1, last, withheldStep)
			if errors.Is(err, ErrCut) {
				return nil, fmt.Errorf("%w: %w; load it anew", ErrWithheld, err)
			}
			if err != nil {
				return nil, err
			}
			if len(list) == 0 {
				return nil, fmt.Errorf("%w: log of %s has no %d", errCorrupt, o, n+1)
			}
			for _, e := range list {
				if h, err := crdt.DecodeHeader(e.Data); err == nil && h.Account == a.id {
					out = append(out, e)
				}
			}
			n += uint64(len(list))
		}
	}
	slices.SortFunc(out, func(x, y causal.Entry) int {
		return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.Dot.N, y.Dot.N))
	})
	return out, nil
}

// withheldStep is how much of the log is read at once, in bytes.
const withheldStep = 1 << 20

// applyLate applies an operation that is in the log already. Under a.mu.
func (a *account) applyLate(e *causal.Entry) (*commit, error) {
	a.r.seq.Lock()
	defer a.r.seq.Unlock()
	if err := a.r.store.Err(); err != nil {
		return nil, err
	}
	c, err := a.applyRemote(e, true, a.r.mayWrite() == nil)
	if errors.Is(err, errFollow) {
		c, err = a.applyRemote(e, true, false)
	}
	return c, err
}
