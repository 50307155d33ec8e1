package mailstore

import (
	"encoding/binary"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Kinds of twinkeys. All of one kind have the same length.
const (
	twinSource = 's' // tag of the source: concurrent MOVEs
	twinCause  = 'c' // session, command number, index: APPEND
	twinCopy   = 'r' // and the root: COPY
	twinMove   = 'm' // session, command number, tag of the source: a replayed MOVE
)

const (
	sessionLen = 16
	commandLen = sessionLen + 8
)

func appendTwinKey(b []byte, t crdt.TwinKey) []byte {
	switch {
	case !t.Source.IsZero() && t.Cause.IsZero():
		return appendTag(append(b, twinSource), t.Source)
	case !t.Source.IsZero():
		return appendTag(appendCommand(append(b, twinMove), t.Cause), t.Source)
	case t.Root != crdt.Root{}:
		b = appendCommand(append(b, twinCopy), t.Cause)
		b = binary.BigEndian.AppendUint32(b, t.Cause.Index)
		return append(b, t.Root[:]...)
	}
	return binary.BigEndian.AppendUint32(appendCommand(append(b, twinCause), t.Cause), t.Cause.Index)
}

func appendCommand(b []byte, c crdt.Cause) []byte {
	return binary.BigEndian.AppendUint64(append(b, c.Session[:]...), c.Command)
}

// parseTwinKey reads a twinkey from the beginning of b and returns what follows.
func parseTwinKey(b []byte) (t crdt.TwinKey, rest []byte, err error) {
	corrupt := fmt.Errorf("%w: twinkey of %d bytes", errCorrupt, len(b))
	if len(b) == 0 {
		return t, nil, corrupt
	}
	kind, b := b[0], b[1:]
	if kind != twinSource {
		if len(b) < commandLen {
			return t, nil, corrupt
		}
		t.Cause.Session = [sessionLen]byte(b)
		t.Cause.Command = binary.BigEndian.Uint64(b[sessionLen:])
		b = b[commandLen:]
	}
	switch {
	case (kind == twinSource || kind == twinMove) && len(b) >= tagLen:
		t.Source, err = parseTag(b[:tagLen])
		return t, b[tagLen:], err
	case kind == twinCause && len(b) >= 4:
		t.Cause.Index = binary.BigEndian.Uint32(b)
		return t, b[4:], nil
	case kind == twinCopy && len(b) >= 4+rootLen:
		t.Cause.Index = binary.BigEndian.Uint32(b)
		t.Root = crdt.Root(b[4:])
		return t, b[4+rootLen:], nil
	}
	return t, nil, corrupt
}

func (k keyspace) twins(b []byte, a crdt.AccountID, t crdt.TwinKey) []byte {
	return appendTwinKey(k.record(b, a, recTwin), t)
}

func (k keyspace) twin(b []byte, a crdt.AccountID, t crdt.TwinKey, i crdt.Instance) []byte {
	return appendInstance(k.twins(b, a, t), i)
}

func (k keyspace) replays(b []byte, a crdt.AccountID, t crdt.TwinKey) []byte {
	return appendTwinKey(k.record(b, a, recReplay), t)
}

func (k keyspace) replay(b []byte, a crdt.AccountID, r crdt.Replay) []byte {
	return appendTag(k.replays(b, a, r.Key), r.Tag)
}

func (k keyspace) filed(b []byte, a crdt.AccountID) []byte {
	return binary.BigEndian.AppendUint32(k.kind(b, spaceState, kindFiled), uint32(a))
}
