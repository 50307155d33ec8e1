package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// ReplicaOptions describe one member's copy of one subnet.
type ReplicaOptions struct {
	Subnet    string
	Slot      crdt.Slot // never changed for the same disk
	Leader    bool      // this replica re-issues UIDs first (crdt.md 2.1)
	Rank      int       // its place among those who do when the leader does not
	Separator byte      // between levels of mailbox names
	Policy    crdt.Policy
	// HoldDown is how long deliveries stay hidden; twice the longest way between
	// replicas avoids all renumbering of new mail. 0 shows them at once.
	HoldDown time.Duration
	// MaxMessageSize is the largest message, in bytes; 0 is 64 MiB.
	MaxMessageSize int64
	// VanishedAge and VanishedMax bound what is remembered of UIDs that denote
	// nothing any more, per mailbox: how long, and how many entries (an entry is a
	// run of UIDs that vanished together). Clients that were away for longer name
	// what they know instead (crdt.md 4.4). 0 is 90 days and 100,000; negative is
	// nothing.
	VanishedAge time.Duration
	VanishedMax int
	// KeepLog keeps the log whole: where members cannot be given snapshots, one
	// that lost its disk needs all of it.
	KeepLog bool
	// LogMaxSize and LogMaxAge bound the part of the log that is kept for members
	// that are away: bytes, and the time since an operation was logged. Who lacks
	// what was cut off takes a snapshot. 0 is no bound.
	LogMaxSize int64
	LogMaxAge  time.Duration
	// Dismissed is told when an account goes into quarantine or to another subnet:
	// no session that is there goes on. It must not block and not call back. nil:
	// nobody is told.
	Dismissed func(crdt.AccountID)
	// Contents is told of the contents of an account to which messages refer that were
	// not referred to before, and of those that are deleted: by what has happened, not
	// when it is durable. It must not block, not call back, and not keep the lists. nil:
	// nobody is told.
	Contents func(account crdt.AccountID, came, went []crdt.Root)
	// Now is the clock, for tests; nil is the system's.
	Now func() time.Time
	// ManualTicks leaves it to the caller to let time pass, by [Replica.Tick]:
	// the replica then does nothing by itself. For simulations.
	ManualTicks bool

	decode func([]byte) (*crdt.Op, error) // another version's, for tests; nil is crdt.DecodeOp
}

// Replica is one member's copy of one subnet: its accounts, its log, its part
// in replication (comm.Store). Safe for concurrent use.
type Replica struct {
	store  *Store
	opts   ReplicaOptions
	keys   keyspace
	self   crdt.Self
	logger log.Logger

	// seq orders everything that is written: whoever holds it draws the next
	// number and time and hands the batch to the database, so that the order
	// of numbers is the order of the database's log, and what is synced is
	// always a prefix of it.
	seq struct {
		sync.Mutex
		vector crdt.VC // operations applied (or logged only, if quarantined)
		clock  crdt.Clock
	}

	// durable is the part of seq.vector that is synced.
	durable struct {
		sync.Mutex
		vector crdt.VC
	}

	cut struct { // the log's beginning
		cutting sync.Mutex // held while the log is cut
		sync.Mutex
		vector crdt.VC
	}

	logSize logSize

	tokens    tokenTable
	tokensOff bool // under seq
	upkeep    upkeep

	recordsFrom uint32 // the hour in which old records of commands were dropped last; Upkeep's

	epochs struct {
		sync.Mutex
		raising sync.Mutex // held while accounts are raised
		epochs
	}

	// loading is held by whoever stages or merges snapshots, also while that is
	// synced: there is one such task.
	loading   sync.Mutex
	mergeStep int

	recovering sync.Mutex // held by who recovers what an evicted replica had

	decode      func([]byte) (*crdt.Op, error)
	quarantines quarantines

	accounts  accountTable
	imports   sync.Map // accounts that are being imported
	ticker    ticker
	collector collector
	contents  contents
	puller    puller

	replicator atomic.Pointer[Replicator]
	sink       atomic.Pointer[BodySink]
	told       teller
	refusal    atomic.Pointer[error]

	ctx    context.Context // ends with the replica
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	tasksM sync.Mutex // orders tasks.Go against stop
}

