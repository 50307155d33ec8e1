package mailstore

import (
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// BenchmarkResume is a session that comes from elsewhere after having been idle while
// 2,000 operations were done, most of them in accounts of others.
func BenchmarkResume(b *testing.B) {
	n := benchStore(b)
	idle, busy := n.session(), n.sessionOf(testUser+1)
	for range 200 {
		mustAppend(b, idle, "INBOX", "text")
	}
	told := toldBy(b, idle, mustSelect(b, idle, "INBOX"))
	mustAppend(b, busy, "INBOX", "text")
	m := mustSelect(b, busy, "INBOX")
	for i := range 2000 {
		flags := FlagChange{Op: [...]crdt.StoreMode{crdt.StoreAdd, crdt.StoreRemove}[i%2], Flags: Seen}
		if _, _, err := m.Store(ctxOf(b), tags(m.View()), flags); err != nil {
			b.Fatal(err)
		}
	}
	mustAppend(b, n.session(), "INBOX", "text")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s := n.sessionAs(SessionID{byte(i), byte(i >> 8), byte(i >> 16)})
		m, _, err := s.Resume(ctxOf(b), told)
		if err != nil {
			b.Fatal(err)
		}
		m.close()
	}
}
