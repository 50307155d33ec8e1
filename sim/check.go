package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// shown is what one replica showed of an account when it was checked last, and
// what it told clients.
type shown struct {
	boxes       map[crdt.MailboxID]*shownBox
	uidValidity map[string]uint32 // largest under each name
	read        map[crdt.Root]bool
}

type shownBox struct {
	rows map[crdt.UID]row
	high crdt.Time

	told     told // before the last check
	tellings told // since then
}

// row is a message as clients see it.
type row struct {
	tag   crdt.Tag
	root  crdt.Root
	flags string
}

// told is the most that clients of a replica were told of a mailbox.
type told struct {
	next crdt.UID
	high crdt.Time
}

func (t *told) raise(u told) { t.next, t.high = max(t.next, u.next), max(t.high, u.high) }

func (n *node) shown(user crdt.AccountID) *shown {
	s := n.accounts[user]
	if s == nil {
		s = &shown{
			boxes:       make(map[crdt.MailboxID]*shownBox),
			uidValidity: make(map[string]uint32),
			read:        make(map[crdt.Root]bool),
		}
		n.accounts[user] = s
	}
	return s
}

func (s *shown) box(id crdt.MailboxID) *shownBox {
	b := s.boxes[id]
	if b == nil {
		b = &shownBox{rows: make(map[crdt.UID]row)}
		s.boxes[id] = b
	}
	return b
}

// tell notes what a client of a replica learns of a mailbox; high is 0 if it
// learns no HIGHESTMODSEQ.
func (w *World) tell(n *node, user crdt.AccountID, box crdt.MailboxID, next crdt.UID, high crdt.Time) {
	b := n.shown(user).box(box)
	if next < max(b.told.next, b.tellings.next) {
		w.fail("I2", "%s: UIDNEXT of mailbox %x is %d, was %d", n.name, uint64(box), next, max(b.told.next, b.tellings.next))
	}
	if high != 0 && high < max(b.told.high, b.tellings.high) {
		w.fail("I4", "%s: HIGHESTMODSEQ of mailbox %x is %d, was %d", n.name, uint64(box), high, max(b.told.high, b.tellings.high))
	}
	b.tellings.raise(told{next, high})
}

// check looks at all accounts of a replica.
func (w *World) check(n *node) error {
	n.changed = false
	for _, user := range w.users() {
		err := n.replica.Examine(user, func(s crdt.State) error { return w.checkAccount(n, user, s) })
		if err != nil {
			return fmt.Errorf("check %s: %w", n.name, err)
		}
	}
	return nil
}

func (w *World) checkAccount(n *node, user crdt.AccountID, s crdt.State) error {
	boxes, err := s.Mailboxes()
	if err != nil {
		return err
	}
	logged := n.replica.Logged()
	for _, b := range boxes {
		if err := w.checkMailbox(n, user, s, b, logged); err != nil {
			return err
		}
	}
	return w.checkList(n, user, s, boxes)
}

// checkMailbox compares what a mailbox shows with what it showed, and with the
// truth: I1, I2, I3, I4, I8, I10.
func (w *World) checkMailbox(n *node, user crdt.AccountID, s crdt.State, b *crdt.Mailbox, logged crdt.VC) error {
	was, high := n.shown(user).box(b.ID), max(b.High, 1) // 1 is told where nothing has changed yet
	if high < was.high {
		w.fail("I4", "%s: HIGHESTMODSEQ of %q went from %d to %d", n.name, b.Name.Value, was.high, high)
	}
	tags, err := s.Tags(b.ID)
	if err != nil {
		return err
	}
	rows := make(map[crdt.UID]row, len(tags))
	for _, tag := range tags {
		p := place{user, crdt.Instance{Box: b.ID, Tag: tag}}
		if d, ok := w.truth.ended(p, logged); ok {
			w.fail("I8", "%s has %v in %q, which %v ended", n.name, tag, b.Name.Value, d)
		}
		m, err := s.Message(b.ID, tag)
		if err != nil {
			return err
		}
		if m == nil || m.Exp == 0 {
			continue
		}
		rows[m.Exp] = row{tag, m.Root, strings.Join(m.FlagNames(), " ")}
		if err := w.checkRow(n, user, b, m, was); err != nil {
			return err
		}
	}
	was.rows, was.high = rows, high
	was.told.raise(was.tellings)
	was.tellings = told{}
	return nil
}

