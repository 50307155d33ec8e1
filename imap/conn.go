package imap

import (
	"io"
	"time"
)

// Conn is what a session runs on: the stream from and to one client, through
// the tunnel or, in tests, in memory. One goroutine reads; one writes.
//
// A blocked Read returns when the context given to [Serve] ends, after Bye, and
// after a method that writes has failed: the session waits for it then.
type Conn interface {
	// Read returns client bytes; io.EOF when the client is gone or the stream
	// was taken away.
	io.Reader
	// Write queues response bytes. It sends a piece (a Partial) when much is
	// queued, and blocks while the other side does not take it. It does not
	// keep the slice.
	io.Writer
	// Answer sends what is queued as the end of one or more commands' responses
	// (or as an announcement while idle), with the state after it.
	Answer(Checkpoint) error
	// Continue sends what is queued (a "+" line) inside a command: the client is to go on.
	Continue(Checkpoint) error
	// Bye sends what is queued as the last of the session.
	Bye() error
}

// ReadDeadliner is implemented by a Conn whose Read can be told to give up, as
// that of a [net.Conn]: after the given time it returns an error that is
// [os.ErrDeadlineExceeded]. Without it the session ends no silent client by itself.
type ReadDeadliner interface {
	SetReadDeadline(time.Time) error
}

// Turner is implemented by a Conn whose other end can change what the client's
// stream is. Both methods are an Answer as well.
type Turner interface {
	// Compress has all that follows compressed, in both directions (RFC 4978).
	Compress(Checkpoint) error
	// Unauthenticate ends the session but not the connection: what the client
	// sent beyond the checkpoint is for whoever it logs in as (RFC 8437).
	Unauthenticate(Checkpoint) error
}

// Holder is implemented by a Conn that can keep what is written until the next
// Answer: what changes message numbers must not reach the client without the state
// after it.
type Holder interface {
	Hold()
}

// Checkpoint is what another replica needs to go on with the session.
//
// A command counts as done with when its tagged answer is written: inside a
// command (a literal, IDLE) Consumed is the beginning of that command, so a
// replica that takes over executes the command again from its first byte,
// and asks for the continuation again.
type Checkpoint struct {
	Consumed uint64  // client bytes that are done with
	Read     uint64  // of Continue: client bytes up to where the client is to go on
	State    []byte  // the session's, versioned; nil: as in the last checkpoint
	Chunks   []Chunk // what State refers to, in order; nil with State
	Vector   []byte  // Account.Vector
}
