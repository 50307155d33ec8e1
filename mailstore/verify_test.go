package mailstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// verify checks a node's disk, with repair from another one unless that is nil.
func (n *node) verify(from *node) (Verified, []Damage) {
	n.t.Helper()
	var list []Damage
	v := Verification{Report: func(d Damage) { list = append(list, d) }}
	if from != nil {
		v.Repair = true
		v.Resync = func(_ context.Context, user crdt.AccountID) error { return n.heal(from, user) }
	}
	sum, err := n.Verify(ctxOf(n.t), v)
	if err != nil {
		n.t.Fatal(err)
	}
	if sum.Damaged != uint64(len(list)) {
		n.t.Errorf("%d damages counted, %d reported", sum.Damaged, len(list))
	}
	return sum, list
}

func (n *node) wantSound() {
	n.t.Helper()
	if _, list := n.verify(nil); len(list) != 0 {
		n.t.Errorf("damaged: %v", list)
	}
}

// TestVerifyRepairs finds what was deleted or spoiled under a replica, and nothing else,
// and gets it from a peer.
func TestVerifyRepairs(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	b.SetBodySource(&source{to: b, from: []*node{a}})
	s := a.session()
	for i := range 5 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
	}
	mustAppend(t, a.sessionOf(testUser+1), "INBOX", "of somebody else")
	settle(t, a, b)
	b.reopen()
	b.SetBodySource(&source{to: b, from: []*node{a}})
	b.wantSound()
	m := mustSelect(t, s, "INBOX")
	v := m.View()
	var gone, other Message
	v.At(1, &gone)
	v.At(3, &other)
	b.lose(gone.Root, true)
	b.spoil(b.keys.message(nil, testUser, crdt.Instance{Box: crdt.Inbox, Tag: other.Tag}))
	if sum, list := b.verify(nil); len(list) != 2 || list[0].Account != testUser || sum.Repaired != 0 {
		t.Fatalf("%+v: %v", sum, list)
	}
	b.wantNoQuarantine() // it only looked
	b.pullBody(a, gone.Root)
	if sum, list := b.verify(a); len(list) != 1 || sum.Repaired != 1 {
		t.Fatalf("%+v: %v", sum, list)
	}
	b.lose(other.Root, false)
	if sum, list := b.verify(a); len(list) != 1 || sum.Repaired != 1 {
		t.Fatalf("%+v: %v", sum, list)
	}
	b.wantSound()
	sameMail(t, testUser, "INBOX", a, b)
	sameMail(t, testUser+1, "INBOX", a, b)
	b.audit(testUser, testUser+1)
}

// onDisk opens a replica on real files, with everything in tables.
func onDisk(t *testing.T, dir string, slot crdt.Slot) *node {
	t.Helper()
	n := &node{t: t, slot: slot}
	opts := testOptions(vfs.Default)
	store, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Replica(testReplica(slot))
	if err != nil {
		t.Fatal(err)
	}
	n.store, n.Replica = store, r
	return n
}

// flip changes a byte in the middle of what a file holds of something first.
func flip(t *testing.T, dir string, what []byte) {
	t.Helper()
	flipAt(t, dir, what, bytes.Index)
}

// flipAt is flip where a function has found it.
func flipAt(t *testing.T, dir string, what []byte, find func(data, what []byte) int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := find(data, what); at >= 0 {
			data[at+len(what)/2] ^= 0x40
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("not found in %d tables", len(files))
}

// flip is flip in the memory of a node that is closed.
func (n *node) flip(what []byte) {
	n.t.Helper()
	files, err := n.fs.List(testDir)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, name := range files {
		name = n.fs.PathJoin(testDir, name)
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		f, err := n.fs.Open(name)
		if err != nil {
			n.t.Fatal(err)
		}
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			n.t.Fatal(err)
		}
		at := bytes.Index(data, what)
		if at < 0 {
			continue
		}
		data[at+len(what)/2] ^= 0x40
		w, err := n.fs.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			n.t.Fatal(err)
		}
		_, err = w.Write(data)
		if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
			n.t.Fatal(err)
		}
		return
	}
	n.t.Fatalf("not found in %v", files)
}

