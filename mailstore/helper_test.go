package mailstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

type entry = causal.Entry

// node is a store with one replica, on a file system in memory.
type node struct {
	t     testing.TB
	fs    *vfs.MemFS
	slot  crdt.Slot
	set   func(*ReplicaOptions) // changes them before the replica is opened, may be nil
	store *Store
	*Replica
}

const (
	testUser  crdt.AccountID = 7
	testLogin                = "user7"
	testDir                  = "data"
)

func testOptions(fs vfs.FS) Options {
	return Options{FS: fs, MinFree: -1, CacheSize: 8 << 20, MemTableSize: 1 << 20}
}

func newNode(t testing.TB, slot crdt.Slot) *node {
	n := &node{t: t, fs: vfs.NewCrashableMem(), slot: slot}
	n.open()
	t.Cleanup(func() { n.close() })
	return n
}

func (n *node) open() {
	n.t.Helper()
	store, err := Open(testDir, testOptions(n.fs))
	if err != nil {
		n.t.Fatal(err)
	}
	opts := testReplica(n.slot)
	if n.set != nil {
		n.set(&opts)
	}
	r, err := store.Replica(opts)
	if err != nil {
		n.t.Fatal(err)
	}
	n.store, n.Replica = store, r
}

func testReplica(slot crdt.Slot) ReplicaOptions {
	return ReplicaOptions{Subnet: "subnet-1", Slot: slot, Leader: slot == 1, Rank: int(slot) - 1, Separator: '.'}
}

func (n *node) close() {
	n.t.Helper()
	if err := n.store.Close(); err != nil {
		n.t.Error(err)
	}
}

func (n *node) reopen() {
	n.t.Helper()
	n.close()
	n.open()
}

// session opens the test user's account.
func (n *node) session() *Account { return n.sessionOf(testUser) }

func (n *node) sessionOf(user crdt.AccountID) *Account {
	n.t.Helper()
	s, err := n.Open(context.Background(), user, fmt.Sprint("user", user), newSessionID())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
	return s
}

func newSessionID() (id SessionID) {
	rand.Read(id[:])
	return id
}

// newRoot draws the identity of a content.
func (n *node) newRoot() crdt.Root {
	n.t.Helper()
	root, err := n.store.newRoot(n.opts.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	return root
}

func ctxOf(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// tryAppend appends one message and returns its UID.
func tryAppend(ctx context.Context, s *Account, box, body string, flags ...string) (crdt.UID, error) {
	st, err := s.Stage(ctx, int64(len(body)))
	if err != nil {
		return 0, err
	}
	defer st.Discard()
	if _, err := io.WriteString(st, body); err != nil {
		return 0, err
	}
	a, err := s.Append(ctx, box, []NewMessage{{Staging: st, Flags: flags, Structure: []byte("structure of " + body[:min(len(body), 20)])}})
	if err != nil {
		return 0, err
	}
	return a.UIDs[0], nil
}

func mustAppend(t testing.TB, s *Account, box, body string, flags ...string) crdt.UID {
	t.Helper()
	uid, err := tryAppend(ctxOf(t), s, box, body, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func mustSelect(t testing.TB, s *Account, box string) *Mailbox {
	t.Helper()
	m, err := s.Select(ctxOf(t), box, false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// expunge removes messages as a client does.
func expunge(ctx context.Context, m *Mailbox, messages []crdt.Tag) error {
	if _, _, err := m.Store(ctx, messages, FlagChange{Op: crdt.StoreAdd, Flags: Deleted}); err != nil {
		return err
	}
	_, err := m.Expunge(ctx, messages)
	return err
}

func mustExpunge(t testing.TB, m *Mailbox, messages []crdt.Tag) {
	t.Helper()
	if err := expunge(ctxOf(t), m, messages); err != nil {
		t.Fatal(err)
	}
}

// tags returns the instances of a view, by rising UID.
func tags(v *View) []crdt.Tag {
	var out []crdt.Tag
	var m Message
	for i := range v.Len() {
		v.At(i, &m)
		out = append(out, m.Tag)
	}
	return out
}

func uids(v *View) []crdt.UID {
	var out []crdt.UID
	for i := range v.Len() {
		out = append(out, v.UIDAt(i))
	}
	return out
}

// lines describes a view: a line for each message, with its flags and content.
func lines(t testing.TB, s *Account, v *View) []string {
	t.Helper()
	var out []string
	var m Message
	for i := range v.Len() {
		v.At(i, &m)
		out = append(out, fmt.Sprintf("%d %05b %v %s", m.UID, m.Flags, m.Keywords, content(t, s, m.Root)))
	}
	return out
}

func content(t testing.TB, s *Account, root crdt.Root) string {
	t.Helper()
	b, err := s.Body(ctxOf(t), root)
	if errors.Is(err, ErrUnavailable) {
		return "(not here)"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 40 {
		return fmt.Sprintf("%d bytes", len(data))
	}
	return string(data)
}

func wantLines(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got:\n%s\nwant:\n%s", joined(got), joined(want))
	}
}

func joined(l []string) string {
	var b bytes.Buffer
	for _, s := range l {
		fmt.Fprintln(&b, s)
	}
	return b.String()
}

// awaitChange waits until a mailbox has something new.
func awaitChange(t testing.TB, m *Mailbox) {
	t.Helper()
	select {
	case <-m.Changed():
	case <-time.After(20 * time.Second):
		t.Fatal("no change is announced")
	}
}

// audit checks every invariant that the data type can check, for all accounts.
func (n *node) audit(users ...crdt.AccountID) {
	n.t.Helper()
	for _, user := range users {
		if err := n.Audit(user); err != nil {
			n.t.Errorf("audit of account %d: %v", user, err)
		}
	}
}
