package imap

import "io"

// Conn is what a session runs on: the stream from and to one client, through
// the tunnel or, in tests, in memory. One goroutine reads; one writes.
type Conn interface {
	// Read returns client bytes; io.EOF when the client is gone or the stream
	// was taken away.
	io.Reader
	// Write queues response bytes. It sends a piece (a Partial) when much is
	// queued, and blocks while the other side does not take it.
	io.Writer
	// Answer sends what is queued as the end of one or more commands' responses
	// (or as an announcement while idle), with the state after it.
	Answer(Checkpoint) error
	// Continue sends what is queued (a "+" line) inside a command: the client is to go on.
	Continue(Checkpoint) error
	// Bye sends what is queued as the last of the session.
	Bye() error
}

// Checkpoint is what another replica needs to go on with the session.
type Checkpoint struct {
	Consumed uint64 // client bytes that are done with
	State    []byte // the session's, versioned
	Vector   []byte // Account.Vector
}
