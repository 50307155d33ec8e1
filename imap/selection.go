package imap

import (
	"slices"
	"sort"
	"strings"
)

// selection is the selected mailbox as the client sees it. The client's message
// numbers are the places (from 1) in told; what a message is now is looked up in
// latest. Both are immutable and share what did not change.
//
// Invariants: told is never newer than latest; the client knows the flags of
// every change with a MODSEQ up to shown; a message in told but not in latest was
// expunged by somebody, or has another UID by now, and is kept for the client as
// it was, with what the client did to its flags since in ghosts. Which of both
// only the mailbox knows: commands that change messages give it all their keys.
type selection struct {
	mailbox  Mailbox
	readOnly bool

	told   View
	latest View
	shown  ModSeq
	high   ModSeq // the largest MODSEQ told, here or by another replica
	vector []byte // of the account, before latest was looked at
	flags  View   // the flags in it are those that the client knows; nil: those in told
	ghosts map[UID]ghost

	saved    uidRanges // what "$" stands for (RFC 5182)
	recent   uidRanges // messages that are \Recent for this session
	noRecent bool      // the client knows no \Recent
	recents  int       // as in the last RECENT response
	keywords []string  // as in the last FLAGS response

	mine     []UID            // that this session has made and the client was not told of
	contexts []*searchContext // searches that the client follows

	announced   []span // places in told whose flags the current command has told,
	announcedAt ModSeq // as they were at this MODSEQ

	pieces []viewPiece // the UIDs of told, for checkpoints; nil: to be made
}

// ghost is what a client made of the flags of a message that is no longer there
// under the UID that the client knows.
type ghost struct {
	flags    Flags
	keywords []string
	modSeq   ModSeq
}

// refresh looks at the newest picture of the mailbox.
func (b *selection) refresh() { b.advance(b.mailbox.View()) }

// advance makes a picture the newest. A message that goes with it, and whose
// number the client still has, is kept as the client may have seen it last.
func (b *selection) advance(v View) {
	if v != b.latest && b.latest != b.told {
		var m, known Message
		for _, uid := range v.Since(b.latest).Expunged {
			place, ok := b.told.Find(uid)
			if !ok {
				continue
			}
			i, _ := b.latest.Find(uid)
			b.latest.At(i, &m)
			if b.told.At(place, &known); m.Key == known.Key {
				b.keep(&m)
			}
		}
	}
	b.latest = v
}

// message fills m with the message at a place in told, as it is now, and
// reports whether it is still there under this UID.
func (b *selection) message(i int, m *Message) bool {
	b.told.At(i, m)
	if b.told == b.latest {
		return true
	}
	key, uid := m.Key, m.UID
	if j, ok := b.latest.Find(uid); ok {
		b.latest.At(j, m)
		if m.Key == key {
			return true
		}
		b.told.At(i, m)
	}
	if g, ok := b.ghosts[uid]; ok {
		m.Flags, m.Keywords, m.ModSeq = g.flags, g.keywords, g.modSeq
	}
	return false
}

// haunt keeps what the client did to the flags of a message that message does
// not find.
func (b *selection) haunt(m *Message) {
	m.ModSeq = max(m.ModSeq+1, b.latest.HighestModSeq()) // RFC 7162 section 3.1: other flags, another MODSEQ
	b.keep(m)
}

// keep makes a message what message returns of one that it does not find.
func (b *selection) keep(m *Message) {
	if b.ghosts == nil {
		b.ghosts = make(map[UID]ghost)
	}
	b.ghosts[m.UID] = ghost{m.Flags, m.Keywords, m.ModSeq}
}

// keys returns the messages at the places in spans, whatever became of them.
func (b *selection) keys(spans []span, scratch *Message) []MessageKey {
	keys := make([]MessageKey, 0, count(spans))
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			b.told.At(i, scratch)
			keys = append(keys, scratch.Key)
		}
	}
	return keys
}

// uids returns the UIDs under which the client knows the messages of keys(spans)
// at the given indexes.
func (b *selection) uids(spans []span, indexes []int) []UID {
	all := make([]UID, 0, count(spans))
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			all = append(all, b.told.UIDAt(i))
		}
	}
	uids := make([]UID, len(indexes))
	for k, i := range indexes {
		uids[k] = all[i]
	}
	return uids
}

