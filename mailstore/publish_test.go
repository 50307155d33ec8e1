package mailstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// gate is a Replicator whose acknowledgements a test gives one by one.
type gate struct {
	mu      sync.Mutex
	waits   map[uint64]chan error // by operation number
	arrived chan uint64           // who waits
}

func newGate() *gate {
	return &gate{waits: make(map[uint64]chan error), arrived: make(chan uint64, 100)}
}

func (g *gate) Committed(uint64) {}

func (g *gate) of(n uint64) chan error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waits[n] == nil {
		g.waits[n] = make(chan error, 2)
	}
	return g.waits[n]
}

func (g *gate) Wait(ctx context.Context, d crdt.Dot) error {
	g.arrived <- d.N
	select {
	case err := <-g.of(d.N):
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) next(t *testing.T) uint64 {
	t.Helper()
	select {
	case n := <-g.arrived:
		return n
	case <-time.After(20 * time.Second):
		t.Fatal("nobody waits for an acknowledgement")
		return 0
	}
}

// TestVisibleWhenAcknowledged: what waits for its acknowledgement is seen by
// nobody, and what was acknowledged earlier waits for what was committed before.
func TestVisibleWhenAcknowledged(t *testing.T) {
	n := newNode(t, 1)
	s1, s2, watcher := n.session(), n.session(), n.session()
	m := mustSelect(t, watcher, "INBOX")
	g := newGate()
	n.SetReplicator(g)
	appended := make(chan error, 2)
	appendIn := func(s *Account, body string) {
		_, err := tryAppend(context.Background(), s, "INBOX", body)
		appended <- err
	}
	go appendIn(s1, "first")
	first := g.next(t)
	go appendIn(s2, "second")
	second := g.next(t)
	g.of(second) <- nil
	// A look that begins now waits for both.
	status := make(chan Status, 1)
	s3 := n.session()
	go func() {
		st, err := s3.Status(context.Background(), "INBOX")
		if err != nil {
			t.Error(err)
		}
		status <- st
	}()
	select {
	case <-m.Changed():
		t.Fatal("a change is announced before its OK may be given")
	case <-appended:
		t.Fatal("a call returned before its acknowledgement")
	case <-status:
		t.Fatal("STATUS did not wait for what is under way")
	case <-time.After(50 * time.Millisecond):
	}
	if m.View().Len() != 0 {
		t.Fatal("a change is visible before its OK may be given")
	}
	g.of(first) <- nil
	for range 2 {
		if err := <-appended; err != nil {
			t.Fatal(err)
		}
	}
	if st := <-status; st.Messages != 2 {
		t.Errorf("STATUS says %d messages", st.Messages)
	}
	awaitChange(t, m)
	wantLines(t, lines(t, watcher, m.View()), "17 00000 [] first", "18 00000 [] second")
}

// TestCancelledSession: a session that goes while its change waits for peers
// does not keep the change from the others, for ever or too early.
func TestCancelledSession(t *testing.T) {
	n := newNode(t, 1)
	s, watcher := n.session(), n.session()
	m := mustSelect(t, watcher, "INBOX")
	g := newGate()
	n.SetReplicator(g)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := tryAppend(ctx, s, "INBOX", "orphan")
		result <- err
	}()
	number := g.next(t)
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("APPEND returned %v", err)
	}
	if again := g.next(t); again != number {
		t.Fatalf("operation %d is waited for, not %d", again, number)
	}
	if m.View().Len() != 0 {
		t.Error("visible without acknowledgement")
	}
	g.of(number) <- nil
	awaitChange(t, m)
	if m.View().Len() != 1 {
		t.Error("not visible after the acknowledgement")
	}
}

func TestStrictAcknowledgement(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	g := newGate()
	n.SetReplicator(g)
	result := make(chan error, 1)
	go func() {
		_, err := tryAppend(context.Background(), s, "INBOX", "x")
		result <- err
	}()
	g.of(g.next(t)) <- errors.New("no peer has it")
	if err := <-result; !errors.Is(err, ErrUnavailable) {
		t.Errorf("APPEND without acknowledgement: %v, want ErrUnavailable", err)
	}
	// The change stays: the next look shows it.
	if v := mustSelect(t, n.session(), "INBOX").View(); v.Len() != 1 {
		t.Errorf("%d messages", v.Len())
	}
}

func TestFenceAndRefusal(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	s.Fence(func() error { return errors.New("the session lives elsewhere") })
	if _, err := tryAppend(ctxOf(t), s, "INBOX", "x"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("APPEND of a fenced session: %v", err)
	}
	s.Fence(nil)
	n.Refuse(errors.New("slot not confirmed"))
	if _, err := tryAppend(ctxOf(t), s, "INBOX", "x"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("APPEND on a refusing replica: %v", err)
	}
	if m := mustSelect(t, s, "INBOX"); m.View().Len() != 0 {
		t.Error("a refused message is there")
	}
	n.Refuse(nil)
	mustAppend(t, s, "INBOX", "x")
	n.audit(testUser)
}

