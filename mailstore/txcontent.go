package mailstore

import (
	"encoding/binary"

	"github.com/go-pluto/pluto/crdt"
)

var _ crdt.Contents = (*tx)(nil)

// Retain implements crdt.State.
func (t *tx) Retain(root crdt.Root) error {
	c, err := t.Content(root)
	if err != nil {
		return err
	}
	if c.Retain(); c.Live == 1 {
		t.came = append(t.came, root)
	}
	return t.PutContent(root, c)
}

// Release implements crdt.State.
func (t *tx) Release(root crdt.Root, op crdt.Dot) error {
	c, err := t.Content(root)
	if err != nil {
		return err
	}
	r := crdt.Removal{Root: root, By: op}
	recorded, err := t.removal(r)
	if err != nil {
		return err
	}
	c.Release(recorded)
	if err := t.PutContent(root, c); err != nil || recorded {
		return err
	}
	t.noteRemoval(r, true)
	if op != t.op {
		t.late = append(t.late, op)
	}
	t.key = t.keys.removal(t.key[:0], r)
	t.val = binary.BigEndian.AppendUint32(t.val[:0], uint32(t.a.id))
	return t.set(t.val)
}

// removal reports whether a removal is recorded. An operation that is applied
// already may have removed another instance in its own transaction: a MOVE that
// was replayed removes the original where it arrives later.
func (t *tx) removal(r crdt.Removal) (bool, error) {
	recorded, known := t.removals[r]
	if known || r.By == t.op {
		return recorded, nil
	}
	t.key = t.keys.removal(t.key[:0], r)
	return t.read(func([]byte) error { return nil })
}

func (t *tx) noteRemoval(r crdt.Removal, recorded bool) {
	if t.removals == nil {
		t.removals = make(map[crdt.Removal]bool, 1)
	}
	t.removals[r] = recorded
}

// Content implements crdt.Contents.
func (t *tx) Content(root crdt.Root) (crdt.Content, error) {
	if c, ok := t.contents[root]; ok {
		return c, nil
	}
	var c crdt.Content
	t.key = t.keys.content(t.key[:0], kindCount, root)
	_, err := t.read(func(v []byte) (err error) {
		c, err = parseCount(v)
		return err
	})
	return c, err
}

// PutContent implements crdt.Contents.
func (t *tx) PutContent(root crdt.Root, c crdt.Content) error {
	t.noteContent(root, c)
	t.key = t.keys.content(t.key[:0], kindCount, root)
	t.val = appendCount(t.val[:0], c)
	return t.set(t.val)
}

func (t *tx) noteContent(root crdt.Root, c crdt.Content) {
	if t.contents == nil {
		t.contents = make(map[crdt.Root]crdt.Content, 1)
	}
	t.contents[root] = c
}

func appendCount(b []byte, c crdt.Content) []byte {
	b = binary.AppendUvarint(b, uint64(c.Live))
	return binary.AppendUvarint(b, uint64(c.Removed))
}

func parseCount(b []byte) (crdt.Content, error) {
	live, n := binary.Uvarint(b)
	if n <= 0 {
		return crdt.Content{}, errCorrupt
	}
	removed, m := binary.Uvarint(b[n:])
	if m <= 0 || n+m != len(b) || live > 1<<32-1 || removed > 1<<32-1 {
		return crdt.Content{}, errCorrupt
	}
	return crdt.Content{Live: uint32(live), Removed: uint32(removed)}, nil
}

// DropRemoval implements crdt.Contents.
func (t *tx) DropRemoval(r crdt.Removal) (bool, error) {
	recorded, err := t.removal(r)
	if err != nil {
		return false, err
	}
	t.noteRemoval(r, false)
	t.key = t.keys.removal(t.key[:0], r)
	return recorded, t.del()
}

// DeleteContent implements crdt.Contents. Whoever calls it has made sure that
// nobody reads or writes the content meanwhile. What is staged stays so: it was
// brought again.
func (t *tx) DeleteContent(root crdt.Root) error {
	t.noteContent(root, crdt.Content{})
	t.went = append(t.went, root)
	t.key = t.keys.content(t.key[:0], kindStaging, root)
	staged, err := t.read(func([]byte) error { return nil })
	if err != nil {
		return err
	}
	if staged {
		t.key = t.keys.content(t.key[:0], kindCount, root)
		return t.del()
	}
	if err := t.a.r.deleteContent(t.batch, root); err != nil {
		return t.fail(err)
	}
	return nil
}
