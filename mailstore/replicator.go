package mailstore

import "context"

// Replicator is told of local commits and says when their OK may be given.
type Replicator interface {
	// Committed tells that own operations up to number n are durable here. It
	// never blocks.
	Committed(n uint64)
	// Wait returns when own operation n is durable on as many peers as
	// configured, or that is not to be waited for (replication.md, AckPeers).
	// An error means that the OK must not be given (AckStrict).
	Wait(ctx context.Context, n uint64) error
}
