package imap

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/wire"
)

// result is how a command ended, for the metrics.
type result uint8

const (
	resultOK    result = iota
	resultNo           // a wish that cannot be had
	resultBad          // no IMAP
	resultFault        // our own fault: NO [SERVERBUG]
	resultEnded        // the session ended before the answer

	results = iota
)

// String returns the result's label.
func (r result) String() string {
	return [results]string{"ok", "no", "bad", "fault", "ended"}[r]
}

// refusal is an error whose answer is NO: what was asked for is legal but
// impossible. code is a response code with its arguments (RFC 5530) or empty.
type refusal struct {
	code, text string
}

// Error returns the text for the client.
func (e *refusal) Error() string { return e.text }

// badSyntax is a [wire.SyntaxError] of the engine's own grammar.
func badSyntax(text string) error { return &wire.SyntaxError{Message: text} }

// isSyntax reports whether err is the client's grammar.
func isSyntax(err error) bool {
	var syntax *wire.SyntaxError
	return errors.As(err, &syntax)
}

// endError ends the session, after a BYE with the text if there is one.
type endError struct {
	bye   string
	said  bool  // the BYE is sent already
	cause error // nil: a regular end
}

// Error returns why the session ends.
func (e *endError) Error() string {
	if e.cause != nil {
		return e.cause.Error()
	}
	return "session ended: " + e.bye
}

// Unwrap returns the cause.
func (e *endError) Unwrap() error { return e.cause }

// mailErrors say how the errors of mail.go are answered.
var mailErrors = []struct {
	err        error
	code, text string
}{
	{ErrNonexistent, "NONEXISTENT", "No such mailbox"},
	{ErrAlreadyExists, "ALREADYEXISTS", "Mailbox exists already"},
	{ErrCannot, "CANNOT", "Not possible for this mailbox"},
	{ErrExpunged, "EXPUNGEISSUED", "Some of the messages were expunged"},
	{ErrTooBig, "TOOBIG", "Message is too big"},
	{ErrLimit, "LIMIT", "A limit is reached"},
	{ErrOverQuota, "OVERQUOTA", "Quota exceeded"},
	{ErrUnavailable, "UNAVAILABLE", "Not available at the moment, try again later"},
	{ErrReadOnly, "READ-ONLY", "Mailbox is read-only"},
	{context.DeadlineExceeded, "UNAVAILABLE", "It takes too long at the moment, try again later"},
}

// tryCreate turns "no such mailbox" into the form that APPEND, COPY and MOVE
// have for their destination (RFC 3501 section 6.3.11).
func tryCreate(err error) error {
	if errors.Is(err, ErrNonexistent) {
		return &refusal{"TRYCREATE", "No such mailbox"}
	}
	return err
}

// isMailError reports whether err is one of those of mail.go.
func isMailError(err error) bool {
	for i := range mailErrors {
		if errors.Is(err, mailErrors[i].err) {
			return true
		}
	}
	return false
}

// answerError writes the tagged answer to a command that failed. This is where
// it is decided what a client hears about an error. An error that ends the
// session is returned.
func (s *session) answerError(tag, command string, err error) (result, error) {
	var end *endError
	var syntax *wire.SyntaxError
	var no *refusal
	switch {
	case errors.As(err, &end):
		return resultEnded, end
	case s.in.err != nil: // the stream is broken, whatever the command made of it
		return resultEnded, s.in.err
	case s.ctx.Err() != nil:
		return resultEnded, s.ctx.Err()
	case errors.As(err, &syntax):
		s.out.tagged(tag, "BAD", "", syntax.Message)
		return resultBad, s.countBad()
	case errors.As(err, &no):
		s.out.tagged(tag, "NO", no.code, no.text)
		return resultNo, nil
	}
	for _, e := range mailErrors {
		if errors.Is(err, e.err) {
			s.out.tagged(tag, "NO", e.code, e.text)
			return resultNo, nil
		}
	}
	id := faultID()
	level.Error(s.log).Log("msg", "command failed", "command", command, "fault", id, "err", err)
	s.out.tagged(tag, "NO", "SERVERBUG", "Internal error, reference "+id)
	return resultFault, nil
}

// countBad ends the session of a client that does not speak IMAP.
func (s *session) countBad() error {
	if s.bad++; s.bad < maxBadInRow {
		return nil
	}
	return &endError{bye: "Too many commands in a row that are not understood"}
}

// faultID returns what connects an answer with a line of the log.
func faultID() string {
	var b [6]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// panicError is what is left of a panic.
func panicError(value any) error { return fmt.Errorf("panic: %v", value) }
