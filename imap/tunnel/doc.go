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
//   - A session has a lease: it reads commands and commits only while its
//     distributor is known to have kept it open LeaseTime ago or later ([Conn.Leased]).
//     Once it was found to have lapsed, the session has ended: nothing is read,
//     and nothing sent, any more. So a distributor that said nothing for a session
//     for longer may open it elsewhere; a node that hung, and wakes, does nothing late.
//   - Not the arrival of a message counts, which may have lain in a socket while
//     the node did not run, but that it was sent: a node tells its monotonic clock
//     to each distributor every BeatInterval, once for all sessions, and whatever a
//     distributor sends for a session carries the last such [Beat] that it had.
//   - While a session owes its client an answer, the distributor sends a ping
//     every PingInterval. An idle session is not pinged; the bytes of its next
//     command renew the lease. The node takes pings without waiting for the session, whatever it does.
//   - A node whose beats do not come for SilentTime counts as gone, also for sessions
//     that owe nothing. One that is slow still sends them. A node that drains says so
//     with its beats, and ends its sessions by Leave: they go on elsewhere.
//   - A session that is resumed goes on where a checkpoint was: offsets in the client's
//     stream are the same on all nodes.
//   - A stream that gives no sign for StallTimeout, although it was asked for, counts as gone.
//
// The generated code is made by `make proto`.
package tunnel

import "time"

// Sizes and times that both ends agree on.
const (
	// MaxFrame is the most data in one message. A little below 32 KiB, so that
	// a message fits gRPC's pooled buffers of that size.
	MaxFrame = 31 << 10
	// MaxHeld is the most data of an answer that is kept together (Conn.Hold).
	MaxHeld = 1 << 20
	// WindowSize is how many client bytes may be under way to a session.
	WindowSize = 256 << 10
	// BeatInterval is the time between the beats of a node.
	BeatInterval = 250 * time.Millisecond
	// LeaseTime is how old the beat may be that came with the last message for
	// a session that reads a command or commits. The distributor does not open the session elsewhere
	// before somewhat more than that has passed after its last message (replication.md).
	LeaseTime = 1500 * time.Millisecond
	// SilentTime is how long a node may send no beat before its sessions are opened
	// elsewhere: their leases are over by then.
	SilentTime = 2 * time.Second
	// PingInterval is the time between pings of a session that owes an answer.
	PingInterval = 500 * time.Millisecond
	// StallTimeout is how long such a session may give no sign of life.
	StallTimeout = 10 * time.Second
	// CloseGrace is how long a session may go on with what its client sent
	// before it left, while its lease lasts, and how long the distributor waits for that.
	CloseGrace = 10 * time.Second
)
