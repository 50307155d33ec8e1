package imap

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// A conversation in which everybody answers the one before is a tree as deep as
// it is long. Neither building nor telling it may depend on that.
func TestDeepThread(t *testing.T) {
	const n = 100_000
	for name, order := range map[string]func(i int) int{
		"oldest first": func(i int) int { return i },
		"newest first": func(i int) int { return n - 1 - i },
	} {
		t.Run(name, func(t *testing.T) {
			r := &referencer{threads: &threads{}, finder: &finder{session: &session{ctx: t.Context()}}}
			r.subjects.ids = map[string]int32{"": 0}
			r.owners = make([]int32, n)
			for i := range n {
				m := order(i) // messages are numbered by age, and so are identifiers
				r.nodes = append(r.nodes, threadNode{place: int32(i), parent: none, sent: int64(m)})
				r.owners[m] = int32(i)
				r.refs = append(r.refs, nil)
				if m > 0 {
					r.refs[i] = []int32{int32(m - 1)}
				}
				r.replies = append(r.replies, false)
				r.subjects.of = append(r.subjects.of, 0)
			}
			if err := r.link(); err != nil {
				t.Fatal(err)
			}
			r.plant()
			r.prune()
			r.gather()
			r.sortAll()
			if len(r.roots) != 1 {
				t.Fatal(len(r.roots), "threads")
			}
			if got := told(t, r.threads); strings.Count(got, " ") != n+1 || strings.Count(got, "(") != 1 {
				t.Fatalf("%.100q", got)
			}
		})
	}
}

// Whatever refers to whatever, everything found is told once.
func TestThreadsKeepEverything(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n, ids := 1+rng.IntN(40), 1+rng.IntN(40)
		r := &referencer{threads: &threads{}, finder: &finder{session: &session{ctx: t.Context()}}}
		r.subjects.ids = map[string]int32{"": 0}
		r.owners = make([]int32, ids)
		for i := range r.owners {
			r.owners[i] = none
		}
		for i := range n {
			r.nodes = append(r.nodes, threadNode{place: int32(i), parent: none, sent: int64(rng.IntN(10))})
			if id := rng.IntN(ids); r.owners[id] == none {
				r.owners[id] = int32(i)
			}
			var refs []int32
			for range rng.IntN(5) {
				refs = append(refs, int32(rng.IntN(ids)))
			}
			r.refs = append(r.refs, refs)
			r.replies = append(r.replies, rng.IntN(2) == 0)
			r.subjects.of = append(r.subjects.of, int32(rng.IntN(5)))
		}
		if err := r.link(); err != nil {
			t.Fatal(err)
		}
		r.plant()
		r.prune()
		r.gather()
		r.sortAll()
		checkThreads(t, seed, r.threads, n)
		told(t, r.threads)
	}
}

func checkThreads(t *testing.T, seed uint64, tr *threads, n int) {
	t.Helper()
	seen := make([]int, n)
	todo := append([]int32(nil), tr.roots...)
	for k := 0; k < len(todo); k++ {
		if k > 2*n+len(tr.nodes) {
			t.Fatal(seed, "a loop")
		}
		node := &tr.nodes[todo[k]]
		if !node.isDummy() {
			seen[node.place]++
		} else if len(node.kids) < 2 || k >= len(tr.roots) {
			t.Fatal(seed, "a dummy where none can be")
		}
		todo = append(todo, node.kids...)
	}
	for place, times := range seen {
		if times != 1 {
			t.Fatalf("seed %d: message %d is told %d times", seed, place, times)
		}
	}
}

// told returns the THREAD response.
func told(t *testing.T, tr *threads) string {
	t.Helper()
	s := &session{box: &selection{}}

	var all strings.Builder
	s.out.conn = keepConn{&all}
	if err := s.tellThreads(tr, false); err != nil {
		t.Fatal(err)
	}
	s.out.pass()
	got := all.String()
	if !strings.HasPrefix(got, "* THREAD (") || strings.Count(got, "(") != strings.Count(got, ")") {
		t.Fatalf("%.100q", got)
	}
	return got
}

// keepConn keeps what is written.
type keepConn struct{ to *strings.Builder }

func (c keepConn) Write(p []byte) (int, error) { return c.to.Write(p) }
func (keepConn) Read([]byte) (int, error)      { return 0, nil }
func (keepConn) Answer(Checkpoint) error       { return nil }
func (keepConn) Continue(Checkpoint) error     { return nil }
func (keepConn) Bye() error                    { return nil }
