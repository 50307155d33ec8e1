package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A command that may have been executed by a replica that died is executed
// again by another one, with a higher attempt. What both add is the same to the
// client, so that of instances with equal cause the one of the highest attempt
// is kept (crdt.md 2.3):
//
//	An instance is superseded when an operation with the same cause, a higher
//	attempt and no knowledge of it (neither depends on the other) added another.
//
// That says nothing of the order in which operations arrive nor of what became
// of the other instance: if the replay was moved away or expunged meanwhile, the
// original does not come back. A superseded instance is removed as if by the
// operation that supersedes it. Every replica therefore remembers of replays,
// and of no others, that they were there, until they are causally stable: what
// arrives later knows of them. See [Site.Forget].
//
// Operations with the same cause of which one knows the other are none of a
// correct replica: [Site.Apply] refuses to make them ([ErrSuperseded]), and if
// they come from elsewhere both instances stay.

// commandKey is the cause's command alone.
func (c Cause) commandKey() Cause { return Cause{Session: c.Session, Command: c.Command} }

// causeKey returns what twins of m by cause have in common; false: it has none.
// A replayed MOVE or COPY may find other messages than the first attempt, so
// that places in its list mean nothing: a moved message is known by its source
// and a copied one by its content, of which Index counts the doubles.
func (m *Message) causeKey() (TwinKey, bool) {
	key := TwinKey{Cause: m.Cause.commandKey()}
	switch {
	case m.Cause.IsZero():
		return TwinKey{}, false
	case !m.Src.IsZero():
		key.Source = m.Src
		return key, true
	case m.Copied:
		key.Root = m.Root
	}
	key.Cause.Index = m.Cause.Index
	return key, true
}

// file returns under what live twins by cause are filed: those of a moved message
// are among those by source.
func (k TwinKey) file() TwinKey {
	if !k.Source.IsZero() {
		return TwinKey{Source: k.Source}
	}
	return k
}

// fileKey returns under what m is filed; false: it is not.
func (m *Message) fileKey() (TwinKey, bool) {
	if !m.Src.IsZero() {
		return m.twinKey(), true
	}
	return m.causeKey()
}

// copies reports whether an operation is a COPY with a cause.
func (op *Op) copies(p *Append) bool { return !p.NewBody && !op.Cause.IsZero() }

// causes returns the causes of the instances that p adds, in order.
func (p *Append) causes(op *Op) func(i int) Cause {
	if !op.copies(p) || len(p.Messages) == 1 {
		return op.cause
	}
	seen := make(map[Root]uint32, len(p.Messages))
	return func(i int) Cause {
		c, root := op.Cause, p.Messages[i].Root
		c.Index += seen[root]
		seen[root]++
		return c
	}
}

// causesOf returns instances as the operation would add them, with no more than
// their causes.
func causesOf(op *Op) []*Message {
	var out []*Message
	moved := func(p *Move) {
		for i := range p.Entries {
			out = append(out, &Message{Cause: op.cause(i), Src: p.Entries[i].From.Tag})
		}
	}
	switch p := op.Payload.(type) {
	case *Append:
		causes := p.causes(op)
		for i := range p.Messages {
			out = append(out, &Message{Cause: causes(i), Copied: op.copies(p), Root: p.Messages[i].Root})
		}
	case *Move:
		moved(p)
	case *RenameInbox:
		moved(&p.Move)
	}
	return out
}

// checkAttempt refuses an own operation that a later attempt is known of.
func (w *work) checkAttempt() error {
	if w.op.Cause.IsZero() {
		return nil
	}
	for _, m := range causesOf(w.op) {
		key, _ := m.causeKey()
		list, err := w.State.ReplaysOf(key)
		if err != nil {
			return fmt.Errorf("replays: %w", err)
		}
		for _, r := range list {
			if r.Attempt > m.Cause.Attempt {
				return fmt.Errorf("attempt %d: %w", m.Cause.Attempt, ErrSuperseded)
			}
		}
	}
	return nil
}

// decideCause is about an instance that is being added: it removes those that
// it supersedes, and returns the replay that supersedes it, if there is one. It
// is then added no more, and only its UID is heard of.
func (w *work) decideCause(b *openBox, m *Message, u UID) (by *Replay, err error) {
	key, ok := m.causeKey()
	if !ok {
		return nil, nil
	}
	if by, err = w.supersededBy(key, m); err != nil {
		return nil, err
	}
	if m.Cause.Attempt > 0 {
		if err := w.remember(Replay{key, m.Tag, m.Cause.Attempt}); err != nil {
			return nil, err
		}
		at := Instance{b.ID, m.Tag}
		if by != nil {
			at = Instance{}
		}
		if err := w.supersede(Replay{key, m.Tag, m.Cause.Attempt}, m, at); err != nil {
			return nil, err
		}
	}
	if by == nil {
		return nil, nil
	}
	w.hear(b, u)
	if err := w.vanish(b, u); err != nil {
		return nil, err
	}
	if err := w.State.Retain(m.Root); err != nil {
		return nil, err
	}
	return by, w.State.Release(m.Root, by.Tag.Dot())
}

