package mailstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

// stageBytes writes data in uneven pieces.
func stageBytes(t *testing.T, s *Account, data []byte) *Staging {
	t.Helper()
	st, err := s.Stage(ctxOf(t), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewSource(1))
	for len(data) > 0 {
		n := min(len(data), 1+rng.Intn(100_000))
		if _, err := st.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	return st
}

func readAll(t *testing.T, b *Body) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBodies(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	for _, size := range []int{0, 1, 1000, chunkSize - 1, chunkSize, chunkSize + 1, 3 * chunkSize, 5 << 20} {
		data := randomBytes(size)
		st := stageBytes(t, s, data)
		staged, err := st.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, staged); !bytes.Equal(got, data) {
			t.Fatalf("a staged message of %d bytes reads as %d others", size, len(got))
		}
		a, err := s.Append(ctx, "INBOX", []NewMessage{{Staging: st, Structure: []byte("s")}})
		if err != nil {
			t.Fatal(err)
		}
		st.Discard() // does nothing any more
		v := mustSelect(t, s, "INBOX").View()
		i, ok := v.Find(a.UIDs[0])
		var m Message
		v.At(i, &m)
		b, err := s.Body(ctx, m.Root)
		if err != nil || !ok || m.Size != int64(size) {
			t.Fatal(m, ok, err)
		}
		if got := readAll(t, b); !bytes.Equal(got, data) {
			t.Fatalf("a message of %d bytes reads as %d others", size, len(got))
		}
		partialReads(t, b, data)
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := count(t, n, n.keys.kind(nil, spaceContent, kindStaging)); left != 0 {
		t.Errorf("%d staging markers left", left)
	}
	n.audit(testUser)
}

func partialReads(t *testing.T, b *Body, data []byte) {
	t.Helper()
	rng := rand.New(rand.NewSource(2))
	for range 50 {
		off := rng.Intn(len(data) + 10)
		p := make([]byte, rng.Intn(chunkSize+1000))
		n, err := b.ReadAt(p, int64(off))
		want := data[min(off, len(data)):min(off+len(p), len(data))]
		if !bytes.Equal(p[:n], want) || (n < len(p)) != errors.Is(err, io.EOF) {
			t.Fatalf("read of %d bytes at %d of %d: %d bytes, %v", len(p), off, len(data), n, err)
		}
	}
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a read at a negative offset succeeds")
	}
}

// count returns how many keys begin with prefix.
func count(t *testing.T, n *node, prefix []byte) int {
	t.Helper()
	it, err := n.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		t.Fatal(err)
	}
	k := 0
	for ok := it.First(); ok; ok = it.Next() {
		k++
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return k
}

func bodyKeys(t *testing.T, n *node) int {
	t.Helper()
	return count(t, n, []byte{spaceBodies})
}

func TestStagedOrphans(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	kept := stageBytes(t, s, randomBytes(3*chunkSize))
	if _, err := s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: kept}}); err != nil {
		t.Fatal(err)
	}
	with := bodyKeys(t, n)
	discarded := stageBytes(t, s, randomBytes(3*chunkSize))
	if bodyKeys(t, n) == with {
		t.Fatal("a large message is held in memory whole")
	}
	discarded.Discard()
	if left := bodyKeys(t, n) - with; left != 0 {
		t.Errorf("%d chunks left of a discarded message", left)
	}
	stageBytes(t, s, randomBytes(4*chunkSize)) // its client is cut off
	root := n.newRoot()
	if err := n.PutBodyChunk(root, 0, randomBytes(chunkSize), false); err != nil { // and a peer
		t.Fatal(err)
	}
	if err := n.PutBodyChunk(root, 1, trailer{size: chunkSize}.append(nil), true); err != nil {
		t.Fatal(err)
	}
	if err := n.PutBodyChunk(n.newRoot(), 0, randomBytes(chunkSize), false); err != nil { // in the middle
		t.Fatal(err)
	}
	s.Close()
	n.reopen()
	if left := bodyKeys(t, n) - with; left != 0 {
		t.Errorf("%d chunks left that nothing refers to", left)
	}
	if left := count(t, n, n.keys.kind(nil, spaceContent, kindStaging)); left != 0 {
		t.Errorf("%d staging markers left", left)
	}
	if data, _, err := n.BodyChunk(root, 0); data != nil || err != nil {
		t.Errorf("a content that was swept up is still offered: %v", err)
	}
	n.audit(testUser)
}

