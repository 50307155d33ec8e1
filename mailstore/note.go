package mailstore

import (
	"encoding/binary"
	"maps"

	"github.com/go-pluto/pluto/crdt"
)

// What an annotation is of is written as server (1), mailbox (8), entry; its
// register as time (8), 1 if there is a value or else 0, the value.

const (
	annotationPrefix = 1 + 8
	noteHeader       = 8 + 1
)

func appendAnnotation(b []byte, of crdt.Annotation) []byte {
	b = append(b, bit(of.Server))
	b = binary.BigEndian.AppendUint64(b, uint64(of.Box))
	return append(b, of.Entry...)
}

func parseAnnotation(b []byte) (crdt.Annotation, error) {
	if len(b) < annotationPrefix || b[0] > 1 {
		return crdt.Annotation{}, errCorrupt
	}
	return crdt.Annotation{
		Server: b[0] == 1, Box: crdt.MailboxID(binary.BigEndian.Uint64(b[1:])), Entry: string(b[annotationPrefix:]),
	}, nil
}

func appendNote(b []byte, r crdt.Register[crdt.Note]) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	return append(append(b, bit(r.Value.There)), r.Value.Text...)
}

func parseNote(b []byte) (*crdt.Register[crdt.Note], error) {
	if len(b) < noteHeader || b[8] > 1 {
		return nil, errCorrupt
	}
	return &crdt.Register[crdt.Note]{
		Time:  crdt.Time(binary.BigEndian.Uint64(b)),
		Value: crdt.Note{There: b[8] == 1, Text: string(b[noteHeader:])},
	}, nil
}

func bit(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// NoteOf implements crdt.State.
func (t *tx) NoteOf(of crdt.Annotation) (*crdt.Register[crdt.Note], error) {
	if r, ok := t.notes[of]; ok {
		return &r, nil
	}
	var reg *crdt.Register[crdt.Note]
	t.key = t.keys.note(t.key[:0], t.a.id, of)
	_, err := t.read(func(v []byte) (err error) {
		reg, err = parseNote(v)
		return err
	})
	return reg, err
}

// PutNote implements crdt.State.
func (t *tx) PutNote(of crdt.Annotation, r crdt.Register[crdt.Note]) error {
	if t.notes == nil {
		t.notes = make(map[crdt.Annotation]crdt.Register[crdt.Note])
	}
	t.notes[of] = r
	t.key = t.keys.note(t.key[:0], t.a.id, of)
	t.val = appendNote(t.val[:0], r)
	return t.set(t.val)
}

// Notes implements crdt.State.
func (t *tx) Notes(of crdt.Annotation) (map[string]crdt.Register[crdt.Note], error) {
	out := make(map[string]crdt.Register[crdt.Note])
	of.Entry = ""
	t.key = t.keys.note(t.key[:0], t.a.id, of)
	err := t.scan(func(rest, v []byte) error {
		r, err := parseNote(v)
		if err == nil {
			out[string(rest)] = *r
		}
		return err
	})
	for a, r := range t.notes {
		if a.Server == of.Server && a.Box == of.Box {
			out[a.Entry] = r
		}
	}
	return out, err
}

// NotesSize implements crdt.State.
func (t *tx) NotesSize() (registers, bytes int, err error) {
	sizes := make(map[crdt.Annotation]int)
	t.key = t.keys.notes(t.key[:0], t.a.id)
	err = t.scan(func(rest, v []byte) error {
		of, err := parseAnnotation(rest)
		if err == nil && len(v) < noteHeader {
			err = errCorrupt
		}
		sizes[of] = len(of.Entry) + len(v) - noteHeader
		return err
	})
	for of, r := range t.notes {
		sizes[of] = len(of.Entry) + len(r.Value.Text)
	}
	for n := range maps.Values(sizes) {
		bytes += n
	}
	return len(sizes), bytes, err
}

// stagedNote checks an annotation of a snapshot.
func (e pieceEntry) stagedNote() (s stagedRecord, err error) {
	if len(e.data) == 0 {
		return s, errShort
	}
	n := 1 + annotationPrefix + int(e.data[0])
	if len(e.data) < n+noteHeader || len(e.data) > n+noteHeader+crdt.MaxNoteLen {
		return s, errShort
	}
	s.key, s.value = append([]byte{stagedNote}, e.data[1:n]...), e.data[n:]
	if _, err = parseAnnotation(s.key[1:]); err == nil {
		_, err = parseNote(s.value)
	}
	return s, err
}

// addNote puts a staged annotation into a snapshot.
func addNote(snap *crdt.Snapshot, key string, v []byte) error {
	of, err := parseAnnotation([]byte(key))
	if err != nil {
		return err
	}
	r, err := parseNote(v)
	if err != nil {
		return err
	}
	if snap.Notes == nil {
		snap.Notes = make(map[crdt.Annotation]crdt.Register[crdt.Note])
	}
	snap.Notes[of] = *r
	return nil
}
