package imap

import (
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// findOptions is a set of the result options of SEARCH (RFC 4731 section 3.1,
// RFC 5182, RFC 9394, RFC 5267 section 4).
type findOptions uint8

const (
	findMin findOptions = 1 << iota
	findMax
	findAll
	findCount
	findSave
	findPartial
	findContext // a hint that has no meaning here
	findUpdate
)

var findNames = map[string]findOptions{
	"MIN": findMin, "MAX": findMax, "ALL": findAll, "COUNT": findCount, "SAVE": findSave, "PARTIAL": findPartial,
	"CONTEXT": findContext, "UPDATE": findUpdate,
}

// findReturn is what a client wants to know of what a SEARCH finds.
type findReturn struct {
	extended   bool // it asked in the extended form, or only knows that answer
	options    findOptions
	partial    partialRange
	attributes *fetchArgs // of UPDATE, nil: none
}

// partialRange is a range of results, from 1 for the first one, or for the last
// one if it counts from the end (RFC 9394 section 4).
type partialRange struct {
	from, to uint32 // in either order
	fromEnd  bool
}

// read reads the result options in parentheses, after a space.
func (r *findReturn) read(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	r.extended = true
	for first := true; !c.Byte(')'); first = false {
		if !first {
			if err := c.SP(); err != nil {
				return err
			}
		}
		if c.Peek() == '(' && r.options&findUpdate != 0 && r.attributes == nil { // RFC 5465 section 7
			a, err := readAttributes(c)
			if err != nil {
				return err
			}
			r.attributes = &a
			continue
		}
		if err := r.readOption(c); err != nil {
			return err
		}
	}
	if r.options&(findAll|findPartial) == findAll|findPartial {
		return badSyntax("ALL and PARTIAL exclude each other") // RFC 9394 section 3.1
	}
	if r.options&^findContext == 0 {
		r.options = findAll
	}
	return nil
}

func (r *findReturn) readOption(c *wire.Command) error {
	word, err := c.Atom()
	if err != nil {
		return err
	}
	option := findNames[strings.ToUpper(word)]
	if option == 0 {
		return badSyntax("Unknown result option")
	}
	if option == findPartial {
		if r.options&findPartial != 0 {
			return badSyntax("PARTIAL is given twice")
		}
		if err := c.SP(); err != nil {
			return err
		}
		if r.partial, err = readPartialRange(c); err != nil {
			return err
		}
	}
	r.options |= option
	return nil
}

// readPartialRange reads "1:500" or "-1:-100".
func readPartialRange(c *wire.Command) (p partialRange, err error) {
	p.fromEnd = c.Byte('-')
	if p.from, err = c.NzNumber(); err != nil {
		return p, err
	}
	if err := c.Expect(':'); err != nil {
		return p, err
	}
	if p.fromEnd {
		if err := c.Expect('-'); err != nil {
			return p, err
		}
	}
	p.to, err = c.NzNumber()
	return p, err
}

// append appends the range as the client gave it.
func (p partialRange) append(dst []byte) []byte {
	sign := ""
	if p.fromEnd {
		sign = "-"
	}
	dst = strconv.AppendUint(append(dst, sign...), uint64(p.from), 10)
	dst = append(append(dst, ':'), sign...)
	return strconv.AppendUint(dst, uint64(p.to), 10)
}

// bounds returns which of n results are in the range: those from..to-1, counted
// from 0.
func (p partialRange) bounds(n int) (from, to int) {
	first, last := uint64(min(p.from, p.to)), uint64(max(p.from, p.to))
	from, to = int(min(first-1, uint64(n))), int(min(last, uint64(n)))
	if p.fromEnd {
		from, to = n-to, n-from
	}
	return from, to
}

// cut returns the n-th to m-1st of the places in spans.
func cut(spans []span, n, m int) []span {
	var part []span
	for _, sp := range spans {
		size := sp.to - sp.from
		from, to := max(n, 0), min(m, size)
		if from < to {
			part = append(part, span{sp.from + from, sp.from + to})
		}
		n, m = n-size, m-size
	}
	return part
}

// ends returns the first or last, or both, of the places in spans, as wanted.
func ends(spans []span, wanted findOptions) []span {
	var part []span
	if len(spans) == 0 {
		return nil
	}
	if wanted&findMin != 0 {
		part = append(part, span{spans[0].from, spans[0].from + 1})
	}
	if last := spans[len(spans)-1].to; wanted&findMax != 0 {
		part = append(part, span{last - 1, last})
	}
	return normal(part)
}

// chosen returns those of the places found that the answer speaks of: what SAVE
// saves (RFC 5182 section 2.4, RFC 9394 section 3.2) and what MODSEQ is the highest of
// (RFC 4731 section 3.2).
func (r *findReturn) chosen(found []span) []span {
	if r.options&(findAll|findCount) != 0 || r.options&(findMin|findMax|findPartial) == 0 {
		return found
	}
	part := ends(found, r.options)
	if r.options&findPartial != 0 {
		from, to := r.partial.bounds(count(found))
		part = normal(append(part, cut(found, from, to)...))
	}
	return part
}

// onlyEnds returns which of the first and the last message are asked for, 0 if anything
// else of what is found matters.
func (r *findReturn) onlyEnds() findOptions {
	if r.options&(findAll|findCount|findPartial|findUpdate) != 0 {
		return 0
	}
	return r.options & (findMin | findMax)
}

// tellFound appends an ESEARCH response (RFC 9051 section 7.3.4). mod, if it is not
// 0, is the highest MODSEQ of the messages that it speaks of.
func (s *session) tellFound(tag string, uid bool, r *findReturn, found []span, mod ModSeq) error {
	if r.options&^(findContext|findUpdate) == findSave {
		return nil
	}
	buf := append(s.out.buf, "* ESEARCH (TAG "...)
	buf = append(wire.AppendString(buf, tag), ')')
	if uid {
		buf = append(buf, " UID"...)
	}
	for _, end := range [...]struct {
		option findOptions
		name   string
	}{{findMin, " MIN "}, {findMax, " MAX "}} {
		if one := ends(found, r.options&end.option); len(one) > 0 {
			buf = strconv.AppendUint(append(buf, end.name...), s.box.numberOf(one[0].from, uid), 10)
		}
	}
	if r.options&findCount != 0 {
		buf = strconv.AppendInt(append(buf, " COUNT "...), int64(count(found)), 10)
	}
	if mod != 0 && len(found) > 0 {
		buf = strconv.AppendUint(append(buf, " MODSEQ "...), uint64(mod), 10)
	}
	s.out.buf = buf
	if err := s.tellPlaces(r, uid, found); err != nil {
		return err
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	return s.out.spill()
}

// tellPlaces appends the sets of an ESEARCH response.
func (s *session) tellPlaces(r *findReturn, uid bool, found []span) error {
	if r.options&findPartial != 0 {
		s.out.buf = append(r.partial.append(append(s.out.buf, " PARTIAL ("...)), ' ')
		from, to := r.partial.bounds(count(found))
		if part := cut(found, from, to); len(part) > 0 {
			if err := s.appendSet(part, uid); err != nil {
				return err
			}
		} else {
			s.out.buf = append(s.out.buf, "NIL"...)
		}
		s.out.buf = append(s.out.buf, ')')
	}
	if r.options&findAll != 0 && len(found) > 0 {
		s.out.buf = append(s.out.buf, " ALL "...)
		return s.appendSet(found, uid)
	}
	return nil
}

// numberOf returns the number or the UID of the message at a place in told.
func (b *selection) numberOf(place int, uid bool) uint64 {
	if uid {
		return uint64(b.told.UIDAt(place))
	}
	return uint64(place) + 1
}

// appendSet appends places in told as a set of numbers or UIDs.
func (s *session) appendSet(spans []span, uid bool) error {
	separator := ""
	appendRange := func(from, to uint64) error {
		s.out.buf = append(s.out.buf, separator...)
		s.out.buf = appendNumberRange(s.out.buf, from, to)
		separator = ","
		return s.out.spill()
	}
	for _, sp := range spans {
		if !uid {
			if err := appendRange(uint64(sp.from)+1, uint64(sp.to)); err != nil {
				return err
			}
			continue
		}
		for i := sp.from; i < sp.to; {
			n := runAt(s.box.told, i, sp.to)
			first := s.box.told.UIDAt(i)
			if err := appendRange(uint64(first), uint64(first)+uint64(n)-1); err != nil {
				return err
			}
			i += n
		}
	}
	return nil
}

// appendNumberRange appends "from:to", or one number if they are the same.
func appendNumberRange(dst []byte, from, to uint64) []byte {
	dst = strconv.AppendUint(dst, from, 10)
	if to > from {
		dst = strconv.AppendUint(append(dst, ':'), to, 10)
	}
	return dst
}

// save makes messages what "$" stands for (RFC 5182). They are kept by their UIDs:
// one that is expunged is not among them any more.
func (b *selection) save(found []span) {
	b.saved = nil
	for _, sp := range found {
		for i := sp.from; i < sp.to; {
			n := runAt(b.told, i, sp.to)
			first := b.told.UIDAt(i)
			b.saved.add(UIDRange{first, first + UID(n) - 1})
			i += n
		}
	}
}
