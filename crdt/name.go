package crdt

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of mailbox names and of what is derived from them.
const (
	MaxNameLen = 1000      // bytes
	MaxLevels  = 50        // levels of hierarchy
	MaxC       = 1<<32 - 1 // growing part of Validity
	maxUse     = 100       // bytes of a special use
	inboxName  = "INBOX"
)

// NewMailboxID returns the identity of the generation-th record created under a
// name: the same on all replicas, so that concurrent creations make one record.
func NewMailboxID(name string, generation uint32) MailboxID {
	if name == inboxName && generation == 1 {
		return Inbox
	}
	h := sha256.New()
	h.Write(binary.BigEndian.AppendUint32(nil, generation))
	h.Write([]byte(name))
	id := MailboxID(binary.BigEndian.Uint64(h.Sum(nil)))
	if id == Inbox {
		return 1
	}
	return id
}

func (id MailboxID) hash20() uint32 { return uint32(id & (1<<20 - 1)) }

func newMailbox(id MailboxID, name string, generation uint32) *Mailbox {
	return &Mailbox{ID: id, Created: name, Generation: generation, Name: Register[string]{Value: name}}
}

// CanonicalName spells a first level that is INBOX in capitals (RFC 9051
// section 5.1) and refuses, wrapping [ErrName], names that are too long, have
// empty levels or control characters, or are not UTF-8. The rest (Unicode
// normalisation, reserved names) is the caller's.
func CanonicalName(name string, separator byte) (string, error) {
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("%w: %w", ErrName, err)
	}
	levels := strings.Split(name, string(rune(separator)))
	if len(levels) > MaxLevels {
		return "", fmt.Errorf("%w: %d levels, at most %d", ErrName, len(levels), MaxLevels)
	}
	if slices.Contains(levels, "") {
		return "", fmt.Errorf("%w: %q has an empty level", ErrName, name)
	}
	if strings.EqualFold(levels[0], inboxName) {
		return inboxName + name[len(inboxName):], nil
	}
	return name, nil
}

func checkName(name string) error {
	if name == "" || len(name) > MaxNameLen {
		return fmt.Errorf("name of %d bytes", len(name))
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("%q is not UTF-8", name)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%q has a control character", name)
	}
	return nil
}

// Listed is one line of LIST: a live mailbox and the name under which it is shown.
type Listed struct {
	Name string
	Box  *Mailbox
}

// names is the mailbox list as it is shown.
type names struct {
	boxes []*Mailbox            // in the order of their identities
	owner map[string]*Mailbox   // by name, also dead ones
	shown map[string]*Mailbox   // by displayed name
	made  map[string][]*Mailbox // by name at creation
}

// suffixMark stands before what is put behind a name that several live records have
// ([Site.List]): a name without it is shown for a record of that name or for none.
const suffixMark = "~"

// records returns the mailbox records that decide what is shown, and what becomes
// of the given names.
func (s *Site) records(about []string) ([]*Mailbox, error) {
	if index, ok := s.State.(NameIndex); ok {
		return index.Named(about)
	}
	return s.State.Mailboxes()
}

// recordsNear returns the mailbox records that decide what becomes of the given names.
func (s *Site) recordsNear(about []string) ([]*Mailbox, error) {
	index, ok := s.State.(NameIndex)
	if !ok || slices.ContainsFunc(about, func(name string) bool { return strings.Contains(name, suffixMark) }) {
		return s.records(about)
	}
	return index.Called(about)
}

// names makes the list as far as it concerns live mailboxes and the given names.
func (s *Site) names(about ...string) (*names, error) {
	boxes, err := s.records(about)
	if err != nil {
		return nil, fmt.Errorf("mailboxes: %w", err)
	}
	return s.namesIn(boxes)
}

// namesNear makes the list as far as it concerns the given names: others are missing.
func (s *Site) namesNear(about ...string) (*names, error) {
	boxes, err := s.recordsNear(about)
	if err != nil {
		return nil, fmt.Errorf("mailboxes: %w", err)
	}
	return s.namesIn(boxes)
}

// namesIn makes the list of some records, and INBOX.
func (s *Site) namesIn(boxes []*Mailbox) (*names, error) {
	if !slices.ContainsFunc(boxes, func(b *Mailbox) bool { return b.ID == Inbox }) {
		inbox, err := s.mailbox(Inbox)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, inbox)
	}
	slices.SortFunc(boxes, func(a, b *Mailbox) int { return cmp.Compare(a.ID, b.ID) })
	n := &names{
		boxes: boxes,
		owner: make(map[string]*Mailbox, len(boxes)),
		shown: make(map[string]*Mailbox, len(boxes)),
		made:  make(map[string][]*Mailbox, len(boxes)),
	}
	n.show()
	return n, nil
}

