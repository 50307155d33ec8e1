package mailnode

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/mailstore"
)

// account is a mailstore account as the protocol engine wants it: the same
// methods with the engine's types and errors.
type account struct {
	*mailstore.Account
	texts accountTexts
}

var (
	_ imap.Account      = account{}
	_ imap.TextSearcher = account{}
)

// openAccount opens a user's account for one session.
func openAccount(ctx context.Context, r *mailstore.Replica, user imap.UserID, login string, session imap.SessionID) (account, error) {
	a, err := r.Open(ctx, crdt.AccountID(user), login, mailstore.SessionID(session))
	if err != nil {
		return account{}, toEngine(err)
	}
	return account{Account: a}, nil
}

// engineErrors pairs the mailstore's errors with the engine's.
var engineErrors = [...]struct{ from, to error }{
	{mailstore.ErrNonexistent, imap.ErrNonexistent},
	{mailstore.ErrAlreadyExists, imap.ErrAlreadyExists},
	{mailstore.ErrCannot, imap.ErrCannot},
	{mailstore.ErrExpunged, imap.ErrExpunged},
	{mailstore.ErrTooBig, imap.ErrTooBig},
	{mailstore.ErrLimit, imap.ErrLimit},
	{mailstore.ErrOverQuota, imap.ErrOverQuota},
	{mailstore.ErrDiskFull, imap.ErrOverQuota},
	{mailstore.ErrUnavailable, imap.ErrUnavailable},
	{mailstore.ErrReadOnly, imap.ErrReadOnly},
	{mailstore.ErrContactAdmin, imap.ErrContactAdmin},
}

// toEngine gives an error the engine's meaning beside its own text.
func toEngine(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range engineErrors {
		if errors.Is(err, e.from) {
			return fmt.Errorf("%w (%w)", e.to, err)
		}
	}
	return err
}

func (a account) Mailboxes(ctx context.Context) ([]imap.MailboxInfo, error) {
	list, err := a.Account.Mailboxes(ctx)
	out := make([]imap.MailboxInfo, len(list))
	for i, m := range list {
		out[i] = imap.MailboxInfo{Name: m.Name, Exists: m.Exists, Subscribed: m.Subscribed,
			SpecialUse: m.SpecialUse, ID: mailboxID(m.ID)}
	}
	return out, toEngine(err)
}

// mailboxID spells a MAILBOXID (RFC 8474).
func mailboxID(id crdt.MailboxID) string { return fmt.Sprintf("F%016x", uint64(id)) }

func (a account) Create(ctx context.Context, name, specialUse string) error {
	return toEngine(a.Account.Create(ctx, name, specialUse))
}

func (a account) Delete(ctx context.Context, name string) error {
	return toEngine(a.Account.Delete(ctx, name))
}

func (a account) Rename(ctx context.Context, from, to string) error {
	return toEngine(a.Account.Rename(ctx, from, to))
}

func (a account) Subscribe(ctx context.Context, name string, on bool) error {
	return toEngine(a.Account.Subscribe(ctx, name, on))
}

func (a account) Status(ctx context.Context, name string) (imap.Status, error) {
	s, err := a.Account.Status(ctx, name)
	return imap.Status{
		Messages: s.Messages, Recent: s.Recent, Unseen: s.Unseen, Deleted: s.Deleted,
		UIDNext: imap.UID(s.UIDNext.Number()), UIDValidity: s.UIDValidity,
		HighestModSeq: imap.ModSeq(s.HighestModSeq), Size: s.Size, MailboxID: mailboxID(s.ID),
	}, toEngine(err)
}

func (a account) Watch() imap.Watch { return watch{a.Account.Watch()} }

func (a account) Select(ctx context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	m, err := a.Account.Select(ctx, name, readOnly)
	if err != nil {
		return nil, toEngine(err)
	}
	return mailbox{m}, nil
}

func (a account) Annotations(ctx context.Context, name string) (map[string]string, error) {
	notes, err := a.Account.Annotations(ctx, name)
	return notes, toEngine(err)
}

func (a account) AnnotationNames(ctx context.Context, name string) ([]string, error) {
	names, err := a.Account.AnnotationNames(ctx, name)
	return names, toEngine(err)
}

func (a account) Annotate(ctx context.Context, name string, notes []imap.Note) error {
	in := make([]mailstore.Note, len(notes))
	for i, n := range notes {
		in[i] = mailstore.Note{Entry: n.Entry, Value: crdt.Note{There: !n.Remove, Text: n.Value}}
	}
	return toEngine(a.Account.Annotate(ctx, name, in))
}

func (a account) Quota(ctx context.Context) (imap.Quota, error) {
	limit, used, err := a.Account.Usage(ctx)
	return imap.Quota{
		Storage:  imap.Resource{Used: used.Storage, Limit: limit.Storage},
		Messages: imap.Resource{Used: used.Messages, Limit: limit.Messages},
	}, toEngine(err)
}

func (a account) Stage(ctx context.Context, size int64) (imap.Staging, error) {
	s, err := a.Account.Stage(ctx, size)
	if err != nil {
		return nil, toEngine(err)
	}
	return staging{s}, nil
}

func (a account) Append(ctx context.Context, name string, messages []imap.NewMessage) (imap.Appended, error) {
	in := make([]mailstore.NewMessage, len(messages))
	for i, m := range messages {
		var err error
		if in[i], err = newMessage(m); err != nil {
			return imap.Appended{}, fmt.Errorf("append message %d: %w", i, err)
		}
	}
	out, err := a.Account.Append(ctx, name, in)
	return appended(out), toEngine(err)
}

func newMessage(m imap.NewMessage) (mailstore.NewMessage, error) {
	s, ok := m.Staging.(staging)
	if !ok {
		return mailstore.NewMessage{}, fmt.Errorf("staged elsewhere (%T)", m.Staging)
	}
	return mailstore.NewMessage{Staging: s.Staging, Flags: m.Flags, Date: m.Date, Structure: m.Structure}, nil
}

func (a account) Body(ctx context.Context, m *imap.Message) (imap.Body, error) {
	b, err := a.Account.Body(ctx, crdt.Root(m.Root))
	if err != nil {
		return nil, toEngine(err)
	}
	return b, nil
}

func (a account) Structure(ctx context.Context, m *imap.Message) ([]byte, error) {
	s, err := a.Account.Structure(ctx, crdt.Root(m.Root))
	return s, toEngine(err)
}

// staging is a message on its way in.
type staging struct{ *mailstore.Staging }

func (s staging) Write(p []byte) (int, error) {
	n, err := s.Staging.Write(p)
	return n, toEngine(err)
}

func (s staging) Finish() (imap.Body, error) {
	b, err := s.Staging.Finish()
	if err != nil {
		return nil, toEngine(err)
	}
	return b, nil
}

func appended(a mailstore.Appended) imap.Appended {
	return imap.Appended{UIDValidity: a.UIDValidity, Source: a.Source, UIDs: uids(a.UIDs)}
}

func uids(in []crdt.UID) []imap.UID {
	if in == nil {
		return nil
	}
	out := make([]imap.UID, len(in))
	for i, u := range in {
		out[i] = imap.UID(u.Number())
	}
	return out
}
