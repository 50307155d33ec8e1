package mailnode

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/mailstore"
)

// openTestAccount opens user 7's account on a replica of its own.
func openTestAccount(t *testing.T) account {
	t.Helper()
	store, err := mailstore.Open("data", mailstore.Options{FS: vfs.NewMem(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	replica, err := store.Replica(mailstore.ReplicaOptions{Subnet: "s", Slot: 1, Leader: true, Separator: '.', Policy: crdt.DefaultPolicy()})
	if err != nil {
		t.Fatal(err)
	}
	a, err := openAccount(t.Context(), replica, 7, "user7", imap.SessionID{1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// The adapter converts flag sets bit by bit.
func TestFlagsAgree(t *testing.T) {
	pairs := map[imap.Flags]mailstore.Flags{
		imap.Seen: mailstore.Seen, imap.Answered: mailstore.Answered, imap.Flagged: mailstore.Flagged,
		imap.Deleted: mailstore.Deleted, imap.Draft: mailstore.Draft,
	}
	for mine, theirs := range pairs {
		if uint8(mine) != uint8(theirs) {
			t.Errorf("bit %08b is %08b in the mailstore", mine, theirs)
		}
	}
}

func TestErrorsReachTheEngine(t *testing.T) {
	for _, e := range engineErrors {
		err := toEngine(fmt.Errorf("append to \"x\": %w", e.from))
		if !errors.Is(err, e.to) {
			t.Errorf("%v became %v", e.from, err)
		}
	}
	own := errors.New("disk on fire")
	if err := toEngine(own); err != own {
		t.Errorf("a fault of ours became %v", err)
	}
	if err := toEngine(nil); err != nil {
		t.Errorf("nil became %v", err)
	}
	if _, err := openTestAccount(t).Select(context.Background(), "nowhere", false); !errors.Is(err, imap.ErrNonexistent) {
		t.Errorf("select of nothing: %v", err)
	}
}

// What goes in through the engine's interface comes out the same.
func TestMessageThroughTheAdapter(t *testing.T) {
	ctx := t.Context()
	a := openTestAccount(t)
	s, err := a.Stage(ctx, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("a\r\nb\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	date := time.Unix(1700000000, 0).In(time.FixedZone("", 90*60))
	out, err := a.Append(ctx, "INBOX", []imap.NewMessage{{
		Staging: s, Flags: []string{`\Seen`, "$Label"}, Date: date, Structure: []byte("structure")}})
	if err != nil {
		t.Fatal(err)
	}
	box, err := a.Select(ctx, "INBOX", false)
	if err != nil {
		t.Fatal(err)
	}
	v := box.View()
	if v.Len() != 1 || len(out.UIDs) != 1 || v.UIDAt(0) != out.UIDs[0] {
		t.Fatalf("%d messages, appended %v", v.Len(), out.UIDs)
	}
	var m imap.Message
	v.At(0, &m)
	if m.Flags != imap.Seen || len(m.Keywords) != 1 || m.Keywords[0] != "$Label" || m.Size != 5 || !m.InternalDate().Equal(date) || m.Zone != 90 {
		t.Errorf("message is %+v", m)
	}
	body, err := a.Body(ctx, &m)
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, body.Size())
	if _, err := body.ReadAt(text, 0); err != nil || string(text) != "a\r\nb\n" {
		t.Errorf("body is %q, %v", text, err)
	}
	if st, err := a.Structure(ctx, &m); err != nil || string(st) != "structure" {
		t.Errorf("structure is %q, %v", st, err)
	}
	after, _, err := box.Store(ctx, []imap.MessageKey{m.Key}, imap.FlagChange{Op: imap.FlagsRemove, Flags: imap.Seen})
	if err != nil {
		t.Fatal(err)
	}
	if c := after.Since(v); len(c.Changed) != 1 || len(c.Added)+len(c.Expunged) != 0 {
		t.Errorf("changes after STORE: %+v", c)
	}
	after.At(0, &m)
	if m.Flags != 0 {
		t.Errorf("flags after STORE: %b", m.Flags)
	}
}

func TestLeadership(t *testing.T) {
	peers := func(slots ...uint8) (list []config.Peer) {
		for i, s := range slots {
			list = append(list, config.Peer{Name: fmt.Sprint("p", i), Slot: s})
		}
		return list
	}
	for _, c := range []struct {
		subnet config.Subnet
		leader bool
	}{
		{config.Subnet{Slot: 1, Peers: peers(0, 0)}, true},
		{config.Subnet{Slot: 2, Peers: peers(3, 4)}, true},
		{config.Subnet{Slot: 2, Peers: peers(0, 4)}, false},
		{config.Subnet{Slot: 3, Peers: peers(1, 2)}, false},
		{config.Subnet{Slot: 3, Peers: peers(1, 2), Leader: "me"}, true},
		{config.Subnet{Slot: 1, Peers: peers(2), Leader: "p0"}, false},
	} {
		if leader, rank := leadership("me", c.subnet); leader != c.leader || leader != (rank == 0) {
			t.Errorf("%+v: leader %v, rank %d", c.subnet, leader, rank)
		}
	}
}