// TestDamagedBlock changes a byte of a real file. It is found by reading and by
// verifying, ends nothing, comes from a peer, and the database can compact again.
func TestDamagedBlock(t *testing.T) {
	for _, how := range []string{"verify", "read"} {
		t.Run(how, func(t *testing.T) {
			a := newNode(t, 1)
			s := a.session()
			bodies := make([][]byte, 20)
			for i := range bodies {
				bodies[i] = randomBytes(20 << 10)
				mustAppend(t, s, "INBOX", string(bodies[i]))
			}
			dir := t.TempDir()
			b := onDisk(t, dir, 2)
			settle(t, a, b)
			if err := b.store.db.Flush(); err != nil {
				t.Fatal(err)
			}
			b.close()
			flip(t, dir, bodies[10][:1000])
			b = onDisk(t, dir, 2)
			defer func() { b.close() }()
			b.SetBodySource(&source{to: b, from: []*node{a}})
			if how == "verify" {
				if _, list := b.verify(nil); len(list) != 1 || !errors.Is(list[0].Err, errBlock) {
					t.Fatalf("found %v", list)
				}
				if sum, list := b.verify(a); sum.Repaired != 1 || len(list) != 1 {
					t.Fatalf("%+v: %v", sum, list)
				}
			}
			sb := b.session()
			defer sb.Close()
			v := mustSelect(t, sb, "INBOX").View()
			var m Message
			for i := range bodies {
				v.At(i, &m)
				body, err := sb.Body(ctxOf(t), m.Root)
				if err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
				got := make([]byte, body.Size())
				if _, err := body.ReadAt(got, 0); err != nil || !slices.Equal(got, bodies[i]) {
					t.Errorf("message %d: %d bytes, %v", i, len(got), err)
				}
				body.Close()
			}
			b.wantSound()
			if err := b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false); err != nil {
				t.Errorf("compaction: %v", err)
			}
			b.audit(testUser)
		})
	}
}

// TestDamagedBlockOfRecords changes a byte of a block in which records of accounts
// lie. The accounts are found, loaded anew from a peer, and the database can compact
// again.
func TestDamagedBlockOfRecords(t *testing.T) {
	a := newNode(t, 1)
	s := a.session()
	const name, keyword = "INBOX", "Kq3ZpX9vTgW2mYc8LsRb5NdHj7FuEoAi1x4B6"
	for i := range 1200 { // some blocks full
		if i == 600 {
			mustAppend(t, s, name, "in the middle", keyword)
		}
		mustAppend(t, s, name, fmt.Sprint("m", i))
	}
	mustAppend(t, a.sessionOf(testUser+1), "INBOX", "of somebody else")
	dir := t.TempDir()
	b := onDisk(t, dir, 2)
	settle(t, a, b)
	if err := b.CutLog(b.Logged()); err != nil { // the keyword is there too
		t.Fatal(err)
	}
	if err := errors.Join(b.store.db.Flush(), b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false)); err != nil {
		t.Fatal(err)
	}
	b.close()
	flip(t, dir, []byte(keyword))
	b = onDisk(t, dir, 2)
	defer func() { b.close() }()
	b.SetBodySource(&source{to: b, from: []*node{a}})
	if _, list := b.verify(nil); len(list) == 0 || !errors.Is(list[0].Err, errBlock) {
		t.Fatalf("found %v", list)
	}
	sum, list := b.verify(a)
	if sum.Repaired != sum.Damaged {
		t.Fatalf("%+v: %v", sum, list)
	}
	b.wantNoQuarantine()
	b.wantSound()
	mustAppend(t, s, name, "later")
	settle(t, a, b)
	sameMail(t, testUser, name, a, b)
	sameMail(t, testUser+1, "INBOX", a, b)
	if err := b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false); err != nil {
		t.Errorf("compaction: %v", err)
	}
	b.audit(testUser, testUser+1)
}

