package stamp

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f := New(path, 10)
	if _, _, err := f.Changed(); !os.IsNotExist(err) {
		t.Fatalf("missing file: %v", err)
	}
	past := time.Now().Add(-time.Hour)
	write := func(content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what, want string) {
		t.Helper()
		content, changed, err := f.Changed()
		if err != nil || changed != (want != "") || string(content) != want {
			t.Fatalf("%s: got %q, %v, %v; want %q", what, content, changed, err, want)
		}
	}

	write("one", past)
	expect("first", "one")
	expect("untouched", "")
	write("one", past.Add(time.Minute))
	expect("same content, new time", "")
	write("two", past.Add(2*time.Minute))
	expect("new content", "two")

	now := time.Now()
	write("six", now)
	expect("new content", "six")
	write("ten", now)
	expect("same size and time, just written", "ten")
	expect("untouched", "")

	other := filepath.Join(filepath.Dir(path), "other")
	write("old", past)
	expect("old time", "old")
	if err := os.WriteFile(other, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	expect("renamed over it with the same size and time", "new")

	write("more than ten bytes", past)
	if _, changed, err := f.Changed(); err == nil || changed {
		t.Fatalf("too large: changed %v, error %v", changed, err)
	}
	write("new", past)
	expect("back to what was returned last", "")
}
