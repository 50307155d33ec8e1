package crdt

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// counting is a State that counts the records that are read or written; a list
// counts as what is in it.
type counting struct {
	*Memory
	keys     int
	messages int // read
}

func (c *counting) touch(n int) { c.keys += n }

func (c *counting) Account() (*Account, error)             { c.touch(1); return c.Memory.Account() }
func (c *counting) PutAccount(a *Account) error            { c.touch(1); return c.Memory.PutAccount(a) }
func (c *counting) Mailbox(id MailboxID) (*Mailbox, error) { c.touch(1); return c.Memory.Mailbox(id) }
func (c *counting) PutMailbox(b *Mailbox) error            { c.touch(1); return c.Memory.PutMailbox(b) }
func (c *counting) PutMessage(id MailboxID, m *Message) error {
	c.touch(1)
	return c.Memory.PutMessage(id, m)
}
func (c *counting) AddTwin(k TwinKey, i Instance) error { c.touch(1); return c.Memory.AddTwin(k, i) }
func (c *counting) RemoveTwin(k TwinKey, i Instance) error {
	c.touch(1)
	return c.Memory.RemoveTwin(k, i)
}
func (c *counting) Await(i Instance) error             { c.touch(1); return c.Memory.Await(i) }
func (c *counting) Settle(i Instance) error            { c.touch(1); return c.Memory.Settle(i) }
func (c *counting) Retain(r Root) error                { c.touch(1); return c.Memory.Retain(r) }
func (c *counting) Release(r Root, op Dot) error       { c.touch(2); return c.Memory.Release(r, op) }
func (c *counting) Unvanish(id MailboxID, u UID) error { c.touch(1); return c.Memory.Unvanish(id, u) }

func (c *counting) Message(id MailboxID, t Tag) (*Message, error) {
	c.touch(1)
	c.messages++
	return c.Memory.Message(id, t)
}

func (c *counting) DeleteMessage(id MailboxID, t Tag) error {
	c.touch(1)
	return c.Memory.DeleteMessage(id, t)
}

func (c *counting) Vanish(id MailboxID, u UID, mod Time) error {
	c.touch(1)
	return c.Memory.Vanish(id, u, mod)
}

func (c *counting) Tags(id MailboxID) ([]Tag, error) {
	list, err := c.Memory.Tags(id)
	c.touch(1 + len(list))
	return list, err
}

func (c *counting) Twins(k TwinKey) ([]Instance, error) {
	list, err := c.Memory.Twins(k)
	c.touch(1 + len(list))
	return list, err
}

func (c *counting) Awaiting() ([]Instance, error) {
	list, err := c.Memory.Awaiting()
	c.touch(1 + len(list))
	return list, err
}

func (c *counting) Mailboxes() ([]*Mailbox, error) {
	list, err := c.Memory.Mailboxes()
	c.touch(1 + len(list))
	return list, err
}

// costWorld is two replicas with a number of messages in INBOX and in A, and 20
// twins in A and B that both have moved. Nothing is under way.
func costWorld(t *testing.T, size int) *world {
	t.Helper()
	w := newWorld(2)
	w.noAudit = true
	do := func(i int, f func(s *Site) (Payload, error)) {
		t.Helper()
		if _, err := w.do(i, f); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"A", "B"} {
		do(0, func(s *Site) (Payload, error) { return s.PrepareCreate(name, "") })
	}
	w.flow()
	for k, box := range []MailboxID{Inbox, costBox("A")} {
		do(0, func(s *Site) (Payload, error) { return s.PrepareAppend(box, costMessages(size, byte(k+1)), true) })
	}
	w.flow()
	twins := w.instances(0, Inbox)[:20]
	for i, dst := range []string{"A", "B"} {
		do(i, func(s *Site) (Payload, error) { return s.PrepareMove(twins, costBox(dst)) })
	}
	w.settle()
	return w
}

func costBox(name string) MailboxID { return NewMailboxID(name, 1) }

func costMessages(n int, k byte) []Added {
	out := make([]Added, n)
	for i := range out {
		out[i] = Added{Root: Root{byte(i), byte(i >> 8), k}, Size: 1}
	}
	return out
}