// TestDamagedBlockOfAccounts changes a byte of a block in which many small accounts
// lie, and one of another such block. All that lie there are found and loaded anew, the
// others are what they were; also when it is found by a login.
func TestDamagedBlockOfAccounts(t *testing.T) {
	for _, how := range []string{"verify", "login"} {
		t.Run(how, func(t *testing.T) {
			const first, second = "Hc5RwN8yTfJ2kQmZ6sXbVg3LpDe9Ua4oKi7Wn", "Zt8KqB3xVnM5cRwY7hLfPj2GsDa6Ue9oTi4Xk"
			const accounts = 75
			a := newNode(t, 1)
			for i := range accounts {
				keyword := "x"
				switch i {
				case accounts / 3:
					keyword = first
				case 2 * accounts / 3:
					keyword = second
				}
				s := a.sessionOf(testUser + crdt.AccountID(i))
				mustAppend(t, s, "INBOX", fmt.Sprint("of ", i), keyword)
				s.Close()
			}
			b := newNode(t, 2)
			settle(t, a, b)
			if err := b.CutLog(b.Logged()); err != nil { // the keywords are there too
				t.Fatal(err)
			}
			if err := errors.Join(b.store.db.Flush(), b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false)); err != nil {
				t.Fatal(err)
			}
			b.close()
			b.flip([]byte(first))
			b.flip([]byte(second))
			b.open()
			b.SetBodySource(&source{to: b, from: []*node{a}})
			touched := func(list []Damage) (out []crdt.AccountID) {
				for _, d := range list {
					out = append(out, d.Account)
				}
				return out
			}
			_, list := b.verify(nil)
			for _, i := range []crdt.AccountID{accounts / 3, 2 * accounts / 3} {
				if !slices.Contains(touched(list), testUser+i) {
					t.Errorf("account %d is not found among %v", testUser+i, touched(list))
				}
			}
			if len(list) < 4 || len(list) == accounts {
				t.Errorf("found %v: two blocks with several accounts are damaged", touched(list))
			}
			if how == "login" {
				for _, i := range []crdt.AccountID{accounts / 3, 2 * accounts / 3} {
					if err := b.heal(a, testUser+i); err == nil {
						continue
					}
					if _, err := b.Open(ctxOf(t), testUser+i, fmt.Sprint("user", testUser+i), newSessionID()); !errors.Is(err, ErrUnavailable) {
						t.Errorf("login to a damaged account: %v", err)
					}
					if err := b.heal(a, testUser+i); err != nil {
						t.Fatal(err)
					}
				}
				q, err := b.Quarantined()
				if err != nil || len(q) == 0 {
					t.Errorf("in quarantine: %v, %v; want those that lay in the blocks too", q, err)
				}
				for _, q := range q {
					if err := b.heal(a, q.Account); err != nil {
						t.Fatal(err)
					}
				}
			} else if sum, list := b.verify(a); sum.Repaired != sum.Damaged {
				t.Fatalf("%+v: %v", sum, list)
			}
			b.wantNoQuarantine()
			b.wantSound()
			for i := range crdt.AccountID(accounts) {
				sameMail(t, testUser+i, "INBOX", a, b)
				b.audit(testUser + i)
			}
			if err := b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false); err != nil {
				t.Errorf("compaction: %v", err)
			}
		})
	}
}

// TestDamagedHeads changes a byte of what the replica itself needs. What can be read is
// read all the same, and it is said what helps; a start says so too.
func TestDamagedHeads(t *testing.T) {
	dir := t.TempDir()
	b := onDisk(t, dir, 2)
	s := b.session()
	mustAppend(t, s, "INBOX", "one")
	s.Close()
	remembered := randomBytes(500)
	if err := b.SetPeerRecord("peer", remembered); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.store.db.Flush(), b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false)); err != nil {
		t.Fatal(err)
	}
	b.close()
	flip(t, dir, remembered)
	store, err := Open(dir, testOptions(vfs.Default))
	if err == nil {
		_, err = store.Replica(testReplica(2))
		err = errors.Join(err, store.Close())
	}
	if err == nil || !errors.Is(err, errHeads) || !strings.Contains(err.Error(), "-replaces") {
		t.Errorf("a start says %v", err)
	}
}

