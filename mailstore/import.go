package mailstore

import (
	"cmp"
	"context"

	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// importStep is how many messages one operation of an import adds.
const importStep = 500

// arrival is an account as it was in another subnet.
type arrival struct {
	snap     crdt.Snapshot
	messages map[crdt.MailboxID][]*crdt.Message
}

// readArrival reads the pieces of a snapshot. next returns io.EOF behind the last one.
func readArrival(pieces [][]byte) (*arrival, error) {
	in := &arrival{messages: make(map[crdt.MailboxID][]*crdt.Message), snap: crdt.Snapshot{
		Used: make(map[string]crdt.Validity), Subscriptions: make(map[string]crdt.Register[bool]),
		Notes: make(map[crdt.Annotation]crdt.Register[crdt.Note])}}
	whole := false
	for i, piece := range pieces {
		id, entries, err := parsePiece(piece)
		if err != nil {
			return nil, err
		}
		if int(id.number) != i {
			return nil, fmt.Errorf("%w: number %d of the snapshot is %d", ErrPiece, i, id.number)
		}
		for _, e := range entries {
			s, err := e.staged()
			if err == nil && len(s.key) > 0 {
				err = in.add(e.kind, s)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrPiece, err)
			}
			whole = whole || int(s.all) == len(pieces)
		}
	}
	if !whole {
		return nil, fmt.Errorf("%w: the snapshot ends early", ErrPiece)
	}
	return in, nil
}

func (in *arrival) add(kind byte, s stagedRecord) error {
	switch kind {
	case stagedHead, stagedMailbox, stagedUsed, stagedSubscription, stagedNote:
		return addStaged(&in.snap, kind, string(s.key[1:]), s.value)
	case stagedMessage:
		m, err := crdt.DecodeMessage(s.value)
		if err != nil {
			return err
		}
		at, err := parseInstance(s.also[1:])
		if err != nil {
			return err
		}
		in.messages[at.Box] = append(in.messages[at.Box], m)
	}
	return nil
}

// MissingOf returns the contents that messages of a snapshot refer to and that are
// not here.
func (r *Replica) MissingOf(pieces [][]byte) ([]crdt.Root, error) {
	in, err := readArrival(pieces)
	if err != nil {
		return nil, err
	}
	var out []crdt.Root
	seen := make(map[crdt.Root]bool)
	err = r.inStore(func() error {
		for _, list := range in.messages {
			for _, m := range list {
				if seen[m.Root] {
					continue
				}
				seen[m.Root] = true
				have, err := r.store.get(r.keys.content(nil, kindStructure, m.Root))
				if err != nil {
					return err
				}
				if have == nil {
					out = append(out, m.Root)
				}
			}
		}
		return nil
	})
	return out, err
}

// Import takes over an account that lived in another subnet and has left it, as a
// snapshot shows it. It returns when peers have it too. What an interrupted one
// has done is not done again. node is the name of this member.
func (r *Replica) Import(ctx context.Context, user crdt.AccountID, node string, pieces [][]byte) error {
	in, err := readArrival(pieces)
	if err == nil && (node == "" || in.snap.Home.Value != r.opts.Subnet || in.snap.Target != node) {
		err = fmt.Errorf("%w: the account is not on its way here, but to %q in %q", ErrCannot, in.snap.Target, in.snap.Home.Value)
	}
	if err != nil {
		return fmt.Errorf("import account %d: %w", user, err)
	}
	s := r.mover(user)
	defer s.Close()
	for _, step := range []func(*tx) ([]crdt.Payload, error){in.boxes, in.names, in.mail, in.deletions, in.notes, in.home} {
		if err := s.importStep(ctx, step); err != nil {
			return fmt.Errorf("import account %d: %w", user, err)
		}
	}
	return nil
}

