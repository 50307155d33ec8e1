package imap

import (
	"context"
	"errors"
	"io"
	"time"
)

// The interfaces below are all that the protocol engine knows about mail. A
// replica implements them (package mailnode); tests use [memmail].
//
// Methods block until what they did may be told to the client (durable here and
// on the configured number of peers), and never while holding a lock that
// another session needs. A context ends the waiting, not a commit under way.
// Errors that mean something to the client are those of this file, wrapped;
// everything else is our own fault (SERVERBUG).

// Errors of Account and Mailbox methods that have an IMAP response code of
// their own (RFC 5530, RFC 7889).
var (
	ErrNonexistent   = errors.New("no such mailbox")
	ErrAlreadyExists = errors.New("mailbox already exists")
	ErrCannot        = errors.New("not possible for this mailbox")
	ErrExpunged      = errors.New("message has been expunged")
	ErrTooBig        = errors.New("message is too big")
	ErrLimit         = errors.New("limit reached")
	ErrOverQuota     = errors.New("quota exceeded")
	ErrUnavailable   = errors.New("temporarily unavailable")
	ErrReadOnly      = errors.New("mailbox is read-only")
)

// UserID is the account's number.
type UserID uint32

// UID is a message's unique identifier in its mailbox.
type UID uint32

// ModSeq is an RFC 7162 mod-sequence value.
type ModSeq uint64

// Mail opens accounts.
type Mail interface {
	// Open returns the account of a user for one session. The account
	// remembers the login name given first and refuses any other
	// with [ErrContactAdmin].
	Open(ctx context.Context, user UserID, login string, session SessionID) (Account, error)
}

// ErrContactAdmin is returned by Open for an account that belongs to another login name.
var ErrContactAdmin = errors.New("account belongs to another login name")

// SessionID names a client session over all replicas; it makes causes of operations.
type SessionID [16]byte

// Account is one session's access to the mail of one user. It is used by one
// goroutine at a time, except where noted.
type Account interface {
	// Close ends the use; mailboxes still selected are closed with it.
	Close()
	// Command tells the number of the client command that what follows belongs to.
	Command(n uint64)
	// Vector returns, opaque to the engine, what this session wrote or was shown.
	// It may be called while another method is at work.
	Vector() []byte

	// Mailboxes returns all existing mailboxes, and the names that are only
	// subscribed, sorted by name.
	Mailboxes(ctx context.Context) ([]MailboxInfo, error)
	// Create makes a mailbox, and the missing ones above it.
	Create(ctx context.Context, name string, specialUse string) error
	Delete(ctx context.Context, name string) error
	// Rename renames a mailbox and its inferiors; of INBOX it moves the messages.
	Rename(ctx context.Context, from, to string) error
	Subscribe(ctx context.Context, name string, on bool) error
	Status(ctx context.Context, name string) (Status, error)

	// Watch begins to watch all mailboxes of the account, for NOTIFY.
	Watch() Watch

	// Select opens a mailbox. The account may have several open (one selected,
	// others as destinations need none).
	Select(ctx context.Context, name string, readOnly bool) (Mailbox, error)

	// Annotations returns the annotations of a mailbox or, without a name, of the
	// account: values by entry, in lower case. Annotate sets some, all or none;
	// ErrCannot if no entry can be called so. AnnotationNames returns the entries,
	// sorted, those too that there were and are not any more.
	Annotations(ctx context.Context, name string) (map[string]string, error)
	AnnotationNames(ctx context.Context, name string) ([]string, error)
	Annotate(ctx context.Context, name string, notes []Note) error

	// Quota returns how much mail the account has and may have.
	Quota(ctx context.Context) (Quota, error)

	// Stage takes the bytes of a message before it is appended. size is what
	// the client announced.
	Stage(ctx context.Context, size int64) (Staging, error)
	// Append adds staged messages to a mailbox, all or none.
	Append(ctx context.Context, name string, messages []NewMessage) (Appended, error)

	// Body opens a message's content; Structure returns the parsed form that
	// was given at Append. Both work for messages of any view still held,
	// expunged or not. ErrExpunged when it is gone, ErrUnavailable when
	// this replica does not have it yet.
	Body(ctx context.Context, m *Message) (Body, error)
	Structure(ctx context.Context, m *Message) ([]byte, error)
}

// TextSearcher is implemented by an Account that may have an index of the texts of its
// messages.
type TextSearcher interface {
	// TextFilter returns what is known of which messages contain strings, nil if that is
	// nothing. It is good for one search, until Close or the end of ctx.
	TextFilter(ctx context.Context, strings []TextString) TextFilter
}

