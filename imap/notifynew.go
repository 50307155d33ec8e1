package imap

import (
	"errors"
	"slices"

	"github.com/go-kit/log/level"
)

// made says that this session has made messages in a mailbox: if it is the
// selected one, the client need not be told more of them than that they are there
// (RFC 5465 section 5.2).
func (s *session) made(name string, uids []UID) {
	if b := s.box; b != nil && s.notify != nil && b.mailbox.Name() == name {
		b.mine = append(b.mine, uids...)
	}
}

// tellNew appends a FETCH response for every new message with what the client
// wants to know of it: because of NOTIFY (RFC 5465 section 5.2), or because it is
// a result of a search that is followed (section 7). updates are of the contexts.
// An error ends the session.
func (s *session) tellNew(b *selection, added []UID, updates []contextUpdate) error {
	mine := b.mine
	b.mine = nil
	known := make(map[uint32]*fetchArgs) // by whose wishes they are
	for _, uid := range added {
		var wishes uint32
		if s.notify != nil && s.notify.selected.attributes != nil && !slices.Contains(mine, uid) {
			wishes = 1
		}
		for k := range updates {
			if b.contexts[k].attributes != nil && inUIDs(updates[k].fresh, uid) {
				wishes |= 2 << k
			}
		}
		if wishes == 0 {
			continue
		}
		if known[wishes] == nil {
			known[wishes] = s.wished(b, wishes)
		}
		if err := s.tellNewMessage(b, uid, known[wishes]); err != nil {
			return err
		}
	}
	return nil
}

// tellNewMessage appends a FETCH response. What cannot be had is not told.
func (s *session) tellNewMessage(b *selection, uid UID, wished *fetchArgs) error {
	f := fetcher{session: s, box: b, fetchArgs: *wished}
	i, _ := b.told.Find(uid)
	err := f.message(i)
	if end := (*endError)(nil); errors.As(err, &end) {
		return err
	}
	if err != nil {
		level.Warn(s.log).Log("msg", "new message not told of", "err", err)
	}
	return s.out.err
}

// wished joins attributes that are wanted for several reasons: each is told once.
func (s *session) wished(b *selection, wishes uint32) *fetchArgs {
	var all fetchArgs
	add := func(a *fetchArgs) {
		for _, it := range a.items {
			same := func(other fetchItem) bool { return other.kind == it.kind && other.name == it.name }
			if !slices.ContainsFunc(all.items, same) {
				all.add(it, false)
			}
		}
	}
	if wishes&1 != 0 {
		add(s.notify.selected.attributes)
	}
	for k, x := range b.contexts {
		if wishes&(2<<k) != 0 {
			add(x.attributes)
		}
	}
	return &all
}
