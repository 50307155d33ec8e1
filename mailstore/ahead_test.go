package mailstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// sink is a BodySink that notes what it is told and keeps the pieces.
type sink struct {
	r      *Replica
	events []string
	pieces [][]byte
	err    error
}

func (s *sink) BodyGrows(root crdt.Root, pieces int) {
	s.events = append(s.events, fmt.Sprint("grows ", pieces))
	for i := len(s.pieces); i < pieces; i++ {
		data, err := s.r.StagedChunk(root, i)
		if err != nil || data == nil {
			s.err = fmt.Errorf("piece %d: %d bytes, %w", i, len(data), err)
			return
		}
		s.pieces = append(s.pieces, data)
	}
}

func (s *sink) BodyWhole(context.Context, crdt.Root) {
	s.events = append(s.events, fmt.Sprint("whole, own ", s.r.Logged().Get(s.r.Origin())))
}

func (s *sink) BodyDropped(crdt.Root) { s.events = append(s.events, "dropped") }

// TestBodySink: pieces of a large message go ahead as they come in, and its
// operation is committed after the sink had its time; small ones do not.
func TestBodySink(t *testing.T) {
	n := newNode(t, 1)
	k := &sink{r: n.Replica}
	n.SetBodySink(k)
	s := n.session()
	own := n.Logged().Get(n.Origin())
	mustAppend(t, s, "INBOX", string(randomBytes(2*chunkSize)))
	if len(k.events) > 0 {
		t.Errorf("a message of two pieces goes ahead: %q", k.events)
	}
	data := randomBytes(3*chunkSize + 17)
	mustAppend(t, s, "INBOX", string(data))
	want := []string{"grows 2", "grows 3", fmt.Sprint("whole, own ", own+1)}
	if !slices.Equal(k.events, want) {
		t.Errorf("told %q, want %q", k.events, want)
	}
	if got := slices.Concat(k.pieces...); k.err != nil || !bytes.Equal(got, data[:3*chunkSize]) {
		t.Errorf("%d bytes went ahead, or other ones: %v", len(got), k.err)
	}
	if got := n.Logged().Get(n.Origin()); got != own+2 {
		t.Errorf("%d own operations, want %d", got, own+2)
	}

	k.events, k.pieces = nil, nil
	stageBytes(t, s, data).Discard()
	if want := []string{"grows 2", "grows 3", "dropped"}; !slices.Equal(k.events, want) {
		t.Errorf("told %q of a message that is not stored, want %q", k.events, want)
	}
}
