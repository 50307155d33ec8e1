package crdt

// State is one account as an operation reads and changes it. The mailstore
// implements it by a transaction over the disk, tests by maps ([Memory]). What
// a method returns belongs to the caller, who gives it back with the matching
// Put; nothing is visible to others before the surrounding transaction commits.
// An implementation is used by one goroutine at a time.
//
// Errors are those of the medium; absence is not an error but a nil result.
type State interface {
	// Account returns the account record (a zero one for a new account).
	Account() (*Account, error)
	PutAccount(*Account) error

	// Mailbox returns the record of a mailbox, live or dead, nil if there never was one.
	Mailbox(MailboxID) (*Mailbox, error)
	// Mailboxes returns all records, live and dead, in no particular order.
	Mailboxes() ([]*Mailbox, error)
	PutMailbox(*Mailbox) error

	// Message returns an instance, nil if it is absent.
	Message(MailboxID, Tag) (*Message, error)
	PutMessage(MailboxID, *Message) error
	DeleteMessage(MailboxID, Tag) error
	// Tags returns the instances of a mailbox, hidden ones too, in any order.
	Tags(MailboxID) ([]Tag, error)

	// Twins returns the live instances filed under key (the source of a MOVE or
	// the cause of a command that may be replayed); AddTwin and RemoveTwin keep
	// the file. Filed returns up to n entries of it behind one, in a fixed
	// order; the zero value is before the first.
	Twins(key TwinKey) ([]Instance, error)
	AddTwin(TwinKey, Instance) error
	RemoveTwin(TwinKey, Instance) error
	Filed(behind Filing, n int) ([]Filing, error)

	// ReplaysOf returns the replays that are remembered under a key, AddReplay
	// and RemoveReplay keep them. Replays returns up to n of them behind one, in
	// a fixed order; the zero value is before the first.
	ReplaysOf(key TwinKey) ([]Replay, error)
	AddReplay(Replay) error
	RemoveReplay(Replay) error
	Replays(behind Replay, n int) ([]Replay, error)

	// Vanish records that uid denotes nothing here since mod; Unvanish forgets that.
	Vanish(box MailboxID, uid UID, mod Time) error
	Unvanish(box MailboxID, uid UID) error
	// ForgetVanished forgets every vanished UID below one, at the price of one.
	ForgetVanished(box MailboxID, below UID) error

	// Used returns the largest validity ever shown under a name, 0 if none.
	Used(name string) (Validity, error)
	PutUsed(name string, v Validity) error

	// Subscription returns the register of a name, nil if it was never set.
	Subscription(name string) (*Register[bool], error)
	PutSubscription(name string, r Register[bool]) error

	// NoteOf returns the register of an annotation, nil if it was never set. Notes
	// returns those of a mailbox or, with Annotation.Server, of the account itself;
	// the entry in of does not count. NotesSize returns how many registers of
	// annotations the account has, and how many bytes they take.
	NoteOf(of Annotation) (*Register[Note], error)
	PutNote(of Annotation, r Register[Note]) error
	Notes(of Annotation) (map[string]Register[Note], error)
	NotesSize() (registers int, bytes int, err error)

	// Await puts an instance on the list of those whose shown UID differs from
	// their register, which await a new one or that they may be shown; Settle
	// takes it off; Awaiting lists.
	Await(Instance) error
	Settle(Instance) error
	Awaiting() ([]Instance, error)

	// Retain counts one more live instance of a content; Release one less, and
	// records that op removed it. See [Content] and [Collect].
	Retain(Root) error
	Release(root Root, op Dot) error
}

// NameIndex is what a [State] may offer beside its methods. Records of deleted
// mailboxes are kept for ever; with an index the work on names does not grow
// with their number, without one it reads all records.
type NameIndex interface {
	// Named returns at least all live records, those that have the name of a
	// live one, and those that Called returns, each once, in no particular order.
	Named(names []string) ([]*Mailbox, error)
	// Called returns at least the records whose name, now or at creation, is one of
	// names, each once, in no particular order.
	Called(names []string) ([]*Mailbox, error)
}

// Instance says where a message instance lives. An instance never changes its mailbox.
type Instance struct {
	Box MailboxID
	Tag Tag
}

// TwinKey is what the members of a group of twins have in common.
type TwinKey struct {
	Source Tag   // the instance that concurrent MOVEs removed, or
	Cause  Cause // the command, with Attempt 0
	Root   Root  // COPY: what it copied, since a replay may name other messages
}

