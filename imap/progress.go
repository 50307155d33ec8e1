package imap

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-pluto/pluto/imap/wire"
)

// ctxEvery is after how many messages of which only the index is looked at the
// search sees whether it is still wanted.
const ctxEvery = 1024

// DefaultProgressEvery is how often a client is told that a command that takes
// long is being worked on (RFC 9585 section 3: 10 to 15 seconds).
const DefaultProgressEvery = 10 * time.Second

// progress is how far a command is. The zero value tells nothing.
type progress struct {
	next          time.Time // when the client is to hear of it
	reached, goal int       // goal 0: not known
}

// startProgress begins the work of the present command on so many messages.
func (s *session) startProgress(goal int) progress {
	return progress{next: time.Now().Add(s.opts.ProgressEvery), goal: goal}
}

// step says that another message is done with, which was dear if more than the
// index was read. It tells the client of it when that is due, and returns an error
// when nobody waits any more. No response may have been begun.
func (p *progress) step(s *session, dear bool) error {
	if p.reached++; !dear && p.reached%ctxEvery != 0 {
		return nil
	}
	if err := s.ctx.Err(); err != nil || p.next.IsZero() {
		return err
	}
	now := time.Now()
	if now.Before(p.next) {
		return nil
	}
	p.next = now.Add(s.opts.ProgressEvery)
	return s.tellProgress(p)
}

// tellProgress sends the untagged OK of RFC 9585. It is sent like an announcement
// in IDLE, complete and with a checkpoint from before the command: another node
// could execute the command again.
func (s *session) tellProgress(p *progress) error {
	buf := append(s.out.buf, "* OK [INPROGRESS ("...)
	buf = append(wire.AppendString(buf, s.tag), ' ')
	if p.goal > 0 {
		buf = append(strconv.AppendInt(buf, int64(min(p.reached, p.goal)), 10), ' ')
		buf = strconv.AppendInt(buf, int64(p.goal), 10)
	} else {
		buf = append(buf, "NIL NIL"...)
	}
	s.out.buf = append(buf, ")] Still working\r\n"...)
	s.answerDue = true
	err := s.flush()
	s.out.acquire()
	return err
}

// fewMessages are done with so fast that nobody has to be told.
const fewMessages = 1000

// patiently does something that says nothing of how far it is, and if it may take
// long tells the client meanwhile that it is being done. do must not touch the
// session.
func (s *session) patiently(long bool, do func() error) error {
	if !long {
		return do()
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				done <- s.recovered(value)
			}
		}()
		done <- do()
	}()
	ticker := time.NewTicker(s.opts.ProgressEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			if err := s.tellProgress(&progress{}); err != nil {
				<-done
				return fmt.Errorf("tell of progress: %w", err)
			}
		}
	}
}
