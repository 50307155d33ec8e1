package commtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// accounts is how many accounts there are: operation n of any origin is about
// account n modulo accounts, from 1.
const accounts = 5

// perPiece is how many operations one piece of a snapshot names.
const perPiece = 3

func accountOf(d crdt.Dot) crdt.AccountID { return crdt.AccountID(1 + d.N%accounts) }

// Snapshots returns the store as one that gives and takes accounts. The state of
// an account is the list of its operations.
func (s *Store) Snapshots() *Snapshots { return &Snapshots{Store: s} }

// Snapshots is a [comm.Snapshots] over a [Store]. The hooks may be set before it
// is used. It is safe for concurrent use.
type Snapshots struct {
	*Store
	// OnGive is called before a piece is given; an error ends the snapshot.
	OnGive func(user crdt.AccountID) error
	// OnFeed is called before a piece is taken; an error refuses it.
	OnFeed func(user crdt.AccountID) error
}

var _ comm.Snapshots = (*Snapshots)(nil)

// load is a load under way, as it is on the disk.
type load struct {
	vector   crdt.VC
	accounts map[crdt.AccountID]*accountLoad
}

type accountLoad struct {
	snapshot uint64
	pieces   int
	vector   crdt.VC
	dots     []loaded
	staged   bool
	done     bool
}

// loaded is an operation as a snapshot has it.
type loaded struct {
	Dot    crdt.Dot
	Bodies []crdt.Root
}

// piece is what travels.
type piece struct {
	Account  crdt.AccountID
	Snapshot uint64
	Number   int
	Last     bool
	Vector   []byte
	Dots     []loaded
}

func (l *load) clone() *load {
	if l == nil {
		return nil
	}
	c := &load{vector: l.vector.Clone(), accounts: map[crdt.AccountID]*accountLoad{}}
	for id, a := range l.accounts {
		b := *a
		b.dots = slices.Clone(a.dots)
		c.accounts[id] = &b
	}
	return c
}

// List implements [comm.Snapshots].
func (s *Snapshots) List() (crdt.VC, []crdt.AccountID, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[crdt.AccountID]bool{}
	for d := range s.has {
		ids[accountOf(d)] = true
	}
	v := s.logged.Clone()
	return v, slices.Sorted(maps.Keys(ids)), s.hold(v), nil
}

// Hold implements [comm.Snapshots].
func (s *Snapshots) Hold(v crdt.VC) (func(), bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cut.LessEqual(v) {
		return nil, false
	}
	return s.hold(v), true
}

func (s *Store) hold(v crdt.VC) func() {
	h := &v
	s.holds[h] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.holds, h)
	}
}

// Holds returns behind which vectors the log is kept.
func (s *Store) Holds() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.holds)
}

// TrimLog cuts the log behind v, but for what is held.
func (s *Store) TrimLog(v crdt.VC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v = v.Min(s.logged)
	for h := range s.holds {
		v = v.Min(*h)
	}
	for o, n := range v.All() {
		if from := s.cut.Get(o); n > from {
			s.log[o] = slices.Clone(s.log[o][n-from:])
			s.cut.Set(o, n)
		}
	}
}

// Give implements [comm.Snapshots].
func (s *Snapshots) Give(user crdt.AccountID, f func([]byte) error) error {
	s.mu.Lock()
	s.snapshots++
	p := piece{Account: user, Snapshot: uint64(s.origin)<<32 + s.snapshots, Vector: s.logged.AppendBinary(nil)}
	var dots []loaded
	for d, bodies := range s.has {
		if accountOf(d) == user {
			dots = append(dots, loaded{d, bodies})
		}
	}
	s.mu.Unlock()
	for part := range slices.Chunk(dots, perPiece) {
		p.Dots = part
		if err := s.give(&p, f); err != nil {
			return err
		}
	}
	p.Dots, p.Last = nil, true
	return s.give(&p, f)
}

