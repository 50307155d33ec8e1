package crdt

import (
	"reflect"
	"testing"
)

// recoverAt adds, at a memory, what an evicted replica had added as tag, as the
// replica in a slot does with its n-th operation.
func recoverAt(t *testing.T, mem *Memory, tag Tag, slot Slot, n uint64, deps VC) {
	t.Helper()
	at := TimeAt(simStart+int64(n), slot)
	next := (max(mem.boxes[Inbox].High, at)>>slotBits+1)<<slotBits | 9
	op := &Op{
		Dot: Dot{Origin(slot), n}, Deps: deps, Time: at, Account: 7, Cause: RecoveryCause(tag, slot),
		Payload: &Append{Box: Inbox, NewBody: true, Messages: []Added{{Root: Root{byte(tag.N)}, UID: UID(16*uint64(slot) + n)}}},
	}
	s := &Site{State: mem, Self: Self{Origin: 9, Slot: 9, Separator: '.'}, Now: simStart, Mod: next}
	if _, err := s.Apply(op); err != nil {
		t.Fatal(err)
	}
}

func provisioned(t *testing.T) *Memory {
	t.Helper()
	mem := NewMemory()
	s := &Site{State: mem, Self: Self{Origin: 8, Slot: 8, Separator: '.'}, Now: simStart, Mod: TimeAt(simStart, 8)}
	p, err := s.PrepareProvision()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(&Op{Dot: Dot{8, 1}, Time: s.Mod, Account: 7, Payload: p}); err != nil {
		t.Fatal(err)
	}
	return mem
}

// TestRecoveredIsRemembered: the account knows of each evicted replica up to where it
// was recovered, also one that loads a snapshot.
func TestRecoveredIsRemembered(t *testing.T) {
	mem := provisioned(t)
	recoverAt(t, mem, Tag{50, 3, 1}, 1, 1, nil)
	recoverAt(t, mem, Tag{40, 9, 0}, 1, 2, VC{{1, 1}})
	recoverAt(t, mem, Tag{50, 2, 0}, 1, 3, VC{{1, 2}})
	a, _ := mem.Account()
	for tag, want := range map[Tag]bool{
		{50, 3, 1}: true, {50, 3, 0}: true, {50, 1, 7}: true, {50, 3, 2}: false, {50, 4, 0}: false,
		{40, 9, 0}: true, {40, 9, 1}: false, {60, 1, 0}: false,
	} {
		if a.HasRecovered(tag) != want {
			t.Errorf("%v was recovered: %v", tag, !want)
		}
	}
	for _, a := range []*Account{a, {Recovered: a.Recovered, Home: Register[string]{5, "elsewhere"}, Target: "b"}} {
		if got, err := DecodeAccount(a.AppendBinary(nil)); err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("got %+v (%v), want %+v", got, err, a)
		}
	}
	snap := &Snapshot{Vector: a.Vector, Recovered: a.Recovered}
	other := provisioned(t)
	recoverAt(t, other, Tag{40, 10, 0}, 2, 1, nil)
	s := &Site{State: other, Self: Self{Origin: 9, Slot: 9, Separator: '.'}, Now: simStart, Mod: TimeAt(simStart, 9)}
	if _, _, err := s.LoadAccount(snap); err != nil {
		t.Fatal(err)
	}
	if b, _ := other.Account(); !b.HasRecovered(Tag{50, 3, 1}) || !b.HasRecovered(Tag{40, 10, 0}) || b.HasRecovered(Tag{40, 10, 1}) {
		t.Errorf("%+v", b.Recovered)
	}
}

// TestRecoveredAtOnce: of two replicas that recover a message at the same time, one
// adds it, in whichever order they hear of each other.
func TestRecoveredAtOnce(t *testing.T) {
	tag := Tag{50, 3, 0}
	for _, first := range []Slot{1, 2} {
		mem := provisioned(t)
		recoverAt(t, mem, tag, first, 1, nil)
		recoverAt(t, mem, tag, 3-first, 1, nil)
		tags, _ := mem.Tags(Inbox)
		if len(tags) != 1 || tags[0].Origin != 2 {
			t.Errorf("slot %d first: %v", first, tags)
		}
	}
}

// TestCausesOfCommands: none of them recovers anything, nor does what follows from
// an operation that does.
func TestCausesOfCommands(t *testing.T) {
	if tag, ok := (Cause{Session: [16]byte{1, 2, 3}, Command: 4}).Recovers(); ok {
		t.Errorf("a command takes the place of %v", tag)
	}
	want := Tag{50, 3, 1}
	if tag, ok := RecoveryCause(want, 5).Recovers(); !ok || tag != want {
		t.Errorf("%v, %v", tag, ok)
	}
	for p, takes := range map[Payload]bool{&Append{}: true, &Move{}: true, &Touch{}: false, &Reissue{}: false} {
		if _, ok := (&Op{Cause: RecoveryCause(want, 5), Payload: p}).recovered(); ok != takes {
			t.Errorf("%T takes its place: %v", p, ok)
		}
	}
}
