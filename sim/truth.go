package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
)

// truth is what all operations together say, whoever has them by now.
type truth struct {
	added  map[place]addition
	gone   map[place][]crdt.Dot // removals of an instance
	issued map[boxUID]crdt.Tag
	named  map[nameUID]crdt.Tag  // what clients knew as that
	shown  map[boxUID]crdt.Root  // content that was seen under a UID
	label  map[crdt.Root]string  // of contents, by the APPEND that brought them
	body   map[string]crdt.Root  // the reverse
	dots   map[crdt.Dot]struct{} // operations observed

	commands map[commandOf][]made
	causes   map[place]commandOf
}

// place is an instance of an account.
type place struct {
	user crdt.AccountID
	crdt.Instance
}

type addition struct {
	root crdt.Root
	dot  crdt.Dot
}

// boxUID is a UID of a mailbox under a UIDVALIDITY.
type boxUID struct {
	user        crdt.AccountID
	box         crdt.MailboxID
	uidValidity uint32 // 0: the UID says its era itself
	uid         crdt.UID
}

// nameUID is a message as a client knows it.
type nameUID struct {
	user        crdt.AccountID
	name        string
	uidValidity uint32
	number      uint32
}

func newTruth() *truth {
	return &truth{
		added:  make(map[place]addition),
		gone:   make(map[place][]crdt.Dot),
		issued: make(map[boxUID]crdt.Tag),
		named:  make(map[nameUID]crdt.Tag),
		shown:  make(map[boxUID]crdt.Root),
		label:  make(map[crdt.Root]string),
		body:   make(map[string]crdt.Root),
		dots:   make(map[crdt.Dot]struct{}),

		commands: make(map[commandOf][]made),
		causes:   make(map[place]commandOf),
	}
}

// observe takes in the operations that a replica has made since it was asked last.
func (w *World) observe(n *node) error {
	own := n.replica.Origin()
	for last := n.replica.Logged().Get(own); n.seen < last; {
		list, err := n.replica.Read(own, n.seen+1, 1<<20)
		if err != nil {
			return fmt.Errorf("%s reads its log: %w", n.name, err)
		}
		if len(list) == 0 {
			w.fail("log", "%s: operation %d is not in the log", n.name, n.seen+1)
			return nil
		}
		for i := range list {
			op, err := crdt.DecodeOp(list[i].Data)
			if err != nil {
				w.fail("log", "%s: operation %d: %v", n.name, list[i].Dot.N, err)
				return nil
			}
			if err := w.learn(n, op); err != nil {
				return err
			}
			n.seen = list[i].Dot.N
			n.changed = true
		}
	}
	return nil
}

// learn notes what an operation adds, issues and removes.
func (w *World) learn(n *node, op *crdt.Op) error {
	t := w.truth
	w.stats.Operations++
	t.dots[op.Dot] = struct{}{}
	for _, i := range removals(op.Payload) {
		p := place{op.Account, i}
		t.gone[p] = append(t.gone[p], op.Dot)
	}
	switch p := op.Payload.(type) {
	case *crdt.Append:
		return w.learnAppend(n, op, p)
	case *crdt.Move:
		w.learnMove(op, p)
	case *crdt.RenameInbox:
		w.learnMove(op, &p.Move)
	case *crdt.Reissue:
		w.stats.Reissued += len(p.List)
		w.learnUIDs(op.Account, p.Box, p.List)
	case *crdt.Renumber:
		w.stats.Done["(renumber)"]++
		w.learnUIDs(op.Account, p.Box, p.List)
	}
	return nil
}

