package mailstore

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Purge removes what is left of an account that lives in another subnet: messages,
// with their contents as soon as all members have removed them, and annotations.
// The register that says where it lives stays, and so do the records of mailboxes,
// which are small: a name that is used again must not get a UIDVALIDITY that it had.
// It returns how many messages it has removed, when peers have removed them too.
// When it is interrupted it has removed a part; done once more it removes the rest.
//
// Whoever calls it has made sure that all of the account is where it lives. ErrCannot:
// it lives here, or is on its way.
func (r *Replica) Purge(ctx context.Context, user crdt.AccountID) (messages int, err error) {
	s := r.mover(user)
	defer s.Close()
	messages, err = s.clear(ctx, (*tx).mayPurge)
	if err != nil {
		return messages, fmt.Errorf("purge account %d: %w", user, err)
	}
	return messages, nil
}

func (t *tx) mayPurge() error {
	switch a := t.a; {
	case !a.left():
		return fmt.Errorf("%w: account %d lives in %s", ErrCannot, a.id, a.r.opts.Subnet)
	case a.rec.Target != "":
		return fmt.Errorf("%w: %w", ErrCannot, a.errLeft())
	}
	return nil
}

// clear removes all messages of an account and all annotations, in operations of a
// bounded size, each if may says nil.
func (s *Account) clear(ctx context.Context, may func(*tx) error) (messages int, err error) {
	var behind *crdt.Instance
	for {
		var list []crdt.Instance
		done, err := s.clearStep(ctx, func(t *tx) (_ []crdt.Payload, err error) {
			if err := may(t); err != nil {
				return nil, err
			}
			if list, err = t.instances(behind, importBatch); len(list) == 0 || err != nil {
				return nil, err
			}
			return []crdt.Payload{&crdt.Expunge{Targets: list}}, nil
		})
		if err != nil {
			return messages, err
		}
		if done {
			break
		}
		messages, behind = messages+len(list), &list[len(list)-1]
	}
	for {
		done, err := s.clearStep(ctx, func(t *tx) ([]crdt.Payload, error) {
			if err := may(t); err != nil {
				return nil, err
			}
			list, err := t.annotations(clearNotes)
			if err != nil {
				return nil, err
			}
			return payload(t.site().PrepareAnnotate(list))
		})
		if done || err != nil {
			return messages, err
		}
	}
}

// clearNotes is how many annotations one operation removes.
const clearNotes = 100

// clearStep commits one operation. done: there was nothing to do.
func (s *Account) clearStep(ctx context.Context, prepare func(*tx) ([]crdt.Payload, error)) (done bool, err error) {
	c, err := s.commit(ctx, prepare, nil)
	if err != nil {
		return false, err
	}
	return len(c.dots) == 0, s.a.r.conclude(ctx, c)
}

// instances returns up to n instances behind one, as they are on the disk; nil: from
// the first.
func (t *tx) instances(behind *crdt.Instance, n int) (out []crdt.Instance, err error) {
	prefix := t.keys.record(nil, t.a.id, recMessage)
	lower := prefix
	if behind != nil {
		lower = append(t.keys.message(nil, t.a.id, *behind), 0)
	}
	err = t.scanRange(lower, after(prefix), func(key, _ []byte) (bool, error) {
		i, err := parseInstance(key[len(prefix):])
		out = append(out, i)
		return len(out) < n, err
	})
	return out, err
}

// annotations returns removals of up to n annotations that are set.
func (t *tx) annotations(n int) (out []crdt.Annotated, err error) {
	prefix := t.keys.notes(nil, t.a.id)
	err = t.scanRange(prefix, after(prefix), func(key, v []byte) (bool, error) {
		of, err := parseAnnotation(key[len(prefix):])
		if err != nil {
			return false, err
		}
		r, err := parseNote(v)
		if err == nil && r.Value.There {
			out = append(out, crdt.Annotated{Of: of})
		}
		return len(out) < n, err
	})
	return out, err
}
