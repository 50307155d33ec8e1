package crdt

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func noted(of Annotation, v Note) []Annotated { return []Annotated{{of, v}} }

func TestCanonicalEntry(t *testing.T) {
	for name, want := range map[string]string{
		"/private/comment": "/private/comment", "/SHARED/Vendor/CMU/X.y-z": "/shared/vendor/cmu/x.y-z",
		"/private/" + strings.Repeat("x", MaxEntryLen-9): "/private/" + strings.Repeat("x", MaxEntryLen-9),
		"/private": "", "/private/": "", "private/x": "", "/other/x": "", "/private//x": "", "/shared/x/": "", "/shared/x*": "", "/shared/x%": "",
		"/shared/ü": "", "/shared/a b": "", "/shared/a\x00": "", "": "", "/private/" + strings.Repeat("x", MaxEntryLen-8): "",
	} {
		got, err := CanonicalEntry(name)
		if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

// An account has no more annotations than it may have, removed ones included: a
// register that was forgotten could come back.
func TestAnnotationLimits(t *testing.T) {
	w, do := one(t)
	mem := w.reps[0].mem
	for n := 0; n < maxNotes; n += maxNoteList {
		var list []Annotated
		for k := range maxNoteList {
			list = append(list, Annotated{Annotation{Server: true, Entry: fmt.Sprint("/shared/", n+k)}, Note{true, "x"}})
		}
		do(func(s *Site) (Payload, error) { return s.PrepareAnnotate(list) })
	}
	one := noted(Annotation{Entry: "/shared/more"}, Note{true, "x"})
	if _, err := w.site(0).PrepareAnnotate(one); !errors.Is(err, ErrLimit) {
		t.Errorf("one more: %v", err)
	}
	do(func(s *Site) (Payload, error) {
		return s.PrepareAnnotate(noted(Annotation{Server: true, Entry: "/shared/7"}, Note{}))
	})
	if count, _, _ := mem.NotesSize(); count != maxNotes {
		t.Errorf("%d registers", count)
	}
	if _, err := w.site(0).PrepareAnnotate(one); !errors.Is(err, ErrLimit) {
		t.Errorf("in the place of one that was removed: %v", err)
	}
	do(func(s *Site) (Payload, error) {
		return s.PrepareAnnotate(noted(Annotation{Server: true, Entry: "/shared/7"}, Note{true, "again"}))
	})
}

// Of one entry that is named twice the last value counts.
func TestAnnotateTwiceAtOnce(t *testing.T) {
	w, do := one(t)
	of := Annotation{Entry: "/private/x"}
	do(func(s *Site) (Payload, error) {
		return s.PrepareAnnotate([]Annotated{{of, Note{true, "a"}}, {of, Note{true, "b"}}})
	})
	if r, _ := w.reps[0].mem.NoteOf(of); r == nil || r.Value != (Note{true, "b"}) {
		t.Errorf("%+v", r)
	}
	if _, err := w.site(0).Apply(&Op{Dot: Dot{2, 1}, Time: w.site(0).Mod, Payload: &Annotate{[]Annotated{{of, Note{true, "c"}}, {of, Note{true, "d"}}}}}); err != nil {
		t.Fatal(err)
	}
	if r, _ := w.reps[0].mem.NoteOf(of); r == nil || r.Value != (Note{true, "d"}) {
		t.Errorf("%+v", r)
	}
}

// The annotations of a mailbox can be taken over by another, or removed.
func TestNotesOfMailboxes(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	a := NewMailboxID("A", 1)
	do(func(s *Site) (Payload, error) {
		return s.PrepareAnnotate([]Annotated{{Annotation{Entry: "/private/x"}, Note{true, "1"}}, {Annotation{Entry: "/private/y"}, Note{true, ""}}})
	})
	do(func(s *Site) (Payload, error) {
		return s.PrepareAnnotate(noted(Annotation{Entry: "/private/y"}, Note{}))
	})
	copied, err := w.site(0).PrepareCopyNotes(Inbox, a)
	if err != nil || len(copied) != 1 || len(copied[0].Entries) != 1 || copied[0].Entries[0] != (Annotated{Annotation{Box: a, Entry: "/private/x"}, Note{true, "1"}}) {
		t.Fatalf("%+v, %v", copied, err)
	}
	removed, err := w.site(0).PrepareUnannotate(Inbox)
	if err != nil || len(removed) != 1 || len(removed[0].Entries) != 1 || removed[0].Entries[0] != (Annotated{Annotation{Entry: "/private/x"}, Note{}}) {
		t.Fatalf("%+v, %v", removed, err)
	}
}
