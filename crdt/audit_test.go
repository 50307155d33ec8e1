package crdt

import (
	"testing"
)

// TestAuditFinds: the checker sees what it is there to see.
func TestAuditFinds(t *testing.T) {
	for name, spoil := range map[string]func(*Memory, *Mailbox, *Message){
		"messages":       func(_ *Memory, b *Mailbox, _ *Message) { b.Messages++ },
		"unseen":         func(_ *Memory, b *Mailbox, _ *Message) { b.Unseen-- },
		"deleted":        func(_ *Memory, b *Mailbox, _ *Message) { b.Deleted++ },
		"bytes":          func(_ *Memory, b *Mailbox, _ *Message) { b.Bytes++ },
		"instances":      func(_ *Memory, b *Mailbox, _ *Message) { b.Instances++ },
		"N":              func(_ *Memory, b *Mailbox, _ *Message) { b.N = 1 },
		"largest shown":  func(_ *Memory, b *Mailbox, _ *Message) { b.MaxExp = 1 },
		"C":              func(_ *Memory, b *Mailbox, _ *Message) { b.C = 0 },
		"identity":       func(_ *Memory, b *Mailbox, _ *Message) { b.Created = "else" },
		"MODSEQ":         func(_ *Memory, _ *Mailbox, m *Message) { m.Mod++ },
		"used":           func(s *Memory, b *Mailbox, _ *Message) { s.used[b.Name.Value] = 1 },
		"shown UID":      func(_ *Memory, _ *Mailbox, m *Message) { m.Exp = 12 },
		"two of one UID": func(_ *Memory, _ *Mailbox, m *Message) { m.Exp, m.Reg, m.All = 17, 17, []UID{17} },
		"register":       func(_ *Memory, _ *Mailbox, m *Message) { m.Reg++ },
		"tag":            func(_ *Memory, _ *Mailbox, m *Message) { m.Tag.N++ },
		"flags":          func(_ *Memory, _ *Mailbox, m *Message) { m.Flags = []Flag{{Name: "b"}, {Name: "a"}} },
		"hidden":         func(_ *Memory, _ *Mailbox, m *Message) { m.Exp = 0 },
		"awaited":        func(s *Memory, b *Mailbox, m *Message) { s.awaiting[Instance{b.ID, m.Tag}] = true },
		"awaiting ghost": func(s *Memory, _ *Mailbox, _ *Message) { s.awaiting[Instance{5, Tag{}}] = true },
		"lost replay":    func(s *Memory, _ *Mailbox, _ *Message) { s.account.Replays++ },
		"no twin":        func(s *Memory, _ *Mailbox, m *Message) { delete(s.twins, m.twinKey()) },
		"ghost twin":     func(s *Memory, _ *Mailbox, m *Message) { s.twins[m.twinKey()][Instance{5, Tag{}}] = true },
		"loser shown": func(s *Memory, b *Mailbox, m *Message) {
			o := s.messages[Instance{b.ID, Tag{1, 2, 0}}]
			o.Src, o.SrcTime = m.Src, m.SrcTime-1
			s.twins[m.twinKey()][Instance{b.ID, o.Tag}] = true
		},
	} {
		w, do := one(t)
		do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
		a := NewMailboxID("A", 1)
		do(func(s *Site) (Payload, error) {
			return s.PrepareAppend(a, []Added{{Root: Root{1}}, {Root: Root{2}}}, true)
		})
		do(func(s *Site) (Payload, error) { return s.PrepareMove(w.instances(0, a)[1:], a) })
		mem := w.reps[0].mem
		if err := Audit(mem); err != nil {
			t.Fatal(err)
		}
		spoil(mem, mem.boxes[a], mem.messages[Instance{a, Tag{1, 3, 0}}])
		if err := Audit(mem); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
