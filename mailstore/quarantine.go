package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// An operation that cannot be decoded, is of a newer version, or refers to what
// cannot exist, and a record here that cannot be read, put their account into
// quarantine on this replica: operations of that account are logged (and passed
// on) and not applied, and its sessions go elsewhere. It stops no process and
// delays no other account. It ends when another version can apply what was
// withheld ([account.catchUp], tried at each start), or when the account is
// loaded anew from a peer (MergeLoad).

// Quarantined describes an account in quarantine.
type Quarantined struct {
	Account crdt.AccountID
	Since   crdt.Dot // the operation that could not be applied; none: a record, or a snapshot
	Time    time.Time
	Reason  string
	// Damaged says that records of the account cannot be read here: only loading
	// it anew helps.
	Damaged bool
}

// quarantine is what is known of one. It is not changed: a new one takes its place.
type quarantine struct {
	Quarantined
	from     crdt.VC // what the replica had applied when it began, or what a snapshot brought since
	withheld crdt.VC // the last operations of the account that were not applied
}

// err is what whoever wants to use the account is told.
func (q *quarantine) err() error {
	return fmt.Errorf("%w: account %d is quarantined on this replica", ErrUnavailable, q.Account)
}

// A quarantine's record, which survives restarts: the operation that began it
// (origin 8, n 8), the time (Unix milliseconds, 8), 1 for damaged records (1), from and withheld with
// their lengths, and the reason.
const quarantineHead = 8 + 8 + 8 + 1

func (q *quarantine) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(q.Since.Origin))
	b = binary.BigEndian.AppendUint64(b, q.Since.N)
	b = binary.BigEndian.AppendUint64(b, uint64(q.Time.UnixMilli()))
	damaged := byte(0)
	if q.Damaged {
		damaged = 1
	}
	b = append(b, damaged)
	return append(appendVector(appendVector(b, q.from), q.withheld), q.Reason...)
}

func parseQuarantine(id crdt.AccountID, b []byte) (*quarantine, error) {
	if len(b) < quarantineHead || b[24] > 1 {
		return nil, fmt.Errorf("%w: quarantine of account %d", errCorrupt, id)
	}
	q := &quarantine{Quarantined: Quarantined{
		Account: id,
		Since:   crdt.Dot{Origin: crdt.Origin(binary.BigEndian.Uint64(b)), N: binary.BigEndian.Uint64(b[8:])},
		Time:    time.UnixMilli(int64(binary.BigEndian.Uint64(b[16:]))),
		Damaged: b[24] == 1,
	}}
	b = b[quarantineHead:]
	var err error
	for _, v := range []*crdt.VC{&q.from, &q.withheld} {
		if *v, b, err = cutVector(b); err != nil {
			return nil, fmt.Errorf("%w: quarantine of account %d: %w", errCorrupt, id, err)
		}
	}
	q.Reason = string(b)
	return q, nil
}

// damaged reports whether an error is about something here that cannot be read,
// now or ever.
func damaged(err error) bool {
	return errors.Is(err, errCorrupt) || errors.Is(err, errBlock) || err != nil && pebble.IsCorruptionError(err)
}

// quarantines are those that there are. The log is kept behind the beginning of each.
type quarantines struct {
	sync.Mutex
	holds map[crdt.AccountID]func()
}

// isolate makes a quarantine, whose record is written, that of the account, and
// tells whoever runs sessions. Under a.mu.
func (a *account) isolate(q *quarantine) {
	r := a.r
	fresh := a.quarantined == nil
	a.quarantined = q
	r.holdFor(q)
	if !fresh {
		return
	}
	a.isolations++
	r.store.opts.Metrics.quarantined.Inc()
	level.Error(r.logger).Log("msg", "ALARM: account quarantined: it is not served here; see plutoctl status, and plutoctl account resync",
		"account", a.id, "origin", q.Since.Origin, "n", q.Since.N, "damaged", q.Damaged, "err", q.Reason)
	if r.opts.Dismissed != nil {
		r.opts.Dismissed(a.id)
	}
}

func (r *Replica) holdFor(q *quarantine) {
	release := r.Hold(q.from)
	r.quarantines.Lock()
	defer r.quarantines.Unlock()
	if old := r.quarantines.holds[q.Account]; old != nil {
		old()
	}
	r.quarantines.holds[q.Account] = release
}

// readmit ends the quarantine of an account whose record is gone. Under a.mu.
func (a *account) readmit() {
	r := a.r
	a.quarantined = nil
	r.store.opts.Metrics.quarantined.Dec()
	level.Info(r.logger).Log("msg", "account is no longer in quarantine", "account", a.id)
	r.quarantines.Lock()
	defer r.quarantines.Unlock()
	if release := r.quarantines.holds[a.id]; release != nil {
		release()
		delete(r.quarantines.holds, a.id)
	}
}

// putQuarantine writes a record.
func (t *tx) putQuarantine(q *quarantine) error {
	t.key = t.keys.quarantine(t.key[:0], q.Account)
	t.val = q.append(t.val[:0])
	return t.set(t.val)
}