// Replica opens a subnet's replica and creates it on an empty disk, with a new
// origin. A replica is opened once.
func (s *Store) Replica(opts ReplicaOptions) (*Replica, error) {
	if opts.MaxMessageSize == 0 {
		opts.MaxMessageSize = 64 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.VanishedAge = retention(opts.VanishedAge, defaultVanishedAge)
	opts.VanishedMax = retention(opts.VanishedMax, defaultVanishedMax)
	if opts.Slot < 1 || opts.Slot > crdt.MaxSlot {
		return nil, fmt.Errorf("replica of %s: slot %d is not in 1..%d", opts.Subnet, opts.Slot, crdt.MaxSlot)
	}
	if opts.decode == nil {
		opts.decode = crdt.DecodeOp
	}
	r, err := s.openReplica(opts)
	if err == nil {
		err = r.resumeReload()
	}
	if err != nil {
		return nil, fmt.Errorf("replica of %s: %w", opts.Subnet, ofHeads(err))
	}
	return r, nil
}

func (s *Store) openReplica(opts ReplicaOptions) (*Replica, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	if s.replicas[opts.Subnet] != nil {
		return nil, errors.New("it is open already")
	}
	r := &Replica{store: s, opts: opts, decode: opts.decode, logger: log.With(s.opts.Logger, "subnet", opts.Subnet)}
	if err := r.open(); err != nil {
		return nil, err
	}
	s.replicas[opts.Subnet] = r
	return r, nil
}

// retention returns a bound, by default d, negative: 0.
func retention[T int | time.Duration](n, d T) T {
	if n == 0 {
		return d
	}
	return max(n, 0)
}

// replicaRecord is what is written about a replica when it is made.
type replicaRecord struct {
	number uint16
	origin crdt.Origin
	slot   crdt.Slot
}

const replicaRecordLen = 2 + 8 + 1

func (p replicaRecord) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, p.number)
	b = binary.BigEndian.AppendUint64(b, uint64(p.origin))
	return append(b, byte(p.slot))
}

func parseReplicaRecord(b []byte) (replicaRecord, error) {
	if len(b) != replicaRecordLen {
		return replicaRecord{}, fmt.Errorf("%w: replica record", errCorrupt)
	}
	return replicaRecord{
		number: binary.BigEndian.Uint16(b),
		origin: crdt.Origin(binary.BigEndian.Uint64(b[2:])),
		slot:   crdt.Slot(b[10]),
	}, nil
}

