package figures

import (
	"fmt"
	"strconv"

	"github.com/go-pluto/pluto/crdt"
)

// Samples of operations are those of a group that has been at work for a while.
const (
	sampleOrigin = crdt.Origin(0x9e3779b97f4a7c15)
	sampleNumber = 120_000
	sampleTime   = crdt.Time(170_000_000_000)<<12 | 1
)

// sample is an operation whose length is worth knowing.
type sample struct {
	name    string
	payload func(messages int) crdt.Payload
	lists   bool // takes many messages
}

func samples() []sample {
	return []sample{
		{"APPEND, COPY, delivery", func(k int) crdt.Payload {
			p := &crdt.Append{Box: 1 << 62, NewBody: true}
			for i := range k {
				p.Messages = append(p.Messages, sampleAdded(i, crdt.FlagSeen))
			}
			return p
		}, true},
		{`STORE +FLAGS (\Seen)`, func(k int) crdt.Payload {
			return &crdt.Store{Targets: sampleInstances(k), Mode: crdt.StoreAdd, Flags: []string{crdt.FlagSeen}}
		}, true},
		{"EXPUNGE", func(k int) crdt.Payload { return &crdt.Expunge{Targets: sampleInstances(k)} }, true},
		{"MOVE", func(k int) crdt.Payload {
			p := &crdt.Move{Dst: 1 << 61}
			for i, from := range sampleInstances(k) {
				p.Entries = append(p.Entries, crdt.Moved{From: from, New: sampleAdded(i), State: []crdt.Flag{{Name: crdt.FlagSeen, Time: sampleTime, On: true}}})
			}
			return p
		}, true},
		{"re-issue of UIDs", func(k int) crdt.Payload { return &crdt.Reissue{Box: 1 << 62, List: sampleUIDs(k)} }, true},
		{"request for that to the leader", func(k int) crdt.Payload { return &crdt.Nudge{Box: 1 << 62, List: sampleUIDs(k), H: 1 << 20} }, true},
		{"CREATE", func(int) crdt.Payload {
			return &crdt.CreateMailbox{Boxes: []crdt.NewMailbox{{ID: 1 << 62, Name: "Archive/2026", Generation: 1, C: 1}}}
		}, false},
		{"RENAME", func(int) crdt.Payload {
			return &crdt.Rename{Boxes: []crdt.Renamed{{ID: 1 << 62, Name: "Archive/2027", C: 2}}}
		}, false},
		{"DELETE of a mailbox with the messages", func(k int) crdt.Payload {
			p := &crdt.DeleteMailbox{ID: 1 << 62, Dots: []crdt.Dot{{Origin: sampleOrigin, N: 17}}}
			for _, i := range sampleInstances(k) {
				p.Tags = append(p.Tags, i.Tag)
			}
			return p
		}, true},
	}
}

// sampleInstances are messages of one origin that arrived one after the other.
func sampleInstances(k int) []crdt.Instance {
	out := make([]crdt.Instance, k)
	for i := range out {
		out[i] = crdt.Instance{Box: 1 << 62, Tag: sampleTag(i)}
	}
	return out
}

func sampleTag(i int) crdt.Tag {
	return crdt.Tag{Origin: sampleOrigin, N: sampleNumber/2 + uint64(i)}
}

func sampleUIDs(k int) []crdt.TagUID {
	out := make([]crdt.TagUID, k)
	for i := range out {
		out[i] = crdt.TagUID{Tag: sampleTag(i), UID: sampleUID(i)}
	}
	return out
}

// sampleUID is the i-th UID of a slot in a mailbox with a million UIDs behind it.
func sampleUID(i int) crdt.UID { return crdt.UID(1<<20 + i/16*256 + i%16 + 17) }

func sampleAdded(i int, flags ...string) crdt.Added {
	root := crdt.Root{15: byte(i), 14: byte(i >> 8), 0: 0x9e}
	return crdt.Added{Root: root, UID: sampleUID(i), Flags: flags, Size: 17_500, Date: 1_790_000_000, Zone: 60, Saved: 1_790_000_003}
}

// sampleSize returns the encoded length of a payload as an operation of a group.
func sampleSize(p crdt.Payload, replicas int) (int, error) {
	op := &crdt.Op{
		Dot: crdt.Dot{Origin: sampleOrigin, N: sampleNumber}, Time: sampleTime, Account: 4711, Payload: p,
		Cause: crdt.Cause{Session: [16]byte{1}, Command: 42},
	}
	for i := range replicas {
		op.Deps.Set(sampleOrigin+crdt.Origin(i), sampleNumber-1)
	}
	data, err := crdt.EncodeOp(op)
	return len(data), err
}

// sizesTable is about the encoded lengths of operations, without bodies.
func sizesTable(s *study) string {
	t := newTable("operation", "n = 2", "n = 3", "n = 5", "each further message (1,000 in one command)")
	for _, k := range samples() {
		cells := []string{k.name}
		for _, n := range groups() {
			cells = append(cells, strconv.Itoa(s.size(k.payload(1), n)))
		}
		further := ""
		if k.lists {
			const many = 1000
			further = fmt.Sprintf("%.1f", float64(s.size(k.payload(many), 3)-s.size(k.payload(1), 3))/(many-1))
		}
		t.row(append(cells, further)...)
	}
	return t.String()
}

func (s *study) size(p crdt.Payload, replicas int) int {
	n, err := sampleSize(p, replicas)
	if err != nil && s.err == nil {
		s.err = fmt.Errorf("length of %T: %w", p, err)
	}
	return n
}

// checkpointTable is about what a replica keeps to translate the MODSEQs of
// others: one list for itself and one for each peer.
func checkpointTable(s *study) string {
	length := checkpoints(s.scale.Days)
	t := newTable("n", "checkpoints in a list", "bytes each", "MB in all lists of a replica")
	for _, n := range groups() {
		k := crdt.Checkpoint{Time: sampleTime}
		for i := range n {
			k.Vector.Set(sampleOrigin+crdt.Origin(i), sampleNumber)
		}
		const timeSize = 8
		size := timeSize + len(k.Vector.AppendBinary(nil))
		t.row(strconv.Itoa(n), strconv.Itoa(length), strconv.Itoa(size), digits(float64(n*length*size)/1e6))
	}
	return t.String()
}

// checkpoints returns how many are kept of a replica that was never idle.
func checkpoints(days int) int {
	const day = 24 * 60 * 60 * 1000
	spacing := crdt.DefaultSpacing()
	start := sampleTime.UnixMillis()
	var list crdt.Checkpoints
	for i := int64(0); i*spacing.Dense < int64(days)*day; i++ {
		v := crdt.VC{{Origin: sampleOrigin, N: uint64(i) + 1}}
		list.Add(crdt.Checkpoint{Time: crdt.TimeAt(start+i*spacing.Dense, 1), Vector: v}, spacing)
	}
	return list.Len()
}
