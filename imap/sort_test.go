package imap_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
)

// appendHeader appends a message that is only a header.
func appendHeader(t testing.TB, c *imaptest.Client, header string) {
	t.Helper()
	text := strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n"
	c.Send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text))
	if got := last(c.Answer("a")); !strings.HasPrefix(got, "a OK [APPENDUID") {
		t.Fatal(got)
	}
}

// The example of RFC 5256 section 4: "(2)(3 6 (4 23)(44 7 96))".
func TestThreadExample(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	parents := map[int]int{6: 3, 4: 6, 23: 4, 44: 6, 7: 44, 96: 7}
	for n := 1; n <= 96; n++ {
		header := fmt.Sprintf("Subject: message %d\nMessage-ID: <%d@example.org>", n, n)
		if p, ok := parents[n]; ok {
			header += fmt.Sprintf("\nIn-Reply-To: <%d@example.org>", p)
		}
		appendHeader(t, c, header)
	}
	c.Command("b", "SELECT INBOX")
	got := c.Command("c", "THREAD REFERENCES UTF-8 2,3,6,4,23,44,7,96")
	if want := "* THREAD (2)(3 6 (4 23)(44 7 96))"; got[0] != want {
		t.Fatalf("got %q, want %q", got[0], want)
	}
}

// A message whose structure cannot be had is sorted as if it had no header, and
// the client is told if that is only so at the moment.
func TestSortWithoutStructure(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{imap.ErrExpunged, "d OK SORT completed"},
		{imap.ErrUnavailable, "d NO [UNAVAILABLE]"},
		{fmt.Errorf("disk on fire"), "d NO [SERVERBUG]"},
	} {
		s := newServer(t, imap.Options{})
		var calls atomic.Int32
		s.store.Fail = func(operation string) error {
			if operation == "structure" && calls.Add(1) == 2 {
				return test.err
			}
			return nil
		}
		c := s.begin(t, t.Context())
		for _, subject := range []string{"x", "y", "z"} {
			appendHeader(t, c, "Subject: "+subject)
		}
		c.Command("b", "SELECT INBOX")
		got := c.Command("d", "SORT (SUBJECT) UTF-8 ALL")
		if !strings.HasPrefix(last(got), test.want) {
			t.Errorf("%v: got %q", test.err, got)
		}
		if len(got) == 2 && got[0] != "* SORT 2 1 3" {
			t.Errorf("%v: got %q", test.err, got)
		}
	}
}
