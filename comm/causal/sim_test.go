package causal

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// world is a subnet on a virtual network with virtual time. Streams are
// directed: from>to carries from's operations, and acknowledgements back.
type world struct {
	now   time.Time
	cfg   Config
	names []string
	nodes map[string]*node
	wires map[wire]*traffic
	lives int // begun with an empty disk after the first
}

type wire struct{ from, to string }

// traffic is a stream that is up.
type traffic struct {
	down []message // entries, from sender to receiver
	up   []message // acknowledgements, back
}

type message struct {
	entries []Entry
	ack     crdt.VC
	stands  Standing // with ack
}

// node is a replica: its disk, and its machine while it runs.
type node struct {
	name    string
	origin  crdt.Origin
	log     map[crdt.Origin][]Entry
	order   []crdt.Dot // in which operations became durable
	machine *Machine   // nil when crashed
	slow    bool       // its disk confirms nothing
	waits   map[*Waiter]string
	sure    map[string]crdt.VC // what it remembers of its peers over a crash
	cut     crdt.VC            // where its log begins
	joined  bool               // it has been
	loading bool
	lost    []crdt.Origin // whose stream to it broke
}

// standing is what a node tells of itself.
func (n *node) standing() Standing {
	return Standing{Cut: n.cut, Joined: n.machine.Joined(), Loading: n.loading, Lost: n.lost}
}

func newWorld(cfg Config, names ...string) *world {
	w := &world{now: time.Unix(1700000000, 0), cfg: cfg, names: names, nodes: map[string]*node{}, wires: map[wire]*traffic{}}
	for i, name := range names {
		w.nodes[name] = &node{name: name, origin: crdt.Origin(i + 1), log: map[crdt.Origin][]Entry{}}
	}
	for _, name := range names {
		w.start(name)
	}
	return w
}

func (n *node) logged() crdt.VC {
	var v crdt.VC
	for o, l := range n.log {
		v.Set(o, uint64(len(l)))
	}
	return v
}

// start boots a node and connects it with those that run.
func (w *world) start(name string) {
	n := w.nodes[name]
	cfg := w.cfg
	cfg.Self, cfg.New = n.origin, !n.joined
	for _, p := range w.names {
		if p != name {
			cfg.Peers = append(cfg.Peers, p)
		}
	}
	n.machine, n.waits, n.lost = New(cfg, n.logged(), w.now), map[*Waiter]string{}, nil
	n.machine.SetCut(n.cut)
	if n.loading {
		n.machine.Loading("")
	}
	for p, v := range n.sure {
		n.machine.Remember(p, w.nodes[p].origin, v)
	}
	for _, p := range cfg.Peers {
		w.connect(name, p)
		w.connect(p, name)
	}
}

// connect opens the stream from>to, with the handshake.
func (w *world) connect(from, to string) {
	a, b := w.nodes[from], w.nodes[to]
	if a.machine == nil || b.machine == nil || w.wires[wire{from, to}] != nil {
		return
	}
	if err := a.machine.Connected(w.now, to, b.origin, b.logged()); err != nil {
		panic(err)
	}
	w.wires[wire{from, to}] = &traffic{}
	b.lost = slices.DeleteFunc(slices.Clone(b.lost), func(o crdt.Origin) bool { return o == a.origin })
	a.machine.Stands(w.now, to, b.standing())
	w.pump(a)
}

// cutLog has a node's log begin behind v.
func (w *world) cutLog(n *node, v crdt.VC) {
	n.cut.Merge(v.Min(n.logged()))
	n.machine.SetCut(n.cut)
	w.acknowledge(n)
}

// beginLoad has a node load the accounts of the peer that its machine names.
func (w *world) beginLoad(n *node) (from string, ok bool) {
	if from, ok = n.machine.Load(w.now); ok {
		n.loading = true
		n.machine.Loading(from)
		w.acknowledge(n)
	}
	return from, ok
}

// endLoad gives a node what a peer has, without its log.
func (w *world) endLoad(n *node, from string) {
	for o, l := range w.nodes[from].log {
		for _, e := range l[min(len(n.log[o]), len(l)):] {
			n.log[o] = append(n.log[o], e)
			n.order = append(n.order, e.Dot)
			n.cut.Set(o, e.Dot.N)
		}
	}
	n.loading = false
	n.machine.Loaded(w.now, n.logged(), n.cut)
	w.pump(n)
	w.acknowledge(n)
}

// cut breaks the stream from>to; what was under way is lost.
func (w *world) cut(from, to string) {
	if w.wires[wire{from, to}] == nil {
		return
	}
	delete(w.wires, wire{from, to})
	if m := w.nodes[from].machine; m != nil {
		m.Lost(to)
		w.collect(w.nodes[from])
	}
	if n := w.nodes[to]; n.machine != nil {
		n.lost = append(slices.Clip(n.lost), w.nodes[from].origin)
		w.acknowledge(n) // the others are told
	}
}