func TestWatchers(t *testing.T) {
	n := newNode(t, 1)
	s, other := n.session(), n.session()
	ctx := ctxOf(t)
	if err := s.Create(ctx, "A", ""); err != nil {
		t.Fatal(err)
	}
	m, o := mustSelect(t, s, "A"), mustSelect(t, other, "A")
	v := o.View()
	mustAppend(t, s, "A", "one")
	awaitChange(t, o)
	if d := o.View().Since(v); len(d.Added) != 1 {
		t.Errorf("%+v", d)
	}
	m.View()
	select {
	case <-m.Changed():
		t.Error("a change is announced that the session has seen")
	default:
	}
	mustAppend(t, s, "INBOX", "elsewhere")
	select {
	case <-o.Changed():
		t.Error("a change of another mailbox is announced")
	default:
	}
	if err := s.Delete(ctx, "A"); err != nil {
		t.Fatal(err)
	}
	awaitChange(t, o)
	if !o.Gone() || o.View().Len() != 0 {
		t.Error("the mailbox is deleted, and its session does not know")
	}
	if err := s.Create(ctx, "A", ""); err != nil {
		t.Fatal(err)
	}
	again := mustSelect(t, s, "A")
	if again.Gone() || !o.Gone() {
		t.Error("a mailbox made again is gone, or the old selection is not")
	}
	if again.UIDValidity() == o.UIDValidity() && again.View().UIDNext() <= v.UIDNext() {
		t.Error("a mailbox made again counts UIDs from the start")
	}
}

// TestNothingStaysInMemory: what nobody uses is dropped, and nothing is lost by it.
func TestNothingStaysInMemory(t *testing.T) {
	n := newNode(t, 1)
	n.accounts.maxIdle = 0
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	m := mustSelect(t, s, "INBOX")
	m.ClaimRecent(m.View())
	next := m.View().UIDNext()
	s.Close()
	if len(n.accounts.m) != 0 {
		t.Errorf("%d accounts in memory", len(n.accounts.m))
	}
	s = n.session()
	st, err := s.Status(ctxOf(t), "INBOX")
	if err != nil || st.UIDNext != next || st.Recent != 0 || st.Messages != 1 {
		t.Errorf("the account that was dropped has %+v, %v", st, err)
	}
	for user := range crdt.AccountID(10) {
		n.sessionOf(user + 100).Close()
	}
	if len(n.accounts.m) != 1 {
		t.Errorf("%d accounts in memory, one is used", len(n.accounts.m))
	}
	n.audit(testUser)
}

