package imap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/wire"
)

// session is one client's session. Everything in it belongs to the goroutine
// that called Serve; during IDLE another one owns in and reader until it ends.
type session struct {
	ctx     context.Context
	conn    Conn
	account Account
	opts    Options
	log     log.Logger

	in     input
	reader *wire.Reader
	out    output

	box     *selection    // the selected mailbox, nil in authenticated state
	tag     string        // of the present command
	code    []byte        // response code of the OK that follows, without brackets
	scratch Message       // not on the stack, because it is passed to interfaces
	spans   []span        // of the message set of the current command
	modes   modes         // that the client has switched on
	notify  *notifying    // what NOTIFY asked for, nil: it was not used
	notes   *noteListener // what ENABLE METADATA asked for, nil: it was not used
	bad     int           // commands in a row that were no IMAP
	leaving bool          // the client has logged out
	roaming Roaming       // the account, in a session that came from another replica

	turner     Turner                 // conn, if it is one
	compressed bool                   // the client's stream is
	handedBack bool                   // the connection is, after the turn: the session has ended
	client     string                 // the name that the client gave by ID, in lower case
	turn       func(Checkpoint) error // what the next answer is sent with; nil: as an answer
	removing   bool                   // the command removes messages: that is told in any case
	numbers    bool                   // the command's answer depends on message numbers staying
	saidModSeq bool                   // the command's answer has a MODSEQ
	sentName   string                 // the last name of a mailbox as the client sent it
	highest    ModSeq                 // what HIGHESTMODSEQ is still to be told, 0: none

	consumed   uint64 // where the last command that was answered ends, in the client's stream
	base       uint64 // where in it the reader began
	answerDue  bool   // there are responses, or a checkpoint, that were not sent
	stateDirty stateChange
}

// Serve runs the session of an authenticated client until the client logs out
// or goes, the stream breaks, or ctx ends. It returns nil in the first two
// cases, and when it had to say BYE to a client. With Options.Resume it goes on
// where another replica has left the session, or returns [ErrNotResumed]. conn and account are used by
// nobody else meanwhile; the caller closes the account afterwards.
func Serve(ctx context.Context, conn Conn, account Account, opts Options) error {
	s := newSession(ctx, conn, account, opts)
	s.opts.Metrics.sessions.Inc()
	defer s.opts.Metrics.sessions.Dec()
	defer s.stopNotify()
	defer s.stopNotes()
	defer s.closeMailbox()
	return s.end(s.run())
}

func newSession(ctx context.Context, conn Conn, account Account, opts Options) *session {
	s := &session{ctx: ctx, conn: conn, account: account, opts: opts.withDefaults()}
	s.log = s.opts.Logger
	s.out.conn = conn
	s.in.session = s
	s.in.deadline, _ = conn.(ReadDeadliner)
	s.turner, _ = conn.(Turner)
	s.meet()
	s.reader = wire.NewReader(&s.in, wire.AfterLogin)
	s.reader.SetContinue(s.askForLiteral)
	s.stateDirty = stateChanged
	return s
}

// run answers the login and then one command after the other. A panic ends it
// like an error.
func (s *session) run() (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = s.recovered(value)
		}
	}()
	s.answerDue = true
	if r := s.opts.Resume; r != nil {
		if err := s.resume(r); err != nil {
			return err
		}
	} else if s.opts.Tag != "" {
		s.out.tagged(s.opts.Tag, "OK", s.capabilityCode(), "Logged in")
	}
	for {
		if err := s.next(); err != nil {
			return err
		}
	}
}

// recovered logs a panic and returns the error that ends the session.
func (s *session) recovered(value any) error {
	s.opts.Metrics.panics.Inc()
	id := faultID()
	err := panicError(value)
	level.Error(s.log).Log("msg", "session ended by a panic", "fault", id, "err", err, "stack", string(debug.Stack()))
	return &endError{bye: "Internal error, reference " + id, cause: err}
}

// next reads one command and answers it. An error ends the session.
func (s *session) next() error {
	c, err := s.reader.Next()
	s.out.acquire()
	if err != nil {
		return s.unreadable(err)
	}
	began := time.Now()
	s.beginCommand()
	name, result, err := s.execute(c)
	s.opts.Metrics.observe(name, result, time.Since(began))
	if err != nil {
		return err
	}
	return s.done()
}