// TextString is a string that is looked for.
type TextString struct {
	Folded  []byte // [mime.Matcher.Folded]
	Headers bool   // in headers too (TEXT, not BODY)
}

// TextFilter says which messages need not be read to know that they do not contain a
// string. Used by one goroutine.
type TextFilter interface {
	// May reports whether a message may contain the i-th string. It is false only if
	// [mime.Structure.MatchBody] does not find it.
	May(m *Message, i int) bool
	Close()
}

// Watch tells a session what changes in all mailboxes of its account, from when it
// was made until it is closed. It keeps no more than which mailboxes have changed.
type Watch interface {
	// Changed receives a value when there is something to take. Capacity one;
	// several changes are one value.
	Changed() <-chan struct{}
	// Take returns what has changed since it was called before. What it names is
	// visible to the methods of Account.
	Take() WatchedChanges
	Close()
}

// WatchedChanges is what a Watch has seen.
type WatchedChanges struct {
	// Mailboxes are the identities of those whose messages, flags or counters may
	// have changed, and not by this session alone; Own of those that only this
	// session changed.
	Mailboxes, Own []string
	// List says that other names of mailboxes or subscriptions may be there now;
	// OwnList that this session made them.
	List, OwnList bool
	// Annotations are those that another session has set or removed, those of one
	// mailbox one after the other.
	Annotations []AnnotationKey
	// Lost says that there was too much to keep.
	Lost bool
}

// AnnotationKey names an annotation (RFC 5464): of the account if MailboxID is empty.
type AnnotationKey struct {
	MailboxID string
	Entry     string // in lower case
}

// MailboxInfo is a line of LIST.
type MailboxInfo struct {
	Name       string // NFC UTF-8
	Exists     bool   // false: only subscribed
	Subscribed bool
	SpecialUse string // `\Sent` and the like, or empty
	ID         string // RFC 8474 MAILBOXID
}

// Status is what STATUS can ask for.
type Status struct {
	Messages, Recent, Unseen, Deleted uint32
	UIDNext                           UID
	UIDValidity                       uint32
	HighestModSeq                     ModSeq
	Size                              uint64
	MailboxID                         string

	deletedSize uint64 // of the messages with \Deleted; the engine's to find out
}

// Note is an annotation to be set (RFC 5464).
type Note struct {
	Entry  string
	Value  string
	Remove bool // Value is empty
}

// Quota is how much mail an account has and may have (RFC 9208 section 5).
type Quota struct {
	Storage  Resource // in bytes
	Messages Resource
}

// Resource is what is used of something that may be limited.
type Resource struct {
	Used, Limit uint64 // Limit 0: there is none, and Used may not be known
}

// Staging receives one message. Write may be called any number of times.
type Staging interface {
	io.Writer
	// Finish ends the writing and returns a reader over what was written, to
	// be used before the Append (and not closed by the engine).
	Finish() (Body, error)
	// Discard deletes the bytes; a no-op after a successful Append.
	Discard()
}

// Body is random access to a message's bytes. Reads fetch only the chunks they
// need. Not for concurrent use.
type Body interface {
	io.ReaderAt
	Size() int64
	Close() error
}

// NewMessage is one message of an APPEND.
type NewMessage struct {
	Staging   Staging
	Flags     []string  // canonical, without \Recent
	Date      time.Time // zero: now
	Structure []byte    // mime.Structure, encoded

	size int64 // bytes
}

// Appended says what APPEND, COPY and MOVE made. For COPY and MOVE, Source[i] is
// the place, among the messages given, of the one that became UIDs[i].
type Appended struct {
	UIDValidity uint32
	Source      []int
	UIDs        []UID
}

// MessageKey names a message instance on this and every other replica.
type MessageKey struct {
	A, B uint64
	C    uint32
}

// Message is what FETCH FLAGS, SEARCH of flags and the like need to know.
type Message struct {
	UID      UID
	Key      MessageKey
	Root     [16]byte // content identity (EMAILID)
	Flags    Flags
	Keywords []string // sorted; shared, never changed
	ModSeq   ModSeq
	Size     int64
	Date     int64 // INTERNALDATE, Unix seconds
	Zone     int16 // minutes east of UTC
	Saved    int64 // Unix seconds
}

// InternalDate returns the message's INTERNALDATE in its own zone.
func (m *Message) InternalDate() time.Time {
	return time.Unix(m.Date, 0).In(time.FixedZone("", int(m.Zone)*60))
}

// Flags is the set of system flags.
type Flags uint8

