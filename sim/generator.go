package sim

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
)

// generator draws the steps of a random run. It looks at the world, so that most
// of what it draws is possible.
type generator struct {
	w       *World
	rng     *rand.Rand
	steps   int
	label   int
	first   []Step        // with which the run begins
	profile map[group]int // how often actions of a group happen
	favour  map[string]int
}

// The places where mail lies, by how often it does; some exist from the beginning.
var names = []string{"INBOX", "INBOX", "INBOX", "a", "a", "b", "a.c", "Sent"}

// newGenerator draws the world and how rough it is there.
func newGenerator(seed uint64) (*generator, Config) {
	rng := rand.New(rand.NewPCG(seed, 0x706c75746f))
	g := &generator{
		rng:     rng,
		steps:   40 + rng.IntN(160),
		profile: map[group]int{command: 40, network: 20 + rng.IntN(60), passing: 3 + rng.IntN(15), fault: []int{0, 2, 5, 15}[rng.IntN(4)]},
		favour:  make(map[string]int),
	}
	for range 3 { // each run has its own taste
		g.favour[table[rng.IntN(len(table))].name] = 4
	}
	c := Config{
		Seed:     seed,
		Replicas: []int{2, 2, 2, 3, 3, 3, 4, 5}[rng.IntN(8)],
		Accounts: 1 + rng.IntN(6)/5,
		Idle:     []int{-1, 1, 8}[rng.IntN(3)],
		Window:   []int{1000, 1 << 20, 1 << 20}[rng.IntN(3)],
		Batch:    []int{1, 3, 1000}[rng.IntN(3)],
		Vanished: []int{0, 0, 3}[rng.IntN(3)],
		Hold:     []int{0, 50, 1000}[rng.IntN(3)],
	}
	if c.Leader = rng.IntN(c.Replicas + 1); rng.IntN(2) == 0 {
		c.Leader = 1
	}
	g.begin(c)
	return g, c
}

// next draws a step. It reports false when the run is long enough.
func (g *generator) next() (Step, bool) {
	if len(g.first) > 0 {
		step := g.first[0]
		g.first = g.first[1:]
		return step, true
	}
	if g.steps--; g.steps < 0 {
		return Step{}, false
	}
	for {
		of := pick(g.rng, groups, func(p group) int { return g.profile[p] })
		for range 5 { // what a group has may just not be possible
			a := g.draw(of)
			if list := a.generate(g); list != nil {
				return Step{a.name, list}, true
			}
		}
	}
}

// begin draws the steps with which a run begins: most often all replicas are
// connected, and each has a client.
func (g *generator) begin(c Config) {
	for i := 1; i <= c.Replicas; i++ {
		for j := 1; j <= c.Replicas && g.rng.IntN(10) > 0; j++ {
			if i != j {
				g.first = append(g.first, Step{"connect", words(i, j)})
			}
		}
		if g.rng.IntN(5) > 0 {
			g.first = append(g.first, Step{"open", words(i, i, 1)}, Step{"select", words(i, g.name())})
		}
	}
}

// draw draws an action of a group.
func (g *generator) draw(of group) *action {
	all := make([]*action, 0, len(table))
	for i := range table {
		if table[i].group == of {
			all = append(all, &table[i])
		}
	}
	return pick(g.rng, all, func(a *action) int { return a.weight * max(g.favour[a.name], 1) })
}

// pick draws one of a list by weight.
func pick[T any](rng *rand.Rand, list []T, weight func(T) int) T {
	sum := 0
	for _, x := range list {
		sum += weight(x)
	}
	at := rng.IntN(sum)
	for _, x := range list {
		if at -= weight(x); at < 0 {
			return x
		}
	}
	return list[0]
}

func one[T any](g *generator, list []T) (x T, ok bool) {
	if len(list) == 0 {
		return x, false
	}
	return list[g.rng.IntN(len(list))], true
}