func TestStagingLimits(t *testing.T) {
	n := newNode(t, 1)
	n.opts.MaxMessageSize = 1000
	s := n.session()
	st, err := s.Stage(ctxOf(t), 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(make([]byte, 1001)); !errors.Is(err, ErrTooBig) {
		t.Errorf("more than the limit: %v", err)
	}
	if _, err := s.Stage(ctxOf(t), 1001); !errors.Is(err, ErrTooBig) {
		t.Errorf("more than the limit announced: %v", err)
	}
	if _, err := s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st, Structure: make([]byte, MaxStructure+1)}}); !errors.Is(err, ErrLimit) {
		t.Errorf("a structure above the limit: %v", err)
	}
	if _, err := s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st}}); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"write after append": second(st.Write([]byte("x"))),
		"append twice":       second(s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st}})),
		"finish after append": func() error {
			_, err := st.Finish()
			return err
		}(),
	} {
		if err == nil {
			t.Errorf("%s succeeds", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestPutBodyChunkRefuses: a peer that sends nonsense gets errors.
func TestPutBodyChunkRefuses(t *testing.T) {
	n := newNode(t, 1)
	root := crdt.Root{1}
	for what, err := range map[string]error{
		"negative index":        n.PutBodyChunk(root, -1, nil, false),
		"enormous index":        n.PutBodyChunk(root, 1<<30, nil, false),
		"chunk too long":        n.PutBodyChunk(root, 0, make([]byte, chunkSize+1), false),
		"empty trailer":         n.PutBodyChunk(root, 0, nil, true),
		"trailer of nothing":    n.PutBodyChunk(root, 0, []byte("garbage"), true),
		"trailer of other size": n.PutBodyChunk(root, 0, trailer{size: 5 * chunkSize}.append(nil), true),
		"monstrous size":        n.PutBodyChunk(root, 0, trailer{size: 1 << 60}.append(nil), true),
	} {
		if err == nil {
			t.Errorf("%s is accepted", what)
		}
	}
	if data, _, err := n.BodyChunk(root, 0); data != nil || err != nil {
		t.Errorf("chunk of nothing: %v, %v", data, err)
	}
}

func TestChunkOutOfRange(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", strings.Repeat("x", 100))
	var m Message
	mustSelect(t, s, "INBOX").View().At(0, &m)
	for _, i := range []int{-1, 2, 1 << 40} {
		if _, _, err := n.BodyChunk(m.Root, i); err == nil {
			t.Errorf("chunk %d of a message of one", i)
		}
	}
}

// TestDiscardAfterCommit: a session that goes while its APPEND waits for peers
// discards what it staged; the message is there all the same, and whole.
func TestDiscardAfterCommit(t *testing.T) {
	n := newNode(t, 1)
	s, other := n.session(), n.session()
	data := randomBytes(2*chunkSize + 1)
	g := newGate()
	n.SetReplicator(g)
	for _, strict := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		st := stageBytes(t, s, data)
		result := make(chan error, 1)
		go func() {
			_, err := s.Append(ctx, "INBOX", []NewMessage{{Staging: st, Structure: []byte("s")}})
			st.Discard()
			result <- err
		}()
		number := g.next(t)
		if strict {
			g.of(number) <- errors.New("too few peers")
		} else {
			cancel()
		}
		if err := <-result; err == nil {
			t.Fatal("APPEND succeeded")
		}
		g.of(number) <- nil // whoever still waits
		cancel()
	}
	m := mustSelect(t, other, "INBOX")
	if m.View().Len() != 2 {
		t.Fatalf("%d messages, want 2", m.View().Len())
	}
	var msg Message
	for i := range 2 {
		m.View().At(i, &msg)
		b, err := other.Body(ctxOf(t), msg.Root)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, b); !bytes.Equal(got, data) {
			t.Errorf("message %d has other bytes", i)
		}
	}
	n.audit(testUser)
}

// TestMarkedAgain: of two streams that bring a content one stores a piece when
// the operation that refers to it has been applied. The next start keeps it.
func TestMarkedAgain(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa := a.session()
	st := stageBytes(t, sa, randomBytes(chunkSize+1))
	if _, err := sa.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st, Structure: []byte("s")}}); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	key := b.keys.content(nil, kindStaging, st.root)
	if err := b.store.db.Set(key, make([]byte, 8), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	b.audit(testUser)
	if v, err := b.store.get(key); v != nil || err != nil {
		t.Error("the marker is still there", err)
	}
}

// TestDamagedContentIsPassedOver: a content that has lost a piece is not here,
// for a peer, instead of an error that ends every stream.
func TestDamagedContentIsPassedOver(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	st := stageBytes(t, s, randomBytes(chunkSize+1))
	if _, err := s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st}}); err != nil {
		t.Fatal(err)
	}
	if err := n.store.db.Delete(n.keys.chunk(nil, st.root, 1), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if data, _, err := n.BodyChunk(st.root, 0); data == nil || err != nil {
		t.Errorf("a piece that is there: %d bytes, %v", len(data), err)
	}
	if data, last, err := n.BodyChunk(st.root, 1); data != nil || last || err != nil {
		t.Errorf("a piece that is lost: %d bytes, %v, %v", len(data), last, err)
	}
}
