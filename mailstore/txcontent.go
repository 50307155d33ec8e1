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
	c.Retain()
	return t.PutContent(root, c)
}

// Release implements crdt.State.
func (t *tx) Release(root crdt.Root, op crdt.Dot) error {
	c, err := t.Content(root)
	if err != nil {
		return err
	}
	r := crdt.Removal{Root: root, By: op}
	c.Release(t.removals[r]) // of an operation nothing is on the disk yet
	if err := t.PutContent(root, c); err != nil || t.removals[r] {
		return err
	}
	if t.removals == nil {
		t.removals = make(map[crdt.Removal]bool, 1)
	}
	t.removals[r] = true
	t.key = t.keys.removal(t.key[:0], r)
	t.val = binary.BigEndian.AppendUint32(t.val[:0], uint32(t.a.id))
	return t.set(t.val)
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
	t.key = t.keys.removal(t.key[:0], r)
	recorded, ok := t.removals[r]
	if !ok {
		var err error
		if recorded, err = t.read(func([]byte) error { return nil }); err != nil {
			return false, err
		}
	}
	if t.removals == nil {
		t.removals = make(map[crdt.Removal]bool, 1)
	}
	t.removals[r] = false
	return recorded, t.del()
}

// DeleteContent implements crdt.Contents. Whoever calls it has made sure that
// nobody reads or writes the content meanwhile.
func (t *tx) DeleteContent(root crdt.Root) error {
	t.noteContent(root, crdt.Content{})
	if err := t.a.r.deleteContent(t.batch, root); err != nil {
		return t.fail(err)
	}
	return nil
}
