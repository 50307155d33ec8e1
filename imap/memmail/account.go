package memmail

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/go-pluto/pluto/imap"
)

// account is one user's mail. Everything in it is guarded by mu, which is never
// held while a session waits for its client.
type account struct {
	store *Store
	login string

	mu         sync.Mutex
	boxes      map[string]*box
	subscribed map[string]bool
	contents   map[[16]byte]content
	notes      map[string]string // annotations of the account
	uses       map[string]string // special uses of mailboxes that are deleted, by name
	validity   uint32            // last UIDVALIDITY given out
	author     *session          // of the change being made, nil: none of them
	watches    map[*watch]struct{}
	last       uint64 // last MODSEQ, message key, mailbox ID and root given out
}

// content is what copies of a message share.
type content struct {
	body, structure []byte
}

// box is one mailbox.
type box struct {
	name        string
	id          string
	uidValidity uint32
	specialUse  string
	view        *view
	recent      imap.UID // the first UID that no session has claimed as \Recent
	keywords    []string
	gone        bool
	notes       map[string]string // annotations
	vanished    []vanished
	forgotten   imap.ModSeq // up to which vanished is not complete
	watchers    map[*mailbox]struct{}
}

func newAccount(s *Store, login string) *account {
	a := &account{
		store:      s,
		login:      login,
		boxes:      make(map[string]*box),
		subscribed: make(map[string]bool),
		contents:   make(map[[16]byte]content),
		notes:      make(map[string]string),
		uses:       make(map[string]string),
		watches:    make(map[*watch]struct{}),
		validity:   1000,
	}
	for _, b := range [][2]string{
		{"INBOX", ""}, {"Drafts", `\Drafts`}, {"Sent", `\Sent`},
		{"Junk", `\Junk`}, {"Trash", `\Trash`}, {"Archive", `\Archive`},
	} {
		a.add(b[0], b[1])
		a.subscribed[b[0]] = true
	}
	return a
}

func (a *account) next() uint64 {
	a.last++
	return a.last
}

// add makes a mailbox. The caller holds mu or owns the account.
func (a *account) add(name, specialUse string) *box {
	a.validity++
	b := &box{
		name:        name,
		id:          fmt.Sprintf("M%d", a.next()),
		uidValidity: a.validity,
		specialUse:  specialUse,
		recent:      1,
		view:        &view{uidNext: 1, high: imap.ModSeq(a.next())},
		watchers:    make(map[*mailbox]struct{}),
		notes:       make(map[string]string),
	}
	a.boxes[name] = b
	a.listed()
	a.touched(b.id)
	return b
}

// box finds a mailbox. The caller holds mu.
func (a *account) box(name string) (*box, error) {
	b := a.boxes[name]
	if b == nil {
		return nil, fmt.Errorf("mailbox %q: %w", name, imap.ErrNonexistent)
	}
	return b, nil
}

// Mailboxes implements [imap.Account].
func (a *account) Mailboxes(context.Context) ([]imap.MailboxInfo, error) {
	if err := a.store.fail("mailboxes"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	infos := make([]imap.MailboxInfo, 0, len(a.boxes))
	for name, b := range a.boxes {
		infos = append(infos, imap.MailboxInfo{
			Name: name, Exists: true, Subscribed: a.subscribed[name], SpecialUse: b.specialUse, ID: b.id,
		})
	}
	for name := range a.subscribed {
		if a.boxes[name] == nil {
			infos = append(infos, imap.MailboxInfo{Name: name, Subscribed: true})
		}
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].Name < infos[j].Name })
	return infos, nil
}

// Create implements [imap.Account].
func (a *session) Create(_ context.Context, name, specialUse string) error {
	if err := a.store.fail("create"); err != nil {
		return err
	}
	a.begin()
	defer a.mu.Unlock()
	if a.boxes[name] != nil {
		return fmt.Errorf("create %q: %w", name, imap.ErrAlreadyExists)
	}
	for _, b := range a.boxes {
		if specialUse != "" && b.specialUse == specialUse {
			return fmt.Errorf("create %q: %s is %q: %w", name, specialUse, b.name, imap.ErrCannot)
		}
	}
	a.addParents(name)
	a.add(name, cmp.Or(specialUse, a.uses[name]))
	return nil
}

func (a *account) addParents(name string) {
	levels := strings.Split(name, a.store.separator)
	for i := 1; i < len(levels); i++ {
		if parent := strings.Join(levels[:i], a.store.separator); a.boxes[parent] == nil {
			a.add(parent, "")
		}
	}
}

// Delete implements [imap.Account]. Inferior mailboxes stay.
func (a *session) Delete(_ context.Context, name string) error {
	if err := a.store.fail("delete"); err != nil {
		return err
	}
	a.begin()
	defer a.mu.Unlock()
	b, err := a.box(name)
	if err != nil {
		return err
	}
	if name == "INBOX" {
		return fmt.Errorf("delete %q: %w", name, imap.ErrCannot)
	}
	delete(a.boxes, name)
	a.uses[name] = b.specialUse // a mailbox that is made again is the same
	b.gone = true
	b.notify()
	a.listed()
	return nil
}

// Rename implements [imap.Account].
func (a *session) Rename(_ context.Context, from, to string) error {
	if err := a.store.fail("rename"); err != nil {
		return err
	}
	a.begin()
	defer a.mu.Unlock()
	b, err := a.box(from)
	if err != nil {
		return err
	}
	if a.boxes[to] != nil {
		return fmt.Errorf("rename to %q: %w", to, imap.ErrAlreadyExists)
	}
	if strings.HasPrefix(to, from+a.store.separator) && from != "INBOX" {
		return fmt.Errorf("rename %q below itself: %w", from, imap.ErrCannot)
	}
	if from == "INBOX" {
		a.moveAll(b, a.add(to, ""))
		return nil
	}
	a.listed()
	for name, b := range a.boxes {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || strings.HasPrefix(rest, a.store.separator)) {
			delete(a.boxes, name)
			b.name = to + rest
			a.boxes[b.name] = b
		}
	}
	return nil
}

