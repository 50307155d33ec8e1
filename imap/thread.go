package imap

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// thread: RFC 5256 section 3.
func (s *session) thread(c *wire.Command) error { return s.threadMessages(c, false) }

// uidThread: RFC 5256 section 3.
func (s *session) uidThread(c *wire.Command) error { return s.threadMessages(c, true) }

func (s *session) threadMessages(c *wire.Command, uid bool) error {
	if err := c.SP(); err != nil {
		return err
	}
	name, err := c.Atom()
	if err != nil {
		return err
	}
	build := threadAlgorithms[strings.ToUpper(name)]
	if build == nil {
		return badSyntax("Unknown threading algorithm")
	}
	p, err := s.readCriteria(c)
	if err != nil {
		return err
	}
	f, found, err := s.findFor(p, 2)
	if err != nil {
		return err
	}
	t, err := build(f, found)
	if err != nil {
		return err
	}
	if err := s.tellThreads(t, uid); err != nil {
		return err
	}
	return f.failed
}

var threadAlgorithms = map[string]func(*finder, []span) (*threads, error){
	"ORDEREDSUBJECT": (*finder).bySubject,
	"REFERENCES":     (*finder).byReferences,
}

// none is the index of no message.
const none = int32(-1)

// threads are the messages of a THREAD response as trees. Messages are known by
// their index in nodes; those found come first, in the order of the mailbox.
type threads struct {
	nodes []threadNode
	roots []int32
}

// threadNode is a message, or stands for one that was not found (a dummy).
type threadNode struct {
	place  int32 // none: a dummy
	parent int32
	kids   []int32
	sent   int64 // Unix seconds
}

func (n *threadNode) isDummy() bool { return n.place == none }

// byDate orders siblings by sent date and then by number. A dummy counts as its
// first child (RFC 5256 section 3, REFERENCES step 4).
func (t *threads) byDate(a, b int32) int {
	x, y := t.first(a), t.first(b)
	return cmp.Or(cmp.Compare(x.sent, y.sent), cmp.Compare(x.place, y.place))
}

// first returns the node, or its first child if it is a dummy that has one.
func (t *threads) first(i int32) *threadNode {
	n := &t.nodes[i]
	if n.isDummy() && len(n.kids) > 0 {
		return &t.nodes[n.kids[0]]
	}
	return n
}

// collect appends a node for every message found. more is told of its structure,
// which is nil when it cannot be had.
func (f *finder) collect(spans []span, more func(i int32, structure *mime.Structure) error) (*threads, error) {
	t := &threads{nodes: make([]threadNode, 0, count(spans))}
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if err := f.stepSecond(len(t.nodes), cap(t.nodes)); err != nil {
				return nil, err
			}
			f.box.message(i, &f.scratch)
			structure, err := f.sortStructure()
			if err != nil {
				return nil, err
			}
			t.nodes = append(t.nodes, threadNode{place: int32(i), parent: none, sent: sentTime(&f.scratch, structure)})
			if err := more(int32(len(t.nodes)-1), structure); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

// subjects gives equal numbers to messages with the same base subject, so that
// a subject that many have is kept once.
type subjects struct {
	ids  map[string]int32
	of   []int32
	size int
	key  []byte // scratch
}

func (s *subjects) add(subject string) error {
	s.key = mime.AppendCollation(s.key[:0], subject)
	s.key = s.key[:min(len(s.key), maxSortKeyBytes)]
	id, ok := s.ids[string(s.key)]
	if !ok {
		id = int32(len(s.ids))
		s.ids[string(s.key)] = id
		s.size += len(s.key)
	}
	s.of = append(s.of, id)
	return s.check()
}

func (s *subjects) check() error {
	if s.size > maxSortBytes {
		return &refusal{"LIMIT", "Too many messages to thread"}
	}
	return nil
}

// bySubject is the algorithm ORDEREDSUBJECT (RFC 5256 section 3).
func (f *finder) bySubject(spans []span) (*threads, error) {
	subjects := subjects{ids: make(map[string]int32)}
	t, err := f.collect(spans, func(_ int32, structure *mime.Structure) error {
		if structure == nil {
			return subjects.add("")
		}
		base, _ := structure.Subject()
		return subjects.add(base)
	})
	if err != nil {
		return nil, err
	}
	sorted := make([]int32, len(t.nodes))
	for i := range sorted {
		sorted[i] = int32(i)
	}
	slices.SortFunc(sorted, t.byDate)
	heads := make([]int32, len(subjects.ids)) // the first of each subject
	for i := range heads {
		heads[i] = none
	}
	for _, i := range sorted { // by date, and so the roots are
		head := &heads[subjects.of[i]]
		if *head == none {
			*head = i
			t.roots = append(t.roots, i)
			continue
		}
		t.nodes[*head].kids = append(t.nodes[*head].kids, i)
	}
	return t, nil
}

// tellThreads appends the THREAD response. The depth of the trees is up to those
// who wrote the messages, so the way down is kept here and not on the stack.
func (s *session) tellThreads(t *threads, uid bool) error {
	s.out.buf = append(s.out.buf, "* THREAD"...)
	if len(t.roots) > 0 {
		s.out.buf = append(s.out.buf, ' ')
	}
	stack := []siblings{{left: t.roots}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.open {
			s.out.buf = append(s.out.buf, ')')
			top.open = false
		}
		if len(top.left) == 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		i := top.left[0]
		top.left, top.open = top.left[1:], true
		s.out.buf = append(s.out.buf, '(')
		if kids := s.appendBranch(t, i, uid); len(kids) > 0 {
			stack = append(stack, siblings{left: kids})
		}
		if err := s.out.spill(); err != nil {
			return err
		}
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	return nil
}

// siblings are the threads of one level that are still to be told.
type siblings struct {
	left []int32
	open bool // the one before is not closed yet
}

// appendBranch appends a message and its descendants up to where the thread
// splits, and returns the siblings there.
func (s *session) appendBranch(t *threads, i int32, uid bool) []int32 {
	for separate := false; ; separate = true {
		n := &t.nodes[i]
		if separate {
			s.out.buf = append(s.out.buf, ' ')
		}
		if !n.isDummy() {
			s.out.buf = strconv.AppendUint(s.out.buf, s.box.numberOf(int(n.place), uid), 10)
		}
		if len(n.kids) > 1 && !n.isDummy() {
			s.out.buf = append(s.out.buf, ' ')
		}
		if len(n.kids) != 1 {
			return n.kids
		}
		i = n.kids[0]
	}
}
