package distributor

import (
	"context"
	"net"
	"runtime"
	"sort"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
	"github.com/go-pluto/pluto/imap/tunnel"
)

// What the view of a mailbox may cost, in bytes: once for all sessions that see it as
// full of holes as 100,000 messages can be, and for each of these sessions besides.
const (
	viewMessages  = 100_000
	maxView       = 512 << 10
	maxSharedView = 4 << 10
)

// TestMemoryOfViews measures what the distributor keeps of a view: how much, and that
// it is kept once.
func TestMemoryOfViews(t *testing.T) {
	p := sparseCheckpoint(t)
	sessions := make([]unconfirmed, 1+100)
	var table chunks
	confirm := func(u *unconfirmed) {
		u.chunks = &table
		if err := u.confirm(&tunnel.Answer{Checkpoint: p}); err != nil {
			t.Fatal(err)
		}
	}
	before := inUse()
	confirm(&sessions[0])
	first := inUse() - before
	for i := range sessions[1:] {
		confirm(&sessions[1+i])
	}
	each := (inUse() - before - first) / int64(len(sessions)-1)
	n, size := table.size()
	t.Logf("%d messages full of holes: %d bytes in %d chunks; %d bytes in use, %d more for each other session", viewMessages, size, n, first, each)
	if first > maxView || each > maxSharedView {
		t.Errorf("more than %d and %d", maxView, maxSharedView)
	}
	if first < int64(size) || size < viewMessages {
		t.Errorf("not the view that was meant")
	}
	for i := range sessions {
		sessions[i].release()
	}
	if n, size := table.size(); n != 0 || size != 0 {
		t.Errorf("%d bytes in %d chunks are left", size, n)
	}
	runtime.KeepAlive(p)
	runtime.KeepAlive(sessions)
}

// inUse returns the bytes of memory in use.
func inUse() int64 {
	var m runtime.MemStats
	for range 2 { // what was freed in between is swept
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sparseCheckpoint returns the checkpoint after SELECT of a mailbox full of holes.
func sparseCheckpoint(t *testing.T) *tunnel.Checkpoint {
	t.Helper()
	account, err := memmail.New('/').Open(t.Context(), 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	there, here := net.Pipe()
	conn, served := imaptest.NewConn(there), make(chan error, 1)
	go func() { served <- imap.Serve(t.Context(), conn, sparseAccount{account}, imap.Options{Tag: "l"}) }()
	c := imaptest.NewClient(t, here)
	c.Answer("l")
	c.Command("a", "SELECT INBOX")
	all := conn.Checkpoints()
	c.Close()
	<-served
	last := all[len(all)-1]
	p := &tunnel.Checkpoint{State: last.State}
	for _, chunk := range last.Chunks {
		p.Chunks, p.Data = append(p.Chunks, chunk.Name[:]...), append(p.Data, chunk.Data)
	}
	return p
}

type sparseAccount struct{ imap.Account }

func (a sparseAccount) Select(ctx context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	m, err := a.Account.Select(ctx, name, readOnly)
	return sparseMailbox{m}, err
}

type sparseMailbox struct{ imap.Mailbox }

func (sparseMailbox) View() imap.View                { return sparseView{} }
func (sparseMailbox) ClaimRecent(imap.View) imap.UID { return 0 }

// sparseView is a picture of viewMessages messages that are as far from each other as
// UIDs can be: there is no run of two, and a distance takes as many bytes as it can.
type sparseView struct{}

const holes = (1<<32 - 1) / viewMessages

func (sparseView) Len() int                     { return viewMessages }
func (sparseView) UIDAt(i int) imap.UID         { return imap.UID(i+1) * holes }
func (sparseView) UIDNext() imap.UID            { return 1<<32 - 1 }
func (sparseView) HighestModSeq() imap.ModSeq   { return 1 }
func (sparseView) Since(imap.View) imap.Changes { return imap.Changes{} }
func (v sparseView) At(i int, m *imap.Message)  { *m = imap.Message{UID: v.UIDAt(i), ModSeq: 1} }
func (v sparseView) Find(uid imap.UID) (int, bool) {
	i := sort.Search(v.Len(), func(i int) bool { return v.UIDAt(i) >= uid })
	return i, i < v.Len() && v.UIDAt(i) == uid
}
