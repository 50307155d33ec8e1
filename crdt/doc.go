// Package crdt is the replicated data type behind a pluto account: mailboxes,
// messages, flags, UIDs. Every replica of an account takes writes without asking
// the others; each write is an operation, and replicas that have applied the same
// operations agree.
//
// # Use
//
// A [Site] is one account at one replica at one moment, over a [State] (the
// mailstore's transaction, or [Memory]). A local command calls a Prepare method,
// wraps the payload in an [Op] and calls [Site.Apply] in the same transaction; the
// operation is then broadcast. An operation of a peer is just applied. Delivery
// must be causal: an operation comes after all that its replica had applied when
// it prepared it. Applying one twice does nothing.
//
// # Promises
//
//   - Concurrent operations commute. Replicas with equal sets of operations have
//     the same mailboxes, messages, flags and UID registers, and when nothing waits
//     any more ([Site.Tick]) they show the same UIDs.
//   - (mailbox, UIDVALIDITY, UID) never denotes two messages, at any replica, at
//     any time. What becomes visible at a replica has a UID at or above every
//     UIDNEXT announced there. UIDNEXT and HIGHESTMODSEQ never go down, and the
//     UIDVALIDITY under a name does not either.
//   - Every change gets its MODSEQ where it is applied, not where it was made. A
//     UID that clients may have from another replica and that is not shown here is
//     reported as vanished, even if it never was shown here.
//   - A removed message does not come back, and no other is lost. EXPUNGE wins
//     over STORE and MOVE's target over EXPUNGE; a message added while its mailbox
//     is deleted keeps the mailbox. Of two concurrent MOVEs of one message the
//     later is shown, and both are removed together.
//   - Two writers of one flag: the later by hybrid clock wins; different flags do
//     not disturb each other.
//   - An operation touches the messages that it names and a constant number of
//     other records; only operations on the mailbox list read that list.
//   - Apply is total. An operation that no correct replica makes is refused with
//     [ErrImpossible] before it changes anything; decoding takes any bytes.
//
// # Never
//
// No I/O but through State, no clock, no goroutine, no logging, no import of the
// rest of pluto. Time, identity and storage come from the caller.
//
// # How UIDs work
//
// Each replica issues UIDs from its own class (blocks of 16, by slot), above
// everything it has heard of (N). A UID that arrives and is above everything
// told to clients here (H, which moves only when a client looks) is shown as it
// is. One that is not is refused: the message waits, hidden or under an older UID,
// until it gets a larger one by a Reissue of the leader, or, if that does not
// come, of another replica after a time that depends on its rank. A message keeps
// all its UIDs; the largest is the one it shall have.
//
// # Where it comes from
//
// The model of Jungnickel, Oldenburg and Loibl (OPODIS 2017, proven in
// Isabelle/HOL as IMAP-CRDT) gives the observed-remove sets of mailboxes and the
// add-wins of new messages; its side conditions are tested. The rest (immutable
// messages, UIDs, MODSEQ, MOVE, RENAME) was found with an executable model, whose
// counterexamples are scripts here:
//
//	C1   immediate re-issue on both sides never ends      testdata/scripts/c01_livelock
//	C2   a refused UID must be reported as vanished       c02_vanish_unshown
//	C3   also one that is refused long after it was told  c03_refused_later
//	C4   a MODSEQ is given while a message is hidden      c04_hidden_there
//	C6   replicas show one message by different UIDs      c06_several_uids
//	C8   MODSEQ of the origin lies below the announced    c08_modseq
//	C9   STORE brings back what was expunged              c09_store_expunge
//	C10  MOVE arrives after the body was deleted          c10_move_expunge_body
//	C12  one UID issued twice                             c12_uid_classes
//	C13  UIDNEXT goes down after a restart                c13_uidnext_after_restart
//	C14  MODSEQ of another replica taken for an own one   c14_foreign_as_own
//	C15  DELETE and CREATE restart the UIDs               c15_delete_create
//	C16  races of CREATE, DELETE, RENAME, APPEND          c16_mailbox_races
//	C17  MOVE against MOVE and EXPUNGE                    c17_moves
//	C23  a change is told nowhere when a session moves    c23_told_elsewhere
//
// Not here yet: hold-down of deliveries, twins by the cause of a replayed command (Cause is
// kept with each message), snapshots, renumbering near the end of the UID space
// ([ErrUIDSpace] says so).
package crdt