// importStep commits what a step of an import prepares, an operation at a time: no
// other account waits for long.
func (s *Account) importStep(ctx context.Context, step func(*tx) ([]crdt.Payload, error)) error {
	var all []crdt.Payload
	looked, err := s.commit(ctx, func(t *tx) (_ []crdt.Payload, err error) {
		all, err = step(t)
		return nil, err
	}, nil)
	if err != nil {
		return err
	}
	s.a.settle(looked, nil)
	for _, p := range all {
		c, err := s.commit(ctx, func(*tx) ([]crdt.Payload, error) { return []crdt.Payload{p}, nil }, nil)
		if err == nil {
			err = s.a.r.conclude(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// boxes creates all mailboxes that there ever were: a name that is used again must
// not get a UIDVALIDITY that it had.
func (in *arrival) boxes(t *tx) ([]crdt.Payload, error) {
	switch rec := t.a.rec; {
	case rec.Home.Time == 0:
	case !t.a.left():
		return nil, ErrNotEmpty
	default:
		return nil, fmt.Errorf("%w: the account has lived in %s before, and its remains are there", ErrCannot, t.a.r.opts.Subnet)
	}
	p := new(crdt.CreateMailbox)
	for _, b := range in.snap.Boxes {
		if b.Era() > 0 {
			return nil, fmt.Errorf("%w: mailbox %q has used up its UIDs once", ErrCannot, b.Name.Value)
		}
		old, err := t.Mailbox(b.ID)
		if err != nil {
			return nil, err
		}
		if old == nil {
			p.Boxes = append(p.Boxes, crdt.NewMailbox{ID: b.ID, Name: b.Created, Generation: b.Generation, C: b.C,
				SpecialUse: b.SpecialUse.Value, Fixed: b.ID == crdt.Inbox})
		}
	}
	var all []crdt.Payload
	if in.snap.Login.Time != 0 {
		bind, err := payload(t.site().PrepareBindLogin(in.snap.Login.Value))
		if err != nil {
			return nil, err
		}
		all = bind
	}
	if len(p.Boxes) > 0 {
		all = append(all, p)
	}
	return all, nil
}

// names gives mailboxes their present names, and sets subscriptions.
func (in *arrival) names(t *tx) ([]crdt.Payload, error) {
	p := new(crdt.Rename)
	for _, b := range in.snap.Boxes {
		have, err := t.Mailbox(b.ID)
		if err != nil {
			return nil, err
		}
		if have != nil && have.Name.Value != b.Name.Value {
			p.Boxes = append(p.Boxes, crdt.Renamed{ID: b.ID, Name: b.Name.Value, C: b.C})
		}
	}
	var all []crdt.Payload
	if len(p.Boxes) > 0 {
		all = append(all, p)
	}
	for name, reg := range in.snap.Subscriptions {
		have, err := t.Subscription(name)
		if err != nil {
			return nil, err
		}
		if reg.Time != 0 && (have == nil || have.Value != reg.Value) {
			all = append(all, &crdt.Subscribe{Name: name, On: reg.Value})
		}
	}
	return all, nil
}

// mail adds the messages, by rising UID. One whose UID was refused somewhere gets
// one that nobody knows.
func (in *arrival) mail(t *tx) ([]crdt.Payload, error) {
	var all []crdt.Payload
	brought := make(map[crdt.Root]bool)
	for _, b := range in.snap.Boxes {
		have, err := in.have(t, b.ID)
		if err != nil {
			return nil, err
		}
		list := in.messages[b.ID]
		slices.SortFunc(list, func(x, y *crdt.Message) int { return cmp.Compare(x.Reg, y.Reg) })
		var fresh []crdt.Added
		for _, m := range list {
			if m.Exp == 0 && m.Refused == 0 && !m.Held {
				continue // hidden behind a twin
			}
			add := crdt.Added{Root: m.Root, UID: m.Reg, Size: m.Size, Date: m.Date, Zone: m.Zone, Saved: m.Saved}
			for _, f := range m.Flags {
				if f.On {
					add.Flags = append(add.Flags, f.Name)
				}
			}
			if m.Exp != m.Reg {
				b.N++
				add.UID = b.N
				if !have.roots[m.Root] {
					fresh = append(fresh, add)
				}
			} else if !have.uids[m.Reg] {
				all = appendAdded(all, b.ID, add, !brought[m.Root])
				brought[m.Root] = true
			}
		}
		for _, add := range fresh {
			all = appendAdded(all, b.ID, add, !brought[add.Root])
			brought[add.Root] = true
		}
	}
	return all, nil
}

// imported is what an interrupted import has brought to a mailbox.
type imported struct {
	uids  map[crdt.UID]bool
	roots map[crdt.Root]bool
}

func (in *arrival) have(t *tx, box crdt.MailboxID) (imported, error) {
	out := imported{make(map[crdt.UID]bool), make(map[crdt.Root]bool)}
	tags, err := t.Tags(box)
	if err != nil {
		return out, err
	}
	for _, tag := range tags {
		m, err := t.Message(box, tag)
		if err != nil {
			return out, err
		}
		for _, u := range m.All {
			out.uids[u] = true
		}
		out.roots[m.Root] = true
	}
	return out, nil
}

// appendAdded appends a message to the last operation, or to a new one.
func appendAdded(all []crdt.Payload, box crdt.MailboxID, add crdt.Added, body bool) []crdt.Payload {
	if n := len(all); n > 0 {
		if p, ok := all[n-1].(*crdt.Append); ok && p.Box == box && p.NewBody == body && len(p.Messages) < importStep {
			p.Messages = append(p.Messages, add)
			return all
		}
	}
	return append(all, &crdt.Append{Box: box, NewBody: body, Moved: true, Messages: []crdt.Added{add}})
}

// deletions deletes the mailboxes that were deleted.
func (in *arrival) deletions(t *tx) ([]crdt.Payload, error) {
	var all []crdt.Payload
	for _, b := range in.snap.Boxes {
		have, err := t.Mailbox(b.ID)
		if err != nil {
			return nil, err
		}
		if !b.Live() && have != nil && have.Live() {
			all = append(all, &crdt.DeleteMailbox{ID: b.ID, Dots: have.Dots})
		}
	}
	return all, nil
}

// notes sets the annotations.
func (in *arrival) notes(t *tx) ([]crdt.Payload, error) {
	var list []crdt.Annotated
	for of, reg := range in.snap.Notes {
		if reg.Value.There {
			list = append(list, crdt.Annotated{Of: of, Value: reg.Value})
		}
	}
	var all []crdt.Payload
	for part := range slices.Chunk(list, 50) {
		p, err := payload(t.site().PrepareAnnotate(part))
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// home says that the account lives here now, and which UIDs clients may know.
func (in *arrival) home(t *tx) ([]crdt.Payload, error) {
	p := &crdt.SetHome{Subnet: t.a.r.opts.Subnet}
	for _, b := range in.snap.Boxes {
		p.Boxes = append(p.Boxes, crdt.RaisedMailbox{ID: b.ID, N: max(b.N, b.H), C: b.C})
	}
	slices.SortFunc(p.Boxes, func(x, y crdt.RaisedMailbox) int { return cmp.Compare(x.ID, y.ID) })
	return []crdt.Payload{p}, nil
}
