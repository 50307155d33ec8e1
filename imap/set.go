package imap

import (
	"slices"

	"github.com/go-pluto/pluto/imap/wire"
)

// span is the places from..to-1 in a view.
type span struct{ from, to int }

// place turns a set of message numbers or UIDs into the places in told that it
// means: sorted, each once. The result is valid until the next call.
//
// A number above the number of messages is an error, as is "*" in an empty
// mailbox (RFC 3501 section 9, seq-number). A UID that does not exist means nothing.
func (s *session) place(set wire.NumSet, uid bool) ([]span, error) {
	if !uid && !allExist(set, s.box.told.Len()) {
		return nil, badSyntax("No message has that number")
	}
	s.spans = s.box.appendPlaces(s.spans[:0], set, uid)
	return s.spans, nil
}

// allExist reports whether a set has only numbers from 1 to n.
func allExist(set wire.NumSet, n int) bool {
	for _, r := range set.Ranges {
		if n == 0 || uint64(r.Start) > uint64(n) || uint64(r.Stop) > uint64(n) {
			return false
		}
	}
	return true
}

// appendPlaces appends the places in told that a set means. Numbers and UIDs that
// do not exist mean nothing. "$" means the same messages among numbers and UIDs (RFC
// 5182 section 2.1).
func (b *selection) appendPlaces(spans []span, set wire.NumSet, uid bool) []span {
	n := b.told.Len()
	if n == 0 {
		return spans
	}
	if set.Saved {
		for _, r := range b.saved {
			spans = appendSpan(spans, uidSpan(b.told, wire.Range{Start: uint32(r.From), Stop: uint32(r.To)}))
		}
		return normal(spans)
	}
	for _, r := range set.Ranges {
		if uid {
			spans = appendSpan(spans, uidSpan(b.told, r))
		} else {
			spans = appendSpan(spans, numberSpan(n, r))
		}
	}
	return normal(spans)
}

// appendSpan appends a span that is not empty.
func appendSpan(spans []span, sp span) []span {
	if sp.from < sp.to {
		return append(spans, sp)
	}
	return spans
}

func numberSpan(n int, r wire.Range) span {
	from, to := uint64(r.Start), uint64(r.Stop)
	if from == 0 {
		from = uint64(n)
	}
	if to == 0 {
		to = uint64(n)
	}
	if from > to {
		from, to = to, from
	}
	return span{int(from) - 1, int(min(to, uint64(n)))}
}

func uidSpan(v View, r wire.Range) span {
	last := v.UIDAt(v.Len() - 1)
	from, to := UID(r.Start), UID(r.Stop)
	if from == 0 {
		from = last
	}
	if to == 0 {
		to = last
	}
	if from > to {
		from, to = to, from
	}
	i, _ := v.Find(from)
	j, ok := v.Find(to)
	if ok {
		j++
	}
	return span{i, j}
}

// normal sorts spans and joins those that touch.
func normal(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	last := 0
	for _, sp := range spans[1:] {
		if sp.from <= spans[last].to {
			spans[last].to = max(spans[last].to, sp.to)
			continue
		}
		last++
		spans[last] = sp
	}
	return spans[:last+1]
}

// addPlace adds a place behind all others.
func addPlace(spans []span, i int) []span {
	if last := len(spans) - 1; last >= 0 && spans[last].to == i {
		spans[last].to++
		return spans
	}
	return append(spans, span{i, i + 1})
}

// count returns how many places there are.
func count(spans []span) int {
	n := 0
	for _, sp := range spans {
		n += sp.to - sp.from
	}
	return n
}

// contains reports whether a place is in sorted spans.
func contains(spans []span, i int) bool {
	_, found := slices.BinarySearchFunc(spans, i, func(sp span, i int) int {
		if i < sp.from {
			return 1
		}
		if i >= sp.to {
			return -1
		}
		return 0
	})
	return found
}
