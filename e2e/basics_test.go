package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/e2e/cluster"
)

const firstMail = "Date: Mon, 2 Mar 2026 10:00:00 +0100\r\n" +
	"From: Anna Writer <anna@example.org>\r\n" +
	"To: reader@example.org\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from the harbour\r\n" +
	"Message-ID: <first@example.org>\r\n" +
	"MIME-Version: 1.0\r\n" +
	"Content-Type: multipart/alternative; boundary=xx\r\n" +
	"\r\n" +
	"--xx\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThe ladder is red.\r\n" +
	"--xx\r\nContent-Type: text/html\r\n\r\n<p>The ladder is red.</p>\r\n--xx--\r\n"

// appendMail stores a message with go-imap's client.
func appendMail(t *testing.T, c *imapclient.Client, mailbox, text string, o *imap.AppendOptions) *imap.AppendData {
	t.Helper()
	cmd := c.Append(mailbox, int64(len(text)), o)
	if _, err := cmd.Write([]byte(text)); err != nil {
		t.Fatalf("APPEND: %v", err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatalf("APPEND: %v", err)
	}
	data, err := cmd.Wait()
	if err != nil {
		t.Fatalf("APPEND to %s: %v", mailbox, err)
	}
	return data
}

// do stops the test when a command fails.
func do(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// TestBasics goes through what a mail client does, at both regions with a user
// each.
func TestBasics(t *testing.T) {
	c := sharedCluster(t)
	both(t, c, func(t *testing.T, r *cluster.Region) {
		cl := login(t, c, r, userBasics, nil)
		t.Run("new account", func(t *testing.T) { checkNewAccount(t, cl) })
		box := "Basics-" + r.Name
		t.Run("mailboxes", func(t *testing.T) { checkMailboxes(t, cl, box) })
		t.Run("messages", func(t *testing.T) { checkMessages(t, cl, box) })
		t.Run("search", func(t *testing.T) { checkSearch(t, cl, box) })
		t.Run("move and expunge", func(t *testing.T) { checkMoving(t, cl, box) })
		t.Run("rename and delete", func(t *testing.T) { checkRename(t, cl, box) })
		do(t, "LOGOUT", cl.Logout().Wait())
	})
}

func checkNewAccount(t *testing.T, cl *imapclient.Client) {
	for _, want := range []imap.Cap{imap.CapIMAP4rev1, imap.CapIdle, imap.CapUIDPlus, imap.CapMove, imap.CapNamespace,
		imap.CapUnselect, imap.CapChildren, imap.CapLiteralPlus, imap.CapSASLIR, imap.CapSpecialUse, imap.CapID, imap.CapEnable} {
		if !cl.Caps().Has(want) {
			t.Errorf("no capability %s in %v", want, cl.Caps())
		}
	}
	boxes, err := cl.List("", "*", &imap.ListOptions{}).Collect()
	do(t, "LIST", err)
	use := map[string][]imap.MailboxAttr{}
	for _, b := range boxes {
		use[b.Mailbox] = b.Attrs
	}
	if _, ok := use["INBOX"]; !ok {
		t.Errorf("no INBOX in %v", use)
	}
	for name, attr := range map[string]imap.MailboxAttr{"Drafts": imap.MailboxAttrDrafts, "Sent": imap.MailboxAttrSent,
		"Junk": imap.MailboxAttrJunk, "Trash": imap.MailboxAttrTrash, "Archive": imap.MailboxAttrArchive} {
		if !slices.Contains(use[name], attr) {
			t.Errorf("%s has attributes %v, want %s", name, use[name], attr)
		}
	}
	ns, err := cl.Namespace().Wait()
	do(t, "NAMESPACE", err)
	if len(ns.Personal) != 1 || ns.Personal[0].Delim != '.' {
		t.Errorf("namespaces %+v", ns)
	}
	id, err := cl.ID(&imap.IDData{Name: "e2e"}).Wait()
	do(t, "ID", err)
	if id == nil || !strings.EqualFold(id.Name, "pluto") {
		t.Errorf("ID %+v", id)
	}
}

func checkMailboxes(t *testing.T, cl *imapclient.Client, box string) {
	do(t, "CREATE", cl.Create(box+".Inner.Größe", nil).Wait())
	do(t, "SUBSCRIBE", cl.Subscribe(box+".Inner").Wait())
	if err := cl.Create(box, nil).Wait(); err == nil && mailboxCount(t, cl, box) != 1 {
		t.Errorf("CREATE of the parent made a second")
	}
	boxes, err := cl.List("", box+"%", nil).Collect()
	do(t, "LIST", err)
	if len(boxes) != 1 || !slices.Contains(boxes[0].Attrs, imap.MailboxAttrHasChildren) {
		t.Errorf("LIST %s%%: %+v", box, boxes)
	}
	if n := mailboxCount(t, cl, box+".*"); n != 2 {
		t.Errorf("%d mailboxes below %s, want 2", n, box)
	}
	if err := cl.Create(box+".Inner", nil).Wait(); err == nil {
		t.Error("CREATE of a mailbox that exists was OK")
	}
	if err := cl.Delete("INBOX").Wait(); err == nil {
		t.Error("DELETE INBOX was OK")
	}
}

func mailboxCount(t *testing.T, cl *imapclient.Client, pattern string) int {
	t.Helper()
	boxes, err := cl.List("", pattern, nil).Collect()
	do(t, "LIST", err)
	return len(boxes)
}

func checkMessages(t *testing.T, cl *imapclient.Client, box string) {
	date := time.Date(2026, 3, 2, 10, 0, 0, 0, time.FixedZone("", 3600))
	data := appendMail(t, cl, box, firstMail, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Label"}, Time: date})
	status, err := cl.Status(box, &imap.StatusOptions{NumMessages: true, NumUnseen: true, UIDNext: true, UIDValidity: true}).Wait()
	do(t, "STATUS", err)
	if *status.NumMessages != 1 || *status.NumUnseen != 0 || status.UIDValidity != data.UIDValidity || status.UIDNext <= data.UID {
		t.Errorf("STATUS %+v after %+v", status, data)
	}
	sel, err := cl.Select(box, nil).Wait()
	do(t, "SELECT", err)
	if sel.NumMessages != 1 || sel.UIDValidity != data.UIDValidity {
		t.Errorf("SELECT %+v", sel)
	}
	whole, head := &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBodySection{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"From"}, Peek: true}
	part := &imap.FetchItemBodySection{Part: []int{1}, Partial: &imap.SectionPartial{Offset: 4, Size: 6}, Peek: true}
	msgs, err := cl.Fetch(imap.UIDSetNum(data.UID), &imap.FetchOptions{UID: true, Flags: true, Envelope: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{whole, head, part}}).Collect()
	do(t, "FETCH", err)
	if len(msgs) != 1 {
		t.Fatalf("%d messages", len(msgs))
	}
	m := msgs[0]
	if m.Envelope == nil || m.Envelope.Subject != "Grüße from the harbour" || m.Envelope.MessageID != "first@example.org" {
		t.Errorf("ENVELOPE %+v", m.Envelope)
	}
	if m.RFC822Size != int64(len(firstMail)) || !m.InternalDate.Equal(date) {
		t.Errorf("size %d, date %s", m.RFC822Size, m.InternalDate)
	}
	if !bytes.Equal(m.FindBodySection(whole), []byte(firstMail)) {
		t.Errorf("BODY[] is %q", m.FindBodySection(whole))
	}
	if got := string(m.FindBodySection(head)); got != "From: Anna Writer <anna@example.org>\r\n\r\n" {
		t.Errorf("header fields are %q", got)
	}
	if got := string(m.FindBodySection(part)); got != "ladder" {
		t.Errorf("part of the first part is %q", got)
	}
	if mp, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(mp.Children) != 2 || mp.Subtype != "alternative" {
		t.Errorf("BODYSTRUCTURE %+v", m.BodyStructure)
	}
	if !slices.Contains(m.Flags, imap.FlagSeen) || !slices.Contains(m.Flags, "$Label") {
		t.Errorf("flags %v", m.Flags)
	}
}

func checkSearch(t *testing.T, cl *imapclient.Client, box string) {
	second := appendMail(t, cl, box, "Subject: plain\r\nDate: Sun, 1 Feb 2026 10:00:00 +0000\r\nFrom: b@example.net\r\n\r\nNothing to see.\r\n", nil)
	do(t, "NOOP", cl.Noop().Wait())
	for _, test := range []struct {
		name     string
		criteria imap.SearchCriteria
		want     int
	}{
		{"ALL", imap.SearchCriteria{}, 2},
		{"UNSEEN", imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, 1},
		{"KEYWORD", imap.SearchCriteria{Flag: []imap.Flag{"$Label"}}, 1},
		{"decoded subject", imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "grüße"}}}, 1},
		{"BODY", imap.SearchCriteria{Body: []string{"LADDER"}}, 1},
		{"TEXT", imap.SearchCriteria{Text: []string{"example.net"}}, 1},
		{"LARGER", imap.SearchCriteria{Larger: 300}, 1},
		{"SENTSINCE", imap.SearchCriteria{SentSince: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}, 1},
		{"OR NOT", imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{Body: []string{"ladder"}}, {Not: []imap.SearchCriteria{{Body: []string{"ladder"}}}}}}}, 2},
		{"UID", imap.SearchCriteria{UID: []imap.UIDSet{imap.UIDSetNum(second.UID)}}, 1},
	} {
		data, err := cl.UIDSearch(&test.criteria, nil).Wait()
		if err != nil {
			t.Errorf("SEARCH %s: %v", test.name, err)
		} else if got := len(data.AllUIDs()); got != test.want {
			t.Errorf("SEARCH %s found %d, want %d", test.name, got, test.want)
		}
	}
}

