package memmail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap"
)

// mailbox is a mailbox opened by one session.
type mailbox struct {
	session  *session
	account  *account
	box      *box
	name     string // when it was selected
	readOnly bool
	changed  chan struct{}
}

// publish shows a new list of messages to all sessions. The caller holds mu.
func (b *box) publish(messages []imap.Message, uidNext imap.UID, high imap.ModSeq) {
	b.view = &view{messages: messages, uidNext: uidNext, high: high}
	b.notify()
}

func (b *box) notify() {
	for m := range b.watchers {
		select {
		case m.changed <- struct{}{}:
		default:
		}
	}
}

// keyword returns the spelling under which a keyword is in use here.
func (b *box) keyword(name string) string {
	for _, k := range b.keywords {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	b.keywords = append(slices.Clone(b.keywords), name)
	slices.Sort(b.keywords)
	return name
}

// Close implements [imap.Mailbox].
func (m *mailbox) Close() {
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	delete(m.box.watchers, m)
}

// Name implements [imap.Mailbox].
func (m *mailbox) Name() string { return m.name }

// UIDValidity implements [imap.Mailbox].
func (m *mailbox) UIDValidity() uint32 { return m.box.uidValidity }

// MailboxID implements [imap.Mailbox].
func (m *mailbox) MailboxID() string { return m.box.id }

// ReadOnly implements [imap.Mailbox].
func (m *mailbox) ReadOnly() bool { return m.readOnly }

// Keywords implements [imap.Mailbox].
func (m *mailbox) Keywords() []string {
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	return m.box.keywords
}

// View implements [imap.Mailbox].
func (m *mailbox) View() imap.View {
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	return m.box.view
}

// Changed implements [imap.Mailbox].
func (m *mailbox) Changed() <-chan struct{} { return m.changed }

// Gone implements [imap.Mailbox].
func (m *mailbox) Gone() bool {
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	return m.box.gone
}

// ClaimRecent implements [imap.Mailbox].
func (m *mailbox) ClaimRecent(v imap.View) imap.UID {
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	from := m.box.recent
	if !m.readOnly {
		m.box.recent = max(m.box.recent, v.UIDNext())
	}
	return from
}

// Store implements [imap.Mailbox].
func (m *mailbox) Store(_ context.Context, keys []imap.MessageKey, change imap.FlagChange) (imap.View, []int, error) {
	if err := m.writable("store"); err != nil {
		return nil, nil, err
	}
	m.session.begin()
	defer m.account.mu.Unlock()
	wanted := keySet(keys)
	words := make([]string, len(change.Keywords))
	for i, w := range change.Keywords {
		words[i] = w
		if change.Op != imap.FlagsRemove {
			words[i] = m.box.keyword(w)
		}
	}
	messages := slices.Clone(m.box.view.messages)
	mod := imap.ModSeq(m.account.next())
	var refused []int
	stored := false
	for i := range messages {
		msg := &messages[i]
		if !wanted[msg.Key] {
			continue
		}
		if change.Conditional && msg.ModSeq > change.UnchangedSince {
			refused = append(refused, slices.Index(keys, msg.Key))
			continue
		}
		flags, keywords := changed(msg, change, words)
		if flags == msg.Flags && slices.Equal(keywords, msg.Keywords) {
			continue
		}
		msg.Flags, msg.Keywords, msg.ModSeq = flags, keywords, mod
		stored = true
	}
	if stored {
		m.box.publish(messages, m.box.view.uidNext, mod)
		m.account.touched(m.box.id)
	}
	slices.Sort(refused)
	return m.box.view, refused, nil
}

// changed returns what a message's flags become.
func changed(m *imap.Message, change imap.FlagChange, words []string) (imap.Flags, []string) {
	switch change.Op {
	case imap.FlagsAdd:
		return m.Flags | change.Flags, sorted(append(slices.Clone(m.Keywords), words...))
	case imap.FlagsRemove:
		kept := slices.DeleteFunc(slices.Clone(m.Keywords), func(k string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(k, w) })
		})
		return m.Flags &^ change.Flags, kept
	default:
		return change.Flags, sorted(slices.Clone(words))
	}
}

func sorted(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}

// Expunge implements [imap.Mailbox].
func (m *mailbox) Expunge(_ context.Context, keys []imap.MessageKey) (imap.View, error) {
	if err := m.writable("expunge"); err != nil {
		return nil, err
	}
	m.session.begin()
	defer m.account.mu.Unlock()
	var deleted []imap.MessageKey
	for _, msg := range m.find(keys) {
		if msg.Flags&imap.Deleted != 0 {
			deleted = append(deleted, msg.Key)
		}
	}
	m.account.expunge(m.box, deleted)
	return m.box.view, nil
}

