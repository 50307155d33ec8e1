package crdt

import (
	"errors"
	"fmt"
)

// Errors of prepares and of Apply. They are wrapped with what was tried.
var (
	// ErrImpossible says that an operation cannot have been prepared by a
	// correct replica, or refers to what cannot exist. Nothing was changed; the
	// account is to be quarantined (replication.md).
	ErrImpossible = errors.New("impossible operation")
	// ErrNonexistent says that there is no such mailbox.
	ErrNonexistent = errors.New("no such mailbox")
	// ErrAlreadyExists says that a mailbox of that name is shown already.
	ErrAlreadyExists = errors.New("mailbox exists already")
	// ErrCannot says that this cannot be done with this mailbox.
	ErrCannot = errors.New("not possible with this mailbox")
	// ErrName says that a mailbox name is not one.
	ErrName = errors.New("bad mailbox name")
	// ErrFlag says that a flag name is not one.
	ErrFlag = errors.New("bad flag")
	// ErrOtherLogin says that the account belongs to another login name.
	ErrOtherLogin = errors.New("account is bound to another login name")
	// ErrUIDSpace says that the UIDs of a mailbox's era are used up, and another
	// one must begin ([Site.PrepareRenumber]).
	ErrUIDSpace = errors.New("UIDs of the mailbox are used up")
	// ErrLimit says that a command would exceed a limit of this package.
	ErrLimit = errors.New("too much at once")
	// ErrSuperseded says that a later attempt at the command is known, made
	// where the session has moved to.
	ErrSuperseded = errors.New("command was executed again elsewhere")
	// ErrClock says that Site.Mod is behind a MODSEQ that was given before.
	ErrClock = errors.New("clock is behind the mailbox's MODSEQ")
)

// SpaceError is an [ErrUIDSpace] that says of which mailbox.
type SpaceError struct{ Box MailboxID }

// Error implements error.
func (e *SpaceError) Error() string { return fmt.Sprintf("%v: mailbox %x", ErrUIDSpace, uint64(e.Box)) }

// Is makes the error an [ErrUIDSpace].
func (e *SpaceError) Is(target error) bool { return target == ErrUIDSpace }

// Policy tunes how UIDs that were refused are replaced. All members of a group
// may differ in it without harm, except for Hidden. The zero value means [DefaultPolicy].
type Policy struct {
	Batch int64 // ms in which refused UIDs are gathered for one operation
	Wait  int64 // ms by rank before a non-leader re-issues the UID of a hidden message; about 3 round trips
	Quiet int64 // ms without change in the mailbox before a non-leader re-issues that of a message shown under an old UID; doubles with every try
	Gap   UID   // UIDs that the leader leaves free before a batch of re-issues

	// Hidden bounds how long, in ms, a message that was delivered to a replica may
	// still be hidden there when a MODSEQ is told to a client ([Site.Unhide]). The
	// same for all members, since each relies on the others; above what any of
	// them waits (ranks times Wait).
	Hidden int64
}

// DefaultPolicy returns the settings that crdt.md section 8 recommends.
func DefaultPolicy() Policy {
	return Policy{Batch: 10, Wait: 300, Quiet: 5000, Gap: 128, Hidden: 10_000}
}

// Self says which replica runs the operations.
type Self struct {
	Origin    Origin
	Slot      Slot
	Leader    bool // re-issues refused UIDs first; safety does not depend on it
	Rank      int  // order of those who do it instead: 0 the leader, others by slot
	Separator byte // between levels of mailbox names: '.' or '/'
	Policy    Policy
}

func (s *Self) policy() Policy {
	if s.Policy == (Policy{}) {
		return DefaultPolicy()
	}
	return s.Policy
}

// rank returns the place among those who re-issue when the leader does not, from
// 1. Who was given none comes behind all others, by slot: two that act at the
// same time refuse each other's UIDs.
func (s *Self) rank() int64 {
	if s.Rank > 0 {
		return int64(s.Rank)
	}
	return int64(MaxSlot) + int64(s.Slot)
}