func (w *world) crash(name string) {
	w.nodes[name].machine = nil
	for _, p := range w.names {
		w.cut(name, p)
		w.cut(p, name)
	}
}

// wipe crashes a node and has its next life begin with nothing.
func (w *world) wipe(name string) {
	w.crash(name)
	old := w.nodes[name]
	w.lives++
	w.nodes[name] = &node{name: name, origin: old.origin + crdt.Origin(w.lives*len(w.names)), log: map[crdt.Origin][]Entry{}}
}

// commit makes n own operations of a node, each depending on all it has.
func (w *world) commit(name string, count, size int) []Entry {
	n := w.nodes[name]
	var made []Entry
	for range count {
		e := Entry{Dot: crdt.Dot{Origin: n.origin, N: uint64(len(n.log[n.origin]) + 1)}, Deps: n.logged(), Data: make([]byte, size)}
		n.log[n.origin] = append(n.log[n.origin], e)
		n.order = append(n.order, e.Dot)
		n.machine.Committed(w.now, e.Dot.N)
		made = append(made, e)
	}
	w.pump(n)
	return made
}

// pump lets a node send what it may.
func (w *world) pump(n *node) {
	for _, p := range w.names {
		t := w.wires[wire{n.name, p}]
		for t != nil {
			r, ok := n.machine.Next(p)
			if !ok {
				break
			}
			if r.From <= n.cut.Get(r.Origin) {
				panic(fmt.Sprintf("%s is to read %d of %s, its log begins behind %v", n.name, r.From, r.Origin, n.cut))
			}
			list := slices.Clone(n.log[r.Origin][r.From-1 : r.To])
			size := 0
			for i := range list {
				if size += list[i].Size(); size > r.Bytes {
					list = list[:max(i, 1)]
					break
				}
			}
			if list = n.machine.Sending(p, list); len(list) > 0 {
				t.down = append(t.down, message{entries: list})
			}
		}
	}
	w.collect(n)
}

// collect notes which waits have ended.
func (w *world) collect(n *node) {
	n.joined = n.machine.Joined()
	for _, r := range n.machine.Released() {
		n.waits[r] = fmt.Sprintf("%d of %d", r.Have, r.Need)
	}
}

// apply makes durable what a node can apply, and acknowledges it.
func (w *world) apply(n *node) error {
	if n.slow {
		n.machine.Batch() // handed out and never confirmed
		return nil
	}
	done := false
	for {
		batch := n.machine.Batch()
		if batch == nil {
			batch = n.machine.in.flight // of a disk that was slow
		}
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			if n.cut.Has(e.Dot) {
				continue // a snapshot has brought it since it was handed out
			}
			if have := uint64(len(n.log[e.Dot.Origin])); e.Dot.N != have+1 {
				return fmt.Errorf("%s applied %v after number %d", n.name, e.Dot, have)
			}
			if !e.Deps.LessEqual(n.logged()) {
				return fmt.Errorf("%s applied %v with %v before its dependencies %v", n.name, e.Dot, n.logged(), e.Deps)
			}
			n.log[e.Dot.Origin] = append(n.log[e.Dot.Origin], e)
			n.order = append(n.order, e.Dot)
		}
		n.machine.Applied()
		done = true
	}
	if !n.machine.Logged().Equal(n.logged()) {
		return fmt.Errorf("%s believes %v, its disk has %v", n.name, n.machine.Logged(), n.logged())
	}
	if done {
		w.pump(n)
		w.acknowledge(n)
	}
	return nil
}

// acknowledge sends a node's vector on all streams to it.
func (w *world) acknowledge(n *node) {
	for _, p := range w.names {
		if t := w.wires[wire{p, n.name}]; t != nil {
			t.up = append(t.up, message{ack: n.machine.Logged(), stands: n.standing()})
		}
	}
}

// deliverDown takes the next entries off the stream from>to.
func (w *world) deliverDown(from, to string) (string, error) {
	t := w.wires[wire{from, to}]
	if t == nil || len(t.down) == 0 {
		return "", nil
	}
	msg := t.down[0]
	t.down = t.down[1:]
	n := w.nodes[to]
	text := fmt.Sprintf("%s>%s:", from, to)
	for i, e := range msg.entries {
		fresh, err := n.machine.Receive(e)
		if err != nil {
			return "", fmt.Errorf("%s>%s: %w", from, to, err)
		}
		mark := ""
		if !fresh {
			mark = " (known)"
		}
		if i < 3 || i == len(msg.entries)-1 {
			text += " " + w.dot(e.Dot) + mark
		} else if i == 3 {
			text += " ..."
		}
	}
	if err := w.apply(n); err != nil {
		return "", err
	}
	return text, nil
}

