package imap

import (
	"slices"

	"github.com/go-pluto/pluto/imap/mime"
)

// referencer builds threads by what messages refer to (RFC 5256 section 3,
// REFERENCES). Identifiers are known by numbers, in the order in which they
// were met first.
type referencer struct {
	*threads
	finder   *finder
	subjects subjects
	replies  []bool // of the messages found: the subject is that of a reply or forward

	ids    map[string]int32
	refs   [][]int32 // of the messages found: identifiers of what they refer to
	own    []int32   // of the messages found: their own identifier, or none
	owners []int32   // of identifiers: the node that has it, or none yet
	linked []int32   // of nodes: number of children while links are made
	steps  int       // taken upwards in search of loops
}

// byReferences is the algorithm REFERENCES.
func (f *finder) byReferences(spans []span) (*threads, error) {
	r := &referencer{finder: f, ids: make(map[string]int32)}
	r.subjects.ids = make(map[string]int32)
	t, err := f.collect(spans, r.read)
	if err != nil {
		return nil, err
	}
	r.threads = t
	if err := r.link(); err != nil {
		return nil, err
	}
	r.plant()
	r.prune()
	r.gather()
	r.sortAll()
	return t, nil
}

// read takes what linking needs to know of a message.
func (r *referencer) read(i int32, structure *mime.Structure) error {
	r.own = append(r.own, none)
	r.refs = append(r.refs, nil)
	if structure == nil {
		r.replies = append(r.replies, false)
		return r.subjects.add("")
	}
	base, reply := structure.Subject()
	r.replies = append(r.replies, reply)
	if id := structure.MessageID(); id != "" {
		n := r.number(id)
		if r.owners[n] == none { // of several the first has it
			r.owners[n], r.own[i] = i, n
		}
	}
	for _, id := range structure.References() {
		r.refs[i] = append(r.refs[i], r.number(id))
		r.subjects.size += 4
	}
	return r.subjects.add(base)
}

// number returns the number of an identifier.
func (r *referencer) number(id string) int32 {
	n, ok := r.ids[id]
	if !ok {
		n = int32(len(r.owners))
		r.ids[id] = n
		r.owners = append(r.owners, none)
		r.subjects.size += len(id)
	}
	return n
}

