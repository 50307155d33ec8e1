package imap_test

import (
	"context"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
)

// turningConn is a rawConn whose other end can change the stream; it notes when.
type turningConn struct {
	rawConn
	consumed uint64 // of the last checkpoint
}

func (c *turningConn) Answer(p imap.Checkpoint) error {
	c.consumed = p.Consumed
	return nil
}

func (c *turningConn) Compress(p imap.Checkpoint) error {
	c.out.WriteString("(compressed)\r\n")
	c.consumed = p.Consumed
	return nil
}

func (c *turningConn) Unauthenticate(p imap.Checkpoint) error {
	c.out.WriteString("(unauthenticated)\r\n")
	c.consumed = p.Consumed
	return nil
}

func serveTurning(t *testing.T, in string, opts imap.Options) (string, uint64) {
	t.Helper()
	account, err := filled(t).Open(context.Background(), 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	c := &turningConn{rawConn: rawConn{in: []byte(in), piece: 4096}}
	if err := imap.Serve(context.Background(), c, account, opts); err != nil {
		t.Fatal(err)
	}
	return c.out.String(), c.consumed
}

// The answer is the last thing that is not compressed, whatever is pipelined, and
// there is no second time (RFC 4978 section 3).
func TestCompressOnce(t *testing.T) {
	out, _ := serveTurning(t, "a CAPABILITY\r\nb COMPRESS LZ4\r\nc COMPRESS deflate\r\nd COMPRESS DEFLATE\r\ne UNAUTHENTICATE\r\nf CAPABILITY\r\n", imap.Options{})
	before, after, found := strings.Cut(out, "c OK DEFLATE active\r\n(compressed)\r\n")
	if !found || !strings.Contains(before, "COMPRESS=DEFLATE UNAUTHENTICATE\r\n") || !strings.Contains(before, "b BAD ") {
		t.Fatalf("%s", out)
	}
	if strings.Contains(after, "COMPRESS=") || strings.Contains(after, "UNAUTHENTICATE\r\n") {
		t.Errorf("still offered: %s", after)
	}
	if !strings.Contains(after, "d NO [COMPRESSIONACTIVE]") || !strings.Contains(after, "e NO [CANNOT]") {
		t.Errorf("%s", after)
	}
	out, _ = serveTurning(t, "a CAPABILITY\r\n", imap.Options{Hide: []string{"compress=deflate", "unauthenticate"}})
	if strings.Contains(out, "COMPRESS=") || strings.Contains(out, "UNAUTHENTICATE") {
		t.Errorf("hidden, but told: %s", out)
	}
}

// Nothing beyond UNAUTHENTICATE is read as a command of this user (RFC 8437).
func TestUnauthenticateIsTheLast(t *testing.T) {
	const mine = "a SELECT INBOX\r\nb UNAUTHENTICATE\r\n"
	out, consumed := serveTurning(t, mine+"c DELETE Drafts\r\nd LOGIN {2+}\r\nx", imap.Options{})
	if !strings.HasSuffix(out, "b OK UNAUTHENTICATE completed\r\n(unauthenticated)\r\n") || consumed != uint64(len(mine)) {
		t.Errorf("%d bytes are consumed: %s", consumed, out)
	}
}

// A connection that cannot be changed offers nothing of that.
func TestNoTurns(t *testing.T) {
	out := serveRaw(t, filled(t), "a COMPRESS DEFLATE\r\nb UNAUTHENTICATE\r\nc CAPABILITY\r\n", 4096)
	if !strings.Contains(out, "a NO ") || !strings.Contains(out, "b NO ") || strings.Contains(out, "COMPRESS=") {
		t.Errorf("%s", out)
	}
}
