package crdt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// tidy makes empty slices nil, as decoding does, and UIDs those of possible eras.
func tidy(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		tidy(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			tidy(v.Field(i))
		}
	case reflect.Uint64:
		if v.Type() == reflect.TypeFor[UID]() {
			v.SetUint(v.Uint() % uint64(maxUID+1))
		}
	case reflect.Slice:
		if v.Len() == 0 && v.CanSet() {
			v.SetZero()
		}
		for i := range v.Len() {
			tidy(v.Index(i))
		}
	}
}

// drawVC draws a version vector.
func drawVC(t *rapid.T) VC {
	var v VC
	for range rapid.IntRange(0, 4).Draw(t, "origins") {
		v.Set(Origin(rapid.Uint64Range(0, 6).Draw(t, "origin")), rapid.Uint64Min(1).Draw(t, "n"))
	}
	return v
}

func drawPayload(t *rapid.T) Payload {
	switch kind(rapid.IntRange(int(kindAppend), int(kindSetHome)).Draw(t, "kind")) {
	case kindAppend:
		return rapid.Ptr(rapid.Make[Append](), false).Draw(t, "payload")
	case kindStore:
		return rapid.Ptr(rapid.Make[Store](), false).Draw(t, "payload")
	case kindExpunge:
		return rapid.Ptr(rapid.Make[Expunge](), false).Draw(t, "payload")
	case kindMove:
		return rapid.Ptr(rapid.Make[Move](), false).Draw(t, "payload")
	case kindReissue:
		return rapid.Ptr(rapid.Make[Reissue](), false).Draw(t, "payload")
	case kindNudge:
		return rapid.Ptr(rapid.Make[Nudge](), false).Draw(t, "payload")
	case kindCreate:
		return rapid.Ptr(rapid.Make[CreateMailbox](), false).Draw(t, "payload")
	case kindDelete:
		return rapid.Ptr(rapid.Make[DeleteMailbox](), false).Draw(t, "payload")
	case kindRename:
		return rapid.Ptr(rapid.Make[Rename](), false).Draw(t, "payload")
	case kindRenameInbox:
		return rapid.Ptr(rapid.Make[RenameInbox](), false).Draw(t, "payload")
	case kindTouch:
		return rapid.Ptr(rapid.Make[Touch](), false).Draw(t, "payload")
	case kindSubscribe:
		return rapid.Ptr(rapid.Make[Subscribe](), false).Draw(t, "payload")
	case kindRenumber:
		return rapid.Ptr(rapid.Make[Renumber](), false).Draw(t, "payload")
	case kindSetHome:
		return rapid.Ptr(rapid.Make[SetHome](), false).Draw(t, "payload")
	case kindAnnotate:
		return rapid.Ptr(rapid.Make[Annotate](), false).Draw(t, "payload")
	case kindRaiseEpoch:
		return rapid.Ptr(rapid.Make[RaiseEpoch](), false).Draw(t, "payload")
	case kindSetSpecialUse:
		return rapid.Ptr(rapid.Make[SetSpecialUse](), false).Draw(t, "payload")
	default:
		return rapid.Ptr(rapid.Make[BindLogin](), false).Draw(t, "payload")
	}
}

func TestOpRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := &Op{
			Dot: rapid.Make[Dot]().Draw(t, "dot"), Deps: drawVC(t), Time: rapid.Make[Time]().Draw(t, "time"),
			Account: rapid.Make[AccountID]().Draw(t, "account"), Payload: drawPayload(t),
		}
		if rapid.Bool().Draw(t, "caused") {
			op.Cause = rapid.Make[Cause]().Draw(t, "cause")
			op.More = rapid.Bool().Draw(t, "more")
			op.Failed = rapid.SliceOfN(rapid.Uint32(), 0, 3).Draw(t, "failed")
		}
		tidy(reflect.ValueOf(op))
		b, err := op.AppendBinary([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		b, _ = bytes.CutPrefix(b, []byte("before"))
		got, err := DecodeOp(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, op) {
			t.Fatalf("got %+v %+v, want %+v %+v", got, got.Payload, op, op.Payload)
		}
		h, err := DecodeHeader(b)
		if err != nil || h.Dot != op.Dot || !h.Deps.Equal(op.Deps) || h.Time != op.Time || h.Account != op.Account {
			t.Fatalf("header %+v %v of %+v", h, err, op)
		}
		if id, err := AccountOf(b); err != nil || id != op.Account {
			t.Fatalf("account %d %v of %+v", id, err, op)
		}
		for n := range b { // every prefix is an error
			if _, err := DecodeOp(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("first %d of %d bytes: %v", n, len(b), err)
			}
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.Ptr(rapid.Make[Message](), false).Draw(t, "message")
		if rapid.Bool().Draw(t, "usual") {
			m.All, m.Exp, m.Src, m.Cause = []UID{m.Reg}, m.Reg, Tag{}, Cause{}
			m.SrcTime, m.Base, m.Refused, m.Tries, m.Nudged = 0, 0, 0, 0, 0
		}
		tidy(reflect.ValueOf(m))
		got, err := DecodeMessage(m.AppendBinary(nil))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Fatalf("got %+v (%v), want %+v", got, err, m)
		}
		reused := Message{All: []UID{1, 2, 3}, Flags: []Flag{{Name: "x"}}, Cause: Cause{Command: 1}, Base: 9, Tries: 3}
		if err := reused.UnmarshalBinary(m.AppendBinary(nil)); err != nil {
			t.Fatal(err)
		}
		if tidy(reflect.ValueOf(&reused)); !reflect.DeepEqual(&reused, m) {
			t.Fatalf("got %+v, want %+v", &reused, m)
		}

		b := rapid.Ptr(rapid.Make[Mailbox](), false).Draw(t, "mailbox")
		b.Watched = false
		tidy(reflect.ValueOf(b))
		if got, err := DecodeMailbox(b.AppendBinary(nil)); err != nil || !reflect.DeepEqual(got, b) {
			t.Fatalf("got %+v (%v), want %+v", got, err, b)
		}

		a := &Account{Login: rapid.Make[Register[string]]().Draw(t, "login"), Provisioned: rapid.Bool().Draw(t, "provisioned"), Epoch: rapid.Uint32().Draw(t, "epoch"), Vector: drawVC(t)}
		if got, err := DecodeAccount(a.AppendBinary(nil)); err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("got %+v (%v), want %+v", got, err, a)
		}
		if got, err := DecodeVC(a.Vector.AppendBinary(nil)); err != nil || !got.Equal(a.Vector) {
			t.Fatalf("got %v (%v), want %v", got, err, a.Vector)
		}
	})
}

// TestMailboxFloors: a record of version 1 has one number for both floors, which is
// believed of both. Another replica, which can read the record in any version, gets the
// one of what was pruned.
func TestMailboxFloors(t *testing.T) {
	old, err := os.ReadFile("testdata/records/mailbox-floor.v1")
	if err != nil {
		t.Fatal(err)
	}
	b, err := DecodeMailbox(old)
	if err != nil {
		t.Fatal(err)
	}
	if b.VanFloor == 0 || b.Doubt != b.VanFloor {
		t.Errorf("pruned up to %d, nothing certain up to %d", b.VanFloor, b.Doubt)
	}
	if again := b.AppendBinary(nil); !bytes.Equal(again, old) {
		t.Errorf("encodes differently now: %x, was %x", again, old)
	}
	for _, floors := range [][2]Time{{5, 0}, {0, 5}, {7, 7}, {0, 0}} {
		b.VanFloor, b.Doubt = floors[0], floors[1]
		got, err := DecodeMailbox(b.AppendBinary(nil))
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("got %+v (%v), want %+v", got, err, b)
		}
		shared := b.AppendShared(nil)
		got, err = DecodeMailbox(shared)
		if err != nil || shared[0] != recordVersion || got.VanFloor != b.VanFloor || got.N != b.N || got.ID != b.ID {
			t.Errorf("another replica gets %+v (%v) in version %d", got, err, shared[0])
		}
	}
}

func TestNewerVersions(t *testing.T) {
	op, err := EncodeOp(&Op{Dot: Dot{1, 1}, Account: 7, Payload: &Touch{1, 1}})
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte{opVersion + 1}, op[1:]...)
	if _, err := DecodeOp(newer); !errors.Is(err, ErrVersion) {
		t.Errorf("newer operation: %v", err)
	}
	if h, err := DecodeHeader(newer); err != nil || h.Account != 7 || h.Dot != (Dot{1, 1}) {
		t.Errorf("header of a newer operation: %+v, %v", h, err)
	}
	if id, err := AccountOf(newer); err != nil || id != 7 {
		t.Errorf("account of a newer operation: %d, %v", id, err)
	}
	kindAt := 1 + 8 + 1 + 8 + 1 + 1
	unknown := bytes.Clone(op)
	if unknown[kindAt] != byte(kindTouch) {
		t.Fatal("the kind is elsewhere")
	}
	unknown[kindAt] = 200
	if _, err := DecodeOp(unknown); !errors.Is(err, ErrVersion) {
		t.Errorf("unknown kind: %v", err)
	}
	if h, err := DecodeHeader(unknown); err != nil || h.Dot != (Dot{1, 1}) {
		t.Errorf("header of an unknown kind: %+v, %v", h, err)
	}
	for name, decode := range map[string]func([]byte) error{
		"message": func(b []byte) error { _, err := DecodeMessage(b); return err },
		"mailbox": func(b []byte) error { _, err := DecodeMailbox(b); return err },
		"account": func(b []byte) error { _, err := DecodeAccount(b); return err },
	} {
		if err := decode([]byte{max(recoveredVersion, doubtVersion) + 1, 0, 0}); !errors.Is(err, ErrVersion) {
			t.Errorf("newer %s: %v", name, err)
		}
		if err := decode([]byte{0}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s of version 0: %v", name, err)
		}
	}
	for _, p := range []Payload{nil, (*Touch)(nil)} {
		if _, err := EncodeOp(&Op{Dot: Dot{1, 1}, Payload: p}); err == nil {
			t.Errorf("encoded payload %#v", p)
		}
	}
}