func (g *generator) name() string { return names[g.rng.IntN(len(names))] }

// nodes returns the numbers of the replicas for which f holds.
func (g *generator) nodes(f func(*node) bool) []int {
	var out []int
	for _, n := range g.w.nodes {
		if f(n) {
			out = append(out, n.id)
		}
	}
	return out
}

func (g *generator) node(f func(*node) bool) []string {
	if id, ok := one(g, g.nodes(f)); ok {
		return words(id)
	}
	return nil
}

func (g *generator) running() []string { return g.node(func(n *node) bool { return n.up }) }
func (g *generator) serving() []string { return g.node((*node).serves) }
func (g *generator) stopped() []string { return g.node(func(n *node) bool { return !n.up }) }

func (g *generator) isolated() []string {
	return g.node(func(n *node) bool { return g.w.isolated(n) })
}

// open lets one of a few sessions begin at a replica.
func (g *generator) open() []string {
	n := g.serving()
	if n == nil {
		return nil
	}
	return words(1+g.rng.IntN(2*len(g.w.nodes)), n, 1+g.rng.IntN(g.w.cfg.Accounts))
}

// session returns a session for which f holds.
func (g *generator) session(f func(*session) bool) *session {
	var list []*session
	for _, id := range slices.Sorted(maps.Keys(g.w.sessions)) {
		if s := g.w.sessions[id]; f(s) {
			list = append(list, s)
		}
	}
	s, _ := one(g, list)
	return s
}

func (g *generator) anySession() []string {
	if s := g.session(func(*session) bool { return true }); s != nil {
		return words(s.id)
	}
	return nil
}

func (g *generator) anySelected() []string {
	if s := g.session(func(s *session) bool { return s.box != nil }); s != nil {
		return words(s.id)
	}
	return nil
}

func (g *generator) sessionBox() []string {
	s := g.anySession()
	if s == nil {
		return nil
	}
	return append(s, g.name())
}

func (g *generator) append() []string {
	s := g.sessionBox()
	if s == nil {
		return nil
	}
	g.label++
	return append(s, words("m"+strconv.Itoa(g.label), g.flags())...)
}

// delivery draws a message that arrives from outside.
func (g *generator) delivery() []string {
	n := g.serving()
	if n == nil {
		return nil
	}
	g.label++
	return words(n, 1+g.rng.IntN(g.w.cfg.Accounts), g.name(), "m"+strconv.Itoa(g.label))
}

// replay draws a session whose last command may be executed again, and a replica
// to which it moves.
func (g *generator) replay() []string {
	list := g.w.unfinished()
	s, ok := one(g, list)
	n := g.serving()
	if !ok || n == nil {
		return nil
	}
	return append(words(s.id), n...)
}

// flags draws a few flags.
func (g *generator) flags() []string {
	var out []string
	for _, f := range []string{`\Seen`, `\Flagged`, `\Deleted`, "$Junk", "work"} {
		if g.rng.IntN(5) == 0 {
			out = append(out, f)
		}
	}
	return out
}

// labels draws a session and some messages that its client knows.
func (g *generator) labels() []string {
	s := g.session(func(s *session) bool { return s.box != nil && s.view.Len() > 0 })
	if s == nil {
		return nil
	}
	all := s.labels()
	g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	some := all[:1+g.rng.IntN(min(len(all), 3))]
	slices.Sort(some)
	return words(s.id, some)
}

func (g *generator) labelsBox() []string {
	l := g.labels()
	if l == nil {
		return nil
	}
	return append(l, g.name())
}

func (g *generator) store() []string {
	l := g.labels()
	if l == nil {
		return nil
	}
	flags := g.flags()
	if len(flags) == 0 {
		flags = []string{`\Seen`}
	}
	return append(l, words([]string{"+", "-", "="}[g.rng.IntN(3)], flags)...)
}

func (g *generator) rename() []string {
	s := g.sessionBox()
	if s == nil {
		return nil
	}
	return append(s, g.name())
}