// learnAppend notes what APPEND, COPY and deliveries add. When a command is
// replayed, messages that it appends are known by their places in its list, and
// those that it copies by their contents.
func (w *World) learnAppend(n *node, op *crdt.Op, p *crdt.Append) error {
	doubles := make(map[crdt.Root]uint32)
	for i := range p.Messages {
		root := p.Messages[i].Root
		at := w.learnAdded(op, p.Box, i, &p.Messages[i])
		if !p.NewBody {
			w.truth.learnCause(op, at, fmt.Sprintf("copy of %x ", root), op.Cause.Index+doubles[root])
			doubles[root]++
			continue
		}
		w.truth.learnCause(op, at, "message ", op.Cause.Index+uint32(i))
		if err := w.learnBody(n, root); err != nil {
			return err
		}
	}
	return nil
}

// learnMove notes what MOVE adds: when it is replayed, a message is known by the
// one that it was.
func (w *World) learnMove(op *crdt.Op, p *crdt.Move) {
	for i := range p.Entries {
		at := w.learnAdded(op, p.Dst, i, &p.Entries[i].New)
		w.truth.learnCause(op, at, fmt.Sprint("moved ", p.Entries[i].From.Tag), 0)
	}
}

func (w *World) learnAdded(op *crdt.Op, box crdt.MailboxID, i int, a *crdt.Added) place {
	tag := crdt.Tag{Origin: op.Dot.Origin, N: op.Dot.N, Index: uint32(i)}
	at := place{op.Account, crdt.Instance{Box: box, Tag: tag}}
	w.truth.added[at] = addition{a.Root, op.Dot}
	w.learnUID(op.Account, box, a.UID, tag)
	return at
}

func (w *World) learnUIDs(user crdt.AccountID, box crdt.MailboxID, list []crdt.TagUID) {
	for _, x := range list {
		w.learnUID(user, box, x.UID, x.Tag)
	}
}

func (w *World) learnUID(user crdt.AccountID, box crdt.MailboxID, uid crdt.UID, tag crdt.Tag) {
	k := boxUID{user: user, box: box, uid: uid}
	if o, ok := w.truth.issued[k]; ok && o != tag {
		w.fail("I1", "UID %d of mailbox %x was issued for %v and %v", uid, uint64(box), o, tag)
	}
	w.truth.issued[k] = tag
}

// learnBody reads a new content where it was made: its first line is its label.
func (w *World) learnBody(n *node, root crdt.Root) error {
	text, err := n.body(root)
	if err != nil {
		return err
	}
	label, _, _ := strings.Cut(text, "\n")
	if text != content(label) {
		w.fail("I10", "%s: content of %q is not what was appended: %.40q", n.name, label, text)
	}
	w.truth.label[root], w.truth.body[label] = label, root
	return nil
}

// removals returns the instances that a payload removes.
func removals(p crdt.Payload) []crdt.Instance {
	var out []crdt.Instance
	switch p := p.(type) {
	case *crdt.Expunge:
		return p.Targets
	case *crdt.Move:
		for i := range p.Entries {
			out = append(append(out, p.Entries[i].From), p.Entries[i].Copies...)
		}
	case *crdt.RenameInbox:
		return removals(&p.Move)
	case *crdt.DeleteMailbox:
		for _, tag := range p.Tags {
			out = append(out, crdt.Instance{Box: p.ID, Tag: tag})
		}
	}
	return out
}

// removed returns an operation among those of v that removed an instance.
func (t *truth) removed(p place, v crdt.VC) (crdt.Dot, bool) {
	i := slices.IndexFunc(t.gone[p], v.Has)
	if i < 0 {
		return crdt.Dot{}, false
	}
	return t.gone[p][i], true
}

// content is the message with a label.
func content(label string) string {
	return label + "\n" + strings.Repeat("text of "+label+"\n", len(label))
}

// body reads a content at a replica, "" if it is not there.
func (n *node) body(root crdt.Root) (string, error) {
	var out []byte
	for i := 0; ; i++ {
		data, last, err := n.replica.BodyChunk(root, i)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return "", fmt.Errorf("%s reads a body: %w", n.name, err)
		case last:
			return string(out), nil
		case data == nil:
			return "", nil
		}
		out = append(out, data...)
	}
}
