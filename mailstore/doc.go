// Package mailstore keeps one or more replicas of mail accounts on disk.
//
// A [Store] is the database of a node (Pebble); a [Replica] in it is one
// member's copy of one subnet. An [Account] is a session's access to the mail
// of one user, a [Mailbox] one that it has selected, a [View] an immutable
// picture of it. What mail means is package crdt's business: every change is an
// operation of it, prepared, applied and logged here; operations of peers come
// in through the methods that replication wants (comm.Store).
//
// # Promises
//
//   - Atomic: an operation's effect, its place in the log and the replica's
//     version vector are one batch. After a crash each operation is there
//     completely or not at all, and what is there is a prefix of what was done.
//   - Durable: a method that changes something returns when that is synced here
//     and the [Replicator] has agreed. Commits of all accounts share syncs.
//   - In order: a session sees a change of another one only when its OK may be
//     given, and changes of one account in the order in which they happened.
//     UIDs that appear in successive views of a mailbox only rise.
//   - Numbers are never used twice: neither those of operations nor UIDs.
//   - Nothing is kept of what is over: what all members have applied is cut off
//     the log, and a content goes when nothing can refer to it any more. Nobody
//     reads half of one because of that.
//   - Memory holds what is used: an account or mailbox that nobody uses costs
//     nothing (but for the few used last), a message body at most one chunk.
//
// # Never
//
//   - No lock is held while something waits for a sync, a peer or a client.
//   - Nothing that a peer sends, and no record that cannot be read, ends the
//     process or delays another account: an operation that cannot be applied puts
//     its account into quarantine here.
//   - After a failed sync nothing is written any more: the disk may have lost
//     what it was given, and only a restart tells.
//
// # Locks
//
// In this order: Replica.recovering, upkeep.doing and collector.working (of work
// that no client waits for), account.mu (the head of one account), Replica.seq (numbers, time,
// order of batches), then one of accountTable.mu, publisher.pub, Replica.durable,
// ticker.mu, tokens.mu, upkeep.mu, collector.mu, contents.mu, puller.mu, Store.mu,
// which are held for moments. Of these only accountTable.mu encloses another,
// Store.mu. The Replicator, the BodySource and
// the BodySink are called with none of them held, so that they may call back.
//
// # Files
//
// keys.go says what lies where, format.go what versions of that there are. commit.go is the way of a change, publish.go
// its end; tx.go is the account as crdt sees it; log.go takes in what peers did.
// snapshot.go hands out accounts to a member that is behind the log, load.go and
// merge.go take them in. quarantine.go sets an account apart; catchup.go and
// wipe.go bring it back. move.go says how an account moves to another subnet;
// import.go takes it in there, purge.go deletes what it leaves behind.
// remains.go reads what is left of an evicted replica; recoverplan.go compares it with what
// is here, recover.go and recoversteps.go do again what only that one had. verify.go reads
// everything; mend.go and gap.go cut out what cannot be read.
// content.go is the bodies: incoming.go and pull.go bring them, collect.go takes
// away what nothing refers to any more, and the log that everybody has.
package mailstore
