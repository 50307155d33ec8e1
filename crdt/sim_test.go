package crdt

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-pluto/pluto/crdt/crdttest"
)

// world is a group of replicas of one account on a causal broadcast, with
// roaming clients, one clock, and a checker that knows the truth. Everything is
// deterministic.
type world struct {
	reps    []*replica
	queue   [][][]*Op // [from][to], in order
	now     int64
	clients []*client
	pollers []*uidClient
	truth   *truth
	cause   Cause // of the next command
	noAudit bool
	skipped bool            // clients have named UIDs that nobody had issued
	roaming bool            // MODSEQs of other replicas are translated; otherwise they are worth nothing
	cut     map[[2]int]bool // links that deliver nothing
	loaded  func(int, VC)   // an account of several was loaded, see load_test.go
	partial int             // how often such a MODSEQ was worth something
}

// replica is one member: a state, a clock, the operations it has applied, and
// what the checker remembers of it.
type replica struct {
	mem     *Memory
	clock   Clock
	vec     VC
	self    Self
	watched map[MailboxID]bool
	tokens  *Tokens
	written *Tokens  // what a crash leaves of tokens
	bodies  bodies   // see content_test.go
	loading *loading // see load_test.go
	loads   int      // parts of snapshots that it has loaded

	told    map[MailboxID]UID // UIDNEXT announced
	high    map[MailboxID]Time
	views   map[MailboxID]map[UID]Tag
	uv      map[string]Validity // by displayed name
	removed map[Instance]bool   // by operations applied here
}

// client keeps what QRESYNC tells it, per mailbox, at whatever replica.
type client struct{ cache map[MailboxID]*cached }

type cached struct {
	crdttest.QResync
	vec VC // what the replicas had applied that it has seen
}

// truth is what somebody knows who sees all replicas.
type truth struct {
	issued     map[boxUID]Tag
	root       map[boxUID]Root
	named      map[string]Tag // name, UIDVALIDITY and UID
	added      map[Instance]Root
	eras       map[boxUID]uint32 // by mailbox and UIDVALIDITY
	gone       map[Instance]bool
	caused     []caused
	superseded map[Instance][]Dot
	ops        map[kind]int
	errs       []string
}

type boxUID struct {
	box MailboxID
	uid UID
}

func (t *truth) fail(format string, args ...any) {
	if len(t.errs) < 10 {
		t.errs = append(t.errs, fmt.Sprintf(format, args...))
	}
}

const simStart = 1700000000000

func newWorld(n int) *world {
	w := &world{now: simStart, truth: &truth{
		issued: map[boxUID]Tag{}, root: map[boxUID]Root{}, named: map[string]Tag{},
		eras: map[boxUID]uint32{}, added: map[Instance]Root{}, gone: map[Instance]bool{}, superseded: map[Instance][]Dot{}, ops: map[kind]int{},
	}}
	for i := range n {
		w.reps = append(w.reps, &replica{
			mem: NewMemory(), clock: Clock{Slot: Slot(i + 1)},
			self: Self{
				Origin: Origin(i + 1), Slot: Slot(i + 1), Leader: i == 0, Rank: i, Separator: '/',
				Policy: Policy{Batch: 10, Wait: 300, Quiet: 5000, Gap: 8},
			},
			bodies:  newBodies(n),
			watched: map[MailboxID]bool{}, tokens: NewTokens(Self{Slot: Slot(i + 1), Policy: Policy{Batch: 1}}, 0, Spacing{Keep: 1 << 40}),
			told: map[MailboxID]UID{}, high: map[MailboxID]Time{},
			views: map[MailboxID]map[UID]Tag{}, uv: map[string]Validity{}, removed: map[Instance]bool{},
		})
		w.queue = append(w.queue, make([][]*Op, n))
	}
	for i := range n {
		w.announce(i, Inbox) // whoever selects INBOX makes its record
	}
	return w
}

func (w *world) clone() *world {
	t := *w.truth
	t.issued, t.root, t.named = maps.Clone(t.issued), maps.Clone(t.root), maps.Clone(t.named)
	t.added, t.gone, t.ops = maps.Clone(t.added), maps.Clone(t.gone), maps.Clone(t.ops)
	t.eras, t.errs, t.superseded = maps.Clone(t.eras), slices.Clone(t.errs), maps.Clone(t.superseded)
	c := &world{now: w.now, truth: &t, noAudit: w.noAudit, skipped: w.skipped, roaming: w.roaming, cut: w.cut}
	for _, r := range w.reps {
		n := *r
		n.mem, n.vec, n.tokens, n.bodies = r.mem.Clone(), r.vec.Clone(), r.tokens.Clone(), r.bodies.clone()
		n.watched, n.told, n.high = maps.Clone(r.watched), maps.Clone(r.told), maps.Clone(r.high)
		n.views, n.uv, n.removed = maps.Clone(r.views), maps.Clone(r.uv), maps.Clone(r.removed)
		c.reps = append(c.reps, &n)
	}
	for _, row := range w.queue {
		var q [][]*Op
		for _, ops := range row {
			q = append(q, slices.Clone(ops))
		}
		c.queue = append(c.queue, q)
	}
	for _, p := range w.pollers {
		n := *p
		n.rows = maps.Clone(p.rows)
		c.pollers = append(c.pollers, &n)
	}
	for _, cl := range w.clients {
		n := &client{cache: map[MailboxID]*cached{}}
		for id, x := range cl.cache {
			y := *x
			y.QResync, y.vec = *x.QResync.Clone(), x.vec.Clone()
			n.cache[id] = &y
		}
		c.clients = append(c.clients, n)
	}
	return c
}

