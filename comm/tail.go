package comm

import (
	"sync"

	"github.com/go-pluto/pluto/crdt"
)

// DefaultTailCache is the default of Config.TailCache.
const DefaultTailCache = 1 << 20

// tail keeps the youngest own operations that were read from the log, so that
// the senders to several peers read each one once. It is safe for concurrent use.
type tail struct {
	store Store
	limit int
	own   crdt.Origin

	mu      sync.Mutex
	entries []Entry // consecutive numbers
	bytes   int
}

func newTail(store Store, limit int) *tail {
	return &tail{store: store, limit: limit, own: store.Origin()}
}

// read is [Store.Read], up to number to. The slice must not be changed.
func (t *tail) read(o crdt.Origin, from, to uint64, limit int) ([]Entry, error) {
	if o == t.own {
		if list := t.find(from, to, limit); len(list) > 0 {
			return list, nil
		}
	}
	list, err := t.store.Read(o, from, limit)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Dot.N > to {
			list = list[:i]
			break
		}
	}
	if o == t.own {
		t.add(list)
	}
	return list, nil
}

func (t *tail) find(from, to uint64, limit int) []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) == 0 || from < t.entries[0].Dot.N || from > t.entries[len(t.entries)-1].Dot.N {
		return nil
	}
	first := int(from - t.entries[0].Dot.N)
	end, size := first, 0
	for end < len(t.entries) && t.entries[end].Dot.N <= to && (end == first || size < limit) {
		size += t.entries[end].Size()
		end++
	}
	return t.entries[first:end:end]
}

// add appends what follows the cached ones, or begins anew with what is younger.
func (t *tail) add(list []Entry) {
	if t.limit <= 0 || len(list) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.entries) > 0 {
		last := t.entries[len(t.entries)-1].Dot.N
		for len(list) > 0 && list[0].Dot.N <= last {
			list = list[1:]
		}
		if len(list) == 0 {
			return
		}
		if list[0].Dot.N != last+1 {
			t.entries, t.bytes = nil, 0
		}
	}
	for i := range list {
		t.bytes += list[i].Size()
	}
	t.entries = append(t.entries, list...)
	if t.bytes > t.limit {
		t.shrink()
	}
}

// shrink drops the oldest entries down to half of the limit. It copies the rest,
// so that the memory goes and slices handed out stay valid.
func (t *tail) shrink() {
	drop := 0
	for t.bytes > t.limit/2 && drop < len(t.entries) {
		t.bytes -= t.entries[drop].Size()
		drop++
	}
	t.entries = append([]Entry(nil), t.entries[drop:]...)
}
