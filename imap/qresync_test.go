package imap_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
)

// TestSequenceMatchData plays the examples of RFC 7162 section 3.2.5.2, a hundred
// times smaller: only UIDs divisible by three are left, and the server does not know
// any more when the others vanished.
func TestSequenceMatchData(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	s.append(t, c, 300)
	var gone []string
	for uid := 1; uid <= 300; uid++ {
		if uid%3 != 0 {
			gone = append(gone, fmt.Sprint(uid))
		}
	}
	set := strings.Join(gone, ",")
	for _, command := range []string{
		"ENABLE QRESYNC", "SELECT INBOX", "UID STORE " + set + " +FLAGS.SILENT (\\Deleted)", "EXPUNGE",
		"UID STORE 150 +FLAGS.SILENT (\\Flagged)", "UNSELECT",
	} {
		if line := last(c.Command("a", command)); !strings.HasPrefix(line, "a OK") {
			t.Fatal(line)
		}
	}
	s.store.Forget(1, "INBOX")
	for _, test := range []struct{ known, vanished string }{
		{"1:297", "VANISHED (EARLIER) 1:2,4:5,7:8,10:11,"},
		{"1:297 (50,75,90,98:99 150,225,270,294,297)", ""},
		// An expunge that the client does not know of: nothing matches behind it.
		{"1:297 (50,75,90 150,225,271)", "VANISHED (EARLIER) 226:227,229:230,"},
		{"(1:100 1:100)", "VANISHED (EARLIER) 1:2,4:5,"},
		{"1:297 (1:4294967295 4,5:8)", "VANISHED (EARLIER) 1:2,4:5,"},
	} {
		lines := c.Command("b", "SELECT INBOX (QRESYNC (1001 1 "+test.known+"))")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "VANISHED") })
		if test.vanished == "" && i >= 0 || test.vanished != "" && (i < 0 || !strings.Contains(lines[i], test.vanished)) {
			t.Errorf("%s: %q", test.known, lines)
		}
		if got := last(lines); !strings.HasPrefix(got, "b OK") {
			t.Errorf("%s: %s", test.known, got)
		}
	}
}
