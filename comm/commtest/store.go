package commtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// Store is a [comm.Store] in memory, which checks the rules of Apply. The hooks
// may be set before it is used. It is safe for concurrent use.
type Store struct {
	// OnApply is called before a batch becomes durable; an error fails it.
	OnApply func(ctx context.Context, ops []comm.Entry) error
	// OnPut is called before a piece of a body is stored; an error fails that.
	OnPut func(root crdt.Root) error

	origin crdt.Origin
	slot   crdt.Slot

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something was logged
	logged  crdt.VC
	log     map[crdt.Origin][]comm.Entry
	order   []crdt.Dot
	bodies  map[crdt.Root][][]byte
	ends    map[crdt.Root]int // index of the last piece
	staged  map[crdt.Root]bool
	records map[string][]byte
	heard   map[crdt.Origin]crdt.Checkpoint
	joined  []bool
	stable  crdt.VC
	broken  error
	crashed bool

	expendable crdt.VC

	// See snapshots.go.
	has       map[crdt.Dot][]crdt.Root // operations that are here, and the contents they brought
	cut       crdt.VC
	holds     map[*crdt.VC]bool
	load      *load
	snapshots uint64 // given
	merged    int    // accounts
	without   map[crdt.AccountID]bool
}

var errCrashed = errors.New("the disk has crashed")

// NewStore returns an empty disk with an incarnation and a slot.
func NewStore(origin crdt.Origin, slot crdt.Slot) *Store {
	return &Store{
		origin: origin, slot: slot,
		changed: make(chan struct{}),
		log:     map[crdt.Origin][]comm.Entry{},
		bodies:  map[crdt.Root][][]byte{},
		ends:    map[crdt.Root]int{},
		staged:  map[crdt.Root]bool{},
		records: map[string][]byte{},
		heard:   map[crdt.Origin]crdt.Checkpoint{},
		has:     map[crdt.Dot][]crdt.Root{},
		holds:   map[*crdt.VC]bool{},
		without: map[crdt.AccountID]bool{},
	}
}

// Copy returns what a restart after a crash finds: everything durable, bodies
// that no operation has brought yet are lost. Hooks are not copied. It is also
// what a backup of the disk is.
func (s *Store) Copy() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := NewStore(s.origin, s.slot)
	c.logged, c.order = s.logged.Clone(), slices.Clone(s.order)
	c.has, c.cut, c.load, c.merged = maps.Clone(s.has), s.cut.Clone(), s.load.clone(), s.merged
	c.without = maps.Clone(s.without)
	c.records, c.bodies, c.ends = maps.Clone(s.records), maps.Clone(s.bodies), maps.Clone(s.ends)
	for o, l := range s.log {
		c.log[o] = slices.Clone(l)
	}
	for root := range s.staged {
		delete(c.bodies, root)
		delete(c.ends, root)
	}
	return c
}

// Crash returns what a restart after a crash of this moment finds, as Copy does.
// Nothing becomes durable on s any more.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	s.crashed = true
	s.mu.Unlock()
	return s.Copy()
}

// Clock implements [comm.Store]. It is the number of operations that are durable.
func (s *Store) Clock() crdt.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return crdt.TimeAt(crdt.EpochMillis+int64(len(s.order)), s.slot)
}

// Heard implements [comm.Store].
func (s *Store) Heard(peer crdt.Origin, clock crdt.Time, applied crdt.VC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard[peer] = crdt.Checkpoint{Time: clock, Vector: applied}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Joined implements [comm.Store].
func (s *Store) Joined(replaces bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined = append(s.joined, replaces)
	return nil
}

// JoinedAs returns what Joined was told, in order.
func (s *Store) JoinedAs() []bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.joined)
}

// AwaitHeard returns what a peer said of itself once it had applied operation d,
// or ctx's error.
func (s *Store) AwaitHeard(ctx context.Context, peer crdt.Origin, d crdt.Dot) (crdt.Checkpoint, error) {
	for {
		s.mu.Lock()
		c, changed := s.heard[peer], s.changed
		s.mu.Unlock()
		if c.Vector.Has(d) {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, fmt.Errorf("await a sign of life of %s: %w", peer, ctx.Err())
		case <-changed:
		}
	}
}

// Commit makes an operation of the replica's own, which depends on all that is
// logged, and returns its number. bodies are the contents that it brings; each
// was stored by AddBody.
func (s *Store) Commit(data []byte, bodies ...crdt.Root) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.logged.Get(s.origin) + 1
	e := comm.Entry{Dot: crdt.Dot{Origin: s.origin, N: n}, Deps: s.logged.Clone(), Bodies: bodies, Data: data}
	s.append(e)
	return n
}

func (s *Store) append(e comm.Entry) {
	s.log[e.Dot.Origin] = append(s.log[e.Dot.Origin], e)
	s.order = append(s.order, e.Dot)
	s.has[e.Dot] = e.Bodies
	s.logged.Set(e.Dot.Origin, e.Dot.N)
	for _, root := range e.Bodies {
		delete(s.staged, root)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// AddBody stores a content in pieces of the given sizes.
func (s *Store) AddBody(root crdt.Root, pieces ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies[root], s.ends[root] = pieces, len(pieces)-1
}

// Body returns a content, false if it is not complete.
func (s *Store) Body(root crdt.Root) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[root]
	if !ok || len(s.bodies[root]) != end+1 {
		return nil, false
	}
	return slices.Concat(s.bodies[root]...), true
}

// Await returns when operation d is durable, or with ctx's error.
func (s *Store) Await(ctx context.Context, d crdt.Dot) error {
	for {
		s.mu.Lock()
		done, changed := s.logged.Get(d.Origin) >= d.N, s.changed
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await operation %d of %s: %w", d.N, d.Origin, ctx.Err())
		case <-changed:
		}
	}
}

