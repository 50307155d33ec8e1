package distributor

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/memmail"
)

// tcpPair returns both ends of a connection, the second one lazy.
func tcpPair(t *testing.T) (net.Conn, *lazyConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { there.Close(); here.Close() })
	return there, newLazyConn(here)
}

// What has come is read in pieces of any size, what has not is not waited for, and
// nothing is held meanwhile.
func TestLazyConn(t *testing.T) {
	for _, can := range []bool{true, false} {
		there, l := tcpPair(t)
		if l.awaited = true; !can {
			l.wait = nil
		}
		l.SetReadDeadline(longAgo)
		if err := l.await(); !errors.Is(err, os.ErrDeadlineExceeded) || l.buf != nil {
			t.Fatalf("%v: %v", can, err)
		}
		l.SetReadDeadline(time.Now().Add(patience))
		there.Write([]byte("abc"))
		got, buf := "", make([]byte, 2)
		for len(got) < 3 {
			if err := l.await(); err != nil {
				t.Fatal(err)
			}
			n, err := l.Read(buf)
			if err != nil || n == 0 {
				t.Fatal(n, err)
			}
			got += string(buf[:n])
		}
		if n, err := l.Read(buf); got != "abc" || n != 0 || err != errNothing || l.buf != nil {
			t.Errorf("%v: %q, %d, %v", can, got, n, err)
		}
		there.Close()
		for range 2 {
			if err := l.await(); err != nil {
				t.Fatal(err)
			}
			if n, err := l.Read(buf); n != 0 || err != io.EOF {
				t.Errorf("%v: %d, %v", can, n, err)
			}
		}
	}
}

// bitByBit writes every byte for itself.
type bitByBit struct{ net.Conn }

func (c bitByBit) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// A record of TLS that comes in pieces is read when it is whole.
func TestRecordInPieces(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.connectRaw(s.tls)
	c.raw = bitByBit{c.raw}
	c.startTLS()
	c.script("S: * OK\nC: a LOGIN user1 pass1\nS: a OK\nC: b NOOP\nS: b OK\nC: c APPEND {3000+}")
	c.script("C: " + strings.Repeat("x", 3000) + "\nS: * 3000 bytes\nS: c OK")
}

// What TLS has read together with the login is there after it.
func TestRecordWithLoginAndMore(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.connect()
	const n = 130 // one record, and more than is read at once before login
	c.send("a LOGIN user1 pass1\r\n" + strings.Repeat("b NOOP\r\n", n))
	c.expect("a OK")
	for range n {
		c.expect("b OK")
	}
}

// Whatever a client is in the middle of goes on when another goroutine reads from it.
func TestAnotherGoroutineReads(t *testing.T) {
	s := startServer(t, func(o *Options) { o.restAfter = 1 },
		startNode(t, engineSession(memmail.New('/'), imap.Options{})).replica("w"))
	c := s.login()
	c.script(`
		C: b CREATE x
		S: b OK
		C: c APPEND x {5}
		S: +
		C-: ab
		C: c
		C:
		S: c OK
		C: d SELECT x`)
	for !strings.HasPrefix(c.expect(""), "d OK") {
	}
	c.script(`
		C: e IDLE
		S: +
		C-: DO
		C: NE
		S: e OK
		C: f UNAUTHENTICATE
		S: f OK
		C: g LOGIN user1 pass1
		S: g OK
		C: h COMPRESS DEFLATE
		S: h OK
		DEFLATE
		C: i STATUS x (MESSAGES)
		S: * STATUS x (MESSAGES 1)
		S: i OK
		C: j NOOP
		S: j OK
		C: k LOGOUT
		S: * BYE
		S: k OK`)
}