func (w *World) checkRow(n *node, user crdt.AccountID, b *crdt.Mailbox, m *crdt.Message, was *shownBox) error {
	if was.rows[m.Exp].tag != m.Tag && m.Exp < was.told.next {
		w.fail("I2", "%s shows UID %d in %q, had told UIDNEXT %d", n.name, m.Exp, b.Name.Value, was.told.next)
	}
	if t := w.truth.issued[boxUID{user: user, box: b.ID, uid: m.Exp}]; t != m.Tag {
		w.fail("I1", "%s shows %v in %q as UID %d, which is %v", n.name, m.Tag, b.Name.Value, m.Exp, t)
	}
	w.sees(n.name, user, b.ID, b.UIDValidity(), m.Exp, m.Root)
	return w.readable(n, user, m.Root)
}

// sees notes that somebody sees a content under a UID (I3).
func (w *World) sees(who string, user crdt.AccountID, box crdt.MailboxID, uidValidity uint32, uid crdt.UID, root crdt.Root) {
	k := boxUID{user, box, uidValidity, crdt.NewUID(0, uid.Number())}
	if was, ok := w.truth.shown[k]; ok && was != root {
		w.fail("I3", "%s: UID %d of mailbox %x (UIDVALIDITY %d) is %q, was %q", who, uid, uint64(box), uidValidity, w.truth.label[root], w.truth.label[was])
	}
	w.truth.shown[k] = root
}

// readable reads the content of a shown message, once after each start (I10).
func (w *World) readable(n *node, user crdt.AccountID, root crdt.Root) error {
	read := n.shown(user).read
	if read[root] {
		return nil
	}
	read[root] = true
	text, err := n.body(root)
	if err != nil {
		return err
	}
	label := w.truth.label[root]
	if text == "" {
		if text, err = n.pull(root); err != nil {
			return err
		}
		if text == "" && !w.final { // nobody who has it can be reached now
			read[root] = false
			return nil
		}
	}
	if label == "" || text != content(label) {
		w.fail("I10", "%s: the content of %q is %.40q", n.name, label, text)
	}
	return nil
}

// pull gets a content from a replica that has it and can be reached, as comm
// does when a client wants to read it (6.6).
func (n *node) pull(root crdt.Root) (string, error) {
	for _, peer := range n.w.nodes {
		if peer == n || !peer.up || !n.w.passes(n, peer) || !n.w.passes(peer, n) {
			continue
		}
		chunks, err := peer.chunks(&causal.Entry{Bodies: []crdt.Root{root}})
		if err != nil {
			return "", err
		}
		for _, c := range chunks {
			if err := n.replica.PutBodyChunk(c.root, c.index, c.data, c.last); err != nil {
				return "", fmt.Errorf("%s takes a body: %w", n.name, err)
			}
		}
		if text, err := n.body(root); text != "" || err != nil {
			n.w.stats.Done["(pull)"]++
			return text, err
		}
	}
	return "", nil
}

