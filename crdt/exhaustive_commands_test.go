package crdt

import (
	"fmt"
	"slices"
	"testing"
)

// The commands that TestExhaustive combines. Contents are numbered by how many
// messages there have been, flags are one or two: enough to tell what matters
// apart, and few enough that paths meet.

// flagCommand sets what is not set and the reverse.
func flagCommand(w *world, i int, at Instance) prepared {
	m, mode := w.reps[i].mem.messages[at], StoreAdd
	if m.Has(FlagSeen) {
		mode = StoreRemove
	}
	return prepared{fmt.Sprintf("store(%d)", m.Exp), func(s *Site) (Payload, error) {
		return s.PrepareStore([]Instance{at}, mode, []string{FlagSeen})
	}}
}

func replaceCommand(w *world, i int, at Instance) prepared {
	return prepared{fmt.Sprintf("replace(%d)", w.reps[i].mem.messages[at].Exp), func(s *Site) (Payload, error) {
		return s.PrepareStore([]Instance{at}, StoreReplace, []string{FlagDeleted})
	}}
}

func expungeCommand(w *world, i int, at Instance) prepared {
	return prepared{fmt.Sprintf("expunge(%d)", w.reps[i].mem.messages[at].Exp), func(s *Site) (Payload, error) {
		return s.PrepareExpunge([]Instance{at})
	}}
}

func moveCommand(w *world, i int, at Instance, dst MailboxID) prepared {
	return prepared{fmt.Sprintf("move(%d,%x)", w.reps[i].mem.messages[at].Exp, uint16(dst)), func(s *Site) (Payload, error) {
		return s.PrepareMove([]Instance{at}, dst)
	}}
}

func copyCommand(w *world, i int, at Instance, dst MailboxID) prepared {
	m := w.reps[i].mem.messages[at]
	return prepared{fmt.Sprintf("copy(%d,%x)", m.Exp, uint16(dst)), func(s *Site) (Payload, error) {
		return s.PrepareAppend(dst, []Added{{Root: m.Root, Flags: m.FlagNames()}}, false)
	}}
}

func appendCommand(w *world, box MailboxID) prepared {
	return prepared{fmt.Sprintf("append(%x)", uint16(box)), func(s *Site) (Payload, error) {
		return s.PrepareAppend(box, []Added{{Root: Root{byte(len(w.truth.added) + 1)}}}, true)
	}}
}

// visible lists the messages that clients see in a mailbox of replica i.
func (w *world) visible(i int, box MailboxID) []Instance {
	return slices.DeleteFunc(w.instances(i, box), func(at Instance) bool { return w.reps[i].mem.messages[at].Exp == 0 })
}

// messageCommands are about one mailbox: APPEND, STORE in three modes, EXPUNGE,
// MOVE onto itself.
func messageCommands(w *world, i int) []prepared {
	out := []prepared{appendCommand(w, Inbox)}
	for _, at := range w.visible(i, Inbox) {
		out = append(out, flagCommand(w, i, at), replaceCommand(w, i, at), expungeCommand(w, i, at), moveCommand(w, i, at, Inbox))
	}
	return out
}

// eraCommands are those of one mailbox, and what begins another era of its UIDs:
// renumbering, and a larger UIDVALIDITY.
func eraCommands(w *world, i int) []prepared {
	touch := w.reps[i].mem.boxes[Inbox].C + 1
	return append(messageCommands(w, i),
		prepared{"renumber", func(s *Site) (Payload, error) { return first(s.PrepareRenumber(Inbox)) }},
		prepared{"touch", func(*Site) (Payload, error) { return &Touch{Inbox, touch}, nil }})
}

var mailboxA = NewMailboxID("A", 1)

// copyCommands are about two mailboxes: COPY and MOVE both ways, which make
// several instances of one content, beside STORE, EXPUNGE and DELETE.
func copyCommands(w *world, i int) []prepared {
	var out []prepared
	for _, from := range []MailboxID{Inbox, mailboxA} {
		to := mailboxA - from
		for _, at := range w.visible(i, from) {
			out = append(out, expungeCommand(w, i, at), moveCommand(w, i, at, to), copyCommand(w, i, at, to))
			if from == mailboxA {
				out = append(out, flagCommand(w, i, at))
			}
		}
	}
	return append(out, deleteCommand("A"))
}