// supersededBy returns a remembered replay that supersedes m, nil if none does.
func (w *work) supersededBy(key TwinKey, m *Message) (*Replay, error) {
	a, err := w.State.Account()
	if err != nil || a.Replays == 0 {
		return nil, err
	}
	list, err := w.State.ReplaysOf(key)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Attempt > m.Cause.Attempt && !w.op.Deps.Has(list[i].Tag.Dot()) {
			return &list[i], nil
		}
	}
	return nil, nil
}

// remember notes a replay, once.
func (w *work) remember(r Replay) error {
	list, err := w.State.ReplaysOf(r.Key)
	if err != nil || slices.Contains(list, r) {
		return err
	}
	a, err := w.State.Account()
	if err != nil {
		return err
	}
	a.Replays++
	if err := w.State.PutAccount(a); err != nil {
		return err
	}
	return w.State.AddReplay(r)
}

// supersede removes the instances that a replay supersedes. Flags that clients
// here have set on them are to be set again on what the replay added, m at `at`,
// if it lives: what others did to a superseded instance cannot be merged by an
// effect, because at a replica where the instance never was, or was expunged
// before the replay came, it is not known.
func (w *work) supersede(r Replay, m *Message, at Instance) error {
	list, err := w.State.Twins(r.Key.file())
	if err != nil {
		return err
	}
	slices.SortFunc(list, Instance.Compare)
	for _, t := range list {
		if w.op.Deps.Has(t.Tag.Dot()) || t.Tag.Dot() == r.Tag.Dot() {
			continue
		}
		o, err := w.State.Message(t.Box, t.Tag)
		if err != nil {
			return err
		}
		if o == nil || o.Cause.commandKey() != r.Key.Cause.commandKey() || o.Cause.Attempt >= r.Attempt {
			continue
		}
		if at != (Instance{}) {
			w.redoFlags(o, at, m)
		}
		if err := w.remove(t); err != nil {
			return err
		}
	}
	return nil
}

// redo is a flag to be set, or unset, on an instance.
type redo struct {
	flag string
	on   bool
	at   Instance
}

// redoFlags notes which flags of o clients of this replica have changed since it
// was added, so that one replica and no other repeats each change.
func (w *work) redoFlags(o *Message, at Instance, m *Message) {
	for _, f := range o.Flags {
		if f.Time.Slot() == w.Self.Slot && f.Time > o.SrcTime && f.On != m.Has(f.Name) {
			w.redo = append(w.redo, redo{f.Name, f.On, at})
		}
	}
}

// redone returns the operations that repeat flag changes, one for each flag.
func (w *work) redone() []Payload {
	if len(w.redo) == 0 {
		return nil
	}
	slices.SortStableFunc(w.redo, func(a, b redo) int {
		if a.on != b.on {
			return less(a.on)
		}
		return cmp.Or(strings.Compare(a.flag, b.flag), a.at.Compare(b.at))
	})
	var out []Payload
	for i, r := range w.redo {
		if i == 0 || r.flag != w.redo[i-1].flag || r.on != w.redo[i-1].on {
			mode := StoreRemove
			if r.on {
				mode = StoreAdd
			}
			out = append(out, &Store{Mode: mode, Flags: []string{r.flag}})
		}
		p := out[len(out)-1].(*Store)
		p.Targets = append(p.Targets, r.at)
	}
	return out
}

// Compare orders keys.
func (k TwinKey) Compare(l TwinKey) int {
	return cmp.Or(k.Source.Compare(l.Source), k.Cause.compare(l.Cause), slices.Compare(k.Root[:], l.Root[:]))
}

func (c Cause) compare(d Cause) int {
	return cmp.Or(slices.Compare(c.Session[:], d.Session[:]), cmp.Compare(c.Command, d.Command),
		cmp.Compare(c.Index, d.Index), cmp.Compare(c.Attempt, d.Attempt))
}

// Compare orders the file of twins.
func (f Filing) Compare(g Filing) int { return cmp.Or(f.Key.Compare(g.Key), f.At.Compare(g.At)) }

// Compare orders replays by key and tag.
func (r Replay) Compare(s Replay) int { return cmp.Or(r.Key.Compare(s.Key), r.Tag.Compare(s.Tag)) }