// Site is one account at one replica at one moment: what prepares read and
// effects change. It is made for one operation and used by one goroutine.
//
// A local command prepares a payload, makes it an [Op] (next number, the vector
// without it, Time = Mod) and applies it in the same transaction, before any other
// operation of the account: a prepare takes UIDs that only the effect marks as
// used. An operation of a peer is applied as it comes, in causal order.
type Site struct {
	State  State
	Self   Self
	Now    int64 // Unix ms
	Mod    Time  // one Clock.Bump for all that the operation changes here
	Before Time  // the clock just before Mod, the operation's Time observed
}

// Announce is called whenever a client learns UIDNEXT or UIDs of a mailbox
// (SELECT, STATUS, APPENDUID, COPYUID): it moves the horizon above everything
// shown (crdt.md 2.2) and returns UIDNEXT and HIGHESTMODSEQ. It reads and at
// most writes the mailbox record, which exists afterwards also for an INBOX that
// was never used.
func (s *Site) Announce(box MailboxID) (uidNext UID, high Time, err error) {
	b, err := s.mailbox(box)
	if err != nil {
		return 0, 0, fmt.Errorf("announce: %w", err)
	}
	if b == nil {
		return 0, 0, fmt.Errorf("announce %x: %w", uint64(box), ErrNonexistent)
	}
	if b.H < b.MaxExp || b.High == 0 {
		b.H, b.High = max(b.H, b.MaxExp), max(b.High, s.Mod, 1)
		if err := s.State.PutMailbox(b); err != nil {
			return 0, 0, fmt.Errorf("announce: %w", err)
		}
	}
	return b.H + 1, b.High, nil
}

// Restart forgets what a process knew: its clients may have been told of every
// UID that was issued. It is called for each mailbox before anything else once
// the process has started anew.
func (b *Mailbox) Restart() {
	b.H = max(b.H, b.N)
	b.Watched = false
}

// mailbox reads a record; INBOX has one even if none was written.
func (s *Site) mailbox(id MailboxID) (*Mailbox, error) {
	b, err := s.State.Mailbox(id)
	if err != nil {
		return nil, fmt.Errorf("mailbox %x: %w", uint64(id), err)
	}
	if b == nil && id == Inbox {
		b = newMailbox(Inbox, inboxName, 1)
		b.C = 1
	}
	return b, nil
}

// liveMailbox reads the record of a mailbox that a command names.
func (s *Site) liveMailbox(id MailboxID) (*Mailbox, error) {
	b, err := s.mailbox(id)
	if err != nil {
		return nil, err
	}
	if b == nil || !b.Live() {
		return nil, fmt.Errorf("mailbox %x: %w", uint64(id), ErrNonexistent)
	}
	return b, nil
}

// UIDs come in blocks of uidBlock, which belong to the slots in turn: no two
// replicas ever issue the same one, and a single writer gives runs.
const (
	uidBlock   = 16
	uidClasses = 16
)

// slot returns the slot to which a UID belongs.
func (u UID) slot() Slot { return Slot((u - 1) / uidBlock % uidClasses) }

// issuer gives out UIDs of one mailbox for one operation.
type issuer struct {
	last UID
	slot Slot
	box  MailboxID
}

func (s *Site) issuer(b *Mailbox) issuer { return issuer{max(b.N, b.H), s.Self.Slot, b.ID} }

// next returns the smallest UID of the own class above all known ones and `gap` more.
func (i *issuer) next(gap UID) (UID, error) {
	if i.slot < 1 || i.slot > MaxSlot {
		return 0, fmt.Errorf("issue UID: slot %d is not in 1..%d", i.slot, MaxSlot)
	}
	u := i.last + gap + 1
	block := (u - 1) / uidBlock
	if skip := (UID(i.slot) + uidClasses - block%uidClasses) % uidClasses; skip > 0 {
		u = (block+skip)*uidBlock + 1
	}
	if u.Era() != i.last.Era() || u.Number() > MaxNumber {
		return 0, &SpaceError{i.box}
	}
	i.last = u
	return u, nil
}