// checkList checks the list of mailboxes: N2, N3, N4.
func (w *World) checkList(n *node, user crdt.AccountID, s crdt.State, boxes []*crdt.Mailbox) error {
	list, err := (&crdt.Site{State: s, Self: crdt.Self{Separator: '.'}}).List()
	if err != nil {
		return err
	}
	live := 0
	for _, b := range boxes {
		if b.Live() {
			live++
		}
	}
	if !slices.ContainsFunc(boxes, func(b *crdt.Mailbox) bool { return b.ID == crdt.Inbox }) {
		live++
	}
	shown := n.shown(user)
	names := make(map[string]bool, len(list))
	for i := range list {
		l := &list[i]
		if names[l.Name] {
			w.fail("N2", "%s lists %q twice", n.name, l.Name)
		}
		names[l.Name] = true
		uv := l.Box.UIDValidity()
		if uv < shown.uidValidity[l.Name] {
			w.fail("N4", "%s: UIDVALIDITY of %q went from %d to %d", n.name, l.Name, shown.uidValidity[l.Name], uv)
		}
		shown.uidValidity[l.Name] = uv
		for uid, r := range shown.box(l.Box.ID).rows {
			k := nameUID{user, l.Name, uv, uid.Number()}
			if tag, ok := w.truth.named[k]; ok && tag != r.tag {
				w.fail("N3", "%s: UID %d of %q (UIDVALIDITY %d) is %v, was %v", n.name, uid, l.Name, uv, r.tag, tag)
			}
			w.truth.named[k] = r.tag
		}
	}
	if len(list) != live {
		w.fail("N2", "%s lists %d of %d mailboxes", n.name, len(list), live)
	}
	return nil
}

// picture describes what clients of a replica see of an account, without what
// replicas may differ in.
func (n *node) picture(user crdt.AccountID) (string, error) {
	var out strings.Builder
	err := n.replica.Examine(user, func(s crdt.State) error {
		list, err := (&crdt.Site{State: s, Self: crdt.Self{Separator: '.'}}).List()
		if err != nil {
			return err
		}
		for i := range list {
			l := &list[i]
			fmt.Fprintf(&out, "%s uidvalidity %d %s\n", l.Name, l.Box.UIDValidity(), l.Box.SpecialUse.Value)
			rows := n.shown(user).box(l.Box.ID).rows
			for _, uid := range slices.Sorted(maps.Keys(rows)) {
				fmt.Fprintf(&out, "  %d %s (%s)\n", uid, n.w.truth.label[rows[uid].root], rows[uid].flags)
			}
		}
		return nil
	})
	return out.String(), err
}

// replicated describes what replicas that have the same operations must agree
// on, to the last register. What instances keep only until their operations are
// causally stable (crdt.Site.Forget) is part of it when every replica has had
// the time to learn that they are: settled.
func (n *node) replicated(user crdt.AccountID, settled bool) (string, error) {
	var out strings.Builder
	err := n.replica.Examine(user, func(s crdt.State) error {
		a, err := s.Account()
		if err != nil {
			return err
		}
		fmt.Fprintf(&out, "login %v provisioned %v epoch %d applied %v\n", a.Login, a.Provisioned, a.Epoch, a.Vector)
		boxes, err := s.Mailboxes()
		if err != nil {
			return err
		}
		slices.SortFunc(boxes, func(a, b *crdt.Mailbox) int { return strings.Compare(fmt.Sprint(a.ID), fmt.Sprint(b.ID)) })
		for _, b := range boxes {
			if err := describe(&out, s, b, settled); err != nil {
				return err
			}
		}
		return nil
	})
	return out.String(), err
}

func describe(out *strings.Builder, s crdt.State, b *crdt.Mailbox, settled bool) error {
	dots := slices.Clone(b.Dots)
	slices.SortFunc(dots, func(a, b crdt.Dot) int {
		return crdt.Tag{Origin: a.Origin, N: a.N}.Compare(crdt.Tag{Origin: b.Origin, N: b.N})
	})
	fmt.Fprintf(out, "mailbox %x %s/%d %v c%d %v %v N%d\n", uint64(b.ID), b.Created, b.Generation, b.Name, b.C, dots, b.SpecialUse, b.N)
	tags, err := s.Tags(b.ID)
	if err != nil {
		return err
	}
	slices.SortFunc(tags, crdt.Tag.Compare)
	for _, tag := range tags {
		m, err := s.Message(b.ID, tag)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		fmt.Fprintf(out, "  %v %x reg %d %v base %d %v %d %d %d %d\n", tag, m.Root, m.Reg,
			slices.Sorted(slices.Values(m.All)), m.Base, m.Flags, m.Size, m.Date, m.Zone, m.Saved)
		if settled {
			fmt.Fprintf(out, "    src %v %d cause %v copied %v\n", m.Src, m.SrcTime, m.Cause, m.Copied)
		}
	}
	return nil
}
