package mailnode

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/mailstore"
)

// mailbox is an open mailstore mailbox as the protocol engine wants it.
type mailbox struct{ *mailstore.Mailbox }

var (
	_ imap.Mailbox = mailbox{}
	_ imap.Witness = mailbox{}
)

func (m mailbox) MailboxID() string { return mailboxID(m.ID()) }

func (m mailbox) View() imap.View { return view{m.Mailbox.View()} }

func (m mailbox) ClaimRecent(v imap.View) imap.UID {
	mine, ok := v.(view)
	if !ok {
		return 0
	}
	return imap.UID(m.Mailbox.ClaimRecent(mine.View).Number())
}

// Evidence implements imap.Witness.
func (m mailbox) Evidence(ctx context.Context, from imap.UID) error {
	return toEngine(m.Mailbox.Evidence(ctx, uint32(from)))
}

func (m mailbox) Store(ctx context.Context, messages []imap.MessageKey, change imap.FlagChange) (imap.View, []int, error) {
	op, err := storeMode(change.Op)
	if err != nil {
		return nil, nil, err
	}
	v, failed, err := m.Mailbox.Store(ctx, tags(messages), mailstore.FlagChange{
		Op: op, Flags: mailstore.Flags(change.Flags), Keywords: change.Keywords,
		UnchangedSince: crdt.Time(change.UnchangedSince), Conditional: change.Conditional,
	})
	if err != nil {
		return nil, nil, toEngine(err)
	}
	return view{v}, failed, nil
}

func (m mailbox) Resync(ctx context.Context, known imap.Known) (imap.Resync, error) {
	have := mailstore.Known{UIDValidity: known.UIDValidity, ModSeq: crdt.Time(known.ModSeq)}
	if known.UIDs != nil {
		have.UIDs = make([]mailstore.UIDRange, len(known.UIDs))
	}
	for i, r := range known.UIDs {
		have.UIDs[i] = mailstore.UIDRange{First: uint32(r.From), Last: uint32(r.To)}
	}
	r, err := m.Mailbox.Resync(ctx, have)
	if err != nil {
		return imap.Resync{}, toEngine(err)
	}
	out := imap.Resync{View: view{r.View}, Reset: r.Reset, Own: r.Own, Changed: uids(r.Changed)}
	for _, v := range r.Vanished {
		out.Vanished = append(out.Vanished, imap.UIDRange{From: imap.UID(v.First), To: imap.UID(v.Last)})
	}
	return out, nil
}

func storeMode(op imap.FlagOp) (crdt.StoreMode, error) {
	switch op {
	case imap.FlagsReplace:
		return crdt.StoreReplace, nil
	case imap.FlagsAdd:
		return crdt.StoreAdd, nil
	case imap.FlagsRemove:
		return crdt.StoreRemove, nil
	}
	return 0, fmt.Errorf("store: unknown form %d", op)
}

func (m mailbox) Expunge(ctx context.Context, messages []imap.MessageKey) (imap.View, error) {
	v, err := m.Mailbox.Expunge(ctx, tags(messages))
	if err != nil {
		return nil, toEngine(err)
	}
	return view{v}, nil
}

func (m mailbox) Copy(ctx context.Context, messages []imap.MessageKey, to string) (imap.Appended, error) {
	out, err := m.Mailbox.Copy(ctx, tags(messages), to)
	return appended(out), toEngine(err)
}

func (m mailbox) Move(ctx context.Context, messages []imap.MessageKey, to string) (imap.Appended, imap.View, error) {
	out, v, err := m.Mailbox.Move(ctx, tags(messages), to)
	if err != nil {
		return imap.Appended{}, nil, toEngine(err)
	}
	return appended(out), view{v}, nil
}

func (m mailbox) Replace(ctx context.Context, message imap.MessageKey, to string, by imap.NewMessage) (imap.Appended, imap.View, error) {
	n, err := newMessage(by)
	if err != nil {
		return imap.Appended{}, nil, fmt.Errorf("replace: %w", err)
	}
	out, v, err := m.Mailbox.Replace(ctx, tags([]imap.MessageKey{message})[0], to, n)
	if err != nil {
		return imap.Appended{}, nil, toEngine(err)
	}
	return appended(out), view{v}, nil
}

func tags(keys []imap.MessageKey) []crdt.Tag {
	out := make([]crdt.Tag, len(keys))
	for i, k := range keys {
		out[i] = crdt.Tag{Origin: crdt.Origin(k.A), N: k.B, Index: k.C}
	}
	return out
}

// view is a mailstore view with the engine's types.
type view struct{ *mailstore.View }

func (v view) UIDAt(i int) imap.UID        { return imap.UID(v.View.UIDAt(i).Number()) }
func (v view) Find(u imap.UID) (int, bool) { return v.View.Find(crdt.NewUID(v.Era(), uint32(u))) }
func (v view) UIDNext() imap.UID           { return imap.UID(v.View.UIDNext().Number()) }
func (v view) HighestModSeq() imap.ModSeq  { return imap.ModSeq(v.View.HighestModSeq()) }

func (v view) At(i int, m *imap.Message) {
	var s mailstore.Message
	v.View.At(i, &s)
	*m = imap.Message{
		UID:      imap.UID(s.UID.Number()),
		Key:      imap.MessageKey{A: uint64(s.Tag.Origin), B: s.Tag.N, C: s.Tag.Index},
		Root:     s.Root,
		Flags:    imap.Flags(s.Flags), // the same bits; see TestFlagsAgree
		Keywords: s.Keywords,
		ModSeq:   imap.ModSeq(s.ModSeq),
		Size:     s.Size,
		Date:     s.Date,
		Zone:     s.Zone,
		Saved:    s.Saved,
	}
}

// Since compares views. One that is not a mailstore's shares nothing with v.
func (v view) Since(old imap.View) imap.Changes {
	from := new(mailstore.View)
	if o, ok := old.(view); ok {
		from = o.View
	}
	c := v.View.Since(from)
	return imap.Changes{Expunged: uids(c.Expunged), Changed: uids(c.Changed), Added: uids(c.Added)}
}
