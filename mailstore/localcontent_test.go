package mailstore

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// told is what a replica told of contents.
type told struct{ came, went []crdt.Root }

func (x *told) note(account crdt.AccountID, came, went []crdt.Root) {
	if account != testUser {
		panic("contents of another account")
	}
	x.came, x.went = append(x.came, came...), append(x.went, went...)
}

func (x *told) take() (came, went int) {
	came, went = len(x.came), len(x.went)
	x.came, x.went = nil, nil
	return came, went
}

// Of a content one is told when the first message refers to it and when it is deleted,
// and not of copies.
func TestContentsAreTold(t *testing.T) {
	var x told
	n := newNode(t, 1)
	n.close()
	n.set = func(o *ReplicaOptions) { o.Contents, o.ManualTicks = x.note, true }
	n.open()
	s := n.session()
	ctx := ctxOf(t)
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two")
	if came, went := x.take(); came != 2 || went != 0 {
		t.Errorf("of 2 messages: %d came, %d went", came, went)
	}
	m := mustSelect(t, s, "INBOX")
	v := m.View()
	messages := tags(v)
	if _, err := m.Copy(ctx, messages, "Archive"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Move(ctx, messages[:1], "Trash"); err != nil {
		t.Fatal(err)
	}
	stabilise(t, n)
	if came, went := x.take(); came != 0 || went != 0 {
		t.Errorf("of copies: %d came, %d went", came, went)
	}
	list, err := n.ContentsOf(ctx, testUser)
	if err != nil || len(list) != 2 {
		t.Errorf("the account has contents %x, error %v", list, err)
	}
	for _, box := range []string{"INBOX", "Archive", "Trash"} {
		m := mustSelect(t, s, box)
		messages := tags(m.View())
		if _, _, err := m.Store(ctx, messages, FlagChange{Op: crdt.StoreAdd, Flags: Deleted}); err != nil {
			t.Fatal(err)
		}
		if err := expunge(ctx, m, messages); err != nil {
			t.Fatal(err)
		}
	}
	if came, went := x.take(); came != 0 || went != 0 {
		t.Errorf("of messages that are expunged: %d came, %d went", came, went)
	}
	for _, root := range list { // although it is there
		if _, _, err := n.LocalContent(ctx, root); !errors.Is(err, ErrExpunged) {
			t.Errorf("content of an expunged message: error %v", err)
		}
	}
	stabilise(t, n)
	slices.SortFunc(x.went, func(a, b crdt.Root) int { return bytes.Compare(a[:], b[:]) })
	if !slices.Equal(list, x.went) || len(x.came) > 0 {
		t.Errorf("of %x, %x went, %x came", list, x.went, x.came)
	}
	if list, err := n.ContentsOf(ctx, testUser); err != nil || len(list) > 0 {
		t.Errorf("the account has contents %x, error %v", list, err)
	}
}

// What is missing here is not got from others by who looks at what is here.
func TestLocalContent(t *testing.T) {
	n := newNode(t, 1)
	src := &source{to: n}
	n.SetBodySource(src)
	s := n.session()
	ctx := ctxOf(t)
	long := strings.Repeat("x", chunkSize+10)
	mustAppend(t, s, "INBOX", long)
	list, err := n.ContentsOf(ctx, testUser)
	if err != nil || len(list) != 1 {
		t.Fatalf("contents %x, error %v", list, err)
	}
	read := func() (string, error) {
		b, _, err := n.LocalContent(ctx, list[0])
		if err != nil {
			return "", err
		}
		defer b.Close()
		data, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		return string(data), err
	}
	if got, err := read(); err != nil || got != long {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	n.lose(list[0], false)
	if got, err := read(); !errors.Is(err, ErrUnavailable) || len(got) > chunkSize {
		t.Errorf("a piece is missing: %d bytes, error %v", len(got), err)
	}
	n.lose(list[0], true)
	if _, err := read(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all is missing: error %v", err)
	}
	if _, _, err := n.LocalContent(ctx, crdt.Root{1}); !errors.Is(err, ErrExpunged) {
		t.Errorf("nothing refers to it: error %v", err)
	}
	if calls := src.calls.Load(); calls > 0 {
		t.Errorf("others were asked %d times", calls)
	}
}
