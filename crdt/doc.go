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
//     later is shown, and both are removed together. Of a command that is
//     replayed elsewhere the last attempt stays, also against a first one that
//     comes when the user has moved or removed the other long since.
//   - Two writers of one flag or annotation: the later by hybrid clock wins;
//     different ones do not disturb each other.
//   - A content is there as long as an instance refers to it, or an operation that
//     is still to come may ([Collect]); then it goes, and leaves nothing behind.
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
// add-wins of new messages. The rest (immutable messages, UIDs, MODSEQ, MOVE,
// RENAME) was found with an executable model; the definition is crdt.md.
//
// # Where to look
//
// Section of the definition, code, and the tests that are about it. Scripts are in
// testdata/scripts and run by TestScripts. What is said of all operations is
// tested by TestConcurrentOperationsCommute, TestConvergence, TestExhaustive and
// TestAgainstModel; make mutants puts a fault into each of these rules.
//
//	A    published model             (its rules only)                TestPublishedScripts TestPublishedConditionsAreNeeded
//	1    state, HLC, dots, vectors   state.go types.go vector.go     TestVC TestClockBehind
//	1    UIDs of a slot              uid.go site.go                  TestClasses TestIssue
//	2    operations                  op.go effect.go prepare.go      TestImpossible TestApplyTwice TestNothingToDo
//	2    encoding of operations      codec_op.go codec_payload.go    TestOpRoundTrip TestEncodingIsStable
//	2    encoding of records         codec.go codec_record.go        TestRecordRoundTrip TestMailboxFloors
//	2.1  reconcile                   work.go                         TestRemovalReportsEveryUID
//	2.1  re-issue and nudge          tick.go                         TestReissuesEnd TestTickTimes TestNudgeCarriesHorizon
//	2.2  horizon                     site.go                         c13_uidnext_after_restart
//	2.3  twins                       work.go                         c17_moves
//	2.3  replayed commands           cause.go forget.go              c17_replayed_moves c21_late_original TestReplays TestReplaysExhaustive
//	2.4  held deliveries             hold.go                         TestHoldRefusesNothing TestHoldTakesAlong TestHoldAndClocks
//	2.5  FLAGS, SUBSCRIBE, provision flag.go mailbox_prepare.go      flags TestSameValueLater
//	2.5  annotations (METADATA)      annotate.go                     TestAnnotationLimits TestNotesOfMailboxes
//	3.1  remove wins                 effect.go                       c09_store_expunge TestConditionsAreNeeded
//	3.2  add wins over DELETE        mailbox_effect.go               c16_mailbox_races
//	3.3  flags                       flag.go                         flags TestFlagTies
//	4.1  MODSEQ where it is applied  work.go                         c08_modseq
//	4.2  MODSEQs of other replicas   token.go checkpoint.go          TestFloorRandom TestFloorExhaustive TestRoaming
//	4.2  what a client is told       resync.go                       c04_hidden_there c06_several_uids
//	4.3  evidence                    evidence.go                     c05_uidnext_elsewhere TestEvidenceBounds
//	4.4  forgotten vanished UIDs     resync.go                       vanished_pruned
//	5    names, UIDVALIDITY, TOUCH   name.go validity.go             names TestListOfConflicts TestValidityEnds TestUIDValidityRounds
//	6.2  contents                    content.go                      TestCollect TestContentsRandom
//	6.3  snapshots                   load.go load_check.go           snapshots TestLoadConverges TestLoadSubnet
//	6.4  epochs after an eviction    epoch.go                        epochs TestEvictionLeavesNothingCertain
//	6.5  eras                        renumber.go                     eras TestUIDSpaceEnds TestRenumberMargins
//	7    invariants                  audit.go                        TestAuditFinds
//
// # Counterexamples
//
// Those of crdt.md section 9, each with the script or test that holds it.
//
//	C1   immediate re-issue on both sides never ends      c01_livelock TestReissuesEnd
//	C2   a refused UID must be reported as vanished       c02_vanish_unshown
//	C3   also one that is refused long after it was told  c03_refused_later
//	C4   a MODSEQ is given while a message is hidden      c04_hidden_there
//	C5   UIDNEXT of a replica that knew more              c05_uidnext_elsewhere
//	C6   replicas show one message by different UIDs      c06_several_uids
//	C7   shown and told, then the power fails             mailstore.TestUIDIsOnDiskBeforeItIsTold mailstore.TestRestoredBackupIsNoticed
//	C8   MODSEQ of the origin lies below the announced    c08_modseq
//	C9   STORE brings back what was expunged              c09_store_expunge
//	C10  MOVE arrives after the body was deleted          c10_move_expunge_body
//	C11  a snapshot's vanished UID is shown here          c11_snapshot_vanished
//	C12  one UID issued twice                             c12_uid_classes
//	C13  UIDNEXT goes down after a restart                c13_uidnext_after_restart
//	C14  MODSEQ of another replica taken for an own one   c14_foreign_as_own
//	C15  DELETE and CREATE restart the UIDs               c15_delete_create
//	C16  races of CREATE, DELETE, RENAME, APPEND          c16_mailbox_races
//	C17  MOVE against MOVE and EXPUNGE                    c17_moves c17_replayed_moves
//	C18  hidden since when, by an idle clock              c18_idle_replica
//	C19  twins in several mailboxes after a snapshot      c19_snapshot_twins
//	C20  a later removal is not stable yet                c20_second_removal
//	C21  the original of a replay comes a day later       c21_late_original TestReplays TestReplaysExhaustive mailstore.TestLateOriginal
//	C22  a session that moved away wakes up               mailnode.TestLateCommandIsNotExecuted e2e.TestC22WorkerHangs
//	C23  a change is told nowhere when a session moves    c23_told_elsewhere
package crdt
