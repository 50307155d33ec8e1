// Package tunnel carries client sessions from a distributor to the node that
// keeps the user's mail: one gRPC stream (node.proto) for each session.
//
// The node's end is a [Server], which calls a function for each session with a
// [Conn]: a byte stream to and from the client, whose answers carry checkpoints. The
// distributor's end is a [Session]. Neither knows IMAP: the package moves
// bytes and says when something ended.
//
// Promises:
//
//   - An answer that fits one frame (MaxFrame) is one message, together with the
//     checkpoint after it: what was confirmed was delivered whole.
//   - A client that does not read stops its own session and no other (flow control of
//     the stream). The other way, a session that does not read stops its client:
//     at most WindowSize bytes are under way to it, and the node takes them all off the
//     stream at once, so that a ping never waits behind data.
//   - While a session owes its client an answer, the distributor sends a ping
//     every PingInterval. [Conn.Heard] says when the last sign came, on the node's
//     monotonic clock: that is the lease under which a session may commit. An idle
//     session is not pinged; the bytes of its next command renew the lease.
//   - A node that gives no sign for StallTimeout, although it was asked for, counts as gone.
//
// The generated code is made by `make proto`.
package tunnel

import "time"

// Sizes and times that both ends agree on.
const (
	// MaxFrame is the most data in one message. A little below 32 KiB, so that
	// a message fits gRPC's pooled buffers of that size.
	MaxFrame = 31 << 10
	// WindowSize is how many client bytes may be under way to a session.
	WindowSize = 256 << 10
	// PingInterval is the time between pings of a session that owes an answer.
	PingInterval = 500 * time.Millisecond
	// StallTimeout is how long such a session may give no sign of life.
	StallTimeout = 10 * time.Second
	// CloseGrace is how long a session may go on with what its client sent
	// before it left, and how long the distributor waits for that.
	CloseGrace = 10 * time.Second
)
