package textindex

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

var owner = Owner{Replica: 0xff00ff, Account: 0xffffffff}

// model is what an index should know.
type model struct {
	t         *testing.T
	r         *rand.Rand
	db        *DB
	collector *Collector
	texts     map[Root][2][][]byte // by kind
	added     map[Root]bool
	next      uint64
}

func newModel(t *testing.T, db *DB, seed uint64) *model {
	return &model{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), db: db, collector: NewCollector(),
		texts: make(map[Root][2][][]byte), added: make(map[Root]bool),
	}
}

// text returns a random text in few letters, so that strings are found often.
func (m *model) text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefgh\xc3\xa4\x00\xff "[m.r.IntN(13)]
	}
	return b
}

// content makes a content with texts of its own.
func (m *model) content() Content {
	m.next += 1 + uint64(m.r.IntN(3))
	var root Root
	binary.BigEndian.PutUint64(root[:], m.next)
	if m.r.IntN(4) == 0 { // from another time
		binary.BigEndian.PutUint64(root[:], m.r.Uint64N(m.next))
		binary.BigEndian.PutUint64(root[8:], m.r.Uint64())
	}
	var texts [2][][]byte
	for k, sink := range []*Texts{m.collector.Headers(), m.collector.Texts()} {
		for range m.r.IntN(4) {
			text := m.text(m.r.IntN(60))
			texts[k] = append(texts[k], text)
			for rest := text; ; {
				n := m.r.IntN(len(rest) + 1)
				sink.Write(rest[:n])
				if rest = rest[n:]; len(rest) == 0 {
					break
				}
			}
			sink.End()
		}
	}
	m.texts[root] = texts
	return m.collector.Take(root)
}

func (m *model) add(n int) {
	m.t.Helper()
	var list []Content
	for range n {
		c := m.content()
		list = append(list, c)
		m.added[c.Root] = true
	}
	if err := m.db.Add(owner, list); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) remove(n int) {
	m.t.Helper()
	var list []Root
	for root := range m.added {
		if len(list) == n {
			break
		}
		list = append(list, root)
	}
	for _, root := range list {
		delete(m.added, root)
		delete(m.texts, root)
	}
	if err := m.db.Remove(owner, list); err != nil {
		m.t.Fatal(err)
	}
}

func contains(texts [][]byte, needle []byte) bool {
	return slices.ContainsFunc(texts, func(text []byte) bool { return bytes.Contains(text, needle) })
}

// check looks for random strings and returns how many contents were passed over.
func (m *model) check() (passed int) {
	m.t.Helper()
	var needles []Needle
	for range 6 {
		n := Needle{Folded: m.text(m.r.IntN(7)), Headers: m.r.IntN(2) == 0}
		if m.r.IntN(3) == 0 {
			for _, texts := range m.texts {
				if k := m.r.IntN(2); len(texts[k]) > 0 && len(texts[k][0]) > 10 {
					n.Folded = texts[k][0][2 : 5+m.r.IntN(6)]
				}
				break
			}
		}
		needles = append(needles, n)
	}
	f := m.db.Filter(m.t.Context(), owner, needles)
	defer f.Close()
	for root, texts := range m.texts {
		for i, n := range needles {
			if f.May(root, i) {
				continue
			}
			passed++
			if contains(texts[kindTexts], n.Folded) || n.Headers && contains(texts[kindHeaders], n.Folded) {
				m.t.Fatalf("content %x has %q and is passed over", root, n.Folded)
			}
		}
	}
	return passed
}

// complete checks that the index has exactly what it should have.
func (m *model) complete() {
	m.t.Helper()
	if got := m.db.Contents(); got != int64(len(m.added)) {
		m.t.Errorf("the index has %d contents, not %d", got, len(m.added))
	}
	var all []Root
	for root := range m.added {
		all = append(all, root)
	}
	missing, err := m.db.Reconcile(owner, all)
	if err != nil || len(missing) > 0 {
		m.t.Fatalf("missing are %d of %d, error %v", len(missing), len(all), err)
	}
}

