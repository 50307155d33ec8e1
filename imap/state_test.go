package imap

import (
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawUIDs draws messages, more or less dense.
func drawUIDs(t *rapid.T, most uint32) []UID {
	uids := rapid.SliceOfDistinct(rapid.Custom(func(t *rapid.T) UID {
		return UID(rapid.Uint32Range(1, most).Draw(t, "uid"))
	}), func(u UID) UID { return u }).Draw(t, "uids")
	slices.Sort(uids)
	return uids
}

func TestPiecesAndRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		uids := drawUIDs(t, rapid.SampledFrom([]uint32{60, 1<<32 - 1}).Draw(t, "most"))
		b := selection{told: uidView(uids)}
		runs, ok := parsePieces(b.chunks())
		var sum uidRanges
		for _, uid := range uids {
			sum.add(UIDRange{uid, uid})
		}
		if !ok || !slices.Equal(runs, sum) {
			t.Fatalf("%v: %v, %v", uids, runs, sum)
		}
		w := stateWriter{}
		w.ranges(sum)
		d := stateReader{data: w.buf, chunks: w.chunks}
		if got := d.ranges(); !slices.Equal(got, sum) || d.end() != nil {
			t.Fatalf("%v became %v", sum, got)
		}
	})
}

// spread returns n messages, each apart from the others.
func spread(n int, first, distance UID) uidView {
	v := make(uidView, n)
	for i := range v {
		v[i] = first + UID(i)*distance
	}
	return v
}

// A view full of holes is small enough to be kept, its pieces fill their chunks,
// and a change of one message changes one of them.
func TestPiecesOfALargeView(t *testing.T) {
	v := spread(100_000, 7, 300)
	b := selection{told: v}
	before := b.chunks()
	size := 0
	for _, c := range before {
		if len(c.Data) > MaxChunk || NameOf(c.Data) != c.Name {
			t.Fatalf("chunk of %d bytes", len(c.Data))
		}
		size += len(c.Data)
	}
	if size > 400<<10 || len(before) > 200 {
		t.Errorf("%d bytes in %d chunks", size, len(before))
	}
	for _, c := range b.chunks() {
		if c.Data != nil {
			t.Fatal("data comes twice")
		}
	}
	gone := v[50_000]
	b.told = slices.Delete(slices.Clone(v), 50_000, 50_001)
	b.recut([]UID{gone})
	after, fresh := b.chunks(), 0
	for i := range after {
		if after[i].Data != nil {
			fresh++
		}
	}
	if fresh != 1 || len(after) != len(before) {
		t.Errorf("%d chunks of %d were made anew, %d before", fresh, len(after), len(before))
	}
	other := selection{told: b.told}
	for i, c := range other.chunks() {
		if c.Name != after[i].Name {
			t.Errorf("chunk %d of the same view has another name", i)
		}
	}
}

// Pieces stay right whatever comes and goes.
func TestRecut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]UID{5000, 1 << 20, 1<<32 - 1}).Draw(t, "most")
		v := spread(3000, 1, most/4000)
		b := selection{told: v}
		b.chunks()
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			old := b.told.(uidView)
			var gone, added []UID
			next := slices.DeleteFunc(slices.Clone(old), func(u UID) bool {
				if len(gone) < 50 && rapid.IntRange(0, 40).Draw(t, "gone") == 0 {
					gone = append(gone, u)
					return true
				}
				return false
			})
			last := old[len(old)-1]
			for range rapid.IntRange(0, 500).Draw(t, "added") {
				if last == most {
					break
				}
				last++
				added = append(added, last)
			}
			b.told = append(next, added...)
			b.recut(gone, added)
			all := map[[ChunkName]byte][]byte{}
			fresh := selection{told: b.told}
			for _, c := range fresh.chunks() {
				all[c.Name] = c.Data
			}
			var have []UIDRange
			for i := range b.pieces {
				p := &b.pieces[i]
				if p.full {
					data, ok := appendPiece(nil, b.told, p.from, p.bits)
					if !ok || NameOf(data) != p.name {
						t.Fatalf("piece %d is not of the view", i)
					}
					part, _ := parsePieces([]Chunk{{Data: data}})
					have = append(have, part...)
				}
			}
			n := 0
			for _, r := range have {
				n += int(r.To-r.From) + 1
			}
			if n != b.told.Len() {
				t.Fatalf("%d messages in pieces of %d", n, b.told.Len())
			}
		}
	})
}

// A state is taken over whole or not at all.
func TestStatesThatAreRefused(t *testing.T) {
	resume := func(state []byte, chunks ...Chunk) error {
		s := newSession(t.Context(), nil, nil, Options{})
		return s.restore(&Resume{State: state, Chunks: chunks})
	}
	if err := resume([]byte{stateVersion}); err != nil {
		t.Errorf("nothing: %v", err)
	}
	for name, state := range map[string][]byte{
		"another version": {stateVersion + 1},
		"unknown part":    {stateVersion, 255, 1, 'x', 0},
		"half a part":     {stateVersion, 1, 9, 0},
		"part twice":      {stateVersion, 2, 1, 0, 0, 2, 1, 0, 0},
		"missing chunks":  {stateVersion, 1, 1, 0, 3},
		"garbage":         {stateVersion, 1, 1, 0, 0},
	} {
		if err := resume(state); !errors.Is(err, errState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := resume([]byte{stateVersion, 1, 1, selectedTooMany, 0}); !errors.Is(err, ErrNotResumed) {
		t.Errorf("too many: %v", err)
	}
}

func FuzzState(f *testing.F) {
	s := newSession(f.Context(), nil, nil, Options{})
	state, _ := s.encodeState()
	f.Add(state, []byte{})
	f.Add([]byte{stateVersion, 1, 12, 0, 1, 'x', 1, 'y', 1, 9, 1, 1, 0, 0, 1, 0, 0}, []byte{1, 1, 1})
	f.Fuzz(func(t *testing.T, state, data []byte) {
		s := newSession(t.Context(), nil, nil, Options{})
		s.roaming = nowhere{}
		r := &Resume{State: state}
		for len(data) > 0 {
			n := min(len(data), 8)
			r.Chunks = append(r.Chunks, Chunk{Data: data[:n]})
			data = data[n:]
		}
		if err := s.restore(r); err == nil && s.box != nil {
			t.Error("a mailbox was selected that is nowhere")
		}
	})
}

// nowhere has no mailboxes.
type nowhere struct{ Roaming }

func (nowhere) Resume(context.Context, Told) (Mailbox, View, error) { return nil, nil, ErrNonexistent }