func (a *account) moveAll(from, to *box) {
	messages := from.view.messages
	keys := make([]imap.MessageKey, len(messages))
	for i := range messages {
		keys[i] = messages[i].Key
	}
	a.addCopies(to, messages)
	a.expunge(from, keys)
}

// Subscribe implements [imap.Account].
func (a *session) Subscribe(_ context.Context, name string, on bool) error {
	if err := a.store.fail("subscribe"); err != nil {
		return err
	}
	a.begin()
	defer a.mu.Unlock()
	a.listed()
	if on {
		a.subscribed[name] = true
	} else {
		delete(a.subscribed, name)
	}
	return nil
}

// Status implements [imap.Account].
func (a *account) Status(_ context.Context, name string) (imap.Status, error) {
	if err := a.store.fail("status"); err != nil {
		return imap.Status{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.box(name)
	if err != nil {
		return imap.Status{}, err
	}
	s := imap.Status{
		Messages:      uint32(len(b.view.messages)),
		UIDNext:       b.view.uidNext,
		UIDValidity:   b.uidValidity,
		HighestModSeq: b.view.high,
		MailboxID:     b.id,
	}
	for i := range b.view.messages {
		m := &b.view.messages[i]
		s.Size += uint64(m.Size)
		if m.UID >= b.recent {
			s.Recent++
		}
		if m.Flags&imap.Seen == 0 {
			s.Unseen++
		}
		if m.Flags&imap.Deleted != 0 {
			s.Deleted++
		}
	}
	return s, nil
}

// Body implements [imap.Account].
func (a *account) Body(_ context.Context, m *imap.Message) (imap.Body, error) {
	if err := a.store.fail("body"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return newBody(a.contents[m.Root].body), nil
}

// Structure implements [imap.Account].
func (a *account) Structure(_ context.Context, m *imap.Message) ([]byte, error) {
	if err := a.store.fail("structure"); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.contents[m.Root].structure, nil
}

// Stage implements [imap.Account].
func (a *account) Stage(context.Context, int64) (imap.Staging, error) {
	if err := a.store.fail("stage"); err != nil {
		return nil, err
	}
	return &staging{account: a}, nil
}

// Append implements [imap.Account].
func (a *session) Append(_ context.Context, name string, messages []imap.NewMessage) (imap.Appended, error) {
	if err := a.store.fail("append"); err != nil {
		return imap.Appended{}, err
	}
	a.begin()
	defer a.mu.Unlock()
	b, err := a.box(name)
	if err != nil {
		return imap.Appended{}, err
	}
	added := make([]imap.Message, len(messages))
	for i, n := range messages {
		added[i] = a.newMessage(n)
	}
	if err := a.fits(added, nil); err != nil {
		return imap.Appended{}, err
	}
	return imap.Appended{UIDValidity: b.uidValidity, UIDs: a.addMessages(b, added)}, nil
}

func (a *account) newMessage(n imap.NewMessage) imap.Message {
	body := n.Staging.(*staging).Bytes()
	date := n.Date
	if date.IsZero() {
		date = a.store.Now()
	}
	_, zone := date.Zone()
	m := imap.Message{
		Size: int64(len(body)), Date: date.Unix(), Zone: int16(zone / 60), Saved: a.store.Now().Unix(),
	}
	binary.BigEndian.PutUint64(m.Root[:], a.next())
	for _, f := range n.Flags {
		if flag, ok := imap.ParseFlag(f); ok {
			m.Flags |= flag
		} else {
			m.Keywords = append(m.Keywords, f)
		}
	}
	a.contents[m.Root] = content{body: body, structure: n.Structure}
	return m
}

// addCopies adds copies of messages to a mailbox.
func (a *account) addCopies(to *box, messages []imap.Message) []imap.UID {
	return a.addMessages(to, slices.Clone(messages))
}

// addMessages gives UIDs, keys and a MODSEQ to messages and adds them.
func (a *account) addMessages(to *box, messages []imap.Message) []imap.UID {
	if len(messages) == 0 {
		return nil
	}
	mod := imap.ModSeq(a.next())
	uid := to.view.uidNext
	uids := make([]imap.UID, len(messages))
	for i := range messages {
		m := &messages[i]
		m.UID, m.ModSeq, m.Key = uid, mod, imap.MessageKey{A: 1, B: a.next()}
		for k, w := range m.Keywords {
			m.Keywords = slices.Clone(m.Keywords)
			m.Keywords[k] = to.keyword(w)
		}
		slices.Sort(m.Keywords)
		uids[i] = uid
		uid++
	}
	to.publish(append(slices.Clone(to.view.messages), messages...), uid, mod)
	a.touched(to.id)
	return uids
}

// staging is a message being received.
type staging struct {
	account *account
	bytes.Buffer
}

// Finish implements [imap.Staging].
func (s *staging) Finish() (imap.Body, error) {
	if err := s.account.store.fail("finish"); err != nil {
		return nil, err
	}
	return newBody(s.Bytes()), nil
}

// Discard implements [imap.Staging].
func (s *staging) Discard() {}

// body is a content opened for reading.
type body struct {
	*bytes.Reader
}

func newBody(b []byte) imap.Body { return body{bytes.NewReader(b)} }

// Close implements [imap.Body].
func (body) Close() error { return nil }