// withhold logs an operation that is not applied, which begins the quarantine
// unless there is one. Under a.mu and r.seq.
func (a *account) withhold(e *causal.Entry, reason error) (*commit, error) {
	var q quarantine
	if a.quarantined != nil {
		q = *a.quarantined
	} else {
		q = quarantine{from: a.r.seq.vector.Clone(), Quarantined: Quarantined{
			Account: a.id, Since: e.Dot, Time: a.r.opts.Now(), Reason: reason.Error(), Damaged: damaged(reason)}}
	}
	q.withheld = q.withheld.Clone()
	q.withheld.Add(e.Dot)
	t := a.begin()
	defer t.drop()
	if err := t.putQuarantine(&q); err != nil {
		return nil, err
	}
	c, err := a.logWith(t, e)
	if err != nil {
		return nil, err
	}
	a.isolate(&q)
	return c, nil
}

// logWith logs an operation that is not applied. What it brings is kept.
func (a *account) logWith(t *tx, e *causal.Entry) (*commit, error) {
	if err := t.logReceived(e); err != nil {
		return nil, err
	}
	vector, clock := a.r.seq.vector.Clone(), a.r.seq.clock
	vector.Set(e.Dot.Origin, e.Dot.N)
	c := &commit{account: a, dots: []crdt.Dot{e.Dot}, began: time.Now()}
	return c, a.submit(t, c, vector, clock)
}

// damage puts an account into quarantine of which a record cannot be read. The
// error is that of writing this down. Under a.mu, not under r.seq.
func (a *account) damage(reason error) error {
	if a.quarantined != nil && a.quarantined.Damaged {
		return nil
	}
	a.r.seq.Lock()
	q := quarantine{from: a.r.seq.vector.Clone()}
	a.r.seq.Unlock()
	if a.quarantined != nil {
		q = *a.quarantined
	}
	q.Quarantined = Quarantined{Account: a.id, Since: q.Since, Time: a.r.opts.Now(), Reason: reason.Error(), Damaged: true}
	// Not synced: what a crash takes is found out again.
	if err := a.r.store.db.Set(a.r.keys.quarantine(nil, a.id), q.append(nil), pebble.NoSync); err != nil {
		return fmt.Errorf("quarantine account %d: %w", a.id, err)
	}
	a.isolate(&q)
	return nil
}

// isDamaged reports whether the account is in quarantine because records cannot be read.
func (a *account) isDamaged() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.load() == nil && a.quarantined != nil && a.quarantined.Damaged
}

// leaveOut puts an account into quarantine of which a load brings nothing, although
// the replica's vector rises to reached: what the account has not applied of that is
// in no log here.
func (r *Replica) leaveOut(id crdt.AccountID, reached crdt.VC) error {
	a := r.acquire(id)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return err
	}
	r.seq.Lock()
	q := quarantine{from: r.seq.vector.Clone()}
	r.seq.Unlock()
	if a.quarantined != nil {
		q = *a.quarantined
	} else {
		q.Quarantined = Quarantined{Account: id, Time: r.opts.Now(), Reason: "no member could give a snapshot of it while this one loaded"}
	}
	q.withheld = q.withheld.Clone()
	q.withheld.Merge(reached)
	// Durable with what lets the vector rise.
	if err := r.store.db.Set(r.keys.quarantine(nil, id), q.append(nil), pebble.NoSync); err != nil {
		return fmt.Errorf("quarantine account %d: %w", id, err)
	}
	a.isolate(&q)
	return nil
}

// suspect puts the account into quarantine if an error of its use says that it
// is damaged, and returns what the user is told. Under a.mu.
func (a *account) suspect(err error) error {
	if !damaged(err) {
		return err
	}
	if e := a.damage(err); e != nil {
		return errors.Join(err, e)
	}
	return fmt.Errorf("%w: %w", a.quarantined.err(), err)
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
	t := a.begin()
	defer t.drop()
	c, err := a.logWith(t, e)
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
	list, err := r.quarantined()
	out := make([]Quarantined, len(list))
	for i, q := range list {
		out[i] = q.Quarantined
	}
	return out, err
}

func (r *Replica) quarantined() ([]*quarantine, error) {
	prefix := r.keys.kind(nil, spaceState, kindQuarantine)
	it, err := r.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return nil, fmt.Errorf("list quarantined accounts: %w", err)
	}
	var out []*quarantine
	for ok := it.First(); ok; ok = it.Next() {
		id, err := parseAccount(it.Key()[len(prefix):])
		var q *quarantine
		if err == nil {
			q, err = parseQuarantine(id, it.Value())
		}
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		out = append(out, q)
	}
	return out, it.Close()
}

// recallQuarantines is part of opening a replica.
func (r *Replica) recallQuarantines() error {
	r.quarantines.holds = make(map[crdt.AccountID]func())
	list, err := r.quarantined()
	if err != nil {
		return err
	}
	r.store.opts.Metrics.quarantined.Add(float64(len(list)))
	for _, q := range list {
		r.holdFor(q)
	}
	return nil
}