// The system flags (RFC 9051 section 2.3.2). \Recent belongs to sessions, not to messages.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// View is an immutable picture of a mailbox: messages by rising UID. Views of
// one mailbox share what did not change. Safe for concurrent use. Two Views can
// be compared with ==; equal ones show the same.
type View interface {
	Len() int
	// At fills m with the i-th message (from 0).
	At(i int, m *Message)
	// UIDAt returns the i-th message's UID.
	UIDAt(i int) UID
	// Find returns the index of the first message with a UID >= uid, and
	// whether it is equal.
	Find(uid UID) (int, bool)
	UIDNext() UID
	HighestModSeq() ModSeq
	// Since compares an older view of the same mailbox with this one, in time
	// proportional to the parts that differ.
	Since(old View) Changes
}

// KeywordLister is implemented by a View that knows the keywords of its messages:
// those in use in the mailbox may be others by now.
type KeywordLister interface {
	Keywords() []string // sorted
}

// Changes is the difference between two views.
type Changes struct {
	Expunged []UID // in the older view only, rising
	Changed  []UID // in both, with another MODSEQ, rising
	Added    []UID // in the newer view only, rising
}

// UIDRange is the UIDs From..To, both included.
type UIDRange struct{ From, To UID }

// Known is what a client has of a mailbox from an earlier time, perhaps from
// another replica (RFC 7162 section 3.2.5).
type Known struct {
	UIDValidity uint32
	ModSeq      ModSeq     // the last HIGHESTMODSEQ that it was told, by whichever replica
	UIDs        []UIDRange // of the messages that it may have, in any order; nil: of all
}

// Resync is what brings a client up to date.
type Resync struct {
	// View is what the client has then. It is not older than any returned before.
	View View
	// Reset: the mailbox has another UIDVALIDITY, nothing that the client has counts.
	Reset bool
	// Own: the client's MODSEQ was given by this replica, and the answer is exact;
	// otherwise there may be more in it than necessary, never less.
	Own bool
	// Changed are messages of the view, rising, that the client may not have as they
	// are, also ones that it did not name.
	Changed []UID
	// Vanished are, rising, those of the UIDs that it named that denote nothing.
	Vanished []UIDRange
}

// Mailbox is an opened mailbox. Its methods name messages by key: one that got
// another UID from another replica since the session was shown it is still the
// message that the client means.
type Mailbox interface {
	Close()
	// Name returns the name that the mailbox had when it was opened. It may
	// have another one by now, and another mailbox this one.
	Name() string
	UIDValidity() uint32
	MailboxID() string
	ReadOnly() bool
	// Keywords returns the keywords in use, sorted.
	Keywords() []string
	// View returns the newest picture that may be shown. Being shown, it
	// raises the horizon (crdt.md 2.2).
	View() View
	// Changed receives a value when there is a newer View than the last one
	// returned, or the mailbox was deleted. Capacity one; several changes are one value.
	Changed() <-chan struct{}
	// Gone reports that the mailbox was deleted.
	Gone() bool
	// ClaimRecent returns the smallest UID from which on messages of the view
	// are \Recent for this session, and takes them from all others (read-only: leaves them).
	ClaimRecent(v View) UID

	// Resync compares what a client has with the mailbox (RFC 7162, crdt.md 4.2).
	Resync(ctx context.Context, known Known) (Resync, error)
	// Store changes flags and returns a view that has the change, and the places,
	// rising, of the messages that were not changed because their MODSEQ is above
	// UnchangedSince. Messages expunged meanwhile are skipped. A call that changes
	// nothing commits nothing.
	Store(ctx context.Context, messages []MessageKey, change FlagChange) (View, []int, error)
	// Expunge removes those of the messages that have \Deleted; others and
	// those already gone are skipped.
	Expunge(ctx context.Context, messages []MessageKey) (View, error)
	// Copy adds copies to another mailbox, all or none: ErrExpunged if one is gone.
	Copy(ctx context.Context, messages []MessageKey, to string) (Appended, error)
	// Move moves messages to another mailbox; those already gone are skipped.
	Move(ctx context.Context, messages []MessageKey, to string) (Appended, View, error)
	// Replace adds a staged message to a mailbox and removes one from this, both
	// or neither: ErrExpunged if it is gone.
	Replace(ctx context.Context, message MessageKey, to string, by NewMessage) (Appended, View, error)
}

// FlagChange is the wish of a STORE.
type FlagChange struct {
	Op             FlagOp
	Flags          Flags
	Keywords       []string
	UnchangedSince ModSeq // given by whichever replica
	Conditional    bool   // UnchangedSince counts, 0 too
}

// FlagOp is the form of a STORE.
type FlagOp uint8

// The forms of STORE: FLAGS, +FLAGS, -FLAGS.
const (
	FlagsReplace FlagOp = iota
	FlagsAdd
	FlagsRemove
)