// show computes who is shown under which name: the owner of a name, which is the
// record with the largest validity, dead ones included, under it; another
// live record of that name with a suffix.
func (n *names) show() {
	for _, b := range n.boxes {
		n.made[b.Created] = append(n.made[b.Created], b)
		if o := n.owner[b.Name.Value]; o == nil || b.owns(o) {
			n.owner[b.Name.Value] = b
		}
	}
	for name, b := range n.owner {
		if b.Live() {
			n.shown[name] = b
		}
	}
	for _, b := range n.boxes {
		if !b.Live() || n.owner[b.Name.Value] == b {
			continue
		}
		name := fmt.Sprintf("%s"+suffixMark+"%05x", b.Name.Value, b.ID.hash20())
		for n.shown[name] != nil { // somebody chose that name, or the hashes are equal
			name = fmt.Sprintf("%s"+suffixMark+"%016x", name, uint64(b.ID))
		}
		n.shown[name] = b
	}
}

func (n *names) list() []Listed {
	out := make([]Listed, 0, len(n.shown))
	for name, b := range n.shown {
		out = append(out, Listed{name, b})
	}
	slices.SortFunc(out, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// List returns the live mailboxes under the names that are shown, sorted. Names
// are unique: of several records with one name all but one have a suffix ~hhhhh,
// until a client renames them. Parents that do not exist are not listed.
func (s *Site) List() ([]Listed, error) {
	n, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	return n.list(), nil
}

// Lookup returns the mailbox that is shown under a name, nil if there is none.
// What cannot be a name names nothing.
func (s *Site) Lookup(name string) (*Mailbox, error) {
	canonical, err := CanonicalName(name, s.Self.Separator)
	if errors.Is(err, ErrName) {
		return nil, nil
	}
	if canonical == inboxName {
		return s.mailbox(Inbox)
	}
	boxes, err := s.recordsNear([]string{canonical})
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	var named []*Mailbox
	conflicts := false
	for _, b := range boxes {
		if b.Name.Value == canonical {
			named = append(named, b)
		}
		// A suffixed name is that of a record named by its beginning.
		conflicts = conflicts || strings.HasPrefix(canonical, b.Name.Value+suffixMark)
	}
	if b, _ := ShownAs(canonical, named); b != nil || !conflicts {
		return b, nil
	}
	n, err := s.names(canonical)
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", name, err)
	}
	return n.shown[canonical], nil
}

// ShownAs returns the record that is shown under a name, nil if none is, from all
// records with that name. alone reports whether that is all that they mean for the list:
// none of them is shown under another name, and no other record can be shown under this
// one, as may be with ~ in it, and as INBOX is that has no record yet.
func ShownAs(name string, named []*Mailbox) (b *Mailbox, alone bool) {
	live := 0
	for _, m := range named {
		if m.Live() {
			live++
		}
		if b == nil || m.owns(b) {
			b = m
		}
	}
	b = b.ifLive()
	return b, name != inboxName && !strings.Contains(name, suffixMark) && (live == 0 || live == 1 && b != nil)
}

// owns reports whether of two records with one name b has it.
func (b *Mailbox) owns(o *Mailbox) bool {
	if b.Validity() != o.Validity() {
		return b.Validity() > o.Validity()
	}
	return b.ID > o.ID
}

func (b *Mailbox) ifLive() *Mailbox {
	if b == nil || !b.Live() {
		return nil
	}
	return b
}

// Fix returns the repairs of UIDVALIDITY that are due: what is shown under a
// name must have the largest validity that was ever shown under it (N4). Idempotent:
// several replicas may do the same.
func (s *Site) Fix() ([]Payload, error) {
	n, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("fix: %w", err)
	}
	return s.fix(n)
}

func (s *Site) fix(n *names) ([]Payload, error) {
	var out []Payload
	for _, l := range n.list() {
		if l.Box.Name.Value != l.Name {
			continue
		}
		used, err := s.State.Used(l.Name)
		if err != nil {
			return nil, fmt.Errorf("fix %q: %w", l.Name, err)
		}
		if l.Box.Validity() >= used {
			continue
		}
		if c, err := nextC(used); err == nil {
			out = append(out, &Touch{l.Box.ID, c})
		}
	}
	return out, nil
}

// nextC returns the growing part of a validity above a used one. It does not run
// out: 2^32 renames.
func nextC(used Validity) (uint32, error) {
	c := used>>20 + 1
	if c > MaxC {
		return 0, fmt.Errorf("UIDVALIDITY above %d: %w", used, ErrLimit)
	}
	return uint32(c), nil
}
