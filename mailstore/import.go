package mailstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// importBatch is how many messages one operation of an import adds, or one of a
// purge removes.
const importBatch = 500

// arrival is an account as it was in another subnet.
type arrival struct {
	node     string // the member that takes it over
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

// roots returns the contents that messages refer to, each once.
func (in *arrival) roots() []crdt.Root {
	var out []crdt.Root
	seen := make(map[crdt.Root]bool)
	for _, list := range in.messages {
		for _, m := range list {
			if !seen[m.Root] {
				seen[m.Root] = true
				out = append(out, m.Root)
			}
		}
	}
	return out
}

// MissingOf returns the contents that messages of a snapshot refer to and that are
// not here. What is here is kept for some time, also if nothing refers to it.
func (r *Replica) MissingOf(ctx context.Context, pieces [][]byte) ([]crdt.Root, error) {
	in, err := readArrival(pieces)
	if err != nil {
		return nil, err
	}
	return r.missing(ctx, in.roots())
}

// missing returns those of the contents that are not here, and has the others kept.
func (r *Replica) missing(ctx context.Context, roots []crdt.Root) (out []crdt.Root, err error) {
	for _, root := range roots {
		have, err := r.keepContent(ctx, root)
		if err != nil {
			return nil, err
		}
		if !have {
			out = append(out, root)
		}
	}
	return out, nil
}

// ErrMissingContents is returned by Import: see MissingOf.
var ErrMissingContents = errors.New("contents are missing")

// Import takes over an account that lived in another subnet and has left it, as a
// snapshot shows it. It returns when peers have it too. What is here of it, because
// it has lived here before or because an import was interrupted, goes. node is the
// name of this member. Errors: ErrNotEmpty, ErrMissingContents, ErrCannot.
func (r *Replica) Import(ctx context.Context, user crdt.AccountID, node string, pieces [][]byte) error {
	in, err := readArrival(pieces)
	if err == nil && (node == "" || in.snap.Home.Value != r.opts.Subnet || in.snap.Target != node) {
		err = fmt.Errorf("%w: the account is not on its way here, but to %q in %q", ErrCannot, in.snap.Target, in.snap.Home.Value)
	}
	if err == nil {
		err = in.snap.Check()
	}
	if err == nil {
		in.node = node
		err = r.importAccount(ctx, user, in)
	}
	if err != nil {
		return fmt.Errorf("import account %d: %w", user, err)
	}
	return nil
}

func (r *Replica) importAccount(ctx context.Context, user crdt.AccountID, in *arrival) error {
	done, err := r.beginImport(user)
	if err != nil {
		return err
	}
	defer done()
	s := r.mover(user)
	defer s.Close()
	// What is told here is to be above all that was told there.
	r.seq.Lock()
	r.seq.clock.Observe(min(in.snap.Clock, maxAhead(r.now())))
	r.seq.Unlock()
	c, err := s.commit(ctx, in.arrive, nil)
	if err == nil {
		err = r.conclude(ctx, c)
	}
	if err != nil {
		return err
	}
	missing, err := r.missing(ctx, in.roots())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%w: %d of them, %x first", ErrMissingContents, len(missing), missing[0])
	}
	if err != nil {
		return err
	}
	if _, err := s.clear(ctx, in.guard); err != nil {
		return err
	}
	for _, step := range []func(*tx) ([]crdt.Payload, error){in.boxes, in.eras, in.names, in.mail, in.deletions, in.notes, in.home} {
		if err := s.importStep(ctx, in, step); err != nil {
			return err
		}
	}
	return nil
}

// beginImport keeps a second import of the same account off until done is called.
func (r *Replica) beginImport(user crdt.AccountID) (done func(), err error) {
	if _, busy := r.imports.LoadOrStore(user, nil); busy {
		return nil, fmt.Errorf("%w: it is being imported", ErrUnavailable)
	}
	return func() { r.imports.Delete(user) }, nil
}

