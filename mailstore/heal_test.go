package mailstore

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// pullAll applies everything that another node has and this one lacks.
func (n *node) pullAll(from *node) {
	n.t.Helper()
	for n.pull(from) > 0 {
	}
}

// heal loads an account anew from another node, as plutoctl account resync does.
func (n *node) heal(from *node, user crdt.AccountID) error {
	n.t.Helper()
	pieces := from.pieces(user)
	next := func() ([]byte, error) {
		if len(pieces) == 0 {
			return nil, io.EOF
		}
		p := pieces[0]
		pieces = pieces[1:]
		return p, nil
	}
	if err := n.ReloadAccount(ctxOf(n.t), user, next); err != nil {
		return err
	}
	n.pullMissing(from)
	return nil
}

func (n *node) wantQuarantined(user crdt.AccountID, isDamaged bool) {
	n.t.Helper()
	if _, err := n.Open(ctxOf(n.t), user, fmt.Sprint("user", user), newSessionID()); !errors.Is(err, ErrUnavailable) {
		n.t.Fatalf("login to a quarantined account: %v, want ErrUnavailable", err)
	}
	q, err := n.Quarantined()
	if err != nil || len(q) != 1 || q[0].Account != user || q[0].Damaged != isDamaged {
		n.t.Fatalf("quarantined %+v, %v; want account %d, damaged %v", q, err, user, isDamaged)
	}
}

func (n *node) wantNoQuarantine() {
	n.t.Helper()
	if q, err := n.Quarantined(); err != nil || len(q) != 0 {
		n.t.Fatalf("quarantined %+v, %v", q, err)
	}
}

// TestUpgradeEndsQuarantine has a version that does not know STORE get mail from
// one that does, and then be replaced by one that does.
func TestUpgradeEndsQuarantine(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	old := func(data []byte) (*crdt.Op, error) {
		op, err := crdt.DecodeOp(data)
		if err != nil {
			return nil, err
		}
		if _, ok := op.Payload.(*crdt.Store); ok {
			return nil, fmt.Errorf("%w: a test", crdt.ErrVersion)
		}
		return op, nil
	}
	b.set = func(o *ReplicaOptions) { o.decode = old }
	b.reopen()
	s := a.session()
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	v, _, err := m.Store(ctxOf(t), tags(mustSelect(t, s, "INBOX").View()), FlagChange{Op: crdt.StoreAdd, Flags: Seen})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "INBOX", "two")
	mustExpunge(t, m, tags(v)[:1])
	mustAppend(t, a.sessionOf(testUser+1), "INBOX", "of somebody else")
	b.pullAll(a)
	b.wantQuarantined(testUser, false)
	b.reopen()
	b.wantQuarantined(testUser, false)
	mustAppend(t, s, "INBOX", "three")
	b.pullAll(a)
	b.set = nil
	b.reopen()
	b.wantNoQuarantine()
	sameMail(t, testUser, "INBOX", a, b)
	sameMail(t, testUser+1, "INBOX", a, b)
	settle(t, a, b)
	b.audit(testUser, testUser+1)
}

// TestNewerOperation: an operation of a newer version quarantines its account
// and no other, and is passed on as it came.
func TestNewerOperation(t *testing.T) {
	n := newNode(t, 1)
	p := &peer{t: t, origin: 99}
	newer := p.op(testUser, &crdt.Subscribe{Name: "x", On: true})
	newer.Data[0]++
	if err := n.Apply(ctxOf(t), []causal.Entry{newer, p.op(testUser+1, &crdt.Subscribe{Name: "y", On: true})}); err != nil {
		t.Fatal(err)
	}
	n.wantQuarantined(testUser, false)
	n.sessionOf(testUser + 1)
	read, err := n.Read(p.origin, 1, 1<<20)
	if err != nil || len(read) != 2 || !slices.Equal(read[0].Data, newer.Data) || read[0].Time != newer.Time {
		t.Errorf("it is passed on as %+v, %v", read, err)
	}
}

// spoil overwrites a record with something else.
func (n *node) spoil(key []byte) {
	n.t.Helper()
	if v, err := n.store.get(key); err != nil || v == nil {
		n.t.Fatalf("there is no record %x (%v)", key, err)
	}
	if err := n.store.db.Set(key, []byte{77, 1, 2, 3}, pebble.Sync); err != nil {
		n.t.Fatal(err)
	}
}

