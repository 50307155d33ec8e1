// Package comm replicates the operations of a subnet: every replica pushes its
// own to all peers as soon as they are on its disk, and applies what it gets
// exactly once, in causal order.
//
// A [Group] is one replica's part. It dials every peer and keeps one stream to
// each, on which its operations go out and acknowledgements come back; a
// [Service] takes the streams that peers open. The decisions are made by the
// state machine of package causal; this package adds goroutines, gRPC and the
// disk, which it sees as a [Store].
//
// # Promises
//
// An operation is applied after everything that it depends on, once, however
// often streams break and peers repeat themselves. Before it is acknowledged it
// is durable, and so are the bodies that it brings.
//
// Nothing waits for a peer that is away: not boot, not commits, not the other
// peers. What it lacks is read from the log when it is back; in memory it costs
// a few numbers. What a peer lacks of one whose stream to it broke it is sent by all
// others that have it, at once: a session of the one that died may wait for it there. What cannot be applied yet is bounded per origin
// ([Config].Window), and that bound blocks no other origin.
//
// A large content does not hold up the operations of others: it is sent while it
// still comes in, beside them, and its own operation is committed when it is
// there ([Group.BodyWhole]). Pieces of contents, and operations that travel
// together, are compressed where that saves something.
//
// A log may be cut behind what a peer has. A replica that finds nobody in reach
// whose log reaches back to where it is loads the accounts of one instead
// (crdt.md 6.3), through its [Snapshots]: account by account, while both serve.
// What is loaded stays so when the connection, either process or the peer is lost
// meanwhile; the peer keeps its log for it, but not for ever. Contents follow,
// each once. What is sent to members that load is bounded by [Config].GiveRate, in
// memory it costs a few pieces.
//
// [Group.Wait] says when the OK of a change may be given: when enough peers
// have it on disk, or waiting makes no sense.
//
// Nothing that arrives on a stream ends the process or grows without limit. A
// peer that breaks the rules loses its stream and is told why.
//
// # Identity
//
// Before anything else two peers compare what they must agree on, and each
// checks what it remembers of the other (the peer records of the Store):
//
//   - A slot belongs to one incarnation for ever. Another one that claims it is
//     refused, whatever its name.
//   - A name with a new incarnation, which is a replica that lost its disk, is
//     refused: clients may have seen UIDs and changes of the old one that reached
//     nobody else, and the new one would use them again. The operator can put the
//     old disk back, or say that it is lost by starting the new incarnation once
//     with [Config].Replaces set to the old one.
//   - An incarnation that has fewer operations of its own than are known of it,
//     or other ones, or fewer of others than it has told to have, runs on restored
//     or copied data. It is refused, and when it
//     learns that, it fences itself: [Group.Wait] fails from then on, and
//     [Status].Ready is false. It needs its newest data back, or an empty disk.
//
// A new replica with configured peers is to take no writes before one of them
// has confirmed its slot ([Group.Confirmed]), and to serve nobody before it has what
// the subnet had when it came ([Status].Joined): clients have seen that elsewhere.
package comm
