package mailstore

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

func mustAnnotate(t *testing.T, s *Account, box, entry, value string) {
	t.Helper()
	note := Note{Entry: entry, Value: crdt.Note{There: value != "", Text: value}}
	if err := s.Annotate(ctxOf(t), box, []Note{note}); err != nil {
		t.Fatal(err)
	}
}

func wantNotes(t *testing.T, s *Account, box string, want map[string]string) {
	t.Helper()
	if got, err := s.Annotations(ctxOf(t), box); err != nil || !maps.Equal(got, want) {
		t.Errorf("annotations of %q: %v, %v; want %v", box, got, err, want)
	}
}

// Annotations converge, stay with the identity of their mailbox (RFC 5464 section
// 4.1), and are there after a restart and in a snapshot.
func TestAnnotations(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa := a.session()
	if err := sa.Create(ctxOf(t), "A", ""); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	sb := b.session()
	mustAnnotate(t, sa, "A", "/Private/x", "old")
	mustAnnotate(t, sa, "", "/shared/s", "server")
	settle(t, a, b)
	mustAnnotate(t, sa, "A", "/private/x", "one")
	mustAnnotate(t, sb, "A", "/private/x", "other") // at the same time
	mustAnnotate(t, sb, "", "/shared/s", "")
	mustAnnotate(t, sb, "INBOX", "/private/y", strings.Repeat("\x00", 3))
	settle(t, a, b)
	got, err := sa.Annotations(ctxOf(t), "A")
	if err != nil || len(got) != 1 || got["/private/x"] != "one" && got["/private/x"] != "other" {
		t.Fatalf("%v, %v", got, err)
	}
	for _, s := range []*Account{sa, sb} {
		wantNotes(t, s, "A", got)
		wantNotes(t, s, "", map[string]string{})
		wantNotes(t, s, "INBOX", map[string]string{"/private/y": "\x00\x00\x00"})
	}
	a.audit(testUser)
	b.reopen()
	sb = b.session()
	wantNotes(t, sb, "A", got)

	// What is renamed keeps its annotations, INBOX its own, what is deleted none.
	if err := errors.Join(sb.Rename(ctxOf(t), "A", "B"), sb.Rename(ctxOf(t), "INBOX", "Old")); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, sb, "B", got)
	wantNotes(t, sb, "INBOX", map[string]string{"/private/y": "\x00\x00\x00"})
	wantNotes(t, sb, "Old", map[string]string{"/private/y": "\x00\x00\x00"})
	if err := errors.Join(sb.Delete(ctxOf(t), "Old"), sb.Create(ctxOf(t), "Old", "")); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, sb, "Old", map[string]string{})

	c := newNode(t, 3)
	c.loadAll(b)
	sc := c.session()
	wantNotes(t, sc, "B", got)
	wantNotes(t, sc, "INBOX", map[string]string{"/private/y": "\x00\x00\x00"})
	wantNotes(t, sc, "Old", map[string]string{})
	c.audit(testUser)
}

func TestAnnotationErrors(t *testing.T) {
	s := newNode(t, 1).session()
	set := func(box, entry, value string) error {
		return s.Annotate(ctxOf(t), box, []Note{{Entry: "/private/ok", Value: crdt.Note{There: true}}, {Entry: entry, Value: crdt.Note{There: true, Text: value}}})
	}
	for name, c := range map[string]struct{ got, want error }{
		"no mailbox": {set("nowhere", "/private/x", "y"), ErrNonexistent},
		"bad entry":  {set("INBOX", "/x", "y"), ErrCannot},
		"long value": {set("INBOX", "/private/x", strings.Repeat("x", crdt.MaxNoteLen+1)), ErrLimit},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v", name, c.got)
		}
	}
	if _, err := s.Annotations(ctxOf(t), "nowhere"); !errors.Is(err, ErrNonexistent) {
		t.Error(err)
	}
	wantNotes(t, s, "INBOX", map[string]string{}) // all or none
	if err := set("INBOX", "/private/x", strings.Repeat("x", crdt.MaxNoteLen)); err != nil {
		t.Error(err)
	}
}
