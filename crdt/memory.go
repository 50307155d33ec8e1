package crdt

import (
	"maps"
	"slices"
)

// Memory is a State in maps, for tests and simulations. Lists come in a fixed
// order, so that equal histories give equal results. There are no transactions:
// a change is there at once. Its methods return no errors.
type Memory struct {
	account  Account
	boxes    map[MailboxID]*Mailbox
	messages map[Instance]*Message
	twins    map[TwinKey]map[Instance]bool
	replays  map[Replay]bool
	vanished map[MailboxID]map[UID]Time
	used     map[string]Validity
	subs     map[string]Register[bool]
	notes    map[Annotation]Register[Note]
	awaiting map[Instance]bool
	waits    map[Instance]Wait
	contents map[Root]Content
	removals map[Removal]bool
}

var (
	_ State     = (*Memory)(nil)
	_ WaitIndex = (*Memory)(nil)
)

// NewMemory returns the state of a new account.
func NewMemory() *Memory {
	return &Memory{
		boxes:    make(map[MailboxID]*Mailbox),
		messages: make(map[Instance]*Message),
		twins:    make(map[TwinKey]map[Instance]bool),
		replays:  make(map[Replay]bool),
		vanished: make(map[MailboxID]map[UID]Time),
		used:     make(map[string]Validity),
		subs:     make(map[string]Register[bool]),
		notes:    make(map[Annotation]Register[Note]),
		awaiting: make(map[Instance]bool),
		waits:    make(map[Instance]Wait),
		contents: make(map[Root]Content),
		removals: make(map[Removal]bool),
	}
}

// Clone returns an independent copy.
func (s *Memory) Clone() *Memory {
	c := NewMemory()
	c.account = *s.account.clone()
	for id, b := range s.boxes {
		c.boxes[id] = b.clone()
	}
	for i, m := range s.messages {
		c.messages[i] = m.clone()
	}
	for k, t := range s.twins {
		c.twins[k] = maps.Clone(t)
	}
	for id, v := range s.vanished {
		c.vanished[id] = maps.Clone(v)
	}
	maps.Copy(c.replays, s.replays)
	maps.Copy(c.used, s.used)
	maps.Copy(c.subs, s.subs)
	maps.Copy(c.notes, s.notes)
	maps.Copy(c.awaiting, s.awaiting)
	maps.Copy(c.waits, s.waits)
	maps.Copy(c.contents, s.contents)
	maps.Copy(c.removals, s.removals)
	return c
}

func (a *Account) clone() *Account {
	c := *a
	c.Vector = a.Vector.Clone()
	return &c
}

func (b *Mailbox) clone() *Mailbox {
	if b == nil {
		return nil
	}
	c := *b
	c.Dots = slices.Clone(b.Dots)
	return &c
}

func (m *Message) clone() *Message {
	if m == nil {
		return nil
	}
	c := *m
	c.All, c.Flags = slices.Clone(m.All), slices.Clone(m.Flags)
	return &c
}

// Restart is what a crash and a new start do to an account: what was volatile is gone.
func (s *Memory) Restart() {
	for _, b := range s.boxes {
		b.Restart()
	}
	clear(s.waits)
}

// Vanished returns when UIDs of a mailbox came to denote nothing; not to be changed.
func (s *Memory) Vanished(box MailboxID) map[UID]Time { return s.vanished[box] }

// Account implements State.
func (s *Memory) Account() (*Account, error) { return s.account.clone(), nil }

// PutAccount implements State.
func (s *Memory) PutAccount(a *Account) error {
	s.account = *a.clone()
	return nil
}

// Mailbox implements State.
func (s *Memory) Mailbox(id MailboxID) (*Mailbox, error) { return s.boxes[id].clone(), nil }

// Mailboxes implements State.
func (s *Memory) Mailboxes() ([]*Mailbox, error) {
	var out []*Mailbox
	for _, id := range slices.Sorted(maps.Keys(s.boxes)) {
		out = append(out, s.boxes[id].clone())
	}
	return out, nil
}

