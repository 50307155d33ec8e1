package imap

import (
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// What RFC 7162 makes of MODSEQs. A client takes the highest one that it was told
// in a command for what it knows, unless a HIGHESTMODSEQ says that it is less
// (section 6). Hence while an EXPUNGE must wait, every answer with a MODSEQ
// comes with the HIGHESTMODSEQ of the view that the client knows.

// tellHighest appends HIGHESTMODSEQ as an untagged OK.
func (s *session) tellHighest(mod ModSeq) {
	s.out.status("HIGHESTMODSEQ", uint64(mod), "Highest")
}

// appendModSeq appends a MODSEQ data item.
func (s *session) appendModSeq(dst []byte, m *Message) []byte {
	s.saidModSeq = true
	dst = append(dst, "MODSEQ ("...)
	dst = strconv.AppendUint(dst, uint64(m.ModSeq), 10)
	return append(dst, ')')
}

// settleHighest tells the HIGHESTMODSEQ that the sync left to be told: in the tagged
// OK, if there will be one and it has no other code.
func (s *session) settleHighest(ok bool) {
	if s.highest == 0 {
		return
	}
	if ok && len(s.code) == 0 {
		s.code = strconv.AppendUint(append(s.code, "HIGHESTMODSEQ "...), uint64(s.highest), 10)
	} else {
		s.tellHighest(s.highest)
	}
	s.highest = 0
}

// readUnchangedSince reads the modifier of STORE (RFC 7162 section 3.1.3) if there is
// one; the space before it has been read, and the one after it is.
func (f *FlagChange) readUnchangedSince(c *wire.Command) error {
	if !c.Byte('(') {
		return nil
	}
	word, err := c.Atom()
	if err != nil || !strings.EqualFold(word, "UNCHANGEDSINCE") {
		return either(err, "Unknown modifier")
	}
	if err := c.SP(); err != nil {
		return err
	}
	n, err := c.Number64()
	if err != nil {
		return err
	}
	f.Conditional, f.UnchangedSince = true, ModSeq(n)
	if err := c.Expect(')'); err != nil {
		return err
	}
	return c.SP()
}

// modSeq reads the argument of the search key MODSEQ (RFC 7162 section 3.1.5). Which
// flag it is about makes no difference: there is one MODSEQ for all of them.
func (p *searchParser) modSeq(string) (*criterion, error) {
	c := p.command
	if c.Peek() == '"' {
		if name, err := c.String(); err != nil || !strings.HasPrefix(strings.ToLower(name), "/flags/") {
			return nil, either(err, "Unknown metadata item")
		}
		if err := c.SP(); err != nil {
			return nil, err
		}
		kind, err := c.Atom()
		if err != nil {
			return nil, err
		}
		switch strings.ToLower(kind) {
		case "priv", "shared", "all":
		default:
			return nil, badSyntax("Expected priv, shared or all")
		}
		if err := c.SP(); err != nil {
			return nil, err
		}
	}
	n, err := c.Number64()
	if err != nil {
		return nil, err
	}
	k := &criterion{op: searchModSeq, number: int64(n)}
	p.program.modSeqs = append(p.program.modSeqs, k)
	return k, nil
}

// translate makes the MODSEQ keys of a search that have the MODSEQ of another
// replica ask for the messages that may have changed since, and those that will.
func (s *session) translate(p *program) error {
	if len(p.modSeqs) == 0 {
		return nil
	}
	s.switchOn(modeCondStore)
	for _, k := range p.modSeqs {
		r, err := s.resync(Known{ModSeq: ModSeq(k.number), UIDs: []UIDRange{}})
		if err != nil {
			return err
		}
		if r.Own {
			continue
		}
		k.number = int64(r.View.HighestModSeq()) + 1
		for _, uid := range r.Changed {
			k.uids.add(UIDRange{uid, uid})
		}
	}
	return nil
}

// highestFound returns the highest MODSEQ of the messages that a search tells of, 0 if
// MODSEQs were not asked for.
func (s *session) highestFound(p *program, found []span) ModSeq {
	if len(p.modSeqs) == 0 {
		return 0
	}
	s.saidModSeq = true
	var high ModSeq
	for _, sp := range p.answer.chosen(found) {
		for i := sp.from; i < sp.to; i++ {
			s.box.message(i, &s.scratch)
			high = max(high, s.scratch.ModSeq)
		}
	}
	return high
}

// placesOf returns the places in told of messages, rising.
func (b *selection) placesOf(uids []UID) []span {
	var spans []span
	for _, uid := range uids {
		if i, ok := b.told.Find(uid); ok {
			spans = addPlace(spans, i)
		}
	}
	return spans
}

// intersect returns the places that are in both.
func intersect(a, b []span) []span {
	var both []span
	for len(a) > 0 && len(b) > 0 {
		both = appendSpan(both, span{max(a[0].from, b[0].from), min(a[0].to, b[0].to)})
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}