// deliverUp takes the next acknowledgement off the stream from>to, back to from.
func (w *world) deliverUp(from, to string) (string, error) {
	t := w.wires[wire{from, to}]
	if t == nil || len(t.up) == 0 {
		return "", nil
	}
	msg := t.up[0]
	t.up = t.up[1:]
	n := w.nodes[from]
	if err := n.machine.Acked(w.now, to, msg.ack); err != nil {
		return "", err
	}
	n.machine.Heard(to, w.nodes[to].origin, msg.ack)
	n.machine.Stands(w.now, to, msg.stands)
	w.pump(n)
	return fmt.Sprintf("%s>%s: ack %s", to, from, w.vector(msg.ack)), nil
}

// deliverAll delivers until nothing is under way.
func (w *world) deliverAll() ([]string, error) {
	var lines []string
	for quiet := false; !quiet; {
		quiet = true
		for _, from := range w.names {
			for _, to := range w.names {
				for _, step := range []func(string, string) (string, error){w.deliverDown, w.deliverUp} {
					line, err := step(from, to)
					if err != nil {
						return lines, err
					}
					if line != "" {
						lines, quiet = append(lines, line), false
					}
				}
			}
		}
	}
	return lines, nil
}

func (w *world) tick(d time.Duration) {
	w.now = w.now.Add(d)
	for _, name := range w.names {
		if n := w.nodes[name]; n.machine != nil {
			n.machine.Tick(w.now)
			w.pump(n)
			w.acknowledge(n) // the heartbeat
		}
	}
}

// bounded checks that no queue is larger than it may be.
func (w *world) bounded() error {
	for _, n := range w.nodes {
		if n.machine == nil {
			continue
		}
		total := 0
		for o, q := range n.machine.in.queues {
			total += q.bytes
			if q.bytes > n.machine.cfg.Window && len(q.entries) > 1 {
				return fmt.Errorf("%s holds %d bytes of %s", n.name, q.bytes, o)
			}
		}
		if total != n.machine.in.bytes {
			return fmt.Errorf("%s counts %d bytes, has %d", n.name, n.machine.in.bytes, total)
		}
	}
	return nil
}

func (w *world) dot(d crdt.Dot) string { return fmt.Sprintf("%s:%d", w.name(d.Origin), d.N) }

func (w *world) name(o crdt.Origin) string {
	if i := int(o) - 1; i >= 0 && i < len(w.names)*(w.lives+1) {
		return w.names[i%len(w.names)] + strings.Repeat("'", min(i/len(w.names), 1))
	}
	return o.String()
}

func (w *world) vector(v crdt.VC) string {
	var parts []string
	for i := range len(w.names) * (w.lives + 1) {
		if n := v.Get(crdt.Origin(i + 1)); n > 0 {
			parts = append(parts, w.dot(crdt.Dot{Origin: crdt.Origin(i + 1), N: n}))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// state describes all nodes, one line each.
func (w *world) state() string {
	var b strings.Builder
	for _, name := range w.names {
		n := w.nodes[name]
		fmt.Fprintf(&b, "%s %s", name, w.vector(n.logged()))
		if n.machine == nil {
			b.WriteString(" down\n")
			continue
		}
		if !n.joined {
			b.WriteString(" new")
		}
		if n.loading {
			b.WriteString(" loading")
		}
		for _, q := range n.machine.Queues() {
			fmt.Fprintf(&b, " queue[%s..%d", w.dot(crdt.Dot{Origin: q.Origin, N: q.First}), q.Last)
			if q.Missing.N > 0 {
				fmt.Fprintf(&b, " waits for %s", w.dot(q.Missing))
			}
			b.WriteString("]")
		}
		for _, p := range n.machine.Peers(w.now) {
			fmt.Fprintf(&b, " %s=", p.Name)
			var words []string
			if !p.Connected {
				words = append(words, "lost")
			}
			if p.Beyond {
				words = append(words, "beyond")
			}
			if p.Behind {
				words = append(words, "behind")
			}
			if p.Lag > 0 {
				words = append(words, fmt.Sprintf("lag %d for %v", p.Lag, p.Age))
			}
			if p.Forwards > 0 {
				words = append(words, fmt.Sprintf("forwards %d", p.Forwards))
			}
			if len(words) == 0 {
				words = []string{"ok"}
			}
			b.WriteString(strings.Join(words, ","))
		}
		b.WriteString("\n")
	}
	return b.String()
}
