package comm

import (
	"fmt"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// decodeVC reads a version vector from a peer. A field that is absent is the
// empty vector.
func decodeVC(b []byte) (crdt.VC, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) > maxVector {
		return nil, fmt.Errorf("%w: version vector of %d bytes, limit %d", causal.ErrProtocol, len(b), maxVector)
	}
	v, err := crdt.DecodeVC(b)
	if err != nil {
		return nil, fmt.Errorf("%w: version vector: %v", causal.ErrProtocol, err)
	}
	if len(v) > causal.MaxOrigins {
		return nil, fmt.Errorf("%w: version vector of %d origins, limit %d", causal.ErrProtocol, len(v), causal.MaxOrigins)
	}
	return v, nil
}

// encodeEntry puts an entry into a message. It shares the entry's data.
func encodeEntry(e *Entry) *Operation {
	op := &Operation{
		Origin: uint64(e.Dot.Origin),
		Number: e.Dot.N,
		Deps:   e.Deps.AppendBinary(nil),
		Time:   uint64(e.Time),
		Data:   e.Data,
	}
	for i := range e.Bodies {
		op.Bodies = append(op.Bodies, e.Bodies[i][:])
	}
	return op
}

// decodeEntry reads an entry from a peer. What the operation's data mean is the
// Store's to find out.
func decodeEntry(op *Operation) (Entry, error) {
	e := Entry{
		Dot:  crdt.Dot{Origin: crdt.Origin(op.GetOrigin()), N: op.GetNumber()},
		Time: crdt.Time(op.GetTime()),
		Data: op.GetData(),
	}
	if len(e.Data) == 0 || len(e.Data) > MaxOperation {
		return e, fmt.Errorf("%w: operation %d of %s has %d bytes, limit %d", causal.ErrProtocol, e.Dot.N, e.Dot.Origin, len(e.Data), MaxOperation)
	}
	if len(op.GetBodies()) > maxBodies {
		return e, fmt.Errorf("%w: operation %d of %s has %d bodies, limit %d", causal.ErrProtocol, e.Dot.N, e.Dot.Origin, len(op.GetBodies()), maxBodies)
	}
	var err error
	if e.Deps, err = decodeVC(op.GetDeps()); err != nil {
		return e, fmt.Errorf("operation %d of %s: %w", e.Dot.N, e.Dot.Origin, err)
	}
	for _, b := range op.GetBodies() {
		root, err := decodeRoot(b)
		if err != nil {
			return e, err
		}
		e.Bodies = append(e.Bodies, root)
	}
	return e, nil
}

func decodeRoot(b []byte) (crdt.Root, error) {
	var root crdt.Root
	if len(b) != len(root) {
		return root, fmt.Errorf("%w: content name of %d bytes", causal.ErrProtocol, len(b))
	}
	copy(root[:], b)
	return root, nil
}
