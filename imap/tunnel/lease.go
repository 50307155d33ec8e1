package tunnel

import (
	"sync"
	"time"
)

// lease is the distributor's side of a session's lease: it knows whether the
// node owes an answer, sends pings meanwhile, and notices when the node is silent.
//
// The timer runs only while an answer is owed and stops by itself, so that a
// command costs no timer operation and an idle session nothing. It goes on for a
// while when the node asked its client to continue: a client that sent more
// than it was asked for has the answer already under way.
type lease struct {
	session *Session
	timer   *time.Timer

	mu       sync.Mutex
	running  bool
	stopped  bool
	opened   bool   // the node has answered
	total    uint64 // client bytes sent
	consumed uint64 // of those, done with
	waiting  bool   // the node is waiting for its client, inside a command
	asked    int    // pings since it does
	reader   bool   // somebody receives; otherwise the client is slow, not the node
	silent   int    // pings since the last message or since receiving began
}

// maxAsked is how many pings there are in a command that waits for its client.
const maxAsked = int(StallTimeout / PingInterval)

func (l *lease) init(s *Session, consumed uint64) {
	l.session = s
	l.total, l.consumed = consumed, consumed
}

// bytes returns how many client bytes were sent.
func (l *lease) bytes() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// skip counts n client bytes more as sent.
func (l *lease) skip(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += n
}

// sent says that n client bytes were sent, for which there has to be an answer.
func (l *lease) sent(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += uint64(n)
	l.waiting, l.asked = false, 0
	if l.running || l.stopped {
		return
	}
	l.running, l.silent = true, 0
	if l.timer == nil {
		l.timer = time.AfterFunc(PingInterval, l.tick)
	} else {
		l.timer.Reset(PingInterval)
	}
}

// answered says what an answer said.
func (l *lease) answered(consumed uint64, continuation bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = true
	l.consumed = consumed
	if continuation {
		l.waiting = true
	}
}

// receiving says that a message is being waited for, or has come.
func (l *lease) receiving(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reader, l.silent = on, 0
}

// stop ends the pings for ever.
func (l *lease) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// tick runs every PingInterval while an answer is owed.
func (l *lease) tick() {
	ping, stalled := l.next()
	if stalled {
		l.session.cancel(ErrStalled)
		return
	}
	if ping {
		l.session.ping()
	}
}

// next decides what a tick does.
func (l *lease) next() (ping, stalled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	owed := !l.opened || l.consumed < l.total
	if owed && l.waiting {
		l.asked++
		owed = l.asked <= maxAsked
	}
	if l.stopped || !owed {
		l.running = false
		return false, false
	}
	l.timer.Reset(PingInterval)
	if l.reader {
		l.silent++
	}
	return true, time.Duration(l.silent)*PingInterval > StallTimeout
}