func (a *account) expunge(b *box, keys []imap.MessageKey) {
	wanted := keySet(keys)
	kept := slices.DeleteFunc(slices.Clone(b.view.messages), func(m imap.Message) bool { return wanted[m.Key] })
	if len(kept) == len(b.view.messages) {
		return
	}
	mod := imap.ModSeq(a.next())
	for i := range b.view.messages {
		if m := &b.view.messages[i]; wanted[m.Key] {
			b.vanished = append(b.vanished, vanished{m.UID, mod})
		}
	}
	b.publish(kept, b.view.uidNext, mod)
	a.touched(b.id)
}

// Copy implements [imap.Mailbox].
func (m *mailbox) Copy(_ context.Context, keys []imap.MessageKey, to string) (imap.Appended, error) {
	if err := m.account.store.fail("copy"); err != nil {
		return imap.Appended{}, err
	}
	m.session.begin()
	defer m.account.mu.Unlock()
	b, err := m.account.box(to)
	if err != nil {
		return imap.Appended{}, err
	}
	found := m.find(keys)
	if len(found) < len(keys) {
		return imap.Appended{}, fmt.Errorf("copy to %q: %w", to, imap.ErrExpunged)
	}
	if err := m.account.fits(found, nil); err != nil {
		return imap.Appended{}, err
	}
	return m.copyTo(b, keys, found), nil
}

// Move implements [imap.Mailbox].
func (m *mailbox) Move(_ context.Context, keys []imap.MessageKey, to string) (imap.Appended, imap.View, error) {
	if err := m.writable("move"); err != nil {
		return imap.Appended{}, nil, err
	}
	m.session.begin()
	defer m.account.mu.Unlock()
	b, err := m.account.box(to)
	if err != nil {
		return imap.Appended{}, nil, err
	}
	appended := m.copyTo(b, keys, m.find(keys))
	m.account.expunge(m.box, keys)
	return appended, m.box.view, nil
}

// Replace implements [imap.Mailbox].
func (m *mailbox) Replace(_ context.Context, key imap.MessageKey, to string, by imap.NewMessage) (imap.Appended, imap.View, error) {
	if err := m.writable("replace"); err != nil {
		return imap.Appended{}, nil, err
	}
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	b, err := m.account.box(to)
	if err != nil {
		return imap.Appended{}, nil, err
	}
	keys := []imap.MessageKey{key}
	gone := m.find(keys)
	if len(gone) == 0 {
		return imap.Appended{}, nil, fmt.Errorf("replace: %w", imap.ErrExpunged)
	}
	added := []imap.Message{m.account.newMessage(by)}
	if err := m.account.fits(added, gone); err != nil {
		return imap.Appended{}, nil, err
	}
	uids := m.account.addMessages(b, added)
	m.account.expunge(m.box, keys)
	return imap.Appended{UIDValidity: b.uidValidity, UIDs: uids}, m.box.view, nil
}

func (m *mailbox) copyTo(b *box, keys []imap.MessageKey, found []imap.Message) imap.Appended {
	source := make([]int, len(found))
	for i := range found {
		source[i] = slices.Index(keys, found[i].Key)
	}
	now := m.account.store.Now().Unix()
	for i := range found {
		found[i].Saved = now
	}
	return imap.Appended{UIDValidity: b.uidValidity, Source: source, UIDs: m.account.addCopies(b, found)}
}

// find returns those of the messages that are there, in the order of keys.
func (m *mailbox) find(keys []imap.MessageKey) []imap.Message {
	there := make(map[imap.MessageKey]imap.Message, len(keys))
	for _, msg := range m.box.view.messages {
		there[msg.Key] = msg
	}
	var found []imap.Message
	for _, k := range keys {
		if msg, ok := there[k]; ok {
			found = append(found, msg)
		}
	}
	return found
}

func (m *mailbox) writable(operation string) error {
	if m.readOnly {
		return fmt.Errorf("%s: %w", operation, imap.ErrReadOnly)
	}
	return m.account.store.fail(operation)
}

func keySet(keys []imap.MessageKey) map[imap.MessageKey]bool {
	set := make(map[imap.MessageKey]bool, len(keys))
	for _, k := range keys {
		set[k] = true
	}
	return set
}