func (g *generator) subscribe() []string {
	s := g.sessionBox()
	if s == nil {
		return nil
	}
	return append(s, []string{"on", "off"}[g.rng.IntN(2)])
}

func (g *generator) roam() []string {
	n := g.serving()
	if n == nil {
		return nil
	}
	return words(1+g.rng.IntN(2), n, 1+g.rng.IntN(g.w.cfg.Accounts), g.name())
}

// stream returns the ends of a stream for which f holds.
func (g *generator) stream(f func(*stream) bool) []string {
	var list []*stream
	for _, n := range g.w.nodes {
		for _, peer := range g.w.nodes {
			if s := n.streams[peer.id]; s != nil && f(s) {
				list = append(list, s)
			}
		}
	}
	s, ok := one(g, list)
	if !ok {
		return nil
	}
	return words(s.from.id, s.to.id)
}

func (g *generator) pair() []string {
	return g.stream(func(s *stream) bool { return g.w.passes(s.from, s.to) })
}

func (g *generator) blocked() []string {
	return g.stream(func(s *stream) bool { return !g.w.passes(s.from, s.to) })
}

func (g *generator) openStream() []string { return g.stream(func(s *stream) bool { return s.open }) }

func (g *generator) connect() []string {
	return g.stream(func(s *stream) bool {
		return !s.open && s.from.up && s.to.up && g.w.passes(s.from, s.to) && g.w.passes(s.to, s.from)
	})
}

func (g *generator) deliver() []string {
	s := g.stream((*stream).arrives)
	if s == nil {
		return nil
	}
	return append(s, words([]int{1, 2, 1000, 1000}[g.rng.IntN(4)])...)
}

func (g *generator) ack() []string {
	return g.stream(func(s *stream) bool { return s.open && len(s.down) > 0 && g.w.passes(s.to, s.from) })
}

// load draws a replica that loads accounts, or has to, and a source.
func (g *generator) load() []string {
	var list [][]string
	for _, n := range g.w.nodes {
		for _, peer := range g.w.nodes {
			if n.mayLoad(peer) {
				list = append(list, words(n.id, peer.id, 1+g.rng.IntN(4)))
			}
		}
	}
	l, _ := one(g, list)
	return l
}

// evict draws a replica that has lost its disk, where all others can be told.
func (g *generator) evict() []string {
	return g.node(func(n *node) bool { return n.w.mayEvict(n) })
}

// recover draws a replica, and one of those that were evicted.
func (g *generator) recover() []string {
	n := g.node(g.w.mayRecover)
	if n == nil {
		return nil
	}
	return append(n, words(1+g.rng.IntN(len(g.w.remains)))...)
}

// wait draws a time: within a round trip, of the order of the waits of re-issues,
// or an absence of days.
func (g *generator) wait() []string {
	switch g.rng.IntN(10) {
	case 0:
		return words(1 + g.rng.IntN(3*24*3600*1000))
	case 1, 2:
		return words(1000 + g.rng.IntN(20000))
	case 3, 4, 5:
		return words(100 + g.rng.IntN(900))
	}
	return words(1 + g.rng.IntN(40))
}

func (g *generator) crash() []string {
	n := g.running()
	if n == nil {
		return nil
	}
	moments := []crashPoint{crashNow, crashSync, crashSync, crashReply}
	return append(n, words(moments[g.rng.IntN(len(moments))])...)
}

func (g *generator) exhaust() []string {
	n := g.running()
	if n == nil {
		return nil
	}
	return words(n, 1+g.rng.IntN(g.w.cfg.Accounts), g.name(), g.rng.IntN(2000))
}

func (g *generator) skew() []string {
	n := 1 + g.rng.IntN(len(g.w.nodes))
	scale := []int{1000, 60_000, maxSkew}[g.rng.IntN(3)]
	return words(n, g.rng.IntN(2*scale+1)-scale)
}
