package mailstore

import (
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// TestNameIndex: with the index names mean what they mean without, whatever
// replicas did to them at the same time.
func TestNameIndex(t *testing.T) {
	nodes := []*node{newNode(t, 1), newNode(t, 2)}
	sessions := []*Account{nodes[0].session(), nodes[1].session()}
	names := []string{"a", "b", "a.b", "b.a", "a.b.c", "c", "a~c3f02"}
	rng := rand.New(rand.NewSource(1))
	tables := 0 // of names that were there to be compared
	for round := range 200 {
		for i, s := range sessions {
			for range 3 {
				shown := append(shownNames(t, s), names...) // with those that have a suffix
				pick := func() string { return shown[rng.Intn(len(shown))] }
				// Most fail because of what is there, which is well.
				switch rng.Intn(5) {
				case 0, 1:
					_ = s.Create(ctxOf(t), pick(), "")
				case 2:
					_ = s.Delete(ctxOf(t), pick())
				case 3:
					_ = s.Rename(ctxOf(t), pick(), pick())
				case 4: // has the table of names made
					_, _ = s.Status(ctxOf(t), pick())
				}
			}
			tables += compareNames(t, nodes[i], append(shownNames(t, s), names...))
		}
		switch round % 10 {
		case 3:
			settle(t, nodes...)
		case 7:
			for i, n := range nodes {
				sessions[i].Close()
				n.reopen()
				sessions[i] = n.session()
			}
		}
	}
	if tables == 0 {
		t.Error("no table of names was there")
	}
}

// shownNames returns the names of an account's mailboxes but those that it has from the start.
func shownNames(t *testing.T, s *Account) (list []string) {
	t.Helper()
	infos, err := s.Mailboxes(ctxOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range infos {
		if b.SpecialUse == "" && b.Name != "INBOX" {
			list = append(list, b.Name)
		}
	}
	return list
}

// compareNames asks with and without the index. It returns how many tables of names
// were there.
func compareNames(t *testing.T, n *node, names []string) (tables int) {
	t.Helper()
	a := n.acquire(testUser)
	defer n.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	tx := a.begin()
	defer tx.drop()
	with, without := tx.site(), tx.site()
	without.State = struct{ crdt.State }{tx} // has only State's methods
	if _, ok := without.State.(crdt.NameIndex); ok {
		t.Fatal("the test compares nothing")
	}
	same := func(what string, x, y any, ex, ey error) {
		t.Helper()
		if fmt.Sprint(ex) != fmt.Sprint(ey) || !reflect.DeepEqual(x, y) {
			t.Fatalf("%s: %+v, %v with the index, %+v, %v without", what, x, ex, y, ey)
		}
	}
	lx, ex := with.List()
	ly, ey := without.List()
	same("list", lx, ly, ex, ey)
	if a.names != nil {
		listed := map[string]crdt.MailboxID{}
		for _, l := range ly {
			listed[l.Name] = l.Box.ID
		}
		same("table of names", a.names, listed, nil, nil)
		tables++
	}
	fx, ex := with.Fix()
	fy, ey := without.Fix()
	same("fix", fx, fy, ex, ey)
	for _, name := range names {
		bx, ex := with.Lookup(name)
		by, ey := without.Lookup(name)
		same("look up "+name, bx, by, ex, ey)
		cx, ex := with.PrepareCreate(name, "")
		cy, ey := without.PrepareCreate(name, "")
		same("create "+name, cx, cy, ex, ey)
		rx, ex := with.PrepareRename(name, "a.b.c")
		ry, ey := without.PrepareRename(name, "a.b.c")
		same("rename "+name, rx, ry, ex, ey)
		ix, ex := with.PrepareRename("INBOX", name)
		iy, ey := without.PrepareRename("INBOX", name)
		same("rename INBOX to "+name, ix, iy, ex, ey)
	}
	return tables
}

// TestDeadMailboxesAreNotRead: work on names does not grow with the number of
// mailboxes that were deleted.
func TestDeadMailboxesAreNotRead(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	for i := range 100 {
		name := fmt.Sprint("gone", i)
		if err := s.Create(ctxOf(t), name, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctxOf(t), name); err != nil {
			t.Fatal(err)
		}
	}
	a := n.acquire(testUser)
	defer n.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	tx := a.begin()
	defer tx.drop()
	all, err := tx.Mailboxes()
	if err != nil {
		t.Fatal(err)
	}
	few, err := tx.Named([]string{"gone7", "new"})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 106 || len(few) != 7 {
		t.Errorf("%d of %d records are read", len(few), len(all))
	}
	few, err = tx.Called([]string{"gone7", "new"})
	if err != nil {
		t.Fatal(err)
	}
	if len(few) != 1 {
		t.Errorf("%d records are read to create one", len(few))
	}
}

// BenchmarkNames makes and deletes a mailbox beside others, and asks for it.
func BenchmarkNames(b *testing.B) {
	for _, others := range []int{10, 1000} {
		b.Run(fmt.Sprint(others), func(b *testing.B) {
			n := newNode(b, 1)
			s := n.session()
			for i := range others {
				if err := s.Create(ctxOf(b), fmt.Sprint("other", i), ""); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name := fmt.Sprint("new", i%10)
				err := s.Create(ctxOf(b), name, "")
				if err == nil {
					_, err = s.Status(ctxOf(b), name)
				}
				if err == nil {
					err = s.Delete(ctxOf(b), name)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
