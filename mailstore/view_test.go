package mailstore

import (
	"fmt"
	"math/rand"
	"reflect"
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// modelView is what a View must be: a sorted map.
type modelView map[crdt.UID]row

func (m modelView) uids() []crdt.UID {
	var out []crdt.UID
	for uid := range m {
		out = append(out, uid)
	}
	slices.Sort(out)
	return out
}

func (m modelView) since(old modelView) Changes {
	var d Changes
	for _, uid := range old.uids() {
		if _, ok := m[uid]; !ok {
			d.Expunged = append(d.Expunged, uid)
		} else if m[uid].mod != old[uid].mod {
			d.Changed = append(d.Changed, uid)
		}
	}
	for _, uid := range m.uids() {
		if _, ok := old[uid]; !ok {
			d.Added = append(d.Added, uid)
		}
	}
	return d
}

func (m modelView) clone() modelView {
	c := make(modelView, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func testRow(uid crdt.UID, mod crdt.Time) row {
	return row{
		uid:      uid,
		fixedRow: fixedRow{origin: 7, n: uint64(uid), size: uint64(uid) * 10, date: int64(uid), zone: 60},
		stateRow: stateRow{mod: mod, flags: Flags(mod % 32)},
	}
}

func checkView(t *testing.T, v *View, m modelView) {
	t.Helper()
	uids := m.uids()
	if v.Len() != len(uids) {
		t.Fatalf("Len() = %d, want %d", v.Len(), len(uids))
	}
	var msg Message
	for i, uid := range uids {
		v.At(i, &msg)
		want := m[uid]
		if v.UIDAt(i) != uid || msg.UID != uid || msg.ModSeq != want.mod || msg.Flags != want.flags || msg.Tag.N != want.n || msg.Size != int64(want.size) {
			t.Fatalf("At(%d) = %+v, want %+v", i, msg, want)
		}
		if j, ok := v.Find(uid); j != i || !ok {
			t.Fatalf("Find(%d) = %d, %v, want %d", uid, j, ok, i)
		}
	}
	for _, c := range v.chunks {
		if len(c.uids) == 0 || len(c.uids) > chunkRows {
			t.Fatalf("chunk of %d messages", len(c.uids))
		}
	}
	if len(v.chunks) > 4*(v.Len()/chunkRows+1) {
		t.Fatalf("%d chunks for %d messages", len(v.chunks), v.Len())
	}
}

// TestViewAgainstModel makes random changes and keeps all older views: they
// must stay what they were, and the differences must be those of the model.
func TestViewAgainstModel(t *testing.T) {
	for seed := range int64(30) {
		rng := rand.New(rand.NewSource(seed))
		m := modelView{}
		var rows []row
		for uid := crdt.UID(1); uid <= crdt.UID(rng.Intn(2000)); uid += crdt.UID(1 + rng.Intn(3)) {
			m[uid] = testRow(uid, 1)
			rows = append(rows, m[uid])
		}
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		views, models := []*View{newView(rows, 0, 0)}, []modelView{m.clone()}
		for step := range 60 {
			changes := randomChanges(rng, m, crdt.Time(step+2))
			for _, c := range changes {
				if c.gone {
					delete(m, c.uid)
				} else {
					m[c.uid] = c.row
				}
			}
			v := views[len(views)-1].update(changes, crdt.UID(step), crdt.Time(step))
			views, models = append(views, v), append(models, m.clone())
			if v.UIDNext() != crdt.UID(step) || v.HighestModSeq() != crdt.Time(step) {
				t.Fatal("UIDNEXT or HIGHESTMODSEQ is not the one given")
			}
		}
		for i, v := range views {
			checkView(t, v, models[i])
			old := rng.Intn(i + 1)
			if got, want := v.Since(views[old]), models[i].since(models[old]); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: Since(%d -> %d)\n got %v\nwant %v", seed, old, i, got, want)
			}
		}
	}
}

func randomChanges(rng *rand.Rand, m modelView, mod crdt.Time) []change {
	uids := m.uids()
	next := crdt.UID(1)
	if len(uids) > 0 {
		next = uids[len(uids)-1] + 1
	}
	seen := map[crdt.UID]bool{}
	var out []change
	add := func(c change) {
		if !seen[c.uid] {
			seen[c.uid] = true
			out = append(out, c)
		}
	}
	for range rng.Intn(8) {
		add(change{uid: next, row: testRow(next, mod)})
		next += crdt.UID(1 + rng.Intn(3))
	}
	if rng.Intn(10) == 0 {
		for range rng.Intn(700) {
			add(change{uid: next, row: testRow(next, mod)})
			next++
		}
	}
	if len(uids) == 0 {
		return out
	}
	for range rng.Intn(6) {
		uid := uids[rng.Intn(len(uids))]
		add(change{uid: uid, row: testRow(uid, mod)})
	}
	n := rng.Intn(6)
	if rng.Intn(10) == 0 {
		n = len(uids)
	}
	for range n {
		add(change{uid: uids[rng.Intn(len(uids))], gone: true})
	}
	if rng.Intn(4) == 0 { // one that was hidden and is shown between others
		uid := crdt.UID(1 + rng.Intn(int(next)))
		add(change{uid: uid, row: testRow(uid, mod)})
	}
	return out
}

func TestViewOutOfRange(t *testing.T) {
	for _, v := range []*View{newView(nil, 1, 0), newView([]row{testRow(5, 1)}, 6, 1)} {
		m := Message{UID: 9}
		for _, i := range []int{-1, v.Len(), v.Len() + 1000} {
			if v.At(i, &m); m.UID != 0 || v.UIDAt(i) != 0 {
				t.Errorf("message %d of %d is not the zero message", i, v.Len())
			}
		}
		if i, ok := v.Find(6); i != v.Len() || ok {
			t.Errorf("Find behind all = %d, %v", i, ok)
		}
	}
}

func TestKeywordSetsAreShared(t *testing.T) {
	k := newKeywordSets()
	m := crdt.Message{Exp: 1, Flags: []crdt.Flag{{Name: "b", On: true}, {Name: `\Seen`, On: true}, {Name: "a", On: true}, {Name: "c"}}}
	r1, r2 := k.rowOf(&m), k.rowOf(&m)
	if r1.keywords != r2.keywords {
		t.Error("equal keyword sets are kept twice")
	}
	if want := []string{"a", "b"}; !slices.Equal(*r1.keywords, want) || r1.flags != Seen {
		t.Errorf("row = %v %v, want %v and \\Seen", *r1.keywords, r1.flags, want)
	}
}

// TestKeywordsHaveOneSpelling: the first spelling of a keyword that a mailbox has is
// that of all its messages, also when sets that are not used any more were dropped.
func TestKeywordsHaveOneSpelling(t *testing.T) {
	k := newKeywordSets()
	of := func(names ...string) []string { return *k.of(names) }
	of("Work", "a")
	mixed := k.of([]string{"A", "B", "wORK"})
	if want := []string{"B", "Work", "a"}; !slices.Equal(*mixed, want) {
		t.Errorf("%v, want %v", *mixed, want)
	}
	if k.of([]string{"A", "B", "wORK"}) != mixed || k.of([]string{"B", "Work", "a"}) != mixed {
		t.Error("equal keyword sets are kept twice")
	}
	head := newView([]row{{uid: 1, stateRow: stateRow{keywords: mixed}}}, 2, 1)
	for i := range minKeywordSets {
		of(fmt.Sprint("k", i))
	}
	if k.trim(head); len(k.sets) != 1 || len(k.shown) != 3 {
		t.Errorf("%d sets and %d spellings are left of one message's", len(k.sets), len(k.shown))
	}
	if got := of("K1", "WORK"); !slices.Equal(got, []string{"K1", "Work"}) {
		t.Errorf("%v after unused ones were dropped", got)
	}
}

func benchView(n int) *View {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = testRow(crdt.UID(i+1), 1)
	}
	return newView(rows, crdt.UID(n+1), 1)
}

func BenchmarkView(b *testing.B) {
	const n = 100_000
	v := benchView(n)
	flagged := v.update([]change{{uid: n / 2, row: testRow(n/2, 2)}}, n+1, 2)
	b.Run("At", func(b *testing.B) {
		b.ReportAllocs()
		var m Message
		for i := range b.N {
			v.At(i%n, &m)
		}
	})
	b.Run("Find", func(b *testing.B) {
		for i := range b.N {
			v.Find(crdt.UID(i % n))
		}
	})
	b.Run("Since/one-of-100000", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if d := flagged.Since(v); len(d.Changed) != 1 {
				b.Fatal(d)
			}
		}
	})
	b.Run("update/flag", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			uid := crdt.UID(i%n + 1)
			v = v.update([]change{{uid: uid, row: testRow(uid, 3)}}, n+1, 3)
		}
	})
	b.Run("update/append", func(b *testing.B) {
		b.ReportAllocs()
		v := benchView(n)
		for range b.N {
			uid := v.UIDNext()
			v = v.update([]change{{uid: uid, row: testRow(uid, 3)}}, uid+1, 3)
		}
	})
}

