package crdt

import (
	"fmt"
	"testing"
)

// benchAccount is a mailbox with n messages on Memory.
func benchAccount(b *testing.B, n int) *world {
	b.Helper()
	w := newWorld(1)
	list := make([]Added, n)
	for i := range list {
		list[i] = Added{Root: Root{byte(i), byte(i >> 8)}, Size: 5000, Date: simStart / 1000, Flags: []string{FlagSeen}}
	}
	s := w.site(0)
	p, err := s.PrepareAppend(Inbox, list, true)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Apply(&Op{Dot: Dot{1, 1}, Time: s.Mod, Payload: p}); err != nil {
		b.Fatal(err)
	}
	w.reps[0].vec.Set(1, 1)
	return w
}

func BenchmarkAppend(b *testing.B) {
	w := benchAccount(b, 1)
	add := []Added{{Root: Root{1}, Size: 5000, Flags: []string{FlagSeen}}}
	b.ReportAllocs()
	for n := uint64(2); b.Loop(); n++ {
		s := w.site(0)
		p, err := s.PrepareAppend(Inbox, add, true)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Apply(&Op{Dot: Dot{1, n}, Time: s.Mod, Payload: p}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStore must not depend on the size of the mailbox.
func BenchmarkStore(b *testing.B) {
	for _, size := range []int{10, 10000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := benchAccount(b, size)
			at := []Instance{{Inbox, Tag{1, 1, uint32(size) / 2}}}
			b.ReportAllocs()
			for n := uint64(2); b.Loop(); n++ {
				s := w.site(0)
				p, err := s.PrepareStore(at, StoreMode(n%2), []string{FlagFlagged})
				if err != nil || p == nil {
					b.Fatal(p, err)
				}
				if _, err := s.Apply(&Op{Dot: Dot{1, n}, Time: s.Mod, Payload: p}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkStore1000(b *testing.B) {
	w := benchAccount(b, 1000)
	all := w.instances(0, Inbox)
	b.ReportAllocs()
	for n := uint64(2); b.Loop(); n++ {
		s := w.site(0)
		p, err := s.PrepareStore(all, StoreMode(n%2), []string{FlagFlagged})
		if err != nil || p == nil {
			b.Fatal(p, err)
		}
		if _, err := s.Apply(&Op{Dot: Dot{1, n}, Time: s.Mod, Payload: p}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchMessage() *Message {
	return &Message{
		Tag: Tag{0x123456789abcdef0, 4711, 0}, Root: Root{1, 2, 3}, Reg: 100001, Exp: 100001, All: []UID{100001},
		Mod: TimeAt(simStart, 3), Size: 34567, Date: simStart / 1000, Zone: 120, Saved: simStart / 1000, Arrived: TimeAt(simStart, 3),
		Flags: []Flag{{FlagAnswered, TimeAt(simStart, 3), true}, {FlagSeen, TimeAt(simStart, 3), true}},
	}
}

func BenchmarkMessageEncode(b *testing.B) {
	m, buf := benchMessage(), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = m.AppendBinary(buf[:0])
	}
	b.ReportMetric(float64(len(buf)), "bytes")
}

func BenchmarkMessageDecode(b *testing.B) {
	data := benchMessage().AppendBinary(nil)
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeMessage(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("reused", func(b *testing.B) {
		var m Message
		b.ReportAllocs()
		for b.Loop() {
			if err := m.UnmarshalBinary(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOp(b *testing.B) {
	op := &Op{
		Dot: Dot{7, 1000}, Deps: VC{{5, 12345}, {6, 98765}, {7, 999}}, Time: TimeAt(simStart, 3), Account: 1234,
		Cause:   Cause{Session: [16]byte{1}, Command: 5},
		Payload: &Append{Messages: []Added{{Root: Root{1}, UID: 17, Size: 5000, Flags: []string{FlagSeen}}}, NewBody: true},
	}
	data, err := EncodeOp(op)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = op.AppendBinary(buf[:0])
		}
		b.ReportMetric(float64(len(buf)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeOp(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("header", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeHeader(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