func createCommand(name string) prepared {
	return prepared{"create " + name, func(s *Site) (Payload, error) { return s.PrepareCreate(name, "") }}
}

func deleteCommand(name string) prepared {
	return prepared{"delete " + name, func(s *Site) (Payload, error) { return s.PrepareDelete(name) }}
}

func renameCommand(from, to string) prepared {
	return prepared{"rename " + from + " " + to, func(s *Site) (Payload, error) { return s.PrepareRename(from, to) }}
}

// deliverTo appends to the mailbox that has a name then.
func deliverTo(name string) prepared {
	return prepared{"append " + name, func(s *Site) (Payload, error) {
		box, err := s.Lookup(name)
		if err != nil || box == nil {
			return nil, err
		}
		return s.PrepareAppend(box.ID, []Added{{Root: Root{1}}}, true)
	}}
}

// nameCommands are about two names: CREATE, DELETE, RENAME, APPEND.
func nameCommands(*world, int) []prepared {
	var out []prepared
	for _, n := range [][2]string{{"A", "B"}, {"B", "A"}} {
		out = append(out, createCommand(n[0]), deleteCommand(n[0]), renameCommand(n[0], n[1]), deliverTo(n[0]))
	}
	return out
}

// treeCommands are about a mailbox with an inferior: RENAME of both, of one,
// into each other, and RENAME of INBOX.
func treeCommands(*world, int) []prepared {
	return []prepared{
		createCommand("A/x"), createCommand("B"), deleteCommand("A"), deleteCommand("A/x"),
		renameCommand("A", "B"), renameCommand("B", "A"), renameCommand("A/x", "B"), renameCommand("INBOX", "B"),
		deliverTo("A"), deliverTo("A/x"), deliverTo("B"), deliverTo("INBOX"),
	}
}

// allCommands are one or two of every kind.
func allCommands(w *world, i int) []prepared {
	out := append(treeCommands(w, i),
		prepared{"subscribe", func(s *Site) (Payload, error) { return s.PrepareSubscribe("A", true) }},
		prepared{"unsubscribe", func(s *Site) (Payload, error) { return s.PrepareSubscribe("A", false) }},
		prepared{"special use", func(s *Site) (Payload, error) { return s.PrepareSpecialUse("A", `\Junk`) }},
		prepared{"provision", func(s *Site) (Payload, error) { return s.PrepareProvision() }},
		prepared{"bind", func(s *Site) (Payload, error) { return s.PrepareBindLogin(fmt.Sprint("user", i)) }},
		prepared{"append two", func(s *Site) (Payload, error) {
			return s.PrepareAppend(Inbox, []Added{{Root: Root{101}}, {Root: Root{102}, Flags: []string{FlagSeen}}}, true)
		}},
		prepared{"expunge INBOX", func(s *Site) (Payload, error) { return s.PrepareExpunge(w.visible(i, Inbox)) }},
		prepared{"move INBOX to A", func(s *Site) (Payload, error) { return s.PrepareMove(w.visible(i, Inbox), mailboxA) }},
	)
	for _, at := range w.visible(i, mailboxA) {
		out = append(out, flagCommand(w, i, at), replaceCommand(w, i, at), expungeCommand(w, i, at),
			moveCommand(w, i, at, Inbox), copyCommand(w, i, at, Inbox))
	}
	return out
}

// prepareAll returns a function that gives commands at replica 0, one after the other.
func prepareAll(t *testing.T, list ...prepared) func(*world) {
	return func(w *world) {
		for _, c := range list {
			if op, err := w.do(0, c.prepare); err != nil || op == nil {
				t.Fatalf("%s: %v, %v", c.name, op, err)
			}
		}
	}
}

// The worlds that families begin in.
func twoMailboxes(t *testing.T) func(*world) {
	return prepareAll(t, createCommand("A"), deliverTo("INBOX"))
}

func tree(t *testing.T) func(*world) {
	return prepareAll(t, createCommand("A/x"), deliverTo("A"))
}

func everything(t *testing.T) func(*world) {
	return prepareAll(t, createCommand("A/x"), deliverTo("A"), deliverTo("INBOX"))
}
