package imap

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/imap/wire"
)

// Resume is a session that another replica has left, as its distributor knows it.
type Resume struct {
	State  []byte  // of the last checkpoint; empty: it said nothing but where it was
	Chunks []Chunk // all of it, with data
	// Consumed is where the client's bytes go on that are read here.
	Consumed uint64
	// Continued is how many continuation requests in the command at Consumed the
	// client has: they are not made again.
	Continued int
	// Sent is up to where replicas before may have read: a command that begins
	// below it may have been executed.
	Sent uint64
	// Attempt is how often the session has moved, 1 or more.
	Attempt uint32
	// Key is known to the distributor and not to its client.
	Key string
}

// Roaming is implemented by an [Account] whose sessions may come from other replicas.
type Roaming interface {
	// Attempt says that another replica may have executed the present command
	// already, and how often at most. Called after Command.
	Attempt(n uint32)
	// Resume opens the mailbox that a client has selected elsewhere and returns the
	// client's picture of it: exactly the messages that it was told of, with the
	// UIDs that it knows. [ErrNonexistent]: the mailbox is gone or has another
	// UIDVALIDITY. What the client does not know as it is is different in the
	// mailbox's View, and what is new there comes last.
	Resume(ctx context.Context, told Told) (Mailbox, View, error)
	// Done returns what the present command has added before; false: as far as is
	// known here it was not executed.
	Done(ctx context.Context) (Appended, bool, error)
}

// Told is what a client was told of a mailbox.
type Told struct {
	Name, MailboxID string
	ReadOnly        bool
	UIDValidity     uint32
	UIDNext         UID
	High            ModSeq // the largest MODSEQ that the client was told
	Flags           ModSeq // up to this one it knows all flags
	Vector          []byte // and those of all changes in this Account.Vector
	UIDs            [][2]UID
}

// ErrNotResumed is wrapped by the error of [Serve] for a session that it cannot go
// on with; nothing was said to the client then.
var ErrNotResumed = errors.New("session is not resumed")

// ErrNotResumable is an ErrNotResumed that holds for all replicas.
var ErrNotResumable = fmt.Errorf("%w: the client knows too much", ErrNotResumed)

// resume takes over a session. The client is told nothing before it does something.
func (s *session) resume(r *Resume) error {
	roaming, ok := s.account.(Roaming)
	if !ok {
		return fmt.Errorf("%w: the mail does not support it", ErrNotResumed)
	}
	s.roaming = roaming
	s.base, s.consumed = r.Consumed, r.Consumed
	s.reader.SetAsked(r.Continued)
	if len(r.State) == 0 {
		return nil
	}
	err := s.restore(r)
	var end *endError
	if err == nil || errors.As(err, &end) || errors.Is(err, ErrNotResumed) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotResumed, err)
}

// beginCommand tells the account of a command and, if it may be a second time, of that.
func (s *session) beginCommand() {
	s.account.Command(s.consumed + 1) // where it begins: the same when it is replayed
	if r := s.opts.Resume; r != nil && s.consumed < r.Sent {
		s.roaming.Attempt(r.Attempt)
	}
}

// saveSelected saves the selected mailbox as the client knows it.
func (s *session) saveSelected(w *stateWriter) {
	b := s.box
	if b == nil {
		return
	}
	chunks := b.chunks()
	if len(chunks) > maxPieces {
		w.byte(selectedTooMany)
		return
	}
	mode := byte(selectedWrite)
	if b.readOnly {
		mode = selectedRead
	}
	w.byte(mode)
	w.text(b.mailbox.Name())
	w.text(b.mailbox.MailboxID())
	w.number(uint64(b.mailbox.UIDValidity()))
	w.number(uint64(b.told.UIDNext()))
	w.number(uint64(b.high))
	w.number(uint64(b.shown))
	w.text(string(b.vector))
	w.ranges(b.recent)
	w.number(uint64(b.recents))
	w.number(uint64(len(chunks)))
	w.chunks = append(w.chunks, chunks...)
}

const (
	selectedWrite = iota
	selectedRead
	selectedTooMany
)

// loadSelected selects the mailbox again.
func (s *session) loadSelected(d *stateReader) error {
	mode := d.byte()
	if mode == selectedTooMany {
		return ErrNotResumable
	}
	told := Told{
		ReadOnly: mode == selectedRead, Name: d.text(), MailboxID: d.text(),
		UIDValidity: uint32(d.number(1<<32 - 1)), UIDNext: UID(d.number(1<<32 - 1)),
		High: ModSeq(d.number(1<<63 - 1)), Flags: ModSeq(d.number(1<<63 - 1)), Vector: []byte(d.text()),
	}
	recent, recents := d.ranges(), int(d.number(1<<31-1))
	runs, ok := parsePieces(d.take())
	if d.bad || !ok {
		return errState
	}
	for _, r := range runs {
		told.UIDs = append(told.UIDs, [2]UID{r.From, r.To})
	}
	mailbox, view, err := s.roaming.Resume(s.ctx, told)
	if errors.Is(err, ErrNonexistent) {
		return errDeselected
	}
	if err != nil {
		return err
	}
	s.box = &selection{
		mailbox: mailbox, readOnly: told.ReadOnly, told: view, latest: view,
		noRecent: s.on(modeRev2),
		high:     told.High, vector: told.Vector, recent: recent, recents: recents,
	}
	return nil
}

// errDeselected ends a session whose mailbox is none any more.
var errDeselected = &endError{bye: "Selected mailbox was deleted, have to reconnect"}

// saveResult saves what "$" stands for (RFC 5182).
func (s *session) saveResult(w *stateWriter) {
	if s.box != nil && len(s.box.saved) > 0 {
		w.ranges(s.box.saved)
	}
}

func (s *session) loadResult(d *stateReader) error {
	saved := d.ranges()
	if s.box == nil {
		return errState
	}
	s.box.saved = saved
	return nil
}

// lostCommand is what a distributor sends in the place of a command whose literal
// was too large to be kept, when its replica is lost: the tag, this, the session's
// key and how many bytes of the client it stands for.
const lostCommand = "XPLUTOLOST"

// lost answers a command that could not be replayed: as it was answered before, if
// that is known, otherwise that it cannot be had now. It was not executed, unless
// the replica that was lost comes back with it.
func (s *session) lost(c *wire.Command) error {
	r := s.opts.Resume
	if err := c.SP(); err != nil || r == nil {
		return badSyntax("Unknown command")
	}
	key, err := c.Atom()
	if err != nil || key != r.Key || r.Key == "" {
		return badSyntax("Unknown command")
	}
	if err := c.SP(); err != nil {
		return err
	}
	n, err := c.Number64()
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if err := c.Finish(); err != nil {
		return err
	}
	s.base = s.consumed + n - s.reader.Consumed()
	done, ok, err := s.roaming.Done(s.ctx)
	if err != nil {
		return err
	}
	if ok {
		s.code = appendAppendUID(s.code, &done)
		return nil
	}
	return &refusal{"UNAVAILABLE", "Server was lost during the upload, try again"}
}
