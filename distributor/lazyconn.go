package distributor

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// readSize is that of the buffers into which is read what clients say: a TLS record.
const readSize = 16 << 10

// reads are those buffers.
var reads = sync.Pool{New: func() any { return new([readSize]byte) }}

// lazyConn is the network connection of a client. Most are silent most of the time: one
// that is awaited takes memory for what comes only when that has come.
//
// One goroutine reads, and awaits. Everything else is [net.Conn]'s.
type lazyConn struct {
	net.Conn
	wait syscall.RawConn // nil: it cannot be waited for without reading
	fill func(fd uintptr) bool

	awaited bool            // Read returns only what await has got, and errNothing after that
	buf     *[readSize]byte // nil: there is nothing
	unread  []byte          // of buf
	err     error           // that followed it; stays
}

// errNothing says that nothing more has come. TLS takes it for a deadline that has
// passed: what it has of a record is there for the next Read.
var errNothing error = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}

func newLazyConn(c net.Conn) *lazyConn {
	l := &lazyConn{Conn: c}
	if s, ok := c.(syscall.Conn); ok && canFill {
		l.wait, _ = s.SyscallConn() // without one it is read from
		l.fill = l.tryFill
	}
	return l
}

// await waits until there is something to be read, or the read deadline.
func (l *lazyConn) await() error {
	if len(l.unread) > 0 || l.err != nil {
		return nil
	}
	if l.wait != nil {
		return l.wait.Read(l.fill)
	}
	return l.block()
}

// block is await by reading.
func (l *lazyConn) block() error {
	buf := reads.Get().(*[readSize]byte)
	n, err := l.Conn.Read(buf[:])
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		reads.Put(buf)
		return err
	}
	l.filled(buf, n, err)
	return nil
}

// filled takes note of what has come.
func (l *lazyConn) filled(buf *[readSize]byte, n int, err error) {
	if n == 0 && err == nil {
		err = io.EOF
	}
	if l.err = err; n <= 0 {
		reads.Put(buf)
		return
	}
	l.buf, l.unread = buf, buf[:n]
}

// Read implements [net.Conn].
func (l *lazyConn) Read(p []byte) (int, error) {
	if len(l.unread) > 0 {
		n := copy(p, l.unread)
		if l.unread = l.unread[n:]; len(l.unread) == 0 {
			reads.Put(l.buf)
			l.buf, l.unread = nil, nil
		}
		return n, nil
	}
	switch {
	case l.err != nil:
		return 0, l.err
	case l.awaited:
		return 0, errNothing
	}
	return l.Conn.Read(p)
}
