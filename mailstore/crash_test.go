package mailstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand"
	randv2 "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// A crashWriter is a client with a mailbox of its own. It knows all states that
// the mailbox went through, which of them were acknowledged, and which were begun.
type crashWriter struct {
	user crdt.AccountID
	box  string

	mu      sync.Mutex
	states  []string // rendered; the last one may be under way
	acked   int      // index of the last state whose OK was given
	uids    map[string]crdt.UID
	maxUID  crdt.UID
	counter int
}

type crashState map[string]Flags // content -> flags

func (s crashState) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s=%05b\n", k, s[k])
	}
	return b.String()
}

// begin notes the state that a command is to bring about.
func (w *crashWriter) begin(next crashState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, next.String())
}

func (w *crashWriter) done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked = len(w.states) - 1
}

func (w *crashWriter) gotUID(content string, uid crdt.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uids[content] = uid
	w.maxUID = max(w.maxUID, uid)
}

// run does random commands until one fails because the store is closed. It
// starts from what is in the mailbox.
func (w *crashWriter) run(rng *rand.Rand, r *Replica) error {
	ctx := context.Background()
	s, err := r.Open(ctx, w.user, fmt.Sprint("user", w.user), newSessionID())
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.Create(ctx, w.box, ""); err != nil && !errors.Is(err, ErrAlreadyExists) {
		return err
	}
	m, err := s.Select(ctx, w.box, false)
	if err != nil {
		return err
	}
	defer m.Close()
	state, where, err := w.read(s, m)
	if err != nil {
		return err
	}
	for {
		if err := w.command(ctx, rng, s, m, state, where); err != nil {
			return err
		}
		w.done()
	}
}

// read returns what is in the mailbox.
func (w *crashWriter) read(s *Account, m *Mailbox) (crashState, map[string]crdt.Tag, error) {
	state, where := crashState{}, map[string]crdt.Tag{}
	v := m.View()
	var msg Message
	for i := range v.Len() {
		v.At(i, &msg)
		b, err := s.Body(context.Background(), msg.Root)
		if err != nil {
			return nil, nil, err
		}
		data := make([]byte, b.Size())
		if _, err := b.ReadAt(data, 0); err != nil {
			return nil, nil, err
		}
		content, _, _ := strings.Cut(string(data), "\n")
		if _, double := state[content]; double {
			return nil, nil, fmt.Errorf("%q is there twice", content)
		}
		if uid, ok := w.uids[content]; ok && uid != msg.UID {
			return nil, nil, fmt.Errorf("%q has UID %d, its client was told %d", content, msg.UID, uid)
		}
		state[content], where[content] = msg.Flags, msg.Tag
	}
	return state, where, nil
}

func (w *crashWriter) command(ctx context.Context, rng *rand.Rand, s *Account, m *Mailbox, state crashState, where map[string]crdt.Tag) error {
	if len(state) == 0 || rng.Intn(5) < 2 {
		return w.append(ctx, rng, s, m, state, where)
	}
	var some []crdt.Tag
	var names []string
	for _, k := range slices.Sorted(maps.Keys(state)) {
		if rng.Intn(4) == 0 {
			some, names = append(some, where[k]), append(names, k)
		}
	}
	if rng.Intn(3) == 0 {
		for _, k := range names {
			if state[k]&Deleted != 0 {
				delete(state, k)
			}
		}
		w.begin(state)
		_, err := m.Expunge(ctx, some)
		return err
	}
	flags := Flags(rng.Intn(32))
	for _, k := range names {
		state[k] = flags
	}
	w.begin(state)
	_, _, err := m.Store(ctx, some, FlagChange{Op: crdt.StoreReplace, Flags: flags})
	return err
}

func (w *crashWriter) append(ctx context.Context, rng *rand.Rand, s *Account, m *Mailbox, state crashState, where map[string]crdt.Tag) error {
	w.counter++
	content := fmt.Sprintf("%s-%d", w.box, w.counter)
	body := content + "\n"
	if rng.Intn(4) == 0 { // of several chunks
		body += strings.Repeat("x", chunkSize+rng.Intn(chunkSize))
	}
	state[content] = 0
	w.begin(state)
	uid, err := tryAppend(ctx, s, w.box, body)
	if err != nil {
		return err
	}
	if uid <= w.maxUID {
		return fmt.Errorf("UID %d after %d", uid, w.maxUID)
	}
	w.gotUID(content, uid)
	v := m.View()
	i, ok := v.Find(uid)
	if !ok {
		return fmt.Errorf("UID %d was given and is not in the view", uid)
	}
	var msg Message
	v.At(i, &msg)
	where[content] = msg.Tag
	return nil
}

// crashMark is what a client knew at the moment of a crash.
type crashMark struct {
	acked  int
	uids   map[string]crdt.UID
	maxUID crdt.UID
	states []string // until the last one that had been begun
}

