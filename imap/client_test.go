package imap_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/go-pluto/pluto/imap"
)

// connect returns go-imap's client on a session. The greeting says that it is
// authenticated already.
func (s *server) connect(t *testing.T, opts *imapclient.Options) *imapclient.Client {
	t.Helper()
	conn := s.dial(t, t.Context())
	login := make([]byte, 4096)
	n, err := conn.Read(login)
	if err != nil || !bytes.HasPrefix(login[:n], []byte("login OK ")) {
		t.Fatalf("%q, %v", login[:n], err)
	}
	greeting := append([]byte("* PREAUTH "), login[len("login OK "):n]...)
	c := imapclient.New(&greeted{Conn: conn, greeting: greeting}, opts)
	t.Cleanup(func() { c.Close() })
	if err := c.WaitGreeting(); err != nil {
		t.Fatal(err)
	}
	return c
}

// greeted is a connection with a greeting in front.
type greeted struct {
	net.Conn
	greeting []byte
}

func (g *greeted) Read(p []byte) (int, error) {
	if len(g.greeting) == 0 {
		return g.Conn.Read(p)
	}
	n := copy(p, g.greeting)
	g.greeting = g.greeting[n:]
	return n, nil
}

func appendMessage(t *testing.T, c *imapclient.Client, box string, data []byte, flags ...goimap.Flag) *goimap.AppendData {
	t.Helper()
	cmd := c.Append(box, int64(len(data)), &goimap.AppendOptions{
		Flags: flags, Time: time.Date(2020, 2, 29, 1, 2, 3, 0, time.FixedZone("", 3600)),
	})
	if _, err := cmd.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	done, err := cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// corpus returns messages: one made here, and the corpus if it lies beside the
// repository.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"simple": []byte("From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n")}
	files, err := filepath.Glob("../../shared/corpus/messages/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = data
	}
	return all
}

func TestClientLibraryStoresAndFetches(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.connect(t, nil)
	for name, data := range corpus(t) {
		done := appendMessage(t, c, "INBOX", data, goimap.FlagSeen, "$Kept")
		if done.UIDValidity == 0 || done.UID == 0 {
			t.Fatal(name, done)
		}
		if _, err := c.Select("INBOX", nil).Wait(); err != nil {
			t.Fatal(err)
		}
		messages, err := c.Fetch(goimap.UIDSetNum(done.UID), &goimap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true,
			BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
			BodySection:   []*goimap.FetchItemBodySection{{Peek: true}, {Specifier: goimap.PartSpecifierHeader, Peek: true}},
		}).Collect()
		if err != nil || len(messages) != 1 {
			t.Fatal(name, err, len(messages))
		}
		m := messages[0]
		if got := m.FindBodySection(&goimap.FetchItemBodySection{Peek: true}); !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes came back, not the %d that were sent", name, len(got), len(data))
		}
		if m.RFC822Size != int64(len(data)) || m.InternalDate.Unix() != 1582934523 || m.Envelope == nil || m.BodyStructure == nil {
			t.Errorf("%s: %+v", name, m)
		}
		if !slices.Contains(m.Flags, goimap.FlagSeen) || !slices.Contains(m.Flags, "$Kept") {
			t.Errorf("%s: %v", name, m.Flags)
		}
	}
}

func TestClientLibraryMailboxes(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.connect(t, nil)
	if err := c.Create("Arbeit/Pläne", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Subscribe("Arbeit/Pläne").Wait(); err != nil {
		t.Fatal(err)
	}
	boxes, err := c.List("", "*", &goimap.ListOptions{
		ReturnSubscribed: true, ReturnSpecialUse: true,
		ReturnStatus: &goimap.StatusOptions{NumMessages: true, UIDNext: true},
	}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*goimap.ListData{}
	for _, b := range boxes {
		found[b.Mailbox] = b
	}
	if b := found["Arbeit/Pläne"]; b == nil || !slices.Contains(b.Attrs, goimap.MailboxAttrSubscribed) || b.Status == nil || *b.Status.NumMessages != 0 {
		t.Errorf("%+v", b)
	}
	if b := found["Sent"]; b == nil || !slices.Contains(b.Attrs, goimap.MailboxAttrSent) {
		t.Errorf("%+v", b)
	}
	if err := c.Rename("Arbeit", "Work", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var refused *goimap.Error
	if err := c.Delete("Arbeit/Pläne").Wait(); !errors.As(err, &refused) || refused.Code != goimap.ResponseCodeNonExistent {
		t.Errorf("%v", err)
	}
	if err := c.Delete("Work/Pläne").Wait(); err != nil {
		t.Error(err)
	}
	ns, err := c.Namespace().Wait()
	if err != nil || len(ns.Personal) != 1 || ns.Personal[0].Delim != '/' {
		t.Errorf("%+v, %v", ns, err)
	}
	id, err := c.ID(&goimap.IDData{Name: "test"}).Wait()
	if err != nil || id.Name != "pluto" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestClientLibraryWorksOnMessages(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.connect(t, nil)
	for range 4 {
		appendMessage(t, c, "INBOX", []byte("Subject: Grüße\r\n\r\nneedle\r\n"))
	}
	selected, err := c.Select("INBOX", nil).Wait()
	if err != nil || selected.NumMessages != 4 || selected.UIDNext != 5 {
		t.Fatalf("%+v, %v", selected, err)
	}
	if err := c.Store(goimap.SeqSetNum(1, 3), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagFlagged}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagFlagged}, Body: []string{"NEEDLE"}}, nil).Wait()
	if err != nil || !slices.Equal(found.AllUIDs(), []goimap.UID{1, 3}) {
		t.Fatalf("%+v, %v", found, err)
	}
	copied, err := c.Copy(goimap.UIDSetNum(1, 3), "Archive").Wait()
	if err != nil || copied.DestUIDs.String() != "1:2" || copied.SourceUIDs.String() != "1,3" {
		t.Fatalf("%+v, %v", copied, err)
	}
	moved, err := c.Move(goimap.SeqSetNum(1, 2), "Trash").Wait()
	if err != nil || moved.SourceUIDs.(goimap.UIDSet).String() != "1:2" {
		t.Fatalf("%+v, %v", moved, err)
	}
	if err := c.Store(goimap.SeqSetNum(1), &goimap.StoreFlags{Op: goimap.StoreFlagsSet, Silent: true, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	expunged, err := c.UIDExpunge(goimap.UIDSetNum(3)).Collect()
	if err != nil || !slices.Equal(expunged, []uint32{1}) {
		t.Fatal(expunged, err)
	}
	status, err := c.Status("INBOX", &goimap.StatusOptions{NumMessages: true, UIDNext: true, Size: true}).Wait()
	if err != nil || *status.NumMessages != 1 || *status.Size != 28 {
		t.Fatalf("%+v, %v", status, err)
	}
	if err := c.UnselectAndExpunge().Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestClientLibraryIdles(t *testing.T) {
	s := newServer(t, imap.Options{})
	news := make(chan uint32, 10)
	idler := s.connect(t, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				news <- *data.NumMessages
			}
		},
	}})
	if _, err := idler.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := idler.Idle()
	if err != nil {
		t.Fatal(err)
	}
	other := s.connect(t, nil)
	appendMessage(t, other, "INBOX", []byte("Subject: x\r\n\r\n"))
	select {
	case n := <-news:
		if n != 1 {
			t.Errorf("%d messages", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not told")
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Wait(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
