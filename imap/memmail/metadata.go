package memmail

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/go-pluto/pluto/imap"
)

// maxNotes is how many annotations a mailbox or the account may have.
const maxNotes = 10

// notesOf returns the annotations of a mailbox or, without a name, of the account. The
// caller holds mu.
func (a *account) notesOf(name string) (map[string]string, error) {
	if name == "" {
		return a.notes, nil
	}
	b, err := a.box(name)
	if err != nil {
		return nil, err
	}
	return b.notes, nil
}

// Annotations implements [imap.Account].
func (a *account) Annotations(_ context.Context, name string) (map[string]string, error) {
	if err := a.store.fail("annotations"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	notes, err := a.notesOf(name)
	return maps.Clone(notes), err
}

// Annotate implements [imap.Account].
func (a *account) Annotate(_ context.Context, name string, list []imap.Note) error {
	if err := a.store.fail("annotate"); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	notes, err := a.notesOf(name)
	if err != nil {
		return err
	}
	next := maps.Clone(notes)
	for _, n := range list {
		entry := strings.ToLower(n.Entry)
		if !strings.HasPrefix(entry, "/private/") && !strings.HasPrefix(entry, "/shared/") || strings.HasSuffix(entry, "/") {
			return fmt.Errorf("entry %q: %w", n.Entry, imap.ErrCannot)
		}
		delete(next, entry)
		if !n.Remove {
			next[entry] = n.Value
		}
	}
	if len(next) > maxNotes && len(next) > len(notes) {
		return fmt.Errorf("%d annotations: %w", len(next), imap.ErrLimit)
	}
	clear(notes)
	maps.Copy(notes, next)
	return nil
}