func ExampleView() {
	v := newView([]row{testRow(16, 1), testRow(17, 1)}, 18, 1)
	w := v.update([]change{{uid: 16, gone: true}, {uid: 18, row: testRow(18, 2)}}, 19, 2)
	d := w.Since(v)
	fmt.Println(v.Len(), d.Expunged, d.Changed, d.Added)
	// Output: 2 [16] [] [18]
}

// TestKeywordSetsAreBounded: a mailbox that stays open forgets the keyword sets
// that its messages do not have any more.
func TestKeywordSetsAreBounded(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two", "kept")
	m := mustSelect(t, s, "INBOX")
	in := tags(m.View())
	for i := range 2000 {
		change := FlagChange{Op: crdt.StoreReplace, Keywords: []string{fmt.Sprintf("k%d", i)}}
		if _, _, err := m.Store(ctxOf(t), in[:1], change); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(m.box.keywords.sets); got > minKeywordSets+1 {
		t.Errorf("%d keyword sets for two messages", got)
	}
	if got, want := m.Keywords(), []string{"k1999", "kept"}; !slices.Equal(got, want) {
		t.Errorf("keywords %v, want %v", got, want)
	}
	n.audit(testUser)
}

// A view knows the keywords of its own messages, whatever they have by now.
func TestViewKnowsItsKeywords(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one", "$Old", `\Seen`)
	m := mustSelect(t, s, "INBOX")
	before := m.View()
	if _, _, err := m.Store(ctxOf(t), tags(before), FlagChange{Op: crdt.StoreReplace, Keywords: []string{"$New"}}); err != nil {
		t.Fatal(err)
	}
	if got := before.Keywords(); !slices.Equal(got, []string{"$Old"}) {
		t.Errorf("before: %q", got)
	}
	if got := m.View().Keywords(); !slices.Equal(got, []string{"$New"}) {
		t.Errorf("after: %q", got)
	}
}
