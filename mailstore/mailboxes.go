package mailstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// MailboxInfo is a line of LIST.
type MailboxInfo struct {
	Name       string // NFC UTF-8
	Exists     bool   // false: only subscribed
	Subscribed bool
	SpecialUse string // `\Sent` and the like, or empty
	ID         crdt.MailboxID
}

// Status is what STATUS can ask for.
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext                           crdt.UID
	UIDValidity                       uint32
	HighestModSeq                     crdt.Time
	Size                              uint64
	ID                                crdt.MailboxID
}

// Mailboxes returns all existing mailboxes, and the names that are only
// subscribed, sorted by name.
func (s *Account) Mailboxes(ctx context.Context) ([]MailboxInfo, error) {
	var out []MailboxInfo
	err := s.look(ctx, func(t *tx) error {
		listed, err := t.site().List()
		if err != nil {
			return err
		}
		subs, err := t.Subscriptions()
		if err != nil {
			return err
		}
		for i := range listed {
			l := &listed[i]
			out = append(out, MailboxInfo{
				Name: l.Name, Exists: true, Subscribed: subs[l.Name].Value,
				SpecialUse: l.Box.SpecialUse.Value, ID: l.Box.ID,
			})
			delete(subs, l.Name)
		}
		for name, reg := range subs {
			if reg.Value {
				out = append(out, MailboxInfo{Name: name, Subscribed: true})
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b MailboxInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

// Create makes a mailbox, and the missing ones above it.
func (s *Account) Create(ctx context.Context, name, specialUse string) error {
	return s.named(ctx, "create", name, func(t *tx) ([]crdt.Payload, error) {
		return payload(t.site().PrepareCreate(name, specialUse))
	})
}

// Delete deletes a mailbox with its messages. Mailboxes below it stay.
func (s *Account) Delete(ctx context.Context, name string) error {
	return s.named(ctx, "delete", name, func(t *tx) ([]crdt.Payload, error) {
		p, err := t.site().PrepareDelete(name)
		if err != nil {
			return nil, err
		}
		notes, err := t.site().PrepareUnannotate(p.ID)
		return with(p, notes), err
	})
}

// Rename renames a mailbox and its inferiors; of INBOX it moves the messages
// to a new mailbox (RFC 3501 section 6.3.5).
func (s *Account) Rename(ctx context.Context, from, to string) error {
	return s.named(ctx, "rename", from, func(t *tx) ([]crdt.Payload, error) {
		p, err := t.site().PrepareRename(from, to)
		if err != nil {
			return nil, err
		}
		var notes []*crdt.Annotate
		if inbox, ok := p.(*crdt.RenameInbox); ok { // which keeps its own, RFC 5464 section 4.1
			notes, err = t.site().PrepareCopyNotes(crdt.Inbox, inbox.Move.Dst)
		}
		return with(p, notes), err
	})
}

// Subscribe adds a name, existing or not, to the subscribed ones, or removes it.
func (s *Account) Subscribe(ctx context.Context, name string, on bool) error {
	return s.named(ctx, "subscribe", name, func(t *tx) ([]crdt.Payload, error) {
		return payload(t.site().PrepareSubscribe(name, on))
	})
}

// orKnown prepares a change that may be impossible because its first attempt has
// arrived since it was looked for.
func (s *Account) orKnown(prepare func(*tx) ([]crdt.Payload, error)) func(*tx) ([]crdt.Payload, error) {
	return func(t *tx) ([]crdt.Payload, error) {
		p, err := prepare(t)
		if err != nil {
			err = cmp.Or(s.unknown(t), err)
		}
		return p, err
	}
}

func (s *Account) named(ctx context.Context, what, name string, prepare func(*tx) ([]crdt.Payload, error)) error {
	d, err := s.replayed(ctx, nil)
	if d == nil && err == nil {
		err = s.change(ctx, s.orKnown(prepare), nil)
	}
	if errors.Is(err, errKnown) {
		return s.named(ctx, what, name, prepare)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", what, name, err)
	}
	return nil
}

// Status returns a mailbox's figures. They cost one record, however many
// messages there are. UIDNEXT being told, the horizon rises (crdt.md 2.2).
func (s *Account) Status(ctx context.Context, name string) (Status, error) {
	var out Status
	err := s.tell(ctx, func(t *tx) error {
		b, err := t.lookup(name)
		if err != nil {
			return err
		}
		if err := t.mayTell(b.ID, 0); err != nil {
			return err
		}
		next, high, err := t.site().Announce(b.ID)
		if err != nil {
			return err
		}
		if b, err = t.peek(b.ID); err != nil {
			return err
		}
		out = Status{
			Messages: b.Messages, Recent: t.recentOf(b.ID), Unseen: b.Unseen, Deleted: b.Deleted,
			UIDNext: next, UIDValidity: b.UIDValidity(), HighestModSeq: high, Size: b.Bytes, ID: b.ID,
		}
		return nil
	})
	if err != nil {
		return Status{}, fmt.Errorf("status of %q: %w", name, err)
	}
	return out, nil
}

// lookup returns the mailbox that is shown under a name.
func (t *tx) lookup(name string) (*crdt.Mailbox, error) {
	name, err := crdt.CanonicalName(name, t.a.r.self.Separator)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNonexistent, err)
	}
	if t.a.names == nil {
		if err := t.loadNames(); err != nil {
			return nil, err
		}
	}
	id, ok := t.a.names[name]
	if !ok {
		return nil, ErrNonexistent
	}
	return t.Mailbox(id)
}

// site is the transaction as the data type's preparing functions want it.
func (t *tx) site() *crdt.Site {
	return &crdt.Site{State: t, Self: t.a.r.self, Now: t.a.r.now()}
}

// Stage takes the bytes of a message before it is appended. size is what the
// client announced, in bytes. Errors: ErrTooBig, ErrUnavailable.
func (s *Account) Stage(_ context.Context, size int64) (*Staging, error) {
	return s.a.r.stage(size)
}

// NewMessage is one message of an APPEND.
type NewMessage struct {
	Staging   *Staging
	Flags     []string  // canonical, without \Recent
	Date      time.Time // zero: now
	Structure []byte    // opaque, at most MaxStructure bytes
}

// Appended says what APPEND, COPY and MOVE made. For COPY and MOVE, Source[i] is
// the place, among the messages given, of the one that became UIDs[i].
type Appended struct {
	UIDValidity uint32
	Source      []int
	UIDs        []crdt.UID
}

// Append adds staged messages to a mailbox, all or none.
func (s *Account) Append(ctx context.Context, name string, messages []NewMessage) (Appended, error) {
	prepare := func(t *tx, box crdt.MailboxID, added []crdt.Added) ([]crdt.Payload, error) {
		if err := s.fits(t, amount(added), Amount{}); err != nil {
			return nil, err
		}
		return payload(t.site().PrepareAppend(box, added, true))
	}
	out, err := s.add(ctx, name, messages, prepare, (*tx).announce)
	if err != nil {
		return Appended{}, fmt.Errorf("append to %q: %w", name, err)
	}
	return out, nil
}

// add adds staged messages by what prepare returns, after large ones were sent ahead; after (may be nil) runs when
// that has been applied.
func (s *Account) add(ctx context.Context, name string, messages []NewMessage,
	prepare func(*tx, crdt.MailboxID, []crdt.Added) ([]crdt.Payload, error),
	after func(*tx, crdt.MailboxID) error,
) (Appended, error) {
	var out Appended
	d, err := s.replayed(ctx, func(t *tx, d *done) (err error) {
		out, err = d.answer(t)
		return err
	})
	if d != nil || err != nil {
		return out, err
	}
	var box crdt.MailboxID
	for i := range messages {
		messages[i].Staging.ahead(ctx)
	}
	c, err := s.commit(ctx, func(t *tx) ([]crdt.Payload, error) {
		b, err := t.lookup(name)
		if err != nil {
			return nil, err
		}
		box = b.ID
		out.UIDValidity = b.UIDValidity()
		added, err := t.adopt(messages)
		if err != nil {
			return nil, err
		}
		p, err := prepare(t, box, added)
		out.UIDs = newUIDs(p)
		return p, err
	}, func(t *tx) error {
		if after == nil {
			return nil
		}
		return after(t, box)
	})
	if errors.Is(err, errKnown) {
		return s.add(ctx, name, messages, prepare, after)
	}
	if err == nil {
		// From here on the messages are there, whatever becomes of the OK: a
		// Discard must not take their contents away.
		for i := range messages {
			messages[i].Staging.end(stagingAdopted)
		}
		err = s.a.r.conclude(ctx, c)
	}
	return out, err
}

// announce raises the horizon over what the answer tells (APPENDUID, COPYUID).
func (t *tx) announce(box crdt.MailboxID) error {
	_, _, err := t.site().Announce(box)
	return err
}

// adopt puts what is staged into the batch.
func (t *tx) adopt(messages []NewMessage) ([]crdt.Added, error) {
	now := t.a.r.opts.Now()
	added := make([]crdt.Added, len(messages))
	for i := range messages {
		m := &messages[i]
		if err := m.Staging.adopt(t.batch, m.Structure); err != nil {
			return nil, err
		}
		date := m.Date
		if date.IsZero() {
			date = now
		}
		_, offset := date.Zone()
		added[i] = crdt.Added{
			Root: m.Staging.root, Flags: m.Flags, Size: uint64(m.Staging.Size()),
			Date: date.Unix(), Zone: int16(offset / 60), Saved: now.Unix(),
		}
	}
	return added, nil
}

// newUIDs returns the UIDs that payloads give.
func newUIDs(payloads []crdt.Payload) []crdt.UID {
	var uids []crdt.UID
	for _, p := range payloads {
		switch p := p.(type) {
		case *crdt.Append:
			for i := range p.Messages {
				uids = append(uids, p.Messages[i].UID)
			}
		case *crdt.Move:
			for i := range p.Entries {
				uids = append(uids, p.Entries[i].New.UID)
			}
		}
	}
	return uids
}

// Body opens a message's content, also that of an expunged message that a view
// still has; it stays until the Body is closed. What is missing here is got from
// other members; that takes up to some seconds, or until ctx ends. ErrExpunged
// when it is gone, ErrUnavailable when no member that answers has it.
func (s *Account) Body(ctx context.Context, root crdt.Root) (*Body, error) {
	return s.a.r.body(ctx, root)
}

// Structure returns what was given at Append. Errors as of Body.
func (s *Account) Structure(ctx context.Context, root crdt.Root) ([]byte, error) {
	return s.a.r.structure(ctx, root)
}