// TestDamagedRecord: a record that cannot be read stops neither replication nor
// other accounts; the account is loaded anew, and goes on with what came since.
func TestDamagedRecord(t *testing.T) {
	for what, key := range map[string]func(n *node, i crdt.Instance) []byte{
		"account": func(n *node, _ crdt.Instance) []byte { return n.keys.account(nil, testUser) },
		"mailbox": func(n *node, i crdt.Instance) []byte { return n.keys.mailbox(nil, testUser, i.Box) },
		"message": func(n *node, i crdt.Instance) []byte { return n.keys.message(nil, testUser, i) },
	} {
		t.Run(what, func(t *testing.T) {
			a, b := newNode(t, 1), newNode(t, 2)
			var told []crdt.AccountID
			b.set = func(o *ReplicaOptions) { o.Dismissed = func(id crdt.AccountID) { told = append(told, id) } }
			b.reopen()
			s := a.session()
			for i := range 5 {
				mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
			}
			settle(t, a, b)
			before := b.linesOf(testUser, "INBOX")
			m := mustSelect(t, s, "INBOX")
			list := tags(m.View())
			b.reopen()
			b.spoil(key(b, crdt.Instance{Box: crdt.Inbox, Tag: list[2]}))
			if _, _, err := m.Store(ctxOf(t), list, FlagChange{Op: crdt.StoreAdd, Flags: Flagged}); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, a.sessionOf(testUser+1), "INBOX", "of somebody else")
			b.pullAll(a)
			b.wantQuarantined(testUser, true)
			sameMail(t, testUser+1, "INBOX", a, b)
			if !slices.Equal(told, []crdt.AccountID{testUser}) {
				t.Errorf("told of %v", told)
			}
			mustExpunge(t, m, list[:1])
			b.pullAll(a)
			b.reopen()
			b.wantQuarantined(testUser, true)
			pieces := a.pieces(testUser)
			mustAppend(t, s, "INBOX", "after the snapshot")
			b.pullAll(a)
			if err := b.BeginLoad(SnapshotList{Accounts: []crdt.AccountID{testUser}}); err != nil {
				t.Fatal(err)
			}
			b.feed(pieces)
			if err := b.MergeLoad(ctxOf(t), testUser); err != nil {
				t.Fatal(err)
			}
			b.finishLoad()
			b.wantNoQuarantine()
			b.audit(testUser, testUser+1)
			settle(t, a, b)
			sameMail(t, testUser, "INBOX", a, b)
			for i, line := range b.linesOf(testUser, "INBOX")[:4] {
				if line[:3] != before[i+1][:3] {
					t.Errorf("%q was %q: what was here before has another UID", line, before[i+1])
				}
			}
			b.audit(testUser, testUser+1)
			wantContents(t, b, 1+5+1) // the expunged one is not stable yet
		})
	}
}

// wantContents checks how many contents have counts.
func wantContents(t *testing.T, n *node, want int) {
	t.Helper()
	if got := count(t, n, n.keys.kind(nil, spaceContent, kindStructure)); got != want {
		t.Errorf("%d contents, want %d", got, want)
	}
}

// TestDamageInSession: a session that meets a damaged record is told to go, and
// one that was there before does nothing more when the account is back.
func TestDamageInSession(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mustAppend(t, a.session(), "INBOX", "one")
	settle(t, a, b)
	s, other := b.session(), b.session()
	m := mustSelect(t, s, "INBOX")
	defer m.Close()
	if _, err := other.Status(ctxOf(t), "INBOX"); err != nil {
		t.Fatal(err)
	}
	tag := tags(m.View())[0]
	b.spoil(b.keys.message(nil, testUser, crdt.Instance{Box: crdt.Inbox, Tag: tag}))
	if _, _, err := m.Store(ctxOf(t), []crdt.Tag{tag}, FlagChange{Op: crdt.StoreAdd, Flags: Seen}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("STORE of a damaged message: %v, want ErrUnavailable", err)
	}
	b.wantQuarantined(testUser, true)
	a.pullAll(b)
	if err := b.heal(a, testUser); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Status(ctxOf(t), "INBOX"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("STATUS in a session from before: %v, want ErrUnavailable", err)
	}
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}

// TestResyncWantsAllThatWasHere: a snapshot that lacks what a damaged account had
// is refused, and a later one taken.
func TestResyncWantsAllThatWasHere(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mustAppend(t, a.session(), "INBOX", "one")
	settle(t, a, b)
	mustAppend(t, b.session(), "INBOX", "two, which is here only")
	b.spoil(b.keys.account(nil, testUser))
	b.reopen()
	b.wantQuarantined(testUser, true)
	if err := b.heal(a, testUser); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("loaded from a peer that has less: %v", err)
	}
	a.pullAll(b)
	if err := b.heal(a, testUser); err != nil {
		t.Fatal(err)
	}
	b.wantNoQuarantine()
	settle(t, a, b)
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}

// TestReloadGoesOn: a reload that was interrupted is ended by the next start if
// all pieces are there, and forgotten if not.
func TestReloadGoesOn(t *testing.T) {
	for _, whole := range []bool{true, false} {
		a, b := newNode(t, 1), newNode(t, 2)
		b.mergeStep = 1
		s := a.session()
		for i := range 3 {
			mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
		}
		settle(t, a, b)
		b.reopen()
		b.spoil(b.keys.account(nil, testUser))
		b.wantQuarantined(testUser, true)
		if err := b.BeginLoad(SnapshotList{Accounts: []crdt.AccountID{testUser}}); err != nil {
			t.Fatal(err)
		}
		if whole {
			b.feed(a.pieces(testUser))
			b.mergeBatch(testUser)
			b.mergeBatch(testUser)
		}
		b.reopen()
		if _, err := b.LoadProgress(); !errors.Is(err, ErrNoLoad) {
			t.Errorf("after the start: %v", err)
		}
		if !whole {
			b.wantQuarantined(testUser, true)
			if err := b.heal(a, testUser); err != nil {
				t.Fatal(err)
			}
		}
		b.wantNoQuarantine()
		settle(t, a, b)
		sameMail(t, testUser, "INBOX", a, b)
		b.audit(testUser)
	}
}