// link makes parents and children of the messages: step 1.
func (r *referencer) link() error {
	found := len(r.nodes)
	r.linked = make([]int32, found)
	for i := range int32(found) {
		last := none
		for _, id := range r.refs[i] { // 1.A
			n := r.node(id)
			if last != none && r.nodes[n].parent == none {
				if err := r.adopt(last, n); err != nil {
					return err
				}
			}
			last = n
		}
		if old := r.nodes[i].parent; old != none { // 1.B
			r.linked[old]--
			r.nodes[i].parent = none
		}
		if last != none {
			if err := r.adopt(last, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// node returns the message with an identifier, a dummy if there is none.
func (r *referencer) node(id int32) int32 {
	if r.owners[id] == none {
		r.owners[id] = int32(len(r.nodes))
		r.nodes = append(r.nodes, threadNode{place: none, parent: none})
		r.linked = append(r.linked, 0)
	}
	return r.owners[id]
}

// adopt makes a node that has no parent the child of another, unless that would
// be a loop.
func (r *referencer) adopt(parent, child int32) error {
	if parent == child {
		return nil
	}
	if r.linked[child] > 0 {
		for up := r.nodes[parent].parent; up != none; up = r.nodes[up].parent {
			if up == child {
				return nil
			}
			if r.steps++; r.steps%(64*ctxEvery) == 0 {
				if err := r.finder.ctx.Err(); err != nil {
					return err
				}
			}
		}
	}
	r.nodes[child].parent = parent
	r.linked[parent]++
	return nil
}

// plant makes trees of the links: step 2.
func (r *referencer) plant() {
	for i := range r.nodes {
		if parent := r.nodes[i].parent; parent == none {
			r.roots = append(r.roots, int32(i))
		} else {
			r.nodes[parent].kids = append(r.nodes[parent].kids, int32(i))
		}
	}
}

// upwards returns all nodes of the trees, children before their parents.
func (r *referencer) upwards() []int32 {
	order := slices.Clone(r.roots)
	for k := 0; k < len(order); k++ {
		order = append(order, r.nodes[order[k]].kids...)
	}
	slices.Reverse(order)
	return order
}

// prune removes the dummies: step 3. Those that stay are roots with several children.
func (r *referencer) prune() {
	for _, i := range r.upwards() {
		n := &r.nodes[i]
		if !slices.ContainsFunc(n.kids, func(k int32) bool { return r.nodes[k].isDummy() }) {
			continue
		}
		var kids []int32
		for _, k := range n.kids {
			if kid := &r.nodes[k]; kid.isDummy() {
				kids = append(kids, kid.kids...)
			} else {
				kids = append(kids, k)
			}
		}
		n.kids = kids
	}
	roots := r.roots[:0]
	for _, i := range r.roots {
		n := &r.nodes[i]
		switch {
		case !n.isDummy() || len(n.kids) > 1:
			roots = append(roots, i)
		case len(n.kids) == 1:
			roots = append(roots, n.kids[0])
		}
	}
	r.roots = roots
}

// gather puts threads together whose subject is the same: steps 4 and 5.
func (r *referencer) gather() {
	for _, i := range r.roots {
		if n := &r.nodes[i]; n.isDummy() {
			slices.SortFunc(n.kids, r.byDate)
		}
	}
	slices.SortFunc(r.roots, r.byDate)
	table := r.subjectTable()
	merged := make(map[int32]bool)
	var dummies []int32
	for _, i := range r.roots {
		subject, ok := r.subject(i)
		if !ok || table[subject] == i || merged[i] {
			continue
		}
		merged[i] = true
		first := table[subject]
		into, n := &r.nodes[first], &r.nodes[i]
		switch {
		case into.isDummy() && n.isDummy():
			into.kids = append(into.kids, n.kids...)
		case into.isDummy() || r.isReply(i) && !r.isReply(first):
			into.kids = append(into.kids, i)
		default:
			merged[first] = true
			table[subject] = int32(len(r.nodes))
			dummies = append(dummies, table[subject])
			r.nodes = append(r.nodes, threadNode{place: none, parent: none, kids: []int32{first, i}})
		}
	}
	r.roots = slices.DeleteFunc(r.roots, func(i int32) bool { return merged[i] })
	r.roots = append(r.roots, dummies...)
}

// subjectTable returns for each thread subject the thread that others are merged
// into: step 5.B.
func (r *referencer) subjectTable() map[int32]int32 {
	table := make(map[int32]int32)
	for _, i := range r.roots {
		subject, ok := r.subject(i)
		if !ok {
			continue
		}
		have, ok := table[subject]
		if !ok || !r.nodes[have].isDummy() &&
			(r.nodes[i].isDummy() || r.isReply(have) && !r.isReply(i)) {
			table[subject] = i
		}
	}
	return table
}

// isReply reports whether a message was found and is a reply or forward.
func (r *referencer) isReply(i int32) bool { return int(i) < len(r.replies) && r.replies[i] }

// subject returns the base subject of a thread. ok is false when it is empty.
func (r *referencer) subject(root int32) (subject int32, ok bool) {
	n := &r.nodes[root]
	if n.isDummy() {
		root = n.kids[0]
	}
	subject = r.subjects.of[root]
	empty, has := r.subjects.ids[""]
	return subject, !has || subject != empty
}

// sortAll sorts the siblings everywhere by date: step 6.
func (r *referencer) sortAll() {
	for _, i := range r.upwards() {
		slices.SortFunc(r.nodes[i].kids, r.byDate)
	}
	slices.SortFunc(r.roots, r.byDate)
}
