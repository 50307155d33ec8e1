package comm

import (
	"context"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// Store is what replication needs of a replica's disk. Its methods may be
// called concurrently.
type Store interface {
	// Origin returns the replica's own incarnation, Slot its slot.
	Origin() crdt.Origin
	Slot() crdt.Slot
	// Logged returns the operations that are durably logged here, own and received.
	Logged() crdt.VC
	// Read returns encoded operations of one origin, in order from number
	// `from`, about limit bytes of them but at least one if there is any.
	Read(o crdt.Origin, from uint64, limit int) ([]Entry, error)
	// Apply logs and applies operations, given in causal order, each exactly
	// once, and returns when they are durable. Bodies that they bring were
	// put before. An operation whose account is quarantined is logged only.
	Apply(ctx context.Context, ops []Entry) error

	// Clock returns the hybrid clock: what was durable before the call was
	// applied with a MODSEQ up to it, and larger ones are drawn later.
	Clock() crdt.Time
	// Heard tells what a peer said of itself: all of applied was applied there
	// when its clock showed that time (crdt.md 4.2). It must not block.
	Heard(peer crdt.Origin, clock crdt.Time, applied crdt.VC)

	// Joined tells, once before clients are served, that the replica has caught up
	// with its subnet, or begins it, and whether another incarnation had its slot
	// before. It returns when what follows from that is durable. It may be told again
	// after a restart.
	Joined(replaces bool) error

	// Cut returns where the log begins: for each origin the last number that
	// is no longer in it.
	Cut() crdt.VC
	// Stable tells which operations are causally stable: every member has
	// logged and applied them, and what is applied here from now on comes after
	// them. Of those that are expendable, which are no fewer, the log and the
	// contents that they have removed are not needed (crdt.md 6.2): only members
	// that are behind the log's cut may lack them. It is called with rising
	// vectors, at most once a heartbeat, and must not block.
	Stable(stable, expendable crdt.VC)

	// BodyChunk returns a piece of a content: data, and whether it is the last.
	// nil and false when the content is not here.
	BodyChunk(root crdt.Root, index int) (data []byte, last bool, err error)
	// StagedChunk returns a piece of a content that is still coming in, of which
	// Group.BodyGrows was told; nil when it has gone.
	StagedChunk(root crdt.Root, index int) ([]byte, error)
	// PutBodyChunk stores a piece, durable with the next Apply. Idempotent.
	PutBodyChunk(root crdt.Root, index int, data []byte, last bool) error

	// PeerRecord is what is remembered of a peer, by name; nil if nothing.
	PeerRecord(name string) ([]byte, error)
	SetPeerRecord(name string, record []byte) error
}

// Entry is an encoded operation with what replication must know of it.
type Entry = causal.Entry