func openDB(t *testing.T, fs vfs.FS) *DB {
	t.Helper()
	db, err := Open("index", Options{FS: fs, Texts: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Whatever is added and removed, in whatever order and sizes: nothing that has a string is
// passed over, and most of what has not is.
func TestModel(t *testing.T) {
	for seed := range uint64(6) {
		m := newModel(t, openDB(t, vfs.NewMem()), seed)
		passed := 0
		for range 60 {
			switch m.r.IntN(6) {
			case 0, 1, 2:
				m.add(1 + m.r.IntN(3))
			case 3:
				m.add(1 + m.r.IntN(200))
			case 4:
				m.remove(m.r.IntN(20))
			case 5:
				m.remove(m.r.IntN(1 + len(m.added)/4))
			}
			passed += m.check()
		}
		if passed == 0 {
			t.Error("nothing was ever passed over")
		}
		m.complete()
		m.remove(len(m.added))
		m.complete()
		if owners, err := m.db.Owners(); err != nil || len(owners) > 0 {
			t.Errorf("of nothing, %v is left, error %v", owners, err)
		}
	}
}

// An index that is opened again has what was synced, and knows how much that is.
func TestReopen(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	m := newModel(t, db, 1)
	m.add(300)
	m.remove(10)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	m.db = openDB(t, fs)
	m.complete()
	if m.check()+m.check() == 0 {
		t.Error("nothing is passed over")
	}
}

// An index of texts that were got otherwise counts for nothing.
func TestOtherVersion(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	newModel(t, db, 1).add(50)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open("index", Options{FS: fs, Texts: "later"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if f := db.Filter(t.Context(), owner, []Needle{{Folded: []byte("abcd")}}); f != nil || db.Contents() != 0 {
		t.Errorf("an index of another version is used: %d contents", db.Contents())
	}
}

// After a crash a content is in the index completely or not at all.
func TestCrash(t *testing.T) {
	for seed := range uint64(12) {
		fs := vfs.NewCrashableMem()
		db := openDB(t, fs)
		m := newModel(t, db, seed)
		for range 30 {
			m.add(1 + m.r.IntN(60))
			if m.r.IntN(3) == 0 {
				m.remove(m.r.IntN(30))
			}
			if m.r.IntN(8) == 0 {
				if err := db.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.db = openDB(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: int(seed % 4 * 33), RNG: rand.New(rand.NewPCG(seed, 1))}))
		for range 10 {
			m.check()
		}
		var all []Root
		for root := range m.added {
			all = append(all, root)
		}
		missing, err := m.db.Reconcile(owner, all)
		if err != nil {
			t.Fatal(err)
		}
		if had := int64(len(all) - len(missing)); m.db.Contents() != had {
			t.Errorf("the index has %d contents, of which %d are known", m.db.Contents(), had)
		}
		m.check()
	}
}

// Bytes that change on the disk are noticed, never believed, and the index is made anew.
func TestDamage(t *testing.T) {
	noticed := 0
	for seed := range uint64(20) {
		fs := vfs.NewMem()
		db := openDB(t, fs)
		m := newModel(t, db, seed)
		m.add(400)
		m.add(100)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		damage(t, fs, m.r)
		m.db = openDB(t, fs)
		for range 10 {
			m.check()
		}
		lost := m.db.Lost()
		_, err := m.db.Reconcile(owner, nil)
		select {
		case <-lost:
			noticed++
			if err := m.db.Repair(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
			if err != nil {
				t.Fatal(err)
			}
		}
		m.texts, m.added = make(map[Root][2][][]byte), make(map[Root]bool)
		m.add(50)
		m.complete()
		passed := 0
		for range 10 {
			passed += m.check()
		}
		if passed == 0 {
			t.Error("the index that was made anew passes over nothing")
		}
	}
	if noticed == 0 {
		t.Error("no damage was noticed in an open index")
	}
}

// TestCheck finds a damage that no search has met, and has the index made anew.
func TestCheck(t *testing.T) {
	fs := vfs.NewMem()
	db := openDB(t, fs)
	m := newModel(t, db, 1)
	m.add(400)
	n, err := db.Check(t.Context())
	if n == 0 || err != nil {
		t.Fatalf("%d records, %v", n, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	damage(t, fs, m.r)
	db = openDB(t, fs)
	lost := db.Lost()
	if _, err := db.Check(t.Context()); err == nil {
		t.Skip("the start has found it")
	}
	<-lost
	if err := db.Repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// damage changes some bytes of a table.
func damage(t *testing.T, fs vfs.FS, r *rand.Rand) {
	t.Helper()
	names, err := fs.List("index")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !bytes.HasSuffix([]byte(name), []byte(".sst")) {
			continue
		}
		f, err := fs.OpenReadWrite("index/"+name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := f.WriteAt([]byte{byte(r.Uint32()), byte(r.Uint32())}, r.Int64N(info.Size()*9/10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A chunk that is missing is not taken for texts without those grams.
func TestMissingChunk(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	m := newModel(t, db, 3)
	m.add(500)
	headers, err := readHeaders(db.db, owner)
	if err != nil || len(headers) != 1 {
		t.Fatalf("%d blocks, error %v", len(headers), err)
	}
	prefix := owner.grams(nil, headers[0].id, kindTexts)
	it, err := db.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	it.SeekGE(prefix)
	key := bytes.Clone(it.Key())
	if last, _ := parseChunk(key); last == maxGram {
		t.Fatal("there is one chunk only")
	}
	if err := errors.Join(it.Close(), db.db.Delete(key, pebble.NoSync)); err != nil {
		t.Fatal(err)
	}
	lost := db.Lost()
	for range 20 {
		m.check()
	}
	select {
	case <-lost:
	default:
		t.Error("nobody was told")
	}
}

// The last chunk may be full with the largest gram.
func TestLargestGram(t *testing.T) {
	for more := range 3 * chunkSize {
		w := chunkWriter{n: 1}
		var last gram
		next := gram(0)
		w.emit = func(g gram, value []byte) error {
			c, err := readChunk(g, value, 1)
			if err != nil || c.next != next || next > maxGram {
				t.Fatalf("with %d grams: chunk from %d, not %d, error %v", more, c.next, next, err)
			}
			last, next = g, g+1
			return nil
		}
		for g := range gram(more) {
			if err := w.add(g, []uint16{0}); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(w.add(maxGram, []uint16{0}), w.end()); err != nil || last != maxGram {
			t.Fatalf("with %d grams: the last chunk ends with %d, error %v", more, last, err)
		}
	}
}

// Searches, changes, damages and repairs at once neither block each other for ever nor
// make anybody pass over what is there.
func TestConcurrent(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	m := newModel(t, db, 5)
	m.add(200)
	var roots []Root
	for root, texts := range m.texts {
		if contains(texts[kindTexts], []byte("ab")) {
			roots = append(roots, root)
		}
	}
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() {
			for i := range 100 {
				f := db.Filter(t.Context(), owner, []Needle{{Folded: []byte("abc")}})
				for _, root := range roots {
					if texts := m.texts[root]; !f.May(root, 0) && contains(texts[kindTexts], []byte("abc")) {
						t.Errorf("content %x is passed over", root)
					}
				}
				if w == 0 && i%20 == 19 && f != nil {
					f.fail(errCorrupt)
				}
				f.Close()
			}
		})
	}
	work.Go(func() {
		collector := NewCollector()
		for i := range 200 {
			if err := db.Repair(t.Context()); err != nil {
				t.Error(err)
			}
			collector.Texts().Write(fmt.Appendf(nil, "text %d", i))
			var root Root
			binary.BigEndian.PutUint64(root[:], uint64(i)<<40)
			if err := db.Add(owner, []Content{collector.Take(root)}); err != nil && !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		}
	})
	work.Wait()
}

// A filter whose search has ended knows nothing, and nothing is wrong with the index.
func TestCancelled(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	m := newModel(t, db, 6)
	m.add(100)
	ctx, cancel := context.WithCancel(t.Context())
	f := db.Filter(ctx, owner, []Needle{{Folded: []byte("abcdefgh")}})
	cancel()
	for root := range m.texts {
		if !f.May(root, 0) {
			t.Error("passed over after the end")
		}
	}
	f.Close()
	if m.check()+m.check() == 0 {
		t.Error("the index is not used any more")
	}
}

// A content with too many grams may contain anything, and so may one that says so.
func TestOpaque(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	collector := NewCollector()
	r := rand.New(rand.NewPCG(1, 1))
	noise := make([]byte, 4<<20)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	collector.Texts().Write(noise)
	big := collector.Take(Root{1})
	collector.Texts().Write([]byte("small"))
	if err := db.Add(owner, []Content{big, collector.Take(Root{2}), Opaque(Root{3})}); err != nil {
		t.Fatal(err)
	}
	f := db.Filter(t.Context(), owner, []Needle{{Folded: []byte("needle")}})
	defer f.Close()
	if big.Grams() != 0 || !f.May(Root{1}, 0) || f.May(Root{2}, 0) || !f.May(Root{3}, 0) || !f.May(Root{4}, 0) {
		t.Error("contents that may contain anything are passed over, or others are not")
	}
}