// TestDamagedHeadsAreReported: a damage that is found while the replica runs.
func TestDamagedHeadsAreReported(t *testing.T) {
	dir := t.TempDir()
	b := onDisk(t, dir, 2)
	defer func() { b.close() }()
	s := b.session()
	mustAppend(t, s, "INBOX", "one")
	s.Close()
	remembered, record := make([]byte, 100), make([]byte, 100)
	for i := range 2000 { // some blocks full, apart from what a start reads
		rand.Read(record)
		if i == 1000 {
			copy(remembered, record)
		}
		if err := b.store.db.Set(b.keys.peer(nil, fmt.Sprint("peer ", 1000+i)), record, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(b.store.db.Flush(), b.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false)); err != nil {
		t.Fatal(err)
	}
	b.close()
	flip(t, dir, remembered)
	b = onDisk(t, dir, 2)
	sum, list := b.verify(b)
	if len(list) != 1 || list[0].Repaired || !errors.Is(list[0].Err, errHeads) || !strings.Contains(list[0].What, "peers") {
		t.Errorf("found %v", list)
	}
	if sum.Contents != 1 || sum.Operations == 0 {
		t.Errorf("%+v: not all that can be read was read", sum)
	}
}

// TestDamagedLog changes a byte of the log, and takes an operation out of it. Repair
// cuts the log behind the damage: what comes after it is there for who has the rest,
// and the state is what it was.
func TestDamagedLog(t *testing.T) {
	for _, how := range []string{"block", "entry"} {
		t.Run(how, func(t *testing.T) {
			const keyword = "Wn7LcQx4ZrVb9TgKy2MhJd5PsFu8Ea3oXi6Bv"
			const all = 1200
			dir := t.TempDir()
			a := onDisk(t, dir, 1)
			s := a.session()
			for i := range all {
				if i == all/2 {
					mustAppend(t, s, "INBOX", "in the middle", keyword)
				}
				mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
			}
			middle := crdt.Dot{Origin: a.Origin()}
			last := a.Logged().Get(a.Origin())
			for n := uint64(1); n <= last && middle.N == 0; n++ {
				if list, err := a.Read(a.Origin(), n, 1); err == nil && bytes.Contains(list[0].Data, []byte(keyword)) {
					middle.N = n
				}
			}
			s.Close()
			if how == "entry" {
				if err := a.store.db.Delete(a.keys.log(nil, middle), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(a.store.db.Flush(), a.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false)); err != nil {
				t.Fatal(err)
			}
			a.close()
			if how == "block" {
				flipAt(t, dir, []byte(keyword), bytes.LastIndex) // the log lies behind the accounts
			}
			a = onDisk(t, dir, 1)
			defer func() { a.close() }()
			if _, err := a.Read(a.Origin(), middle.N, 1); err == nil {
				t.Fatal("the operation can be read")
			}
			sum, list := a.verify(a)
			if sum.Damaged == 0 || sum.Repaired != sum.Damaged {
				t.Fatalf("%+v: %v", sum, list)
			}
			a.wantSound()
			if cut := a.Cut().Get(a.Origin()); cut < middle.N || cut > middle.N+all/4 {
				t.Errorf("cut at %d of %d, the damage is at %d", cut, last, middle.N)
			}
			if list, err := a.Read(a.Origin(), last, 1); err != nil || len(list) != 1 {
				t.Errorf("the end of the log: %v, %v", list, err)
			}
			b := newNode(t, 2)
			b.loadAll(a)
			b.pullMissing(a)
			settle(t, a, b)
			sameMail(t, testUser, "INBOX", a, b)
			if err := a.store.db.Compact(ctxOf(t), []byte{0}, []byte{255}, false); err != nil {
				t.Errorf("compaction: %v", err)
			}
			a.audit(testUser)
		})
	}
}
