package imap

import (
	"bytes"
	"cmp"

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
	if err := s.tellEvents(); err != nil {
		return err
	}
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
	end, err := announceUntil(s, done, syncAll)
	s.in.idling = false
	s.out.acquire()
	if err = cmp.Or(err, end.err); err != nil {
		return err
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
