package mailnode

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/tunnel"
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

// resumption makes of what a distributor says of a session what the engine goes
// on with; nil: the session is new.
func resumption(open *tunnel.Open) *imap.Resume {
	p := open.GetCheckpoint()
	if p == nil {
		return nil
	}
	r := &imap.Resume{
		State: p.GetState(), Consumed: p.GetConsumed(), Continued: int(min(open.GetContinued(), 1<<20)),
		Sent: open.GetSent(), Attempt: max(open.GetAttempt(), 1), Key: hex.EncodeToString(open.GetSession()),
	}
	data := make(map[[imap.ChunkName]byte][]byte, len(p.GetData()))
	for _, d := range p.GetData() {
		data[imap.NameOf(d)] = d
	}
	for names := p.GetChunks(); len(names) >= imap.ChunkName; names = names[imap.ChunkName:] {
		name := [imap.ChunkName]byte(names)
		r.Chunks = append(r.Chunks, imap.Chunk{Name: name, Data: data[name]})
	}
	return r
}

// notResumed says whether another node may do better.
func notResumed(err error) tunnel.Refused_Reason {
	if errors.Is(err, imap.ErrNotResumable) {
		return tunnel.Refused_NOT_RESUMABLE
	}
	return tunnel.Refused_UNAVAILABLE
}

// awaitPast waits, as long as the distributor says, until what a session has seen
// elsewhere is here.
func (a account) awaitPast(ctx context.Context, open *tunnel.Open) error {
	if open.GetCheckpoint() == nil {
		return nil
	}
	past, err := mailstore.ParsePast(open.GetCheckpoint().GetVector())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(open.GetWaitMilliseconds())*time.Millisecond)
	defer cancel()
	if err = a.CatchUp(ctx, past); err != nil && open.GetShortfall() && a.Has(past) {
		return nil
	}
	return err
}

// engineConn is a tunnel's connection as the protocol engine wants it. Of chunks it
// passes on what the distributor does not have.
type engineConn struct {
	*tunnel.Conn
	known map[[imap.ChunkName]byte]struct{} // those of the last state
}

func newEngineConn(conn *tunnel.Conn, open *tunnel.Open) *engineConn {
	c := &engineConn{Conn: conn}
	for names := open.GetCheckpoint().GetChunks(); len(names) >= imap.ChunkName; names = names[imap.ChunkName:] {
		c.note([imap.ChunkName]byte(names))
	}
	return c
}

func (c *engineConn) note(name [imap.ChunkName]byte) {
	if c.known == nil {
		c.known = make(map[[imap.ChunkName]byte]struct{})
	}
	c.known[name] = struct{}{}
}

// attach has the chunks of a checkpoint go with it.
func (c *engineConn) attach(p *imap.Checkpoint) {
	if len(p.State) == 0 || len(p.Chunks) == 0 && len(c.known) == 0 {
		return
	}
	known := c.known
	c.known = nil
	names := make([]byte, 0, len(p.Chunks)*imap.ChunkName)
	var data [][]byte
	for i := range p.Chunks {
		name := p.Chunks[i].Name
		names = append(names, name[:]...)
		if _, ok := known[name]; !ok {
			data = append(data, p.Chunks[i].Data)
		}
		c.note(name)
	}
	c.Attach(names, data)
}

func (c *engineConn) Answer(p imap.Checkpoint) error {
	c.attach(&p)
	return c.Conn.Answer(p.Consumed, p.State, p.Vector)
}

func (c *engineConn) Continue(p imap.Checkpoint) error {
	c.attach(&p)
	return c.Conn.Continue(p.Consumed, p.Read, p.State, p.Vector)
}

func (c *engineConn) Compress(p imap.Checkpoint) error {
	c.attach(&p)
	return c.Conn.Compress(p.Consumed, p.State, p.Vector)
}

func (c *engineConn) Unauthenticate(p imap.Checkpoint) error {
	return c.Conn.Unauthenticate(p.Consumed)
}

var (
	_ imap.Conn          = (*engineConn)(nil)
	_ imap.Holder        = (*engineConn)(nil)
	_ imap.Turner        = (*engineConn)(nil)
	_ imap.ReadDeadliner = (*engineConn)(nil)
)