// unreadable handles what could not be read as a command.
func (s *session) unreadable(err error) error {
	var syntax *wire.SyntaxError
	if s.in.err != nil || !errors.As(err, &syntax) {
		return err
	}
	s.out.tagged(syntax.Tag, "BAD", "", syntax.Message)
	s.opts.Metrics.observe(otherCommand, resultBad, 0)
	if err := s.countBad(); err != nil {
		return err
	}
	return s.done()
}

// execute runs a command and appends its tagged answer. An error ends the session.
func (s *session) execute(c *wire.Command) (string, result, error) {
	tag := c.Tag
	s.tag = tag
	cmd, name, err := s.lookUp(c)
	if err == nil {
		s.code, s.numbers, s.saidModSeq, s.removing = s.code[:0], false, false, false
		err = cmd.run(s, c)
	}
	if fatal := c.Finish(); fatal != nil {
		return name, resultEnded, fatal
	}
	if err != nil && (isSyntax(err) || s.ctx.Err() != nil) {
		result, err := s.answerError(tag, name, err)
		return name, result, err
	}
	s.bad = 0
	mode := cmd.sync
	if s.numbers {
		mode = min(mode, syncFlags)
	}
	if gone := s.sync(mode, isUID(name)); gone != nil {
		return name, resultEnded, gone
	}
	s.settleHighest(err == nil)
	if gone := s.tellEvents(); gone != nil {
		return name, resultEnded, gone
	}
	if err != nil {
		result, err := s.answerError(tag, name, err)
		return name, result, err
	}
	return name, resultOK, s.answerOK(tag, cmd)
}

// answerOK appends the tagged OK.
func (s *session) answerOK(tag string, cmd *command) error {
	s.out.buf = append(s.out.buf, tag...)
	s.out.buf = append(s.out.buf, " OK "...)
	if len(s.code) > 0 {
		s.out.buf = append(s.out.buf, '[')
		s.out.buf = append(s.out.buf, s.code...)
		s.out.buf = append(s.out.buf, "] "...)
	}
	s.out.buf = append(s.out.buf, cmd.done...)
	s.out.buf = append(s.out.buf, '\r', '\n')
	if s.leaving {
		return &endError{}
	}
	return nil
}

// done makes the end of a command a point from which another node could go on.
func (s *session) done() error {
	s.consumed = s.base + s.reader.Consumed()
	s.in.boundary()
	s.answerDue = true
	if s.turn == nil {
		return s.out.spill()
	}
	turn := s.turn
	s.turn = nil
	if err := s.send(turn); err != nil || !s.handedBack {
		return err
	}
	return &endError{said: true}
}

// flush sends the answers that are due.
func (s *session) flush() error {
	if !s.answerDue {
		return s.out.err
	}
	return s.send(s.conn.Answer)
}

// send sends the answers that are due by a method of the connection.
func (s *session) send(answer func(Checkpoint) error) error {
	s.answerDue = false
	s.out.pass()
	s.out.release()
	s.out.held = false
	if s.out.err == nil {
		s.out.err = answer(s.checkpoint())
	}
	return s.out.err
}

// askForLiteral tells the client to send a literal.
func (s *session) askForLiteral() error { return s.proceed("+ OK\r\n") }

// proceed sends a command continuation request.
func (s *session) proceed(line string) error {
	s.out.buf = append(s.out.buf, line...)
	s.out.pass()
	s.out.held = false
	if s.out.err == nil {
		s.answerDue = false
		p := s.checkpoint()
		p.Read = s.base + s.reader.Position()
		s.out.err = s.conn.Continue(p)
	}
	return s.out.err
}

// end says goodbye where that is possible, and makes of what ended the session
// the error that Serve returns.
func (s *session) end(err error) error {
	var end *endError
	var protocol *wire.ProtocolError
	switch {
	case errors.As(err, &end):
		if end.said {
			return end.cause
		}
	case errors.As(err, &protocol):
		end = &endError{bye: protocol.Message}
	case s.in.timedOut():
		end = &endError{bye: "Autologout: idle for too long"}
	case s.out.err != nil:
		return fmt.Errorf("write to client: %w", s.out.err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return s.ctx.Err()
	default:
		return err
	}
	if end.bye != "" && !s.out.broken() {
		s.out.tagged("", "BYE", "", end.bye)
	}
	s.out.pass()
	if s.out.err == nil {
		s.out.err = s.conn.Bye()
	}
	if end.cause != nil {
		return end.cause
	}
	return s.out.err
}
