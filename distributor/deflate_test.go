package distributor

import (
	"bufio"
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	kflate "github.com/klauspost/compress/flate"

	"github.com/go-pluto/pluto/imap/tunnel"
)

// compressed is a client that has agreed on compression.
func (s *testServer) compressed() *mailClient {
	s.t.Helper()
	c := s.login()
	c.send("c COMPRESS DEFLATE\r\n")
	c.expect("c OK ")
	c.inflate()
	return c
}

// inflate makes the client compress.
func (c *mailClient) inflate() {
	c.t.Helper()
	w, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	if err != nil {
		c.t.Fatal(err)
	}
	c.deflater = w
	// Only this reader tells what it has without more of the stream.
	c.r = bufio.NewReader(kflate.NewReaderOpts(c.r, kflate.WithPartialBlock()))
}

func TestCompress(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.compressed()
	c.script("C: a NOOP\nS: a OK\nC: b IDLE\nS: + idling\nC: DONE\nS: b OK")
	c.send("d APPEND {300000+}\r\n" + strings.Repeat("xyz", 100000) + "\r\n")
	c.script("S: * 300000 bytes\nS: d OK")
	before := value(t, s.metrics.toClients)
	c.send("e FETCH\r\nf NOOP\r\n")
	for range 2000 {
		c.expect("xxxx")
	}
	c.script("S: e OK\nS: f OK\nC: g LOGOUT\nS: * BYE\nS: g OK\nEND")
	if told := value(t, s.metrics.toClients) - before; told < 2000*1000 {
		t.Errorf("%v bytes are counted", told)
	}
}

// The sessions of a node that is shut down, or lost, are told so in the form that
// their clients expect.
func TestCompressedBye(t *testing.T) {
	node := startNode(t, fakeSession("w"))
	s := startServer(t, func(o *Options) { o.Limits.MoveTimeout = 100 * time.Millisecond }, node.replica("w"))
	c := s.compressed()
	node.stop()
	c.script("S: * BYE [UNAVAILABLE]\nEND")
}

// What is sent before the answer could mean anything.
func TestPipelinedAfterCompress(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.login()
	c.send("c COMPRESS DEFLATE\r\nd NOOP\r\n")
	c.expect("c OK ")
	c.inflate()
	c.script("S: * BYE Nothing may follow\nEND")
}

// What is no deflate ends the connection, and so does what inflates to a line
// without end: a kilobyte for each megabyte of it.
func TestCompressedGarbage(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.compressed()
	if _, err := c.conn.Write(bytes.Repeat([]byte{0xff}, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c.r); err != nil && err != io.ErrUnexpectedEOF {
		t.Log(err) // how the connection ends depends on what was read of it
	}
	c = s.compressed()
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		io.WriteString(w, strings.Repeat("x", 1<<20))
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.conn.Write(bomb.Bytes()); err != nil && bomb.Len() < 1<<20 {
		t.Log(err)
	}
	io.ReadAll(c.r)
	s.compressed().script("C: a NOOP\nS: a OK")
}

// A deflater's pieces are each complete, and refer to no more than what it keeps.
func TestDeflater(t *testing.T) {
	var d deflater
	var wire, text bytes.Buffer
	random := rand.New(rand.NewPCG(1, 2))
	r := flate.NewReader(&wire)
	for i := range 300 {
		piece := fmt.Appendf(nil, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", i, i)
		if n := random.IntN(tunnel.MaxFrame); i%10 == 0 {
			piece = make([]byte, n)
			for k := range piece {
				piece[k] = "abcdefghijklmnop"[random.IntN(1+i%16)]
			}
		}
		if err := d.write(&wire, piece); err != nil {
			t.Fatal(err)
		}
		text.Write(piece)
		if len(d.last) > maxDictionary || !bytes.HasSuffix(text.Bytes(), d.last) {
			t.Fatalf("keeps %d bytes", len(d.last))
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, piece) {
			t.Fatalf("piece %d of %d bytes: %v", i, len(piece), err)
		}
	}
}

func TestUnauthenticate(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.login()
	c.script(`
		C: b NOOP
		S: b OK
		C: c UNAUTHENTICATE
		S: c OK
		C: d SELECT INBOX
		S: d BAD
		C: e LOGIN user2 wrong
		S: e NO
		C: f LOGIN user2 pass2
		S: f OK [CAPABILITY IMAP4rev1] w serves user2 (2)
		C: g NOOP
		S: g OK`)
	// What follows in the same packet is for the next login.
	c.send("h UNAUTHENTICATE\r\ni LOGIN user3 {5+}\r\npass3\r\nj NOOP\r\nk UNAUTHENTICATE\r\nl LOGOUT\r\n")
	c.script("S: h OK\nS: i OK [CAPABILITY IMAP4rev1] w serves user3 (3)\nS: j OK\nS: k OK\nS: * BYE\nS: l OK\nEND")
	await(t, "all sessions to be over", func() bool { return value(t, s.metrics.sessions) == 0 })
}
