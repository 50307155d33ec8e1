package crdt

// Op is one operation: a header that replication needs and a payload that says
// what it does to the account.
type Op struct {
	Dot     Dot
	Deps    VC   // what its replica had applied when it was prepared, without itself
	Time    Time // origin's clock
	Account AccountID
	Cause   Cause
	// Partial says that Deps is the vector of the account, of which the origin is
	// loading a snapshot, and more than the origin has of other accounts.
	Partial bool
	// More says that the next operation of the origin belongs to the same change of
	// the same command: it was done only when both are there.
	More bool
	// Failed are the places, among the messages that a conditional STORE named, of
	// those that it did not change: part of its answer, should the command come again.
	Failed  []uint32
	Payload Payload
}

// Payload is a pointer to one of the operation types below. All message
// operations take lists.
type Payload interface {
	kind() kind
	encode(*writer)
	decode(*reader)
	// check returns an error if the operation is impossible; it changes nothing.
	check(*work) error
	// effect changes the account. After check it fails only with the medium.
	effect(*work) error
}

type kind uint8

// Added is a new instance in an operation; its tag is the operation's dot with
// the place in the list.
type Added struct {
	Root  Root
	UID   UID
	Flags []string
	Size  uint64
	Date  int64 // Unix seconds
	Zone  int16 // minutes east of UTC
	Saved int64 // Unix seconds
}

type (
	// Append adds messages to a mailbox: APPEND, COPY, delivery. NewBody says
	// for which of them the content travels with the operation, Hold how many ms
	// after the operation's time they are shown (crdt.md 2.4).
	Append struct {
		Box      MailboxID
		Messages []Added
		NewBody  bool
		Hold     uint32
		Moved    bool // the account comes from another subnet, where it had these UIDs: see SetHome
	}

	// Store changes flags of instances (those listed and all live copies that
	// the preparing replica knew).
	Store struct {
		Targets []Instance
		Mode    StoreMode
		Flags   []string // canonical names
		Base    Time     // StoreReplace: flags set before it are off; 0 is the operation's time
	}

	// Expunge removes instances.
	Expunge struct{ Targets []Instance }

	// Move removes instances (each with its live copies) and adds them to Dst.
	Move struct {
		Dst     MailboxID
		Entries []Moved
	}
	// Moved is one message of a Move. New.Flags is not used: State carries the
	// flag registers as they were at the source.
	Moved struct {
		From   Instance
		Copies []Instance
		New    Added
		State  []Flag
	}

	// Reissue gives instances new UIDs.
	Reissue struct {
		Box  MailboxID
		List []TagUID
	}

	// Nudge asks the leader to re-issue UIDs that were refused here.
	Nudge struct {
		Box  MailboxID
		List []TagUID
		H    UID
	}
	// TagUID pairs an instance with a UID.
	TagUID struct {
		Tag Tag
		UID UID
	}

	// Renumber begins another era of a mailbox and gives instances UIDs in it
	// (crdt.md 6.5).
	Renumber struct {
		Box  MailboxID
		Era  uint32
		List []TagUID // in the order of the UIDs before
	}

	// RaiseEpoch makes every mailbox skip what an evicted member may have given
	// (crdt.md 6.4).
	RaiseEpoch struct {
		Epoch uint32
		Boxes []RaisedMailbox
	}
	// RaisedMailbox is one mailbox of a RaiseEpoch.
	RaisedMailbox struct {
		ID MailboxID
		N  UID // none up to this is issued any more
		C  uint32
	}

	// CreateMailbox creates or revives a mailbox record.
	CreateMailbox struct{ Boxes []NewMailbox }
	// NewMailbox is one record of a CreateMailbox; the dot added to its
	// presence is the operation's, except that Fixed records (those of a new
	// account) use dots of the zero origin and their place in the list, so that
	// provisioning twice is a no-op.
	NewMailbox struct {
		ID         MailboxID
		Name       string // at the record's first creation; its name may have changed since
		Generation uint32
		C          uint32
		SpecialUse string
		Subscribe  bool
		Fixed      bool
	}

	// DeleteMailbox removes the presence dots and instances that were observed.
	DeleteMailbox struct {
		ID   MailboxID
		Dots []Dot
		Tags []Tag
	}

	// Rename renames a mailbox and its inferiors.
	Rename struct{ Boxes []Renamed }
	// Renamed is one mailbox of a Rename.
	Renamed struct {
		ID   MailboxID
		Name string
		C    uint32
	}

	// RenameInbox is RENAME of INBOX: the destination is created and every
	// observed message moves there (RFC 3501 section 6.3.5).
	RenameInbox struct {
		Create CreateMailbox
		Move   Move
	}

	// Touch raises the growing part of a mailbox's UIDVALIDITY.
	Touch struct {
		ID MailboxID
		C  uint32
	}

	// Subscribe sets the subscription of a name.
	Subscribe struct {
		Name string
		On   bool
	}

	// SetSpecialUse sets a mailbox's special use.
	SetSpecialUse struct {
		ID  MailboxID
		Use string
	}

	// Annotate sets annotations of mailboxes and of the account.
	Annotate struct{ Entries []Annotated }
	// Annotated is one entry of an Annotate.
	Annotated struct {
		Of    Annotation
		Value Note
	}

	// BindLogin binds the account to a login name.
	BindLogin struct{ Login string }
)

// StoreMode says what a Store does with the flags it names.
type StoreMode uint8

// The three forms of STORE (RFC 9051 section 6.4.6).
const (
	StoreAdd StoreMode = iota
	StoreRemove
	StoreReplace
)