// PutMailbox implements State.
func (s *Memory) PutMailbox(b *Mailbox) error {
	s.boxes[b.ID] = b.clone()
	return nil
}

// Message implements State.
func (s *Memory) Message(box MailboxID, tag Tag) (*Message, error) {
	return s.messages[Instance{box, tag}].clone(), nil
}

// PutMessage implements State.
func (s *Memory) PutMessage(box MailboxID, m *Message) error {
	s.messages[Instance{box, m.Tag}] = m.clone()
	delete(s.waits, Instance{box, m.Tag})
	return nil
}

// DeleteMessage implements State.
func (s *Memory) DeleteMessage(box MailboxID, tag Tag) error {
	delete(s.messages, Instance{box, tag})
	delete(s.waits, Instance{box, tag})
	return nil
}

// Tags implements State.
func (s *Memory) Tags(box MailboxID) ([]Tag, error) {
	var out []Tag
	for i := range s.messages {
		if i.Box == box {
			out = append(out, i.Tag)
		}
	}
	slices.SortFunc(out, Tag.Compare)
	return out, nil
}

func sortedInstances(set map[Instance]bool) []Instance {
	return slices.SortedFunc(maps.Keys(set), Instance.Compare)
}

// Vanish implements State.
func (s *Memory) Vanish(box MailboxID, uid UID, mod Time) error {
	if s.vanished[box] == nil {
		s.vanished[box] = make(map[UID]Time)
	}
	s.vanished[box][uid] = mod
	return nil
}

// Unvanish implements State.
func (s *Memory) Unvanish(box MailboxID, uid UID) error {
	delete(s.vanished[box], uid)
	return nil
}

// ForgetVanished implements State.
func (s *Memory) ForgetVanished(box MailboxID, below UID) error {
	maps.DeleteFunc(s.vanished[box], func(u UID, _ Time) bool { return u < below })
	return nil
}

// Used implements State.
func (s *Memory) Used(name string) (Validity, error) { return s.used[name], nil }

// PutUsed implements State.
func (s *Memory) PutUsed(name string, v Validity) error {
	s.used[name] = v
	return nil
}

// Subscription implements State.
func (s *Memory) Subscription(name string) (*Register[bool], error) {
	if r, ok := s.subs[name]; ok {
		return &r, nil
	}
	return nil, nil
}

// PutSubscription implements State.
func (s *Memory) PutSubscription(name string, r Register[bool]) error {
	s.subs[name] = r
	return nil
}

// NoteOf implements State.
func (s *Memory) NoteOf(of Annotation) (*Register[Note], error) {
	if r, ok := s.notes[of]; ok {
		return &r, nil
	}
	return nil, nil
}

// PutNote implements State.
func (s *Memory) PutNote(of Annotation, r Register[Note]) error {
	s.notes[of] = r
	return nil
}

// Notes implements State.
func (s *Memory) Notes(of Annotation) (map[string]Register[Note], error) {
	out := make(map[string]Register[Note])
	for a, r := range s.notes {
		if a.Server == of.Server && a.Box == of.Box {
			out[a.Entry] = r
		}
	}
	return out, nil
}

// NotesSize implements State.
func (s *Memory) NotesSize() (registers, bytes int, err error) {
	for a, r := range s.notes {
		bytes += len(a.Entry) + len(r.Value.Text)
	}
	return len(s.notes), bytes, nil
}

// Await implements State.
func (s *Memory) Await(i Instance) error {
	s.awaiting[i] = true
	return nil
}

// Settle implements State.
func (s *Memory) Settle(i Instance) error {
	delete(s.awaiting, i)
	return nil
}

// Awaiting implements State.
func (s *Memory) Awaiting() ([]Instance, error) { return sortedInstances(s.awaiting), nil }

// Noted implements WaitIndex.
func (s *Memory) Noted(i Instance) Wait { return s.waits[i] }

// Note implements WaitIndex.
func (s *Memory) Note(i Instance, w Wait) { s.waits[i] = w }
