package crdt

import (
	"fmt"
	"slices"
	"strings"
)

// Annotation names an annotation (RFC 5464): an entry of a mailbox or of the
// account. It stays with the mailbox's identity, whatever the mailbox is called.
type Annotation struct {
	Server bool      // of the account; Box is 0
	Box    MailboxID // else of this mailbox
	Entry  string    // canonical, see CanonicalEntry
}

// Note is the value of an annotation. What was removed stays as a register whose
// value is not there.
type Note struct {
	There bool
	Text  string
}

// Bounds of annotations. Registers whose values were removed count too.
const (
	MaxEntryLen = 255
	MaxNoteLen  = 64 << 10 // bytes of a value
	maxNotes    = 2000     // of an account
	maxNotesLen = 4 << 20  // bytes of all of an account, names included
	maxNoteList = 100      // in one operation
)

// CanonicalEntry returns the canonical name of an entry: in lower case, because
// case does not count (RFC 5464 section 3.2). It wraps [ErrName] if an entry cannot
// be called so.
func CanonicalEntry(name string) (string, error) {
	lower := strings.ToLower(name)
	if err := checkEntry(lower); err != nil {
		return "", fmt.Errorf("%w: %w", ErrName, err)
	}
	return lower, nil
}

// checkEntry returns why a name is not that of an entry in its canonical form.
func checkEntry(name string) error {
	switch {
	case len(name) > MaxEntryLen:
		return fmt.Errorf("entry name of %d bytes", len(name))
	case !strings.HasPrefix(name, "/private/") && !strings.HasPrefix(name, "/shared/"):
		return fmt.Errorf("entry name %q is neither private nor shared", name)
	case strings.HasSuffix(name, "/") || strings.Contains(name, "//"):
		return fmt.Errorf("entry name %q has an empty part", name)
	}
	for i := range len(name) {
		if b := name[i]; b <= ' ' || b >= 0x7f || b == '*' || b == '%' || 'A' <= b && b <= 'Z' {
			return fmt.Errorf("entry name with byte %#x", b)
		}
	}
	return nil
}

// PrepareAnnotate sets annotations, all or none, or removes those whose value is
// not there; nil if that changes nothing. An entry that is named twice has its last
// value. Errors: [ErrName], and [ErrLimit] if there are too many or too long ones.
func (s *Site) PrepareAnnotate(list []Annotated) (*Annotate, error) {
	p := new(Annotate)
	count, size, err := s.State.NotesSize()
	if err != nil {
		return nil, fmt.Errorf("annotate: %w", err)
	}
	for i, a := range list {
		if slices.ContainsFunc(list[i+1:], func(b Annotated) bool { return b.Of == a.Of }) {
			continue
		}
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("annotate: %w", err)
		}
		r, err := s.State.NoteOf(a.Of)
		switch {
		case err != nil:
			return nil, fmt.Errorf("annotate: %w", err)
		case r == nil && !a.Value.There || r != nil && r.Value == a.Value:
			continue
		case r == nil:
			count++
			size += len(a.Of.Entry)
		default:
			size -= len(r.Value.Text)
		}
		if size += len(a.Value.Text); a.Value.There && (count > maxNotes || size > maxNotesLen) {
			return nil, fmt.Errorf("annotate: %w: %d annotations, %d bytes", ErrLimit, count, size)
		}
		p.Entries = append(p.Entries, a)
	}
	switch n := len(p.Entries); {
	case n == 0:
		return nil, nil
	case n > maxNoteList:
		return nil, fmt.Errorf("annotate: %w: %d entries at once", ErrLimit, n)
	}
	return p, nil
}

// PrepareUnannotate removes the annotations of a mailbox that is to be deleted
// (RFC 5464 section 4.1); nil if it has none.
func (s *Site) PrepareUnannotate(box MailboxID) ([]*Annotate, error) {
	return s.prepareNotes(box, func(a *Annotated) { a.Value = Note{} })
}

// PrepareCopyNotes gives a mailbox the annotations of another one, as RENAME of
// INBOX does (RFC 5464 section 4.1).
func (s *Site) PrepareCopyNotes(from, to MailboxID) ([]*Annotate, error) {
	return s.prepareNotes(from, func(a *Annotated) { a.Of.Box = to })
}