// costs returns how many records each operation touches where it comes from a
// peer, and how many messages it names.
func costs(t *testing.T, size int) (keys, named map[string]int) {
	w := costWorld(t, size)
	keys, named = map[string]int{}, map[string]int{}
	measure := func(what string, k int, f func(s *Site) (Payload, error)) {
		t.Helper()
		v := w.clone()
		op, err := v.do(0, f)
		if err != nil || op == nil {
			t.Fatalf("%s: %v, %v", what, op, err)
		}
		s := v.site(1)
		c := &counting{Memory: v.reps[1].mem}
		s.State = c
		if _, err := s.Apply(op); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		name := fmt.Sprint(what, " ", k)
		keys[name], named[name] = c.keys, k
	}
	twins := w.instances(0, costBox("B"))
	in := w.instances(0, Inbox)
	for _, k := range []int{1, 10} {
		measure("append", k, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, costMessages(k, 9), true) })
		measure("store", k, func(s *Site) (Payload, error) { return s.PrepareStore(in[:k], StoreAdd, []string{FlagSeen}) })
		measure("replace", k, func(s *Site) (Payload, error) { return s.PrepareStore(in[:k], StoreReplace, []string{"x"}) })
		measure("expunge", k, func(s *Site) (Payload, error) { return s.PrepareExpunge(in[:k]) })
		measure("move", k, func(s *Site) (Payload, error) { return s.PrepareMove(in[:k], costBox("B")) })
		measure("store twins", 2*k, func(s *Site) (Payload, error) { return s.PrepareStore(twins[:k], StoreAdd, []string{FlagSeen}) })
		measure("expunge twins", 2*k, func(s *Site) (Payload, error) { return s.PrepareExpunge(twins[:k]) })
		measure("expunge one of two", k, func(s *Site) (Payload, error) { return &Expunge{Targets: twins[:k]}, nil })
		measure("move twins", 2*k, func(s *Site) (Payload, error) { return s.PrepareMove(twins[:k], Inbox) })
		measure("reissue", k, func(s *Site) (Payload, error) {
			p := &Reissue{Box: Inbox}
			issue := s.issuer(w.reps[0].mem.boxes[Inbox])
			for _, at := range in[:k] {
				u, err := issue.next(0)
				if err != nil {
					return nil, err
				}
				p.List = append(p.List, TagUID{at.Tag, u})
			}
			return p, nil
		})
		measure("nudge", k, func(s *Site) (Payload, error) {
			p := &Nudge{Box: Inbox, H: w.reps[0].mem.boxes[Inbox].N}
			for _, at := range in[:k] {
				p.List = append(p.List, TagUID{at.Tag, w.reps[0].mem.messages[at].Reg})
			}
			return p, nil
		})
	}
	measure("subscribe", 0, func(s *Site) (Payload, error) { return s.PrepareSubscribe("A", true) })
	measure("create", 0, func(s *Site) (Payload, error) { return s.PrepareCreate("C", "") })
	measure("rename", 0, func(s *Site) (Payload, error) { return s.PrepareRename("A", "C") })
	measure("bind", 0, func(s *Site) (Payload, error) { return s.PrepareBindLogin("user") })
	measure("delete", len(twins), func(s *Site) (Payload, error) { return s.PrepareDelete("B") })
	return keys, named
}

// TestCost: an operation of a peer touches no more records than messages that it
// names, times a constant, plus a constant, however large the mailboxes are.
// (Renumbering a mailbox names all of its messages.)
func TestCost(t *testing.T) {
	small, named := costs(t, 40)
	large, _ := costs(t, 2000)
	for _, what := range slices.Sorted(maps.Keys(small)) {
		if large[what] != small[what] {
			t.Errorf("%s: %d records in mailboxes of 40 messages, %d in those of 2,000", what, small[what], large[what])
		}
		if limit := 14*named[what] + 24; small[what] > limit {
			t.Errorf("%s: %d records for %d messages, limit %d", what, small[what], named[what], limit)
		}
		t.Logf("%s: %d records", what, small[what])
	}
}