// site returns replica i at this moment, with the clock moved on.
func (w *world) site(i int) *Site {
	r := w.reps[i]
	for id, b := range r.mem.boxes {
		b.Watched = r.watched[id]
	}
	before := r.clock.Last
	return &Site{State: r.mem, Self: r.self, Now: w.now, Before: before, Mod: r.clock.Bump(w.now)}
}

// do prepares an operation at replica i and commits it with all that it brings
// about. It returns nil if there was nothing to do.
func (w *world) do(i int, prepare func(*Site) (Payload, error)) (*Op, error) {
	s := w.site(i)
	p, err := prepare(s)
	if err != nil || IsNil(p) {
		return nil, err
	}
	op := w.commit(i, s, p)
	w.look(i)
	return op, nil
}

// renumber lets replica i begin another era of a mailbox, and reports whether it
// could.
func (w *world) renumber(i int, box MailboxID) bool {
	list, err := w.site(i).PrepareRenumber(box)
	if err != nil {
		return false
	}
	w.followUp(i, list)
	w.look(i)
	return true
}

// approach uses up the UIDs of a mailbox but for n, at all replicas.
func (w *world) approach(box MailboxID, n UID) {
	for _, r := range w.reps {
		if b := r.mem.boxes[box]; b != nil {
			b.N = max(b.N, NewUID(b.Era(), MaxNumber)-n)
		}
	}
}

// commit makes a payload an operation of replica i, applies and broadcasts it.
func (w *world) commit(i int, s *Site, p Payload) *Op {
	r := w.reps[i]
	op := &Op{
		Dot:  Dot{r.self.Origin, r.vec.Get(r.self.Origin) + 1},
		Deps: r.vec.Clone(), Time: s.Mod, Account: 1, Payload: p,
		Partial: !r.mem.account.Vector.LessEqual(r.vec), Cause: w.cause,
	}
	w.cause = Cause{}
	op.Deps.Merge(r.mem.account.Vector)
	w.truth.observe(op)
	more := w.apply(i, s, op)
	for j := range w.reps {
		if j != i {
			w.queue[i][j] = append(w.queue[i][j], op)
		}
	}
	w.followUp(i, more)
	return op
}

func (w *world) followUp(i int, list []Payload) {
	for _, p := range list {
		w.commit(i, w.site(i), p)
	}
}

func (w *world) apply(i int, s *Site, op *Op) []Payload {
	r := w.reps[i]
	data, err := EncodeOp(op)
	if err != nil {
		w.truth.fail("encode: %v", err)
		return nil
	}
	if op, err = DecodeOp(data); err != nil {
		w.truth.fail("decode: %v", err)
		return nil
	}
	known := r.mem.account.Vector.Has(op.Dot)
	more, err := s.Apply(op)
	if err != nil {
		w.truth.fail("replica %d: %v", i, err)
	}
	r.vec.Add(op.Dot)
	if known {
		r.keepBodies(op)
		return more
	}
	r.bodies.take(op)
	w.pullCopied(i)
	for _, x := range removals(op) {
		r.removed[x] = true
	}
	return more
}

// ready reports whether the first operation from i to j may be delivered.
func (w *world) ready(i, j int) bool {
	return len(w.queue[i][j]) > 0 && !w.cut[[2]int{i, j}] && w.queue[i][j][0].Deps.LessEqual(w.reps[j].vec)
}

// deliver takes the next operation from i to j, and reports whether it could.
func (w *world) deliver(i, j int) bool {
	if !w.ready(i, j) {
		return false
	}
	op := w.queue[i][j][0]
	w.queue[i][j] = w.queue[i][j][1:]
	if w.reps[j].vec.Has(op.Dot) {
		return true // a snapshot has brought it
	}
	if !w.reps[j].mem.account.Vector.Has(op.Dot) {
		w.endLoad(j)
	}
	w.reps[j].clock.Observe(op.Time)
	w.reps[j].tokens.HeardOp(op.Dot.Origin, CheckpointOf(op))
	w.followUp(j, w.apply(j, w.site(j), op))
	w.look(j)
	return true
}

// tick runs what is due at replica i and returns when more is.
func (w *world) tick(i int, force bool) int64 {
	changed, shows, err := w.site(i).Reveal(force)
	if err != nil {
		w.truth.fail("reveal: %v", err)
	}
	if changed {
		w.look(i)
	}
	list, next, err := w.site(i).Tick(force)
	if err != nil {
		w.truth.fail("tick: %v", err)
	}
	next = earlier(next, shows)
	w.followUp(i, list)
	if len(list) > 0 {
		w.look(i)
	}
	return next
}

// restart is a crash of replica i and a new start.
func (w *world) restart(i int) {
	w.reps[i].mem.Restart()
	w.restartLoad(i)
	if r := w.reps[i]; r.written != nil {
		r.tokens = r.written.Clone()
	}
	w.reps[i].watched = map[MailboxID]bool{}
	w.look(i)
}

// flow delivers whatever can be.
func (w *world) flow() {
	for again := true; again; {
		again = false
		for i := range w.reps {
			for j := range w.reps {
				for w.deliver(i, j) {
					again = true
				}
			}
		}
	}
}

// settle lets network and timers run dry and returns how many rounds that took.
func (w *world) settle() int {
	for round := 1; ; round++ {
		w.flow()
		next := int64(0)
		for i := range w.reps {
			next = earlier(next, w.tick(i, false))
		}
		if next == 0 && !w.inFlight() || round > 200 {
			return round
		}
		w.now = max(w.now+1, next)
	}
}