// Order returns all operations in the order in which they became durable.
func (s *Store) Order() []crdt.Dot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.order)
}

// MissingBodies returns the contents that operations should have brought and that
// are not complete here.
func (s *Store) MissingBodies() []crdt.Root {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []crdt.Root
	for _, bodies := range s.has {
		for _, root := range bodies {
			if end, ok := s.ends[root]; !ok || len(s.bodies[root]) != end+1 {
				missing = append(missing, root)
			}
		}
	}
	return missing
}

// Err returns the first rule of Apply that was broken; nil if none was.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Origin implements [comm.Store].
func (s *Store) Origin() crdt.Origin { return s.origin }

// Slot implements [comm.Store].
func (s *Store) Slot() crdt.Slot { return s.slot }

// Logged implements [comm.Store].
func (s *Store) Logged() crdt.VC {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logged.Clone()
}

// Read implements [comm.Store].
func (s *Store) Read(o crdt.Origin, from uint64, limit int) ([]comm.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, cut := s.log[o], s.cut.Get(o)
	switch {
	case from == 0 || from > cut+uint64(len(log)):
		return nil, nil
	case from <= cut:
		return nil, fmt.Errorf("operation %d of %s is no longer in the log", from, o)
	}
	first := int(from - cut - 1)
	end, size := first, 0
	for end < len(log) && (end == first || size < limit) {
		size += log[end].Size()
		end++
	}
	return slices.Clone(log[first:end]), nil
}

// Apply implements [comm.Store]. An operation out of order is an error, which
// Err remembers.
func (s *Store) Apply(ctx context.Context, ops []comm.Entry) error {
	if s.OnApply != nil {
		if err := s.OnApply(ctx, ops); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.crashed {
		return errCrashed
	}
	for i := range ops {
		if s.cut.Has(ops[i].Dot) {
			continue // a snapshot has brought it since
		}
		if err := s.allowed(&ops[i]); err != nil {
			s.broken = err
			return err
		}
		s.append(ops[i])
	}
	return nil
}

func (s *Store) allowed(e *comm.Entry) error {
	have := s.logged.Get(e.Dot.Origin)
	switch {
	case e.Dot.Origin == s.origin:
		return fmt.Errorf("operation %d of the replica's own came from outside", e.Dot.N)
	case e.Dot.N != have+1:
		return fmt.Errorf("operation %d of %s applied after %d", e.Dot.N, e.Dot.Origin, have)
	case !e.Deps.LessEqual(s.logged):
		return fmt.Errorf("operation %d of %s applied before its dependencies", e.Dot.N, e.Dot.Origin)
	}
	return nil
}

// Cut implements [comm.Store]. What is cut off is up to the test: TrimLog.
func (s *Store) Cut() crdt.VC {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut.Clone()
}

// Stable implements [comm.Store]. A vector that does not rise, or names more than
// is here, is an error, which Err remembers.
func (s *Store) Stable(stable, expendable crdt.VC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stable.LessEqual(stable) || !stable.LessEqual(s.logged) {
		s.broken = fmt.Errorf("%v is stable after %v, logged is %v", stable, s.stable, s.logged)
	}
	s.stable, s.expendable = stable, expendable
}

// LastStable returns the vector that Stable was last called with.
func (s *Store) LastStable() crdt.VC {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stable.Clone()
}

// LastExpendable returns the other vector that Stable was last called with.
func (s *Store) LastExpendable() crdt.VC {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expendable.Clone()
}

// BodyChunk implements [comm.Store].
func (s *Store) BodyChunk(root crdt.Root, index int) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if index < 0 || index >= len(s.bodies[root]) {
		return nil, false, nil
	}
	return s.bodies[root][index], index == s.ends[root], nil
}

// StagedChunk implements [comm.Store].
func (s *Store) StagedChunk(root crdt.Root, index int) ([]byte, error) {
	data, _, err := s.BodyChunk(root, index)
	return data, err
}

// PutBodyChunk implements [comm.Store].
func (s *Store) PutBodyChunk(root crdt.Root, index int, data []byte, last bool) error {
	if s.OnPut != nil {
		if err := s.OnPut(root); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	pieces := s.bodies[root]
	switch {
	case index < len(pieces):
		return nil // repeated
	case index > len(pieces):
		return fmt.Errorf("piece %d of body %x came after %d pieces", index, root, len(pieces))
	}
	s.bodies[root] = append(pieces, slices.Clone(data))
	s.staged[root] = true
	if last {
		s.ends[root] = index
	}
	return nil
}

// PeerRecord implements [comm.Store].
func (s *Store) PeerRecord(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[name], nil
}

// SetPeerRecord implements [comm.Store].
func (s *Store) SetPeerRecord(name string, record []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[name] = record
	return nil
}
