package mailstore

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// benchStore is a replica on the real disk.
func benchStore(b *testing.B) *node {
	store, err := Open(b.TempDir(), Options{MinFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	r, err := store.Replica(testReplica(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	return &node{t: b, slot: 1, store: store, Replica: r}
}

func BenchmarkAppend(b *testing.B) {
	body := strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n", 17_500/66)
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("17kB/clients=%d", clients), func(b *testing.B) {
			n := benchStore(b)
			var sessions []*Account
			for i := range clients {
				sessions = append(sessions, n.sessionOf(crdt.AccountID(i+1)))
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan error, clients)
			for _, s := range sessions {
				go func() {
					var err error
					for left.Add(-1) >= 0 && err == nil {
						_, err = tryAppend(context.Background(), s, "INBOX", body)
					}
					done <- err
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStore(b *testing.B) {
	n := newNode(b, 1)
	s := n.session()
	m := mustSelect(b, s, "INBOX")
	for range 100 {
		mustAppend(b, s, "INBOX", "x")
	}
	all := tags(m.View())
	for _, count := range []int{1, 100} {
		b.Run(fmt.Sprintf("messages=%d", count), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if _, _, err := m.Store(context.Background(), all[:count], FlagChange{Op: crdt.StoreMode(i % 2), Flags: Seen}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// largeMailbox fills a mailbox with n messages that share a content.
func largeMailbox(b *testing.B, n *node, count int) *Account {
	s := n.session()
	mustAppend(b, s, "INBOX", "x", crdt.FlagSeen)
	m := mustSelect(b, s, "INBOX")
	defer m.Close()
	for m.View().Len() < count {
		v := m.View()
		all := tags(v)
		if _, err := m.Copy(context.Background(), all[:min(len(all), count-len(all))], "INBOX"); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkLargeMailbox(b *testing.B) {
	const count = 100_000
	n := newNode(b, 1)
	s := largeMailbox(b, n, count)
	b.Run("Select", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			m := mustSelect(b, s, "INBOX")
			if m.View().Len() != count {
				b.Fatal(m.View().Len())
			}
			m.Close()
		}
	})
	b.Run("Status", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if _, err := s.Status(context.Background(), "INBOX"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Store", func(b *testing.B) {
		m := mustSelect(b, s, "INBOX")
		defer m.Close()
		all := tags(m.View())
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			if _, _, err := m.Store(context.Background(), all[i%count:i%count+1], FlagChange{Op: crdt.StoreAdd, Flags: Flags(2 << (i / count))}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Store/all", func(b *testing.B) {
		m := mustSelect(b, s, "INBOX")
		defer m.Close()
		all := tags(m.View())
		b.ResetTimer()
		for i := range b.N {
			if _, _, err := m.Store(context.Background(), all, FlagChange{Op: crdt.StoreMode(i % 2), Flags: Flagged}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