// TestAllocationIsBounded: counts that the input cannot hold are not believed.
func TestAllocationIsBounded(t *testing.T) {
	head, err := EncodeOp(&Op{Dot: Dot{1, 1}, Payload: &Expunge{}})
	if err != nil {
		t.Fatal(err)
	}
	huge := append(head[:len(head)-1], 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2, 3)
	allocated := testing.AllocsPerRun(10, func() {
		if _, err := DecodeOp(huge); !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
	if allocated > 20 {
		t.Errorf("%v allocations", allocated)
	}
}

// sampleOps are encodings of every kind, from the world of commuteBase.
func sampleOps(tb testing.TB) [][]byte {
	tb.Helper()
	t, ok := tb.(*testing.T)
	if !ok {
		t = new(testing.T)
	}
	w := commuteBase(t)
	var out [][]byte
	for _, x := range everyOperation(w) {
		p, err := x.prepare(w.site(0))
		if err != nil {
			tb.Fatal(err)
		}
		b, err := EncodeOp(&Op{Dot: Dot{1, 1000}, Deps: w.reps[0].vec, Time: 1 << 40, Account: 7, Cause: Cause{Command: 3}, Payload: p})
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// FuzzDecodeOp: any bytes decode or are refused, what decodes survives another
// round, and applying it never panics nor leaves an account that is not sound.
func FuzzDecodeOp(f *testing.F) {
	for _, b := range sampleOps(f) {
		f.Add(b)
	}
	base := commuteBase(new(testing.T))
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := DecodeOp(b)
		if _, herr := DecodeHeader(b); herr != nil && err == nil {
			t.Fatalf("operation without header: %v", herr)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeOp(op)
		if err != nil {
			t.Fatal(err)
		}
		if op2, err := DecodeOp(again); err != nil || !reflect.DeepEqual(op, op2) {
			t.Fatalf("second round: %v\n%+v\n%+v", err, op, op2)
		}
		w := base.clone()
		before := w.reps[2].mem.replicated()
		_, err = w.site(2).Apply(op)
		if errors.Is(err, ErrImpossible) && w.reps[2].mem.replicated() != before {
			t.Fatalf("impossible, but changed something: %v", err)
		}
		if err != nil && !errors.Is(err, ErrImpossible) {
			t.Fatal(err)
		}
		if givesUIDs(op) {
			return // maybe another message's: no replica can tell
		}
		if err := Audit(w.reps[2].mem); err != nil {
			t.Fatal(err)
		}
	})
}

func givesUIDs(op *Op) bool {
	switch op.Payload.(type) {
	case *Append, *Move, *RenameInbox, *Reissue, *Renumber:
		return true
	}
	return false
}

func FuzzDecodeRecords(f *testing.F) {
	w := commuteBase(new(testing.T))
	mem := w.reps[1].mem
	f.Add(mem.account.AppendBinary(nil))
	for _, b := range mem.boxes {
		f.Add(b.AppendBinary(nil))
	}
	for _, m := range mem.messages {
		f.Add(m.AppendBinary(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMessage(b); err == nil {
			if m2, err := DecodeMessage(m.AppendBinary(nil)); err != nil || !reflect.DeepEqual(m, m2) {
				t.Fatalf("%v: %+v, %+v", err, m, m2)
			}
		}
		if x, err := DecodeMailbox(b); err == nil {
			if x2, err := DecodeMailbox(x.AppendBinary(nil)); err != nil || !reflect.DeepEqual(x, x2) {
				t.Fatalf("%v: %+v, %+v", err, x, x2)
			}
		}
		if a, err := DecodeAccount(b); err == nil {
			if a2, err := DecodeAccount(a.AppendBinary(nil)); err != nil || !reflect.DeepEqual(a, a2) {
				t.Fatalf("%v: %+v, %+v", err, a, a2)
			}
		}
		if v, err := DecodeVC(b); err == nil {
			if v2, err := DecodeVC(v.AppendBinary(nil)); err != nil || !v.Equal(v2) {
				t.Fatalf("%v: %v, %v", err, v, v2)
			}
		}
	})
}

// TestEncodingIsStable: logs and records that older versions wrote must be read
// for ever. The samples are never rewritten, only added to with a new version.
func TestEncodingIsStable(t *testing.T) {
	files, err := filepath.Glob("testdata/encoding/*.v1")
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		op, err := DecodeOp(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again, err := EncodeOp(op); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: encodes differently now (%v)", name, err)
		}
	}
}
