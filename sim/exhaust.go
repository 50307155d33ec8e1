package sim

import (
	"fmt"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// lostSlot is the slot of the replicas that exhaust invents.
const lostSlot = crdt.MaxSlot

// runExhaust uses up the UIDs of a mailbox but for some: a replica that nobody
// has heard of before has issued almost the last one. Its operation arrives
// somewhere and is passed on from there (crdt.md 6.5).
func runExhaust(w *World, a *args) (string, error) {
	n := w.node(a.number())
	user, ok := w.userOf(a.number())
	name, left := a.text(), a.number()
	if a.bad || n == nil || !n.up || !ok || left < 0 || left > 1<<20 {
		return "", errSkip
	}
	var box *crdt.Mailbox
	err := n.replica.Examine(user, func(s crdt.State) (err error) {
		box, err = (&crdt.Site{State: s, Self: crdt.Self{Separator: '.'}}).Lookup(name)
		return err
	})
	if err != nil {
		return "", err
	}
	if box == nil || box.N == 0 {
		return "", errSkip
	}
	w.lost++
	lost := crdt.Dot{Origin: crdt.Origin(w.lost), N: 1}
	last := crdt.NewUID(box.Era(), crdt.MaxNumber-uint32(left)) &^ 0xff
	op := &crdt.Op{
		Dot: lost, Deps: n.replica.Logged(), Time: crdt.TimeAt(n.clock().UnixMilli(), lostSlot), Account: user,
		Payload: &crdt.Reissue{Box: box.ID, List: []crdt.TagUID{{Tag: tagOf(lost), UID: last}}},
	}
	data, err := op.AppendBinary(nil)
	if err != nil {
		return "", fmt.Errorf("make an operation: %w", err)
	}
	if _, err := n.machine.Receive(causal.Entry{Dot: lost, Deps: op.Deps, Time: op.Time, Data: data}); err != nil {
		return "", fmt.Errorf("take an operation: %w", err)
	}
	n.changed = true
	return fmt.Sprintf("UID %v", last), n.apply()
}

// tagOf is an instance of an operation that added none.
func tagOf(d crdt.Dot) crdt.Tag { return crdt.Tag{Origin: d.Origin, N: d.N} }
