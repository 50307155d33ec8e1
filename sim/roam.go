package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/crdt/crdttest"
	"github.com/go-pluto/pluto/mailstore"
)

// roamer is a client that keeps what it fetched and goes from replica to
// replica: as one that knows no more than UIDNEXT and never forgets, and as one
// with QRESYNC (RFC 7162).
type roamer struct {
	id     int
	caches map[string]*cache // by account and name
	synced map[string]*synced

	visited map[crdt.Origin]bool // by whom caches were told of a UIDNEXT
}

// cache is what a client driven by UIDNEXT has of a mailbox.
type cache struct {
	user        crdt.AccountID
	box         crdt.MailboxID
	uidValidity uint32
	next        crdt.UID
	rows        map[crdt.UID]crdt.Root
}

// synced is what a client with QRESYNC has of a mailbox, and the operations that
// it was shown the effect of.
type synced struct {
	crdttest.QResync
	user   crdt.AccountID
	name   string
	vector crdt.VC
}

// visit is a client's look at a mailbox of a replica.
type visit struct {
	w       *World
	who     string
	node    *node
	user    crdt.AccountID
	name    string
	account *mailstore.Account
	box     *mailstore.Mailbox
}

func (v *visit) key() string { return fmt.Sprintf("%d/%s", v.user, v.name) }

// roam lets a client select a mailbox at a replica and look at it. It learns
// nothing if the power fails meanwhile.
func (w *World) roam(c *roamer, n *node, user crdt.AccountID, name string, look func(*roamer, *visit) (string, error)) (string, error) {
	n.changed = true
	account, err := n.replica.Open(background, user, w.login(user), w.sessionID())
	if err != nil {
		return "", err
	}
	defer account.Close()
	box, err := account.Select(background, name, true)
	if n.died() {
		return "power failure", nil
	}
	if errors.Is(err, mailstore.ErrNonexistent) {
		return "NO", nil
	}
	if err != nil {
		return "", err
	}
	who := fmt.Sprintf("roaming client %d at %s in %q", c.id, n.name, name)
	return look(c, &visit{w, who, n, user, name, account, box})
}

// fetch is UID FETCH n:* for the n that the client expects next. What it has
// under other UIDs must not have become something else (I3).
func (c *roamer) fetch(v *visit) (string, error) {
	w, x := v.w, c.caches[v.key()]
	if x == nil || x.uidValidity != v.box.UIDValidity() {
		x = &cache{user: v.user, box: v.box.ID(), uidValidity: v.box.UIDValidity(), rows: make(map[crdt.UID]crdt.Root)}
	}
	if err := v.box.Evidence(background, x.next.Number()); err != nil {
		return "", err
	}
	if v.node.died() {
		return "power failure", nil
	}
	c.caches[v.key()] = x
	c.visited[v.node.origin] = true
	view := v.box.View()
	w.tell(v.node, v.user, v.box.ID(), view.UIDNext(), view.HighestModSeq())
	var m mailstore.Message
	for i := range view.Len() {
		view.At(i, &m)
		root, have := x.rows[m.UID]
		if have && root != m.Root {
			w.fail("I3", "%s: UID %d is %q, was %q", v.who, m.UID, w.truth.label[m.Root], w.truth.label[root])
		}
		if m.UID >= x.next {
			x.rows[m.UID] = m.Root
		}
	}
	x.next = max(x.next, view.UIDNext())
	return fmt.Sprintf("OK %d messages, UIDNEXT %d", len(x.rows), x.next), nil
}