func (s *Snapshots) give(p *piece, f func([]byte) error) error {
	if s.OnGive != nil {
		if err := s.OnGive(p.Account); err != nil {
			return err
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	p.Number++
	return f(b)
}

// Begin implements [comm.Snapshots].
func (s *Snapshots) Begin(v, cut crdt.VC, ids []crdt.AccountID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load == nil {
		s.load = &load{accounts: map[crdt.AccountID]*accountLoad{}}
	}
	s.load.vector = v
	for _, id := range ids {
		if a := s.load.accounts[id]; a == nil || a.done && !cut.LessEqual(a.vector) {
			s.load.accounts[id] = &accountLoad{}
		}
	}
	return nil
}

// Progress implements [comm.Snapshots].
func (s *Snapshots) Progress() (p comm.LoadProgress, under bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load == nil {
		return p, false, nil
	}
	p.Vector = s.load.vector.Clone()
	for _, id := range slices.Sorted(maps.Keys(s.load.accounts)) {
		switch a := s.load.accounts[id]; {
		case a.done:
			p.Loaded++
		case a.staged:
			p.Staged = append(p.Staged, id)
		default:
			p.Left = append(p.Left, id)
		}
	}
	return p, true, nil
}

// Feed implements [comm.Snapshots].
func (s *Snapshots) Feed(b []byte) error {
	var p piece
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("piece: %w", err)
	}
	if s.OnFeed != nil {
		if err := s.OnFeed(p.Account); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.load.accounts[p.Account]
	switch {
	case a == nil || a.done:
		return fmt.Errorf("account %d is not to be loaded", p.Account)
	case p.Number == 0:
		*a = accountLoad{snapshot: p.Snapshot}
	case p.Snapshot != a.snapshot || p.Number != a.pieces:
		return fmt.Errorf("piece %d of %x, expected %d of %x", p.Number, p.Snapshot, a.pieces, a.snapshot)
	}
	a.pieces, a.staged = a.pieces+1, p.Last
	a.dots = append(a.dots, p.Dots...)
	return a.vector.UnmarshalBinary(p.Vector)
}

// Merge implements [comm.Snapshots].
func (s *Snapshots) Merge(_ context.Context, user crdt.AccountID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.load.accounts[user]
	if a == nil || !a.staged {
		return fmt.Errorf("account %d has no pieces to merge", user)
	}
	for _, l := range a.dots {
		s.has[l.Dot] = l.Bodies
	}
	a.done, a.dots = true, nil
	s.merged++
	return nil
}

// Merged returns how many accounts were merged.
func (s *Store) Merged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.merged
}

// Finish implements [comm.Snapshots]. That something is missing of what it says to
// be here is an error, which Err remembers.
func (s *Snapshots) Finish(without []crdt.AccountID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.crashed:
		return errCrashed
	case s.load == nil:
		return errors.New("nothing is being loaded")
	}
	reached := s.load.vector.Clone()
	for id, a := range s.load.accounts {
		if slices.Contains(without, id) {
			s.without[id] = true
			continue
		}
		if !a.done {
			return fmt.Errorf("account %d is not loaded", id)
		}
		reached = reached.Min(a.vector)
	}
	for o, n := range reached.All() {
		for i := uint64(1); i <= n; i++ {
			d := crdt.Dot{Origin: o, N: i}
			if _, ok := s.has[d]; !ok && s.broken == nil && !s.without[accountOf(d)] {
				s.broken = fmt.Errorf("operation %d of %s should have been loaded", i, o)
			}
		}
		if n > s.logged.Get(o) {
			s.logged.Set(o, n)
			s.cut.Set(o, n)
			s.log[o] = nil
		}
	}
	s.load = nil
	close(s.changed)
	s.changed = make(chan struct{})
	return s.broken
}

// Reload implements [comm.Snapshots].
func (s *Snapshots) Reload(_ context.Context, user crdt.AccountID, next func() ([]byte, error)) error {
	var dots []loaded
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		var p piece
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		if err != nil {
			return fmt.Errorf("piece: %w", err)
		}
		dots = append(dots, p.Dots...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range dots {
		s.has[l.Dot] = l.Bodies
	}
	delete(s.without, user)
	return nil
}

// Without returns how many accounts were left out of a load and did not come since.
func (s *Store) Without() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.without)
}

// Missing implements [comm.Snapshots].
func (s *Snapshots) Missing(behind crdt.Root, n int) ([]crdt.Root, error) {
	var out []crdt.Root
	for _, root := range s.MissingBodies() {
		if slices.Compare(root[:], behind[:]) > 0 {
			out = append(out, root)
		}
	}
	slices.SortFunc(out, func(a, b crdt.Root) int { return slices.Compare(a[:], b[:]) })
	return out[:min(n, len(out))], nil
}