func checkMoving(t *testing.T, cl *imapclient.Client, box string) {
	inner := box + ".Inner"
	all := imap.SeqSet{{Start: 1, Stop: 0}}
	copied, err := cl.Copy(all, inner).Wait()
	do(t, "COPY", err)
	if n, ok := copied.DestUIDs.Nums(); !ok || len(n) != 2 {
		t.Errorf("COPYUID %v", copied.DestUIDs)
	}
	_, err = cl.Move(imap.SeqSetNum(1), inner).Wait()
	do(t, "MOVE", err)
	do(t, "NOOP", cl.Noop().Wait())
	if n := cl.Mailbox().NumMessages; n != 1 {
		t.Errorf("%d messages after MOVE of one of two", n)
	}
	do(t, "STORE", cl.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	gone, err := cl.Expunge().Collect()
	do(t, "EXPUNGE", err)
	if len(gone) != 1 {
		t.Errorf("EXPUNGE of %v", gone)
	}
	do(t, "UNSELECT", cl.Unselect().Wait())
	status, err := cl.Status(inner, &imap.StatusOptions{NumMessages: true}).Wait()
	do(t, "STATUS", err)
	if *status.NumMessages != 3 {
		t.Errorf("%d messages in %s, want 3", *status.NumMessages, inner)
	}
}

func checkRename(t *testing.T, cl *imapclient.Client, box string) {
	do(t, "RENAME", cl.Rename(box+".Inner", box+".Outer", nil).Wait())
	if n := mailboxCount(t, cl, box+".Outer.Größe"); n != 1 {
		t.Error("the inferior was not renamed with its parent")
	}
	status, err := cl.Status(box+".Outer", &imap.StatusOptions{NumMessages: true}).Wait()
	do(t, "STATUS", err)
	if *status.NumMessages != 3 {
		t.Errorf("%d messages after RENAME, want 3", *status.NumMessages)
	}
	for _, name := range []string{box + ".Outer.Größe", box + ".Outer", box} {
		do(t, "DELETE "+name, cl.Delete(name).Wait())
	}
	if n := mailboxCount(t, cl, box+"*"); n != 0 {
		t.Errorf("%d mailboxes left", n)
	}
}