// Filing is an entry in the file of twins.
type Filing struct {
	Key TwinKey
	At  Instance
}

// Replay is what is remembered of an instance that a replayed command added,
// also when it is gone.
type Replay struct {
	Key     TwinKey
	Tag     Tag
	Attempt uint32 // above 0
}

// Account is what an account has one of.
type Account struct {
	Login       Register[string] // the login name that the account is bound to
	Provisioned bool             // INBOX and the special-use mailboxes were made once
	Epoch       uint32           // of the group that it was raised to: evictions so far (crdt.md 6.4)
	Vector      VC               // operations of this account: what was written or applied here
	Replays     uint32           // how many are remembered here
	Home        Register[string] // the subnet that it lives in, if it was moved
	Target      string           // the member there that takes it over, while it is on its way
	// Recovered has, of each evicted replica of which something was added again, the
	// last instance that was, rising by origin. See [RecoveryCause].
	Recovered []Tag
}

// Mailbox is the record of a mailbox. It stays when the mailbox is deleted (tens
// of bytes) and is revived by CREATE of the same name.
type Mailbox struct {
	ID         MailboxID
	Created    string           // name at creation
	Generation uint32           // count of records created under that name, from 1
	Name       Register[string] // NFC UTF-8 with "/" or "." as configured between levels
	C          uint32           // growing part of Validity, max-register
	Dots       []Dot            // observed-remove set of CREATEs
	SpecialUse Register[string] // RFC 6154 attribute such as `\Sent`, or empty
	Instances  uint32           // instances present, hidden ones too
	Held       uint32           // of these, deliveries that are not shown yet (local)

	N    UID  // largest UID ever issued or heard of here; never decreases
	H    UID  // horizon: largest UID ever told to a client here; set to N at every start of the process
	High Time // HIGHESTMODSEQ

	MaxExp UID // largest UID ever shown here, gone ones too: what H rises to when a client looks

	// Counters over the shown messages, kept durable so that STATUS reads one record.
	Messages, Unseen, Deleted uint32
	Bytes                     uint64

	Evidence Evidence // UIDs skipped because clients named them (local)

	VanFloor Time // up to it vanished entries were pruned, here or at the source of a snapshot (4.4, local)
	Doubt    Time // below it no MODSEQ is worth anything: a member was evicted, or the account moved here (6.4, local)
	Recent   UID  // messages with larger UIDs are \Recent to the next session (local)
	Watched  bool `json:"-"` // volatile: a session has it selected, so H follows every exposure
}

// Live reports whether the mailbox exists: it was created and not deleted, or
// holds messages that a concurrent deletion did not know.
func (b *Mailbox) Live() bool { return b.ID == Inbox || len(b.Dots) > 0 || b.Instances > 0 }

// Message is one instance of a message in one mailbox.
type Message struct {
	Tag   Tag
	Root  Root
	Reg   UID    // max-register: the UID it shall have
	All   []UID  // every UID it ever had, Reg included
	Exp   UID    // UID shown here, 0 while hidden
	Base  Time   // the last replacement of all flags: what was set before is off
	Flags []Flag // none older than Base, sorted by folded name
	Mod   Time   // MODSEQ, drawn here

	Src     Tag  // MOVE: the instance it was
	SrcTime Time // MOVE: its time
	Cause   Cause
	Copied  bool // COPY made it: its twins have the same Root

	Size  uint64 // bytes
	Date  int64  // INTERNALDATE, Unix seconds
	Zone  int16  // its time zone, minutes east of UTC
	Saved int64  // RFC 8514 SAVEDATE at the origin, Unix seconds

	Arrived Time  // when the add was applied here, by the clock, which may be ahead of the time
	Refused int64 // Unix ms when the register value was refused here, 0 when it is not waiting
	Tries   uint8 // re-issues tried by this replica
	Nudged  UID   // register value that the leader was asked to replace
	Due     int64 // Unix ms from which on a delivery may be shown here, 0 at once
	Held    bool  // it is hidden because of that
}

// Flag is a last-writer-wins register for one flag or keyword of a message.
// Removed flags stay as registers that are off.
type Flag struct {
	Name string // canonical, see [CanonicalFlag]; keywords differ by more than ASCII case
	Time Time
	On   bool
}

// Cause says which client command made an operation: it makes a command that
// is replayed on another replica and its original one (crdt.md 2.3).
type Cause struct {
	Session [16]byte
	Command uint64
	Index   uint32
	Attempt uint32
}

// IsZero reports whether c says nothing.
func (c Cause) IsZero() bool { return c == Cause{} }
