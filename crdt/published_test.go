package crdt

import (
	"fmt"
	"testing"
)

// The published model (Jungnickel, Oldenburg, Loibl, OPODIS 2017; AFP entry
// IMAP-CRDT), as small as it is: one mailbox is a set of ids that keep it alive
// and a set of messages. This package keeps its OR-set of presence and its
// add-wins of new messages; the test pins the conditions on which its proof of
// commutation rests, and that each of them is needed.

// pubState is a mailbox: bit i of a set is id i.
type pubState struct{ meta, files uint8 }

type pubOp struct {
	kind    string
	id, msg uint8 // own id; the message that is replaced or removed
	set     uint8 // ids that a delete observed
}

func (o pubOp) String() string {
	switch o.kind {
	case "delete":
		return "delete " + pubSet(o.set)
	case "expunge", "store":
		return fmt.Sprintf("%s %d of %d", o.kind, o.id, o.msg)
	}
	return fmt.Sprintf("%s %d", o.kind, o.id)
}

func (s pubState) apply(o pubOp) pubState {
	own, msg := uint8(1)<<o.id, uint8(1)<<o.msg
	switch o.kind {
	case "create":
		s.meta |= own
	case "delete":
		s.meta &^= o.set
		s.files &^= o.set
	case "append":
		s.files |= own
	case "expunge":
		s.meta |= own
		s.files &^= msg
	case "store":
		s.files = s.files&^msg | own
	}
	return s
}

// pubCondition is a side condition of the commutation lemmas.
type pubCondition struct {
	name string
	ok   func(a, b pubOp) bool
}

var pubConditions = []pubCondition{
	{"an id that delete removes is not the other's own", func(a, b pubOp) bool {
		return a.kind != "delete" || b.kind == "delete" || a.set&(1<<b.id) == 0
	}},
	{"expunge does not remove what append adds", func(a, b pubOp) bool {
		return a.kind != "append" || b.kind != "expunge" || a.id != b.msg
	}},
	{"store does not replace what append adds", func(a, b pubOp) bool {
		return a.kind != "append" || b.kind != "store" || a.id != b.msg
	}},
	{"expunge does not remove what store adds", func(a, b pubOp) bool {
		return a.kind != "store" || b.kind != "expunge" || a.id != b.msg
	}},
	{"store does not replace what store adds", func(a, b pubOp) bool {
		return a.kind != "store" || b.kind != "store" || a.id != b.msg
	}},
}

func pubOps() []pubOp {
	const ids = 3
	var out []pubOp
	for i := range uint8(ids) {
		out = append(out, pubOp{kind: "create", id: i}, pubOp{kind: "append", id: i})
		for m := range uint8(ids) {
			out = append(out, pubOp{kind: "expunge", id: i, msg: m}, pubOp{kind: "store", id: i, msg: m})
		}
	}
	for set := range uint8(1 << ids) {
		out = append(out, pubOp{kind: "delete", set: set})
	}
	return out
}

// pubCommute looks for two operations that satisfy all conditions but one
// (none if skip is -1) and a state on which their order matters.
func pubCommute(skip int) (found string) {
	holds := func(a, b pubOp) bool {
		for i, c := range pubConditions {
			if i != skip && !(c.ok(a, b) && c.ok(b, a)) {
				return false
			}
		}
		return true
	}
	for _, a := range pubOps() {
		for _, b := range pubOps() {
			if !holds(a, b) {
				continue
			}
			for s := range uint8(64) {
				st := pubState{s & 7, s >> 3}
				if x, y := st.apply(a).apply(b), st.apply(b).apply(a); x != y {
					return fmt.Sprintf("%v, %v on %v: %v or %v", a, b, st, x, y)
				}
			}
		}
	}
	return ""
}

func TestPublishedModelCommutes(t *testing.T) {
	if found := pubCommute(-1); found != "" {
		t.Errorf("with all conditions: %s", found)
	}
}

func TestPublishedConditionsAreNeeded(t *testing.T) {
	for i, c := range pubConditions {
		t.Run(c.name, func(t *testing.T) {
			found := pubCommute(i)
			if found == "" {
				t.Error("everything commutes without it")
			}
			t.Log(found)
		})
	}
}
