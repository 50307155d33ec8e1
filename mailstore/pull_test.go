package mailstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// source is a BodySource over other nodes, without network.
type source struct {
	to    *node
	from  []*node
	calls atomic.Int32
	begun chan struct{} // if set: receives when a call has begun,
	goOn  chan struct{} // which goes on when this is closed
}

var errNobody = errors.New("nobody has it")

func (s *source) PullBody(ctx context.Context, root crdt.Root) error {
	s.calls.Add(1)
	if s.begun != nil {
		s.begun <- struct{}{}
		select {
		case <-s.goOn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, from := range s.from {
		if err := s.pullFrom(from, root); !errors.Is(err, errNobody) {
			return err
		}
	}
	return errNobody
}

func (s *source) pullFrom(from *node, root crdt.Root) error {
	for i := 0; ; i++ {
		data, last, err := from.BodyChunk(root, i)
		if err != nil {
			return err
		}
		if data == nil && !last {
			return errNobody
		}
		if err := s.to.PutBodyChunk(root, i, data, last); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// lose deletes pieces of a content under a replica: all with its structure, or
// only the last one.
func (n *node) lose(root crdt.Root, all bool) {
	n.t.Helper()
	b := n.store.db.NewBatch()
	tr, err := n.trailer(root)
	if err != nil {
		n.t.Fatal(err)
	}
	err = b.Delete(n.keys.chunk(nil, root, tr.chunks()-1), nil)
	if all {
		chunks := n.keys.chunks(nil, root)
		err = errors.Join(err, b.DeleteRange(chunks, after(chunks), nil), b.Delete(n.keys.content(nil, kindStructure, root), nil))
	}
	if err := errors.Join(err, b.Commit(pebble.Sync)); err != nil {
		n.t.Fatal(err)
	}
}

func pullWorld(t *testing.T) (a, b *node, s *Account, root crdt.Root) {
	a, b = newNode(t, 1), newNode(t, 2)
	sa := a.session()
	st := stageBytes(t, sa, randomBytes(2*chunkSize+1))
	if _, err := sa.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st, Structure: []byte("s")}}); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	return a, b, b.session(), st.root
}

// TestPullMissing: a content that was deleted under a replica, or a piece of it,
// comes from another one when somebody wants it.
func TestPullMissing(t *testing.T) {
	for _, all := range []bool{true, false} {
		a, b, s, root := pullWorld(t)
		b.SetBodySource(&source{to: b, from: []*node{a}})
		b.lose(root, all)
		if got := content(t, s, root); got != "524289 bytes" {
			t.Errorf("all %v: got %s", all, got)
		}
		b.lose(root, all)
		if data, err := s.Structure(ctxOf(t), root); err != nil || string(data) != "s" {
			t.Errorf("all %v: structure %q, %v", all, data, err)
		}
		content(t, s, root)
		b.audit(testUser)
		if left := count(t, b, b.keys.kind(nil, spaceContent, kindStaging)); left != 0 {
			t.Errorf("%d contents marked as staged", left)
		}
	}
}

// TestPullNobody: what no member has is unavailable, before anything of it was read.
func TestPullNobody(t *testing.T) {
	a, b, s, root := pullWorld(t)
	src := &source{to: b, from: []*node{a}}
	b.SetBodySource(src)
	a.lose(root, true)
	b.lose(root, true)
	if _, err := s.Body(ctxOf(t), root); !errors.Is(err, ErrUnavailable) || !errors.Is(err, errNobody) {
		t.Errorf("content that nobody has: %v", err)
	}
	if _, err := s.Body(ctxOf(t), crdt.Root{1}); !errors.Is(err, ErrExpunged) || src.calls.Load() != 1 {
		t.Errorf("content that nothing refers to: %v, asked for %d times", err, src.calls.Load())
	}
}

// TestPullShared: those who want the same content share the work, and who cannot
// wait does not end it for the others.
func TestPullShared(t *testing.T) {
	a, b, s, root := pullWorld(t)
	src := &source{to: b, from: []*node{a}, begun: make(chan struct{}, 10), goOn: make(chan struct{})}
	b.SetBodySource(src)
	b.lose(root, true)
	var readers sync.WaitGroup
	for range 5 {
		other := b.session()
		readers.Go(func() {
			body, err := other.Body(ctxOf(t), root)
			if err != nil {
				t.Error(err)
				return
			}
			body.Close()
		})
	}
	<-src.begun
	ctx, cancel := context.WithTimeout(ctxOf(t), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Body(ctx, root); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a reader in a hurry: %v", err)
	}
	close(src.goOn)
	readers.Wait()
	if n := src.calls.Load(); n != 1 {
		t.Errorf("pulled %d times", n)
	}
}

// TestPullAhead: a content that its operation did not bring is got without
// anybody asking, while others still have it.
func TestPullAhead(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mustAppend(t, a.session(), "INBOX", "one")
	src := &source{to: b, from: []*node{a}, begun: make(chan struct{}, 1), goOn: make(chan struct{})}
	b.SetBodySource(src)
	entries, err := a.Read(a.Origin(), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(ctxOf(t), entries); err != nil {
		t.Fatal(err)
	}
	<-src.begun
	close(src.goOn)
	s := b.session()
	var m Message
	mustSelect(t, s, "INBOX").View().At(0, &m)
	if got := content(t, s, m.Root); got != "one" {
		t.Errorf("got %q", got)
	}
}

// TestPullCloses: a store that is closed does not wait for peers.
func TestPullCloses(t *testing.T) {
	a, b, s, root := pullWorld(t)
	src := &source{to: b, from: []*node{a}, begun: make(chan struct{}, 1), goOn: make(chan struct{})}
	b.SetBodySource(src)
	b.lose(root, true)
	done := make(chan error, 1)
	go func() {
		_, err := s.Body(context.Background(), root)
		done <- err
	}()
	<-src.begun
	b.reopen()
	if err := <-done; !errors.Is(err, ErrUnavailable) {
		t.Errorf("read while the store is closed: %v", err)
	}
}
