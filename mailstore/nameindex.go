package mailstore

import (
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// nameIndex finds mailbox records by what names ask for. Records are kept when
// mailboxes are deleted: a user who has deleted thousands must not wait for them
// at every CREATE.
type nameIndex struct {
	live  map[crdt.MailboxID]struct{}
	named map[string][]crdt.MailboxID // by name
	made  map[string][]crdt.MailboxID // by name at creation
}

func makeNameIndex(boxes map[crdt.MailboxID]*boxState) nameIndex {
	x := nameIndex{
		live:  make(map[crdt.MailboxID]struct{}),
		named: make(map[string][]crdt.MailboxID, len(boxes)),
		made:  make(map[string][]crdt.MailboxID, len(boxes)),
	}
	for _, s := range boxes {
		if s != nil {
			x.update(nil, s.rec)
		}
	}
	return x
}

// update notes that a record, nil for none, is now rec.
func (x *nameIndex) update(old *boxState, rec *crdt.Mailbox) {
	if rec.Live() {
		x.live[rec.ID] = struct{}{}
	} else {
		delete(x.live, rec.ID)
	}
	if old == nil {
		x.made[rec.Created] = append(x.made[rec.Created], rec.ID)
	} else {
		if old.rec.Name.Value == rec.Name.Value {
			return
		}
		x.leave(old.rec.Name.Value, rec.ID)
	}
	x.named[rec.Name.Value] = append(x.named[rec.Name.Value], rec.ID)
}

// leave notes that a record does not have a name any more.
func (x *nameIndex) leave(name string, id crdt.MailboxID) {
	rest := slices.DeleteFunc(x.named[name], func(o crdt.MailboxID) bool { return o == id })
	if len(rest) == 0 {
		delete(x.named, name)
		return
	}
	x.named[name] = rest
}

var _ crdt.NameIndex = (*tx)(nil)

// Named implements crdt.NameIndex.
func (t *tx) Named(names []string) ([]*crdt.Mailbox, error) {
	if err := t.a.loadBoxes(); err != nil {
		return nil, t.fail(err)
	}
	x := &t.a.index
	found := make(map[crdt.MailboxID]struct{}, len(x.live)+len(names))
	add := func(ids []crdt.MailboxID) {
		for _, id := range ids {
			found[id] = struct{}{}
		}
	}
	for _, b := range t.boxes {
		add(x.named[b.Name.Value])
	}
	for id := range x.live {
		found[id] = struct{}{}
		add(x.named[t.a.boxes[id].rec.Name.Value])
	}
	return t.found(found, names)
}

// Called implements crdt.NameIndex.
func (t *tx) Called(names []string) ([]*crdt.Mailbox, error) {
	if err := t.a.loadBoxes(); err != nil {
		return nil, t.fail(err)
	}
	return t.found(make(map[crdt.MailboxID]struct{}, 2*len(names)), names)
}

// found returns records and those that have or had one of some names. What the
// transaction has changed is taken whatever it is called.
func (t *tx) found(found map[crdt.MailboxID]struct{}, names []string) ([]*crdt.Mailbox, error) {
	for id := range t.boxes {
		found[id] = struct{}{}
	}
	for _, name := range names {
		for _, id := range t.a.index.named[name] {
			found[id] = struct{}{}
		}
		for _, id := range t.a.index.made[name] {
			found[id] = struct{}{}
		}
	}
	out := make([]*crdt.Mailbox, 0, len(found))
	for id := range found {
		b, err := t.peek(id)
		if err != nil {
			return nil, err
		}
		out = append(out, t.hand(b))
	}
	return out, nil
}

// loadNames fills the account's table of names. At the start of a transaction.
func (t *tx) loadNames() error {
	listed, err := t.site().List()
	if err != nil {
		return err
	}
	t.a.names, t.a.suffixed = make(map[string]crdt.MailboxID, len(listed)), false
	for _, l := range listed {
		t.a.names[l.Name] = l.Box.ID
		t.a.suffixed = t.a.suffixed || l.Name != l.Box.Name.Value
	}
	return nil
}

// nameAnew brings the account's table of names up to date, if there is one, after what
// has happened to records that have or had one of some names. It is dropped where names
// depend on each other. Under a.mu.
func (a *account) nameAnew(names map[string]struct{}) {
	if a.names == nil {
		return
	}
	for name := range names {
		var named []*crdt.Mailbox
		for _, id := range a.index.named[name] {
			named = append(named, a.boxes[id].rec)
		}
		b, alone := crdt.ShownAs(name, named)
		switch {
		case a.suffixed || !alone:
			a.names = nil
			return
		case b == nil:
			delete(a.names, name)
		default:
			a.names[name] = b.ID
		}
	}
}
