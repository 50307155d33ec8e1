// Package sim runs a whole subnet in one process, deterministically, and checks
// after every step what pluto promises (crdt.md section 7).
//
// What runs is the product: package crdt, the state machine of comm/causal and
// package mailstore with its Pebble database. What is simulated is around it:
//
//   - Network: a stream from each replica to each other one, first in first out,
//     whose messages arrive when the script says so; streams break, directions
//     are blocked, replicas are cut off. What the gRPC shell of package comm
//     does (handshake, identities, reconnecting) is done here in a few lines.
//   - Time: virtual, with a skew of each replica's clock of up to hours. A
//     replica does nothing by itself: its ticks happen when time passes.
//   - Disks: Pebble's crashable file system in memory. A crash loses exactly
//     what was not synced: between two commands, in the middle of one just
//     before its sync, or after its sync and before its reply.
//   - Clients: sessions that use mailstore as package imap does, with the views
//     that their clients have, and roaming clients that cache. A session can move
//     to another replica, where its last command is replayed (replay.go).
//   - Snapshots: a log is cut although somebody lacks what goes, and whoever does
//     loads the accounts of another replica, piece by piece, between everything
//     else that happens (load.go).
//   - Lost disks: the others evict a replica, and it joins again with an empty
//     disk and another identity (evict.go). The lost disk turns up, and one of them
//     recovers what nobody else had (recover.go).
//
// # Scripts
//
// A run is a list of steps ([Script]), each one line of text: an action of the
// table (actions.go, commands.go) and its arguments. Running a script needs no random number
// but those of its seed from which identities are drawn, and skips steps that
// are not possible. Hence a run can be repeated, and a failing one be shortened
// by leaving out steps ([Shrink]).
//
// # What is checked
//
// [Violation] names the rule. truth.go has what every operation added, issued
// and removed, taken from the logs; check.go compares what replicas show with
// that after every step, final.go what they agree on when nothing is under way
// any more; client.go what sessions and roaming clients see.
//
// # Never
//
// No real clock, no waiting, no other source of random numbers than the seed.
package sim
