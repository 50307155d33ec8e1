// Package causal is the core of replication as a pure state machine: no I/O,
// no clock, no goroutine, no logging. Package comm drives it with gRPC streams
// and a disk; tests drive it with scripts and random schedules.
//
// A [Machine] is one replica's view of its subnet. It has five parts:
//
//   - The inbox takes operations from peers, in whatever order their streams
//     bring them, and hands them out in batches in causal order, each exactly
//     once ([Machine.Receive], [Machine.Batch], [Machine.Applied]).
//   - The outbox keeps, for every peer and origin, the place up to which
//     operations were sent and acknowledged, and says what to read from the
//     log and send next ([Machine.Next], [Machine.Sending], [Machine.Acked]).
//   - The waiters hold back the OK of a local change until enough peers have
//     it on disk, or it is known that they will not ([Machine.Wait]).
//   - Stability: what every member has, so that nothing concurrent with it can
//     come any more ([Machine.Heard], [Machine.Stable]).
//
// # Promises
//
// (origin, n) is handed out only after (origin, n-1) and after everything in
// its dependencies, and never twice, whatever peers send and however often.
//
// The memory kept for one origin's operations that cannot be applied yet is
// at most Window bytes, or one operation if that is larger. A sender keeps to
// it by counting what is not acknowledged; the receiver checks. Because the
// bound is per origin, and the operation that an origin's queue waits for is
// always within it, no queue can block what another one waits for.
//
// A peer that is away or slow costs the others nothing: its cursors are a few
// numbers, and its operations are read again from the log when it is back.
//
// A replica loads snapshots only if it cannot get what it lacks as operations, from
// a member that is not loading any itself.
//
// What is stable at a replica has been applied at every member that is not behind
// the log's cut, and no operation that arrives later is concurrent with it. The
// stable vector never goes down; after a restart it begins with what is remembered.
// This needs of every replica that a vector which it tells has all own operations
// that it prepared before it had the others in that vector.
//
// What a peer sends is checked and refused with an error ([ErrProtocol]); it
// cannot panic the machine or grow it without bound.
//
// # Not here
//
// What operations mean, where they are stored, how peers are connected and
// identified. A Machine is not safe for concurrent use; its methods take the
// current time where they need one and never wait.
package causal
