package tunnel

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// inbox holds the client bytes that the session has not read, at most WindowSize.
type inbox struct {
	mu        sync.Mutex
	chunks    [][]byte  // the first may be partly read
	one       [1][]byte // backs chunks: there is rarely more than one
	unread    int
	read      uint64 // in all
	announced uint64 // read, as the distributor knows it
	ended     bool
	deadline  time.Time
	timer     *time.Timer
	timerAt   time.Time     // when the timer fires; zero: it does not
	wake      chan struct{} // something changed; the reader looks again
}

// put adds bytes that came. The slice is kept.
func (b *inbox) put(p []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unread+len(p) > WindowSize {
		return fmt.Errorf("%w: more data than there is room for", ErrProtocol)
	}
	if b.ended || len(p) == 0 {
		return nil
	}
	if b.unread == 0 {
		b.chunks = b.one[:0]
	}
	b.chunks = append(b.chunks, p)
	b.unread += len(p)
	b.signal()
	return nil
}

// end ends the reading; what has come before may still be read unless it is dropped.
func (b *inbox) end(drop bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	if drop {
		b.chunks, b.unread = nil, 0
	}
	if b.timer != nil {
		b.timer.Stop()
		b.timerAt = time.Time{}
	}
	b.signal()
}

func (b *inbox) setDeadline(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.signal()
}

// signal wakes the reader up. The mutex is held.
func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take waits for bytes. window is not 0 when the distributor should be told that
// so many have been read in all.
func (b *inbox) take(p []byte) (n int, window uint64, err error) {
	for {
		if n, window, err = b.try(p); n > 0 || err != nil || len(p) == 0 {
			return n, window, err
		}
		<-b.wake
	}
}

// try reads what is there.
func (b *inbox) try(p []byte) (n int, window uint64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.unread > 0:
		n = b.copy(p)
	case b.ended:
		return 0, 0, io.EOF
	case b.expired():
		return 0, 0, os.ErrDeadlineExceeded
	}
	if b.read-b.announced >= WindowSize/2 {
		b.announced = b.read
		window = b.read
	}
	return n, window, nil
}

// copy moves bytes out of the chunks.
func (b *inbox) copy(p []byte) int {
	total := 0
	for total < len(p) && len(b.chunks) > 0 {
		n := copy(p[total:], b.chunks[0])
		total += n
		if n < len(b.chunks[0]) {
			b.chunks[0] = b.chunks[0][n:]
			break
		}
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
	}
	b.unread -= total
	b.read += uint64(total)
	return total
}

// expired reports whether the deadline has passed; otherwise it makes sure that
// the reader is woken up then. A timer that is set for earlier is left alone:
// deadlines are moved with every command, and most never matter.
func (b *inbox) expired() bool {
	if b.deadline.IsZero() {
		return false
	}
	left := time.Until(b.deadline)
	if left <= 0 {
		return true
	}
	if b.timerAt.IsZero() || b.deadline.Before(b.timerAt) {
		b.timerAt = b.deadline
		if b.timer == nil {
			b.timer = time.AfterFunc(left, b.fire)
		} else {
			b.timer.Reset(left)
		}
	}
	return false
}

func (b *inbox) fire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timerAt = time.Time{}
	b.signal()
}
