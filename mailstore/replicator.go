package mailstore

import (
	"context"

	"github.com/go-pluto/pluto/crdt"
)

// Replicator is told of local commits and says when their OK may be given.
type Replicator interface {
	// Committed tells that own operations up to number n are durable here. It
	// never blocks.
	Committed(n uint64)
	// Wait returns when an operation that is durable here is so on as many peers as
	// configured, or that is not to be waited for (replication.md, AckPeers). An error
	// means that the OK must not be given (AckStrict).
	Wait(ctx context.Context, d crdt.Dot) error
}

// BodySink sends large contents to other members while they come in, before
// there is an operation that brings them, so that operations of other sessions
// need not wait behind them. Its methods may be called concurrently.
type BodySink interface {
	// BodyGrows tells that the first pieces of a content are on this disk, where
	// StagedChunk finds them. It never blocks.
	BodyGrows(root crdt.Root, pieces int)
	// BodyWhole tells that all its pieces but the last are there, and returns
	// when the operation that brings it is to be committed.
	BodyWhole(ctx context.Context, root crdt.Root)
	// BodyDropped tells that there will be no such operation.
	BodyDropped(root crdt.Root)
}

// aheadFrom is how many pieces of a message must have come in before it is worth
// to send it ahead.
const aheadFrom = 2

// SetBodySink names who sends large contents ahead. It is called once, before the
// first session; without one they travel with their operations.
func (r *Replica) SetBodySink(s BodySink) { r.sink.Store(&s) }

// grown tells that another piece of a staged message is on the disk.
func (s *Staging) grown() {
	if p := s.r.sink.Load(); p != nil && s.flushed >= aheadFrom {
		(*p).BodyGrows(s.root, int(s.flushed))
	}
}

// ahead waits until the pieces that are on the disk are with the peers, or are
// not to be waited for.
func (s *Staging) ahead(ctx context.Context) {
	if p := s.r.sink.Load(); p != nil && s.flushed >= aheadFrom {
		(*p).BodyWhole(ctx, s.root)
	}
}

// dropped tells that the message will not be appended.
func (s *Staging) dropped() {
	if p := s.r.sink.Load(); p != nil && s.flushed >= aheadFrom {
		(*p).BodyDropped(s.root)
	}
}
