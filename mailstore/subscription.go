package mailstore

import (
	"encoding/binary"

	"github.com/go-pluto/pluto/crdt"
)

// A subscription register on the disk: time (8), 1 or 0.

func appendSubscription(b []byte, r crdt.Register[bool]) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	if r.Value {
		return append(b, 1)
	}
	return append(b, 0)
}

func parseSubscription(b []byte) (*crdt.Register[bool], error) {
	if len(b) != 9 || b[8] > 1 {
		return nil, errCorrupt
	}
	return &crdt.Register[bool]{Time: crdt.Time(binary.BigEndian.Uint64(b)), Value: b[8] == 1}, nil
}
