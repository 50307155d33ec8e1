package memmail

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap"
)

// maxNotes is how many annotations a mailbox or the account may have.
const maxNotes = 10

// notesOf returns the annotations of a mailbox or, without a name, of the account, and the
// mailbox's identity. The caller holds mu.
func (a *account) notesOf(name string) (notes map[string]string, id string, err error) {
	if name == "" {
		return a.notes, "", nil
	}
	b, err := a.box(name)
	if err != nil {
		return nil, "", err
	}
	return b.notes, b.id, nil
}

// Annotations implements [imap.Account].
func (a *account) Annotations(_ context.Context, name string) (map[string]string, error) {
	if err := a.store.fail("annotations"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	notes, _, err := a.notesOf(name)
	return maps.Clone(notes), err
}

// AnnotationNames implements [imap.Account]. What was removed is not remembered.
func (a *account) AnnotationNames(ctx context.Context, name string) ([]string, error) {
	notes, err := a.Annotations(ctx, name)
	return slices.Sorted(maps.Keys(notes)), err
}

// Annotate implements [imap.Account].
func (a *session) Annotate(_ context.Context, name string, list []imap.Note) error {
	if err := a.store.fail("annotate"); err != nil {
		return err
	}
	a.begin()
	defer a.mu.Unlock()
	notes, id, err := a.notesOf(name)
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
	for entry, value := range next {
		if old, ok := notes[entry]; !ok || old != value {
			a.noted(imap.AnnotationKey{MailboxID: id, Entry: entry})
		}
	}
	for entry := range notes {
		if _, ok := next[entry]; !ok {
			a.noted(imap.AnnotationKey{MailboxID: id, Entry: entry})
		}
	}
	clear(notes)
	maps.Copy(notes, next)
	return nil
}