// prepareNotes returns operations on all annotations of a mailbox, changed.
func (s *Site) prepareNotes(box MailboxID, change func(*Annotated)) ([]*Annotate, error) {
	notes, err := s.State.Notes(Annotation{Box: box})
	if err != nil {
		return nil, fmt.Errorf("annotations of mailbox %x: %w", uint64(box), err)
	}
	var out []*Annotate
	for _, entry := range sortedKeys(notes) {
		if !notes[entry].Value.There {
			continue
		}
		a := Annotated{Annotation{Box: box, Entry: entry}, notes[entry].Value}
		change(&a)
		if n := len(out); n == 0 || len(out[n-1].Entries) == maxNoteList {
			out = append(out, new(Annotate))
		}
		last := out[len(out)-1]
		last.Entries = append(last.Entries, a)
	}
	return out, nil
}

// check returns why an annotation cannot be.
func (a *Annotated) check() error {
	if a.Of.Server && a.Of.Box != 0 {
		return fmt.Errorf("%w: annotation of the account and of a mailbox", ErrName)
	}
	if err := checkEntry(a.Of.Entry); err != nil {
		return fmt.Errorf("%w: %w", ErrName, err)
	}
	if len(a.Value.Text) > MaxNoteLen || !a.Value.There && a.Value.Text != "" {
		return fmt.Errorf("%w: value of %d bytes", ErrLimit, len(a.Value.Text))
	}
	return nil
}

func (p *Annotate) check(w *work) error {
	if len(p.Entries) > maxNoteList {
		return impossible("%d annotations", len(p.Entries))
	}
	for i := range p.Entries {
		if err := p.Entries[i].check(); err != nil {
			return impossible("%v", err)
		}
		if p.Entries[i].Of.Server {
			continue
		}
		if err := w.checkBox(p.Entries[i].Of.Box); err != nil {
			return err
		}
	}
	return nil
}

// effect: of several values of one entry in one operation the last one counts,
// as prepared; they have one time.
func (p *Annotate) effect(w *work) error {
	for i := range p.Entries {
		a := &p.Entries[i]
		if slices.ContainsFunc(p.Entries[i+1:], func(b Annotated) bool { return b.Of == a.Of }) {
			continue
		}
		if err := w.annotate(a.Of, w.op.Time, a.Value); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) annotate(of Annotation, t Time, v Note) error {
	r, err := w.State.NoteOf(of)
	if err != nil {
		return err
	}
	if r == nil {
		r = new(Register[Note])
	}
	if !r.Set(t, v) {
		return nil
	}
	return w.State.PutNote(of, *r)
}

func (p *Annotate) encode(w *writer) {
	w.uint(uint64(len(p.Entries)))
	for _, a := range p.Entries {
		w.bool(a.Of.Server)
		w.fixed(uint64(a.Of.Box))
		w.string(a.Of.Entry)
		w.bool(a.Value.There)
		w.string(a.Value.Text)
	}
}

func (p *Annotate) decode(r *reader) {
	const least = 1 + 8 + minString + 1 + minString
	p.Entries = elements[Annotated](r, least)
	for i := range p.Entries {
		a := &p.Entries[i]
		a.Of = Annotation{Server: r.bool(), Box: MailboxID(r.fixed()), Entry: r.string()}
		a.Value = Note{There: r.bool(), Text: r.string()}
	}
}

// checkLoaded returns why a register of a snapshot cannot be.
func (a *Annotated) checkLoaded(t Time) error {
	if err := a.check(); err != nil {
		return impossible("%v", err)
	}
	if t > maxTime {
		return impossible("annotation of time %d", t)
	}
	return nil
}

// loadNotes merges the annotations of a snapshot.
func (w *work) loadNotes(notes map[Annotation]Register[Note]) error {
	for of, r := range notes {
		if r.Time == 0 {
			continue
		}
		if err := w.annotate(of, r.Time, r.Value); err != nil {
			return err
		}
	}
	return nil
}