// importStep commits what a step of an import prepares, an operation at a time: no
// other account waits for long.
func (s *Account) importStep(ctx context.Context, in *arrival, step func(*tx) ([]crdt.Payload, error)) error {
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
		c, err := s.commit(ctx, func(t *tx) ([]crdt.Payload, error) { return []crdt.Payload{p}, in.guard(t) },
			func(t *tx) error { return t.adoptKept(p) })
		if err == nil {
			err = s.a.r.conclude(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adoptKept ends that contents of an operation are kept without it.
func (t *tx) adoptKept(p crdt.Payload) error {
	add, ok := p.(*crdt.Append)
	if !ok {
		return nil
	}
	for i := range add.Messages {
		t.key = t.keys.content(t.key[:0], kindStaging, add.Messages[i].Root)
		if err := t.del(); err != nil {
			return err
		}
	}
	return nil
}

// guard returns why the import must not go on: somebody has taken the move back.
func (in *arrival) guard(t *tx) error {
	if rec := t.a.rec; rec.Home.Value == t.a.r.opts.Subnet && rec.Target == in.node {
		return nil
	}
	return fmt.Errorf("%w: the account is no longer on its way here", ErrCannot)
}

// arrive says that the account is on its way to this member. From then on nobody
// purges it here.
func (in *arrival) arrive(t *tx) ([]crdt.Payload, error) {
	rec, own := t.a.rec, t.a.r.opts.Subnet
	switch {
	case rec.Home.Time == 0: // it has never been here
		if there, err := t.instances(nil, 1); err != nil || len(there) > 0 {
			return nil, errors.Join(err, fmt.Errorf("%w: there is mail of it in %s, which it has never left", ErrCannot, own))
		}
	case rec.Home.Value == own && rec.Target == "":
		return nil, ErrNotEmpty
	case rec.Home.Value == own && rec.Target == in.node:
		return nil, nil
	case rec.Home.Value == own:
		return nil, fmt.Errorf("%w: %s takes the account over", ErrCannot, rec.Target)
	}
	return []crdt.Payload{&crdt.SetHome{Subnet: own, Target: in.node}}, nil
}

// boxes creates all mailboxes that there ever were: a name that is used again must
// not get a UIDVALIDITY that it had.
func (in *arrival) boxes(t *tx) ([]crdt.Payload, error) {
	p := new(crdt.CreateMailbox)
	for _, b := range in.snap.Boxes {
		old, err := t.Mailbox(b.ID)
		if err != nil {
			return nil, err
		}
		if old == nil || b.Live() && !old.Live() {
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

// errUncreated says that boxes has not done what it should have.
var errUncreated = fmt.Errorf("%w: a mailbox of the snapshot was not created", ErrCannot)

// eras begins the eras that mailboxes have come to, which are empty here
// (crdt.Renumber).
func (in *arrival) eras(t *tx) ([]crdt.Payload, error) {
	var all []crdt.Payload
	for _, b := range in.snap.Boxes {
		have, err := t.Mailbox(b.ID)
		if have == nil || err != nil {
			return nil, errors.Join(err, errUncreated)
		}
		for era := have.Era() + 1; era <= b.Era(); era++ {
			all = append(all, &crdt.Renumber{Box: b.ID, Era: era})
		}
	}
	return all, nil
}

// names gives mailboxes their present names and uses, and sets subscriptions.
func (in *arrival) names(t *tx) ([]crdt.Payload, error) {
	p := new(crdt.Rename)
	var all []crdt.Payload
	for _, b := range in.snap.Boxes {
		have, err := t.Mailbox(b.ID)
		if have == nil || err != nil {
			return nil, errors.Join(err, errUncreated)
		}
		if have.Name.Value != b.Name.Value {
			p.Boxes = append(p.Boxes, crdt.Renamed{ID: b.ID, Name: b.Name.Value, C: b.C})
		}
		if have.SpecialUse.Value != b.SpecialUse.Value {
			all = append(all, &crdt.SetSpecialUse{ID: b.ID, Use: b.SpecialUse.Value})
		}
	}
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
func (in *arrival) mail(*tx) ([]crdt.Payload, error) {
	var all []crdt.Payload
	brought := make(map[crdt.Root]bool)
	for _, b := range in.snap.Boxes {
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
				fresh = append(fresh, add)
				continue
			}
			all = appendAdded(all, b.ID, add, !brought[m.Root])
			brought[m.Root] = true
		}
		for _, add := range fresh {
			all = appendAdded(all, b.ID, add, !brought[add.Root])
			brought[add.Root] = true
		}
	}
	return all, nil
}

// appendAdded appends a message to the last operation, or to a new one.
func appendAdded(all []crdt.Payload, box crdt.MailboxID, add crdt.Added, body bool) []crdt.Payload {
	if n := len(all); n > 0 {
		if p, ok := all[n-1].(*crdt.Append); ok && p.Box == box && p.NewBody == body && len(p.Messages) < importBatch {
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
		if have == nil || err != nil {
			return nil, errors.Join(err, errUncreated)
		}
		if !b.Live() && have.Live() {
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