func (r *Replica) open() error {
	rec, err := r.loadRecord()
	if err != nil {
		return err
	}
	if rec.slot != r.opts.Slot {
		return fmt.Errorf("slot %d in the configuration, but these data were made in slot %d: set it back, or start with an empty directory", r.opts.Slot, rec.slot)
	}
	r.keys = keyspace(rec.number)
	r.self = crdt.Self{
		Origin: rec.origin, Slot: rec.slot, Leader: r.opts.Leader, Rank: r.opts.Rank,
		Separator: r.opts.Separator, Policy: r.opts.Policy,
	}
	r.seq.clock.Slot = rec.slot
	r.accounts.init(r.store.opts.IdleAccounts)
	if err := r.loadVector(); err != nil {
		return err
	}
	r.logSize.start = r.seq.vector.Clone()
	r.logSize.origins = make(map[crdt.Origin][]segment)
	r.mergeStep = mergeStep
	if err := r.loadTokens(); err != nil {
		return err
	}
	if err := r.loadEpochs(); err != nil {
		return err
	}
	if err := r.resumeLoad(); err != nil {
		return err
	}
	r.contents.init()
	r.puller.under = make(map[crdt.Root]*pull)
	if err := r.sweepStaged(time.Time{}); err != nil {
		return err
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.startCollector()
	if err := r.recallQuarantines(); err != nil {
		return err
	}
	if !r.opts.ManualTicks {
		r.task(r.upkeepLoop)
	}
	if err := r.startTicker(); err != nil {
		return err
	}
	return r.retryQuarantines()
}

// loadRecord reads the replica record, or makes one.
func (r *Replica) loadRecord() (replicaRecord, error) {
	key := replicaKey(r.opts.Subnet)
	b, err := r.store.get(key)
	if err != nil {
		return replicaRecord{}, err
	}
	if b != nil {
		return parseReplicaRecord(b)
	}
	origin, err := r.store.random64()
	if err != nil {
		return replicaRecord{}, err
	}
	rec := replicaRecord{origin: crdt.Origin(origin), slot: r.opts.Slot}
	if rec.number, err = r.store.nextReplicaNumber(); err != nil {
		return rec, err
	}
	return rec, r.store.db.Set(key, rec.append(nil), pebble.Sync)
}

func (s *Store) nextReplicaNumber() (uint16, error) {
	prefix := []byte{spaceReplicas}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return 0, err
	}
	next := uint16(1)
	for ok := it.First(); ok; ok = it.Next() {
		rec, e := parseReplicaRecord(it.Value())
		err = errors.Join(err, e)
		next = max(next, rec.number+1)
	}
	return next, errors.Join(err, it.Close())
}

// appendClock appends what is kept of clock and vector.
func appendClock(b []byte, clock crdt.Time, v crdt.VC) []byte {
	return v.AppendBinary(binary.BigEndian.AppendUint64(b, uint64(clock)))
}

func (r *Replica) loadVector() error {
	b, err := r.store.get(r.keys.vector(nil))
	if err != nil || b == nil {
		return err
	}
	if len(b) < 8 {
		return fmt.Errorf("%w: vector", errCorrupt)
	}
	r.seq.clock.Observe(crdt.Time(binary.BigEndian.Uint64(b)))
	if r.seq.vector, err = crdt.DecodeVC(b[8:]); err != nil {
		return fmt.Errorf("%w: vector: %w", errCorrupt, err)
	}
	r.durable.vector = r.seq.vector.Clone()
	return r.loadCut()
}

// SetReplicator names who is told of commits. It is called once, before the
// first session; without one, commits wait for nobody. What the ticker committed
// before is told at once.
func (r *Replica) SetReplicator(p Replicator) {
	r.replicator.Store(&p)
	r.told.tell(&p, r.Logged().Get(r.self.Origin))
}

// Refuse makes all local writes fail with ErrUnavailable and reason, nil allows
// them again. Operations of peers are applied as ever. A node with an empty
// disk refuses until a peer has confirmed its slot (replication.md).
func (r *Replica) Refuse(reason error) {
	if reason == nil {
		r.refusal.Store(nil)
		return
	}
	reason = fmt.Errorf("%w: %w", ErrUnavailable, reason)
	r.refusal.Store(&reason)
}

// mayWrite returns why local writes are refused, nil if they are not.
func (r *Replica) mayWrite() error {
	if p := r.refusal.Load(); p != nil {
		return *p
	}
	return r.store.Err()
}

// Subnet returns the name of the replica's subnet.
func (r *Replica) Subnet() string { return r.opts.Subnet }

// now returns Unix milliseconds.
func (r *Replica) now() int64 { return r.opts.Now().UnixMilli() }

func (r *Replica) warn(msg string, err error) {
	level.Warn(r.logger).Log("msg", msg, "err", err)
}

// task runs f in a goroutine that Store.Close waits for. It reports false, and
// does not run it, when the replica has ended.
func (r *Replica) task(f func()) bool {
	r.tasksM.Lock()
	defer r.tasksM.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	r.tasks.Go(f)
	return true
}

// stop ends r.ctx: no task begins after it returns.
func (r *Replica) stop() {
	r.tasksM.Lock()
	defer r.tasksM.Unlock()
	r.cancel()
}