// TestConcurrentSessions has many sessions work on the same mailboxes. Every
// session checks that UIDs only rise in what it is shown.
func TestConcurrentSessions(t *testing.T) {
	n := newNode(t, 1)
	const clients, steps = 8, 60
	var wg sync.WaitGroup
	for i := range clients {
		user := testUser + crdt.AccountID(i%2)
		wg.Go(func() {
			if err := busyClient(n, user, rand.New(rand.NewSource(int64(i))), steps); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n.audit(testUser, testUser+1)
	n.reopen()
	n.audit(testUser, testUser+1)
}

func busyClient(n *node, user crdt.AccountID, rng *rand.Rand, steps int) error {
	ctx := context.Background()
	s, err := n.Open(ctx, user, fmt.Sprint("user", user), newSessionID())
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.Select(ctx, "INBOX", false)
	if err != nil {
		return err
	}
	v := m.View()
	top := v.UIDNext()
	for step := range steps {
		s.Command(uint64(step))
		all := tags(v)
		some := all[:min(len(all), rng.Intn(5))]
		switch rng.Intn(8) {
		case 0:
			err = expunge(ctx, m, some)
		case 1:
			_, _, err = m.Store(ctx, some, FlagChange{Op: crdt.StoreAdd, Flags: Flags(1 << rng.Intn(5))})
		case 2:
			_, err = m.Copy(ctx, some, "Archive")
		case 3:
			_, _, err = m.Move(ctx, some, "Archive")
		case 4:
			_, err = s.Status(ctx, "Archive")
		default:
			_, err = tryAppend(ctx, s, "INBOX", strings.Repeat("y", rng.Intn(1000)))
		}
		if err != nil && !errors.Is(err, ErrExpunged) {
			return err
		}
		w := m.View()
		for _, uid := range w.Since(v).Added {
			if uid < top {
				return fmt.Errorf("UID %d appeared, UIDNEXT was %d", uid, top)
			}
		}
		if w.UIDNext() < top || w.HighestModSeq() < v.HighestModSeq() {
			return errors.New("UIDNEXT or HIGHESTMODSEQ went down")
		}
		v, top = w, w.UIDNext()
	}
	return nil
}

func TestCausesAreDistinct(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	s.Command(5)
	ctx := ctxOf(t)
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two")
	if _, err := m.Copy(ctx, tags(m.View()), "Sent"); err != nil {
		t.Fatal(err)
	}
	entries, err := n.Read(n.Origin(), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var causes []crdt.Cause
	for _, e := range entries {
		op, err := crdt.DecodeOp(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if op.Cause.Command == 5 {
			causes = append(causes, op.Cause)
		}
	}
	want := []uint32{0, 1, 2} // the copy has two messages: 2 and 3
	var got []uint32
	for _, c := range causes {
		got = append(got, c.Index)
		if c.Session != s.session {
			t.Errorf("cause %+v is not the session's", c)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("indexes %v, want %v", got, want)
	}
	mustAppend(t, s, "INBOX", "three")
	if s.index != 5 {
		t.Errorf("next index %d, want 5", s.index)
	}
}

// TestNewUIDValidityEndsSelection: a mailbox that is renamed to where a larger
// UIDVALIDITY was shown has another one; who has selected it must not go on.
func TestNewUIDValidityEndsSelection(t *testing.T) {
	n := newNode(t, 1)
	s, watcher := n.session(), n.session()
	ctx := ctxOf(t)
	for range 3 { // let the name have a history
		for _, err := range []error{s.Create(ctx, "a", ""), s.Rename(ctx, "a", "b"), s.Delete(ctx, "b")} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Create(ctx, "c", ""); err != nil {
		t.Fatal(err)
	}
	m := mustSelect(t, watcher, "c")
	if err := s.Rename(ctx, "c", "d"); err != nil {
		t.Fatal(err)
	}
	if m.Gone() {
		t.Error("a rename that changes no UIDVALIDITY ends the selection")
	}
	if err := s.Rename(ctx, "d", "b"); err != nil {
		t.Fatal(err)
	}
	after := mustSelect(t, s, "b")
	if after.UIDValidity() <= m.UIDValidity() {
		t.Fatalf("UIDVALIDITY was %d and is %d: the test tests nothing", m.UIDValidity(), after.UIDValidity())
	}
	awaitChange(t, m)
	if !m.Gone() {
		t.Error("the selection goes on under another UIDVALIDITY")
	}
	if after.Gone() {
		t.Error("a selection that began later ends, too")
	}
}

// TestEvictionWaits: an account whose change waits for peers stays in memory
// when its session has gone; read again, it would show the change.
func TestEvictionWaits(t *testing.T) {
	n := newNode(t, 1)
	n.Replica.accounts.maxIdle = 0
	s := n.session()
	g := newGate()
	n.SetReplicator(g)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, err := tryAppend(ctx, s, "INBOX", "orphan")
		result <- err
	}()
	number := g.next(t)
	cancel()
	if err := <-result; err == nil {
		t.Fatal("APPEND succeeded")
	}
	s.Close()
	other := n.session()
	selected := make(chan *Mailbox, 1)
	go func() {
		m, err := other.Select(context.Background(), "INBOX", false)
		if err != nil {
			t.Error(err)
		}
		selected <- m
	}()
	g.next(t) // on behalf of the session that has gone
	select {
	case <-selected:
		t.Fatal("a change is shown before its OK may be given")
	case <-time.After(50 * time.Millisecond):
	}
	g.of(number) <- nil
	if m := <-selected; m == nil || m.View().Len() != 1 {
		t.Error("the message is not there")
	}
}

// committed is a Replicator that notes what it was told.
type committed struct{ n uint64 }

func (c *committed) Committed(n uint64)                   { c.n = n }
func (c *committed) Wait(context.Context, crdt.Dot) error { return nil }

// TestReplicatorLearnsEarlierCommits: what was committed before there was a
// replicator would otherwise be sent only after the next commit.
func TestReplicatorLearnsEarlierCommits(t *testing.T) {
	n := newNode(t, 1)
	mustAppend(t, n.session(), "INBOX", "early")
	c := new(committed)
	n.SetReplicator(c)
	if want := n.Logged().Get(n.Origin()); c.n != want {
		t.Errorf("told of operation %d, the last one is %d", c.n, want)
	}
}

// TestTickerClockSetBack: what waits for a moment far ahead waits for one of a
// clock that was set back.
func TestTickerClockSetBack(t *testing.T) {
	const hour = 3600_000
	k := ticker{due: map[crdt.AccountID]int64{1: 9*hour + 200, 2: 9 * hour, 3: 9*hour + 50}}
	if due, next := k.take(9 * hour); !slices.Equal(due, []crdt.AccountID{2}) || next != 9*hour+50 {
		t.Errorf("due %v, next %d", due, next)
	}
	for _, now := range []int64{hour, 59 * hour / 60} { // back by hours, then by a minute
		if due, next := k.take(now); due != nil || next != now+50 {
			t.Errorf("at %d: due %v, next %d", now, due, next)
		}
	}
	if due, next := k.take(59*hour/60 + 60); !slices.Equal(due, []crdt.AccountID{3}) || next != 59*hour/60+200 {
		t.Errorf("due %v, next %d", due, next)
	}
}
