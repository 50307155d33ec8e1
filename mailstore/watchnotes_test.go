package mailstore

import (
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// Annotations that others set or remove are named, whether here or at another replica.
func TestWatchTellsOfAnnotations(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mine, other, there := a.session(), a.session(), b.session()
	settle(t, a, b)
	inbox := boxID(t, mine, "INBOX")
	w := mine.Watch()
	defer w.Close()
	set := func(s *Account, box, entry, value string) {
		t.Helper()
		err := s.Annotate(ctxOf(t), box, []Note{{Entry: entry, Value: crdt.Note{There: value != "", Text: value}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(keys ...crdt.Annotation) {
		t.Helper()
		if got := w.Take().Annotations; !slices.Equal(got, keys) {
			t.Fatalf("got %+v, want %+v", got, keys)
		}
	}
	ofBox := crdt.Annotation{Box: inbox, Entry: "/shared/comment"}
	ofAccount := crdt.Annotation{Server: true, Entry: "/private/x"}

	set(mine, "INBOX", "/private/mine", "x")
	want()
	set(other, "INBOX", "/shared/Comment", "x")
	set(other, "", "/private/x", "y")
	<-w.Changed()
	want(ofAccount, ofBox)
	set(other, "INBOX", "/shared/comment", "x") // is so already
	want()
	set(other, "INBOX", "/shared/comment", "")
	want(ofBox)

	settle(t, a, b)
	set(there, "INBOX", "/shared/comment", "again")
	want()
	settle(t, a, b)
	want(ofBox)

	set(there, "INBOX", "/shared/comment", "")
	settle(t, a, b)
	names, err := mine.AnnotationNames(ctxOf(t), "INBOX")
	if err != nil || !slices.Equal(names, []string{"/private/mine", "/shared/comment"}) {
		t.Fatalf("entries %q, %v", names, err)
	}
}
