package imap

import (
	"bytes"

	"github.com/go-pluto/pluto/imap/wire"
)

// maxDone is the longest line that is read during IDLE.
const maxDone = 1024

// idleEnd is what ended IDLE: the client's line, or that there was none.
type idleEnd struct {
	done bool // the line was DONE
	err  error
}

// idle: RFC 2177. While it lasts another goroutine reads the connection; this
// one announces what happens and waits for the other's end in any case.
func (s *session) idle(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	asked := s.reader.TakeAsked() // by another replica
	if err := c.Finish(); err != nil {
		return err
	}
	// What has happened before is not an event that will come.
	if err := s.sync(syncAll, false); err != nil {
		return err
	}
	s.settleHighest(false)
	s.in.boundary()
	s.in.idling = true
	line := "+ idling\r\n"
	if asked {
		line = ""
	}
	if err := s.proceed(line); err != nil {
		return err
	}
	s.out.release()
	done := make(chan idleEnd, 1)
	go func() { done <- s.waitForDone() }()
	end := s.announceUntil(done)
	s.in.idling = false
	s.out.acquire()
	if end.err != nil {
		return end.err
	}
	if !end.done {
		return badSyntax("Expected DONE")
	}
	return nil
}

// waitForDone reads the line that ends IDLE.
func (s *session) waitForDone() (end idleEnd) {
	defer func() {
		if value := recover(); value != nil {
			end.err = s.recovered(value)
		}
	}()
	b, err := s.reader.ReadLine(maxDone)
	if err != nil {
		return idleEnd{err: err}
	}
	return idleEnd{done: bytes.EqualFold(b, []byte("DONE"))}
}

// announceUntil announces what happens to the selected mailbox until the other
// goroutine has ended.
func (s *session) announceUntil(line <-chan idleEnd) idleEnd {
	var changed <-chan struct{}
	if s.box != nil {
		changed = s.box.mailbox.Changed()
	}
	for {
		select {
		case end := <-line:
			return end
		case <-changed:
			if err := s.announceNow(); err != nil {
				err = s.end(err)
				s.in.cancel()
				<-line
				return idleEnd{err: &endError{said: true, cause: err}}
			}
		}
	}
}

// announceNow sends what is new, if anything. A panic is an error here, so that
// the other goroutine is waited for.
func (s *session) announceNow() (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = s.recovered(value)
		}
	}()
	s.out.acquire()
	if err := s.sync(syncAll, false); err != nil {
		return err
	}
	s.settleHighest(false)
	if len(s.out.buf) == 0 && s.stateDirty == stateSame {
		s.out.release()
		return nil
	}
	s.answerDue = true
	return s.flush()
}
