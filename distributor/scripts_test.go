package distributor

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
	"github.com/go-pluto/pluto/imap/tunnel"
)

// engineSession runs the protocol engine on mail in memory.
func engineSession(store *memmail.Store, opts imap.Options) tunnel.Handler {
	return func(ctx context.Context, open *tunnel.Open, c *tunnel.Conn) error {
		account, err := store.Open(ctx, imap.UserID(open.GetUserId()), open.GetLogin(), imap.SessionID{})
		if err != nil {
			return err
		}
		defer account.Close()
		o := opts
		o.Tag, o.Client = open.GetTag(), open.GetClientId()
		return imap.Serve(ctx, engineConn{c}, account, o)
	}
}

// engineConn is a tunnel's connection for sessions that stay where they are.
type engineConn struct{ *tunnel.Conn }

func (c engineConn) Answer(p imap.Checkpoint) error {
	return c.Conn.Answer(p.Consumed, p.State, p.Vector)
}

func (c engineConn) Continue(p imap.Checkpoint) error {
	return c.Conn.Continue(p.Consumed, p.Read, p.State, p.Vector)
}

func (c engineConn) Compress(p imap.Checkpoint) error {
	return c.Conn.Compress(p.Consumed, p.State, p.Vector)
}

func (c engineConn) Unauthenticate(p imap.Checkpoint) error { return c.Conn.Unauthenticate(p.Consumed) }

// scriptClient is the connection of a client that has logged in and that the script
// sees from there on.
type scriptClient struct {
	*mailClient
	net.Conn
	pending io.Reader // the answer to the login
}

func (c *scriptClient) Read(p []byte) (int, error) {
	if c.pending != nil {
		if n, err := c.pending.Read(p); n > 0 || err != io.EOF {
			return n, err
		}
		c.pending = nil
	}
	return c.r.Read(p)
}

func (c *scriptClient) Write(p []byte) (int, error) {
	if c.deflater == nil {
		return c.Conn.Write(p)
	}
	n, err := c.deflater.Write(p)
	if err == nil {
		err = c.deflater.Flush()
	}
	return n, err
}

// TestScriptsThroughDistributor runs the engine's session scripts through a
// distributor and its tunnel: as they are, and with clients that compress.
func TestScriptsThroughDistributor(t *testing.T) {
	const folder = "../imap/testdata"
	for _, way := range []string{"plain", "compressed"} {
		for _, name := range imaptest.Scripts(t, folder) {
			t.Run(way+"/"+name, func(t *testing.T) {
				s := startServer(t, nil, startNode(t, engineSession(imaptest.Prepare(name))).replica("w"))
				imaptest.Run(t, imaptest.Script(folder, name), imaptest.Mode{}, func(t *testing.T, _ string) net.Conn {
					return s.scriptClient(t, way == "compressed")
				})
			})
		}
	}
}

func (s *testServer) scriptClient(t *testing.T, compress bool) net.Conn {
	t.Helper()
	c := s.connect()
	c.send("login LOGIN user1 pass1\r\n")
	first := c.expect("login OK ")
	if compress {
		c.send("c COMPRESS DEFLATE\r\n")
		c.expect("c OK ")
		c.inflate()
	}
	c.raw.SetDeadline(time.Time{}) // the script waits for each line
	return &scriptClient{mailClient: c, Conn: c.conn, pending: strings.NewReader(first)}
}