func (w *crashWriter) mark(m *crashMark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.acked, m.uids, m.maxUID = w.acked, maps.Clone(w.uids), w.maxUID
}

func (w *crashWriter) markBegun(m *crashMark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.states = slices.Clone(w.states)
}

// check compares the mailbox after a crash with the states that are allowed:
// the last acknowledged one before the crash up to the last one begun. What
// happened after the moment of the crash never did.
func (w *crashWriter) check(r *Replica, mark *crashMark) error {
	w.uids, w.maxUID = mark.uids, mark.maxUID
	from, states := mark.acked, mark.states
	s, err := r.Open(context.Background(), w.user, fmt.Sprint("user", w.user), newSessionID())
	if err != nil {
		return err
	}
	defer s.Close()
	m, err := s.Select(context.Background(), w.box, false)
	if errors.Is(err, ErrNonexistent) && from < 0 {
		w.states = nil
		return nil
	}
	if err != nil {
		return err
	}
	defer m.Close()
	state, _, err := w.read(s, m)
	if err != nil {
		return err
	}
	got := state.String()
	if from < 0 {
		from, states = 0, append([]string{""}, states...)
	}
	if !slices.Contains(states[from:], got) {
		return fmt.Errorf("after the crash there is\n%swhich is none of the %d possible states, the first of which is\n%s", got, len(states)-from, states[from])
	}
	if v := m.View(); v.UIDNext() <= w.maxUID {
		return fmt.Errorf("UIDNEXT is %d, UID %d was given", v.UIDNext(), w.maxUID)
	}
	w.states, w.acked = []string{got}, 0
	return nil
}

// committedWitness is a Replicator that remembers what it was told.
type committedWitness struct {
	n    atomic.Uint64
	news chan struct{} // capacity 1
}

func newWitness() *committedWitness { return &committedWitness{news: make(chan struct{}, 1)} }

func (c *committedWitness) Committed(n uint64) {
	c.n.Store(max(n, c.n.Load()))
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *committedWitness) Wait(context.Context, crdt.Dot) error { return nil }

// await returns when operation n is durable.
func (c *committedWitness) await(t testing.TB, n uint64) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for c.n.Load() < n && !t.Failed() {
		select {
		case <-c.news:
		case <-timeout:
			t.Errorf("no progress: operation %d is durable, %d is waited for", c.n.Load(), n)
		}
	}
}

// TestCrash lets clients work while the machine loses power again and again:
// what was not synced is lost, or only parts of it.
func TestCrash(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 6
	}
	rng := rand.New(rand.NewSource(1))
	fs := vfs.NewCrashableMem()
	var writers []*crashWriter
	for i := range 5 {
		user := testUser // three clients share an account
		if i >= 3 {
			user += crdt.AccountID(i)
		}
		writers = append(writers, &crashWriter{user: user, box: fmt.Sprintf("w%d", i), acked: -1, uids: map[string]crdt.UID{}})
	}
	var origin crdt.Origin
	for round := range rounds {
		fs, origin = crashRound(t, rng, fs, writers, round, origin)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

func crashRound(t *testing.T, rng *rand.Rand, fs *vfs.MemFS, writers []*crashWriter, round int, origin crdt.Origin) (*vfs.MemFS, crdt.Origin) {
	store, err := Open(testDir, testOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Replica(testReplica(1))
	if err != nil {
		t.Fatal(err)
	}
	if origin != 0 && r.Origin() != origin {
		t.Error("another origin after a crash")
	}
	witness := newWitness()
	r.SetReplicator(witness)
	var wg sync.WaitGroup
	for i, w := range writers {
		rng := rand.New(rand.NewSource(int64(round*100 + i)))
		wg.Go(func() {
			if err := w.run(rng, r); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", w.box, err)
			}
		})
	}
	witness.await(t, r.Logged().Get(r.Origin())+1+uint64(rng.Intn(120)))
	marks := make([]crashMark, len(writers))
	for i, w := range writers {
		w.mark(&marks[i])
	}
	committed := witness.n.Load()
	clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.Intn(101), RNG: randv2.New(randv2.NewPCG(uint64(round), 1))})
	for i, w := range writers {
		w.markBegun(&marks[i])
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	checkCrash(t, clone, writers, marks, committed)
	return clone, r.Origin()
}

func checkCrash(t *testing.T, fs *vfs.MemFS, writers []*crashWriter, marks []crashMark, committed uint64) {
	store, err := Open(testDir, testOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r, err := store.Replica(testReplica(1))
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Logged().Get(r.Origin()); n < committed {
		t.Errorf("operation %d was durable, after the crash there are %d: numbers would be used twice", committed, n)
	}
	for i, w := range writers {
		if err := w.check(r, &marks[i]); err != nil {
			t.Errorf("%s: %v", w.box, err)
		}
		if err := r.Audit(w.user); err != nil {
			t.Errorf("audit of account %d: %v", w.user, err)
		}
	}
}