// announce remembers that the current command tells the flags of the messages
// at these places as they are in latest, so that they are not told twice.
func (b *selection) announce(spans []span) {
	b.announced, b.announcedAt = spans, b.latest.HighestModSeq()
}

// knows reports whether the client knows the flags that the message at place i
// of told has had since mod.
func (b *selection) knows(i int, mod ModSeq) bool {
	if mod <= b.shown {
		return true
	}
	return mod <= b.announcedAt && contains(b.announced, i)
}

// isRecent reports whether a message is \Recent for this session.
func (b *selection) isRecent(uid UID) bool { return b.recent.contains(uid) }

// disclaim makes a session one that knows no \Recent messages (RFC 9051 appendix E).
func (b *selection) disclaim() { b.noRecent, b.recent, b.recents = true, nil, 0 }

// claim takes the messages of told that are nobody's \Recent yet.
func (b *selection) claim() {
	if b.noRecent {
		return
	}
	from, next := b.mailbox.ClaimRecent(b.told), b.told.UIDNext()
	if from < next {
		b.recent.add(UIDRange{max(from, 1), next - 1})
	}
}

// countRecent returns how many messages of told are \Recent.
func (b *selection) countRecent() int {
	n := 0
	for _, r := range b.recent {
		from, _ := b.told.Find(r.From)
		to, ok := b.told.Find(r.To)
		if ok {
			to++
		}
		n += to - from
	}
	return n
}

// newKeywords reports whether the mailbox has keywords that the client has not
// been told of, and takes note of them.
//
// Those that the client was told of stay, although no message of the mailbox may
// have them any more: one that the client still sees may. So does their spelling,
// although another replica may show another one. more are such that the client gives
// to messages that are gone.
func (b *selection) newKeywords(more ...string) bool {
	var used []string
	if l, ok := b.latest.(KeywordLister); ok {
		used = l.Keywords()
	} else {
		used = b.mailbox.Keywords()
	}
	all := append(slices.Clone(b.keywords), used...)
	all = append(all, more...)
	for _, g := range b.ghosts {
		all = append(all, g.keywords...)
	}
	slices.SortStableFunc(all, func(x, y string) int { return strings.Compare(strings.ToLower(x), strings.ToLower(y)) })
	all = slices.CompactFunc(all, strings.EqualFold)
	if len(all) == len(b.keywords) {
		return false
	}
	if len(all) > maxToldKeywords {
		all = slices.Clone(used)
	}
	slices.Sort(all)
	b.keywords = all
	return true
}

// spell gives keywords the spelling that they have in this mailbox.
func (b *selection) spell(keywords []string) {
	if len(keywords) == 0 {
		return
	}
	known := b.mailbox.Keywords()
	for i, k := range keywords {
		for _, have := range known {
			if strings.EqualFold(k, have) {
				keywords[i] = have
			}
		}
	}
}

// uidRanges is a set of UIDs: sorted ranges that do not touch.
type uidRanges []UIDRange

func (r uidRanges) contains(uid UID) bool {
	i := sort.Search(len(r), func(i int) bool { return r[i].To >= uid })
	return i < len(r) && r[i].From <= uid
}

// add adds a range that ends above all others.
func (r *uidRanges) add(n UIDRange) {
	last := len(*r) - 1
	for last >= 0 && (*r)[last].To+1 >= n.From {
		n.From = min(n.From, (*r)[last].From)
		last--
	}
	*r = append((*r)[:last+1], n)
}

// runAt returns how many UIDs follow each other without a gap from place i on,
// before place end. It costs little where runs are short.
func runAt(v View, i, end int) int {
	first, n := v.UIDAt(i), 1
	for i+n < end && v.UIDAt(i+n)-first == UID(n) {
		step := min(n, end-i-n)
		if v.UIDAt(i+n+step-1)-first != UID(n+step-1) {
			return n + sort.Search(step, func(k int) bool { return v.UIDAt(i+n+k)-first > UID(n+k) })
		}
		n += step
	}
	return n
}
