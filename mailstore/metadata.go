package mailstore

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// Note is an annotation that is to be set, or removed if there is no value.
type Note struct {
	Entry string // in any case
	Value crdt.Note
}

// Annotations returns the annotations of a mailbox or, without a name, of the account
// (RFC 5464): values by canonical entry.
func (s *Account) Annotations(ctx context.Context, name string) (map[string]string, error) {
	notes, err := s.registers(ctx, name)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for entry, r := range notes {
		if r.Value.There {
			out[entry] = r.Value.Text
		}
	}
	return out, nil
}

// AnnotationNames returns the canonical entries of all annotations that a mailbox or,
// without a name, the account has or had, sorted.
func (s *Account) AnnotationNames(ctx context.Context, name string) ([]string, error) {
	notes, err := s.registers(ctx, name)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(notes)), nil
}

// registers returns annotations, with those that were removed.
func (s *Account) registers(ctx context.Context, name string) (notes map[string]crdt.Register[crdt.Note], err error) {
	err = s.look(ctx, func(t *tx) error {
		of, err := t.annotated(name)
		if err == nil {
			notes, err = t.Notes(of)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("annotations of %q: %w", name, err)
	}
	return notes, nil
}

// Annotate sets annotations of a mailbox or, without a name, of the account, all or
// none. Errors: ErrNonexistent, ErrCannot for a name that no entry can have,
// ErrLimit.
func (s *Account) Annotate(ctx context.Context, name string, notes []Note) error {
	return s.named(ctx, "annotate", name, func(t *tx) ([]crdt.Payload, error) {
		of, err := t.annotated(name)
		if err != nil {
			return nil, err
		}
		list := make([]crdt.Annotated, len(notes))
		for i, n := range notes {
			if of.Entry, err = crdt.CanonicalEntry(n.Entry); err != nil {
				return nil, err
			}
			list[i] = crdt.Annotated{Of: of, Value: n.Value}
		}
		return payload(t.site().PrepareAnnotate(list))
	})
}

// annotated returns what a name means to annotations, without an entry.
func (t *tx) annotated(name string) (crdt.Annotation, error) {
	if name == "" {
		return crdt.Annotation{Server: true}, nil
	}
	b, err := t.lookup(name)
	if err != nil {
		return crdt.Annotation{}, err
	}
	return crdt.Annotation{Box: b.ID}, nil
}

// with puts operations on annotations behind another one.
func with(p crdt.Payload, notes []*crdt.Annotate) []crdt.Payload {
	out := []crdt.Payload{p}
	for _, n := range notes {
		out = append(out, n)
	}
	return out
}
