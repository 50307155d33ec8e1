package mailstore

import (
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// Long lists become several operations. Those of STORE, EXPUNGE, MOVE, DELETE and
// RENAME of INBOX have a batch each, so that they do not keep other accounts
// waiting while they are applied, as have the annotations that go with them: half of such a command is no nonsense, should
// the power fail in the middle. Those of COPY, which is all or nothing, share
// one batch. All are shown together. Hence no operation is too large to be sent
// because a mailbox is large.
const (
	maxTargets = 2000
	maxAdded   = 10000
)

// split returns the payloads of each batch.
func split(payloads []crdt.Payload) [][]crdt.Payload {
	if last := len(payloads) - 1; last > 0 {
		if note, ok := payloads[last].(*crdt.Annotate); ok {
			return append(split(payloads[:last]), []crdt.Payload{note})
		}
	}
	if len(payloads) != 1 {
		return whole(payloads)
	}
	var out [][]crdt.Payload
	add := func(p crdt.Payload) { out = append(out, []crdt.Payload{p}) }
	switch p := payloads[0].(type) {
	case *crdt.Store:
		for part := range slices.Chunk(p.Targets, maxTargets) {
			add(&crdt.Store{Targets: part, Mode: p.Mode, Flags: p.Flags, Base: p.Base})
		}
	case *crdt.Expunge:
		for part := range slices.Chunk(p.Targets, maxTargets) {
			add(&crdt.Expunge{Targets: part})
		}
	case *crdt.Move:
		for part := range slices.Chunk(p.Entries, maxTargets) {
			add(&crdt.Move{Dst: p.Dst, Entries: part})
		}
	case *crdt.DeleteMailbox:
		tags := p.Tags
		for ; len(tags) > maxTargets; tags = tags[maxTargets:] {
			add(&crdt.Expunge{Targets: in(p.ID, tags[:maxTargets])})
		}
		add(&crdt.DeleteMailbox{ID: p.ID, Dots: p.Dots, Tags: tags})
	case *crdt.RenameInbox:
		first := min(len(p.Move.Entries), maxTargets)
		add(&crdt.RenameInbox{Create: p.Create, Move: crdt.Move{Dst: p.Move.Dst, Entries: p.Move.Entries[:first]}})
		for part := range slices.Chunk(p.Move.Entries[first:], maxTargets) {
			add(&crdt.Move{Dst: p.Move.Dst, Entries: part})
		}
	case *crdt.Append:
		if len(p.Messages) == 0 { // the end of a recovery
			return whole(payloads)
		}
		var all []crdt.Payload
		for part := range slices.Chunk(p.Messages, maxAdded) {
			all = append(all, &crdt.Append{Box: p.Box, Messages: part, NewBody: p.NewBody, Hold: p.Hold, Moved: p.Moved})
		}
		return whole(all)
	default:
		add(p)
	}
	return out
}

// whole returns the payloads as those of one batch, none if there are none.
func whole(payloads []crdt.Payload) [][]crdt.Payload {
	if len(payloads) == 0 {
		return nil
	}
	return [][]crdt.Payload{payloads}
}

// in returns instances of one mailbox.
func in(box crdt.MailboxID, tags []crdt.Tag) []crdt.Instance {
	out := make([]crdt.Instance, len(tags))
	for i, tag := range tags {
		out[i] = crdt.Instance{Box: box, Tag: tag}
	}
	return out
}
