package imap_test

import (
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
)

// A lazy preview of a message whose content is not here is NIL, beside what is
// here; one that is not lazy may not be (RFC 8970 section 3.2).
func TestLazyPreview(t *testing.T) {
	store := filled(t)
	away := ""
	store.Fail = func(operation string) error {
		if operation == away {
			return imap.ErrUnavailable
		}
		return nil
	}
	for _, away = range []string{"body", "structure"} {
		out := serveRaw(t, store, "a SELECT INBOX\r\nb FETCH 1 (UID PREVIEW (LAZY))\r\nc FETCH 1 (UID PREVIEW)\r\n", 4096)
		if !strings.Contains(out, "* 1 FETCH (UID 1 PREVIEW NIL)\r\nb OK") {
			t.Errorf("without %s, lazily: %q", away, out)
		}
		if !strings.Contains(out, "\r\nc NO [UNAVAILABLE]") || strings.Count(out, " FETCH (") != 1 {
			t.Errorf("without %s: %q", away, out)
		}
	}
}
