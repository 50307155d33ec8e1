package imap_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
)

// witnesses is an account whose mailboxes note the evidence that they get.
type witnesses struct {
	imap.Account
	err  error // what they answer
	seen []imap.UID
}

type witness struct {
	imap.Mailbox
	account *witnesses
}

func (a *witnesses) Select(ctx context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	m, err := a.Account.Select(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	return witness{m, a}, nil
}

func (m witness) Evidence(_ context.Context, from imap.UID) error {
	m.account.seen = append(m.account.seen, from)
	return m.account.err
}

// TestEvidence: a client that asks for everything from a UID on that is above the
// UIDNEXT it was told here has been told of more elsewhere (crdt.md 4.3).
func TestEvidence(t *testing.T) {
	for _, fault := range []error{nil, imap.ErrUnavailable} {
		account, err := memmail.New('/').Open(t.Context(), 1, "user1", imap.SessionID{})
		if err != nil {
			t.Fatal(err)
		}
		a := &witnesses{Account: account, err: fault}
		client, conn := net.Pipe()
		ended := make(chan error, 1)
		go func() {
			ended <- imap.Serve(t.Context(), imaptest.NewConn(conn), a, imap.Options{Tag: "login"})
			conn.Close()
		}()
		c := imaptest.NewClient(t, client)
		c.Line()
		for i, command := range []string{
			"SELECT INBOX",
			"UID FETCH 1:* FLAGS",
			"UID FETCH 100:* FLAGS",
			"UID FETCH *:200 (UID)",
			"UID FETCH 300:4294967295 FLAGS",
			"UID FETCH 400:500 FLAGS",
			"UID SEARCH UID 5,600:*",
			"SEARCH NOT UID 700:* SEEN",
			"UID STORE 800:* +FLAGS (\\Seen)",
			"UID FETCH 900:* NONSENSE",
			"UID FETCH * FLAGS",
			"LOGOUT",
		} {
			tag := fmt.Sprint("a", i)
			c.Send(tag + " " + command + "\r\n")
			want := tag + " OK"
			if strings.Contains(command, "NONSENSE") {
				want = tag + " BAD"
			}
			if got := last(c.Answer(tag)); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s", command, got)
			}
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if want := []imap.UID{100, 200, 300, 600, 700}; !slices.Equal(a.seen, want) {
			t.Errorf("evidence of %v, want %v", a.seen, want)
		}
	}
}