// resync is SELECT with QRESYNC. A client that comes to a replica which has all
// that it was shown elsewhere must have exactly what is there, then (I5).
func (c *roamer) resync(v *visit) (string, error) {
	w, x := v.w, c.synced[v.key()]
	if x == nil {
		x = &synced{user: v.user, name: v.name}
	}
	known := mailstore.Known{UIDValidity: x.UIDValidity, ModSeq: crdt.Time(x.ModSeq)}
	for _, r := range x.Known() {
		known.UIDs = append(known.UIDs, mailstore.UIDRange{First: r.First, Last: r.Last})
	}
	credible := known.ModSeq <= crdt.TimeAt(v.node.clock().UnixMilli()+crdt.MaxAhead, 0)
	answer, err := v.box.Resync(background, known)
	if v.node.died() {
		return "power failure", nil
	}
	if err != nil {
		return "", err
	}
	vector, err := crdt.DecodeVC(v.account.Vector())
	if err != nil {
		return "", err
	}
	c.synced[v.key()] = x
	w.tell(v.node, v.user, v.box.ID(), answer.View.UIDNext(), answer.ModSeq)
	if credible && answer.ModSeq < known.ModSeq {
		w.fail("I4", "%s: HIGHESTMODSEQ is %d, the client was told %d elsewhere", v.who, answer.ModSeq, known.ModSeq)
	}
	shown := v.rows(answer.View)
	report := crdttest.Report{UIDValidity: v.box.UIDValidity(), HighestModSeq: uint64(answer.ModSeq), Fetched: make(map[uint32]string)}
	for _, uid := range answer.Changed {
		report.Fetched[uid.Number()] = shown[uid.Number()]
	}
	for _, r := range answer.Vanished {
		report.Vanished = append(report.Vanished, crdttest.Range{First: r.First, Last: r.Last})
	}
	x.Take(report)
	if d := x.Diff(shown); d != "" && x.vector.LessEqual(vector) {
		w.fail("I5", "%s, who had MODSEQ %d: %s", v.who, known.ModSeq, d)
	}
	x.vector.Merge(vector)
	return fmt.Sprintf("OK %d messages, %d changed, %d ranges vanished, MODSEQ %d", len(shown), len(answer.Changed), len(answer.Vanished), answer.ModSeq), nil
}

// rows describes what a picture shows, by UID.
func (v *visit) rows(view *mailstore.View) map[uint32]string {
	out := make(map[uint32]string, view.Len())
	var m mailstore.Message
	for i := range view.Len() {
		view.At(i, &m)
		out[m.UID.Number()] = fmt.Sprintf("%s(%05b %s)", v.w.truth.label[m.Root], m.Flags, strings.Join(m.Keywords, " "))
	}
	return out
}

// finishRoamers has every roaming client look at last, somewhere: then it has
// all there is (I5, I9).
func (w *World) finishRoamers() error {
	for _, id := range slices.Sorted(maps.Keys(w.roamers)) {
		c, n := w.roamers[id], w.nodes[id%len(w.nodes)]
		for _, key := range slices.Sorted(maps.Keys(c.synced)) {
			if _, err := w.roam(c, n, c.synced[key].user, c.synced[key].name, (*roamer).resync); err != nil {
				return err
			}
		}
		for _, key := range slices.Sorted(maps.Keys(c.caches)) {
			x := c.caches[key]
			result, err := w.roam(c, n, x.user, key[strings.Index(key, "/")+1:], (*roamer).fetch)
			if err != nil {
				return err
			}
			if strings.HasPrefix(result, "OK") { // the name may be nobody's now
				c.whole(w, n, key)
			}
		}
	}
	return w.endStep()
}

// whole checks that a client driven by UIDNEXT has everything that is shown (I9).
func (c *roamer) whole(w *World, n *node, key string) {
	x := c.caches[key]
	have := make(map[crdt.Root]bool, len(x.rows))
	for _, root := range x.rows {
		have[root] = true
	}
	rows := n.shown(x.user).box(x.box).rows
	for _, uid := range slices.Sorted(maps.Keys(rows)) {
		if !have[rows[uid].root] {
			w.fail("I9", "roaming client %d never got %q, UID %d of %q, its UIDNEXT is %d", c.id, w.truth.label[rows[uid].root], uid, key, x.next)
		}
	}
}
