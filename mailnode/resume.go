package mailnode

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/mailstore"
)

var _ imap.Roaming = account{}

// Vector implements imap.Account: it is what [account.catchUp] and Resume take.
func (a account) Vector() []byte { return a.Account.Past() }

// Resume implements imap.Roaming.
func (a account) Resume(ctx context.Context, told imap.Told) (imap.Mailbox, imap.View, error) {
	id, err := parseMailboxID(told.MailboxID)
	if err != nil {
		return nil, nil, err
	}
	past, err := mailstore.ParsePast(told.Vector)
	if err != nil {
		return nil, nil, err
	}
	known := mailstore.Told{
		ID: id, Name: told.Name, ReadOnly: told.ReadOnly, UIDValidity: told.UIDValidity, UIDNext: uint32(told.UIDNext),
		High: crdt.Time(told.High), Flags: crdt.Time(told.Flags), Past: past,
		UIDs: make([]mailstore.UIDRange, len(told.UIDs)),
	}
	for i, r := range told.UIDs {
		known.UIDs[i] = mailstore.UIDRange{First: uint32(r[0]), Last: uint32(r[1])}
	}
	m, v, err := a.Account.Resume(ctx, known)
	if err != nil {
		return nil, nil, toEngine(err)
	}
	return mailbox{m}, view{v}, nil
}

// Done implements imap.Roaming.
func (a account) Done(ctx context.Context) (imap.Appended, bool, error) {
	out, ok, err := a.Account.Done(ctx)
	return appended(out), ok, toEngine(err)
}

// parseMailboxID is the inverse of mailboxID.
func parseMailboxID(s string) (crdt.MailboxID, error) {
	id, ok := strings.CutPrefix(s, "F")
	n, err := strconv.ParseUint(id, 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is no mailbox ID", s)
	}
	return crdt.MailboxID(n), nil
}
