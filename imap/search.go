package imap

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// search: RFC 3501 section 6.4.4.
func (s *session) search(c *wire.Command) error { return s.searchMessages(c, false) }

// uidSearch: RFC 3501 section 6.4.8.
func (s *session) uidSearch(c *wire.Command) error { return s.searchMessages(c, true) }

func (s *session) searchMessages(c *wire.Command, uid bool) error {
	p, err := s.readSearch(c)
	if err == nil {
		err = s.runSearch(c.Tag, &p, uid)
	}
	if err != nil && !isSyntax(err) && p.answer.options&findSave != 0 {
		s.stateDirty = stateChanged
		s.box.save(nil) // RFC 5182 section 2.1
		s.stateDirty = stateChanged
	}
	return err
}

// runSearch finds messages and tells of them.
func (s *session) runSearch(tag string, p *program, uid bool) error {
	if err := s.box.unused(tag, &p.answer); err != nil {
		return err
	}
	p.ends = p.answer.onlyEnds()
	f, found, err := s.findFor(*p, 1)
	if err != nil {
		return err
	}
	if p.answer.options&findSave != 0 {
		s.stateDirty = stateChanged
		s.box.save(p.answer.chosen(found))
		s.stateDirty = stateChanged
	}
	mod := s.highestFound(p, found)
	if p.answer.extended {
		err = s.tellFound(tag, uid, &p.answer, found, mod)
	} else {
		err = s.tellNumbers("SEARCH", uid, found, mod)
	}
	if err != nil {
		return err
	}
	if p.answer.options&findUpdate != 0 {
		s.follow(&searchContext{tag: tag, uid: uid, program: f.program, found: s.box.uidsAt(found)})
	}
	return f.failed
}

// findFor executes the search of a SEARCH, SORT or THREAD, which looks at messages
// in so many rounds.
func (s *session) findFor(p program, rounds int) (*finder, []span, error) {
	if err := s.witness(p.open); err != nil {
		return nil, nil, err
	}
	s.box.refresh()
	if err := s.translate(&p); err != nil {
		return nil, nil, err
	}
	f := &finder{session: s, box: s.box, program: p, rounds: rounds}
	found, err := f.find()
	return f, found, err
}

// tellNumbers appends a SEARCH response (RFC 3501 section 7.2.5) or a SORT response
// (RFC 5256 section 4). mod, if it is not 0, is the highest MODSEQ of what was found
// (RFC 7162 sections 3.1.6 and 3.1.9).
func (s *session) tellNumbers(response string, uid bool, found []span, mod ModSeq) error {
	s.out.buf = append(append(s.out.buf, "* "...), response...)
	for _, sp := range found {
		for i := sp.from; i < sp.to; i++ {
			s.out.buf = append(s.out.buf, ' ')
			s.out.buf = strconv.AppendUint(s.out.buf, s.box.numberOf(i, uid), 10)
		}
		if err := s.out.spill(); err != nil {
			return err
		}
	}
	if mod > 0 {
		s.out.buf = strconv.AppendUint(append(s.out.buf, " (MODSEQ "...), uint64(mod), 10)
		s.out.buf = append(s.out.buf, ')')
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	return nil
}

// all joins criteria of which all must be met, the cheap ones first.
func all(kids []*criterion) *criterion {
	if len(kids) == 1 {
		return kids[0]
	}
	return group(searchAnd, kids)
}

func group(op searchOp, kids []*criterion) *criterion {
	slices.SortStableFunc(kids, func(a, b *criterion) int { return cmp.Compare(a.cost, b.cost) })
	return &criterion{op: op, kids: kids, cost: kids[len(kids)-1].cost}
}

func negate(k *criterion) *criterion {
	return &criterion{op: searchNot, kids: []*criterion{k}, cost: k.cost}
}

// finder is a SEARCH being executed.
type finder struct {
	*session
	program
	box *selection
	progress
	rounds int // over the messages: 2 if those found are read again; 0 means 1

	place     int
	structure *mime.Structure // of the message being looked at; nil: not read yet
	content   Body
	header    []byte
	hasHeader bool
	inBodies  []bool // results of program.bodies and texts; nil: not known yet
	inTexts   []bool
	failed    error

	filter textFilter
}

// find returns the places in told that meet the criteria.
func (f *finder) find() ([]span, error) {
	defer f.filter.close()
	var found []span
	candidates, dear := f.candidates(), f.root.cost > costIndex
	f.progress = f.startProgress(count(candidates) * max(f.rounds, 1))
	if f.ends != 0 {
		return f.findEnds(candidates, dear)
	}
	for _, sp := range candidates {
		for i := sp.from; i < sp.to; i++ {
			if err := f.step(f.session, dear); err != nil {
				return nil, err
			}
			ok, err := f.matches(i)
			if err != nil {
				return nil, err
			}
			if ok {
				found = addPlace(found, i)
			}
		}
	}
	return found, nil
}

// findEnds is find for those who want to know the first message or the last one, or
// both, and nothing of those in between.
func (f *finder) findEnds(candidates []span, dear bool) (found []span, err error) {
	first, last := -1, -1
	if f.ends&findMin != 0 {
		if first, err = f.firstOf(forward(candidates), dear); first < 0 || err != nil {
			return nil, err
		}
		found = addPlace(found, first)
	}
	if f.ends&findMax != 0 {
		if last, err = f.firstOf(backward(candidates, first), dear); err != nil {
			return nil, err
		}
	}
	if last >= 0 {
		found = addPlace(found, last)
	}
	return found, nil
}

// firstOf returns the first of the places that meets the criteria, or -1.
func (f *finder) firstOf(places iter.Seq[int], dear bool) (int, error) {
	for i := range places {
		if err := f.step(f.session, dear); err != nil {
			return -1, err
		}
		if ok, err := f.matches(i); ok || err != nil {
			return i, err
		}
	}
	return -1, nil
}

// forward returns the places in spans.
func forward(spans []span) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, sp := range spans {
			for i := sp.from; i < sp.to; i++ {
				if !yield(i) {
					return
				}
			}
		}
	}
}

// backward returns the places in spans that are above one, the last one first.
func backward(spans []span, above int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, sp := range slices.Backward(spans) {
			for i := sp.to - 1; i >= sp.from; i-- {
				if i <= above || !yield(i) {
					return
				}
			}
		}
	}
}

// candidates returns the places that have to be looked at: those of a set, if a
// set has to be met, or all.
func (f *finder) candidates() []span {
	kids := []*criterion{f.root}
	if f.root.op == searchAnd {
		kids = f.root.kids
	}
	for _, k := range kids {
		if k.op == searchSet {
			return k.spans
		}
	}
	return []span{{0, f.box.told.Len()}}
}

// matches reports whether the message at a place meets the criteria. One whose
// content is gone does not; one whose content cannot be had now makes the command fail,
// after what was found.
func (f *finder) matches(i int) (bool, error) {
	f.place = i
	f.box.message(i, &f.scratch)
	ok, err := f.meets(f.root)
	f.forget()
	if err == nil || !isMailError(err) {
		return ok, err
	}
	if !errors.Is(err, ErrExpunged) {
		f.failed = err
	}
	return false, nil
}

// forget drops what was read of a message.
func (f *finder) forget() {
	if f.content != nil {
		f.content.Close() // it was only read
		f.content = nil
	}
	f.structure, f.hasHeader, f.inBodies, f.inTexts = nil, false, nil, nil
}

func (f *finder) meets(k *criterion) (bool, error) {
	switch k.op {
	case searchAnd, searchOr:
		for _, kid := range k.kids {
			if ok, err := f.meets(kid); err != nil || ok == (k.op == searchOr) {
				return ok, err
			}
		}
		return k.op == searchAnd, nil
	case searchNot:
		ok, err := f.meets(k.kids[0])
		return !ok, err
	}
	if k.cost == costIndex {
		return f.meetsIndex(k), nil
	}
	return f.meetsContent(k)
}

// meetsIndex decides by what the view says.
func (f *finder) meetsIndex(k *criterion) bool {
	m := &f.scratch
	switch k.op {
	case searchAll:
		return true
	case searchSet:
		return contains(k.spans, f.place)
	case searchUIDs:
		return inRanges(k.set.Ranges, uint32(m.UID))
	case searchFlag:
		return m.Flags&k.flag != 0
	case searchKeyword:
		return slices.ContainsFunc(m.Keywords, func(w string) bool { return strings.EqualFold(w, k.text) })
	case searchRecent:
		return f.box.isRecent(m.UID)
	case searchLarger:
		return m.Size > k.number
	case searchSmaller:
		return m.Size < k.number
	case searchBefore:
		return dayOf(m.Date, m.Zone) < k.number
	case searchOn:
		return dayOf(m.Date, m.Zone) == k.number
	case searchModSeq:
		return m.ModSeq >= ModSeq(k.number) || k.uids.contains(m.UID)
	case searchSavedBefore:
		return dayOf(m.Saved, 0) < k.number
	case searchSavedOn:
		return dayOf(m.Saved, 0) == k.number
	case searchEmailID:
		return m.hasEmailID(k.text)
	case searchOlder:
		return m.Date <= k.number
	}
	return false
}

// dayOf returns the number of the day of a time in its own zone: dates are
// compared without regard to time and zone (RFC 3501 section 6.4.4).
func dayOf(seconds int64, zone int16) int64 {
	const day = 24 * 60 * 60
	seconds += int64(zone) * 60
	n := seconds / day
	if seconds%day < 0 {
		n--
	}
	return n
}

// meetsContent decides by what has to be read.
func (f *finder) meetsContent(k *criterion) (bool, error) {
	switch k.op {
	case searchSentBefore, searchSentOn, searchSentSince:
		return f.sent(k)
	case searchThreadID:
		return f.inThread(k.text)
	case searchHeader:
		return f.inHeader(k)
	case searchBody:
		return f.inContent(&f.inBodies, f.bodies, false, k.needle)
	default:
		return f.inContent(&f.inTexts, f.texts, true, k.needle)
	}
}

func (f *finder) sent(k *criterion) (bool, error) {
	if err := f.readStructure(); err != nil {
		return false, err
	}
	t, ok := f.structure.SentDate()
	if !ok {
		return false, nil
	}
	_, zone := t.Zone()
	day := dayOf(t.Unix(), int16(zone/60))
	switch k.op {
	case searchSentBefore:
		return day < k.number, nil
	case searchSentOn:
		return day == k.number, nil
	}
	return day >= k.number, nil
}

// inHeader looks for a text in a field; the usual fields are in the structure.
func (f *finder) inHeader(k *criterion) (bool, error) {
	if err := f.readStructure(); err != nil {
		return false, err
	}
	if match, known := f.structure.MatchField(k.text, k.matcher); known {
		return match, nil
	}
	if err := f.readHeader(); err != nil {
		return false, err
	}
	return mime.MatchHeader(f.header, k.text, k.matcher), nil
}

// inContent looks for all needles of a kind at once, the first time that one is asked for.
func (f *finder) inContent(results *[]bool, needles []*mime.Matcher, headers bool, i int) (bool, error) {
	if *results == nil {
		if f.passOver(headers, i) {
			return false, nil
		}
		if err := f.open(); err != nil {
			return false, err
		}
		if err := f.readStructure(); err != nil {
			return false, err
		}
		found, err := f.structure.MatchBody(f.content, needles, headers)
		if err != nil {
			return false, fmt.Errorf("search a message: %w", err)
		}
		*results = found
	}
	return (*results)[i], nil
}

func (f *finder) open() (err error) {
	if f.content != nil {
		return nil
	}
	if f.content, err = f.account.Body(f.ctx, &f.scratch); err != nil {
		return fmt.Errorf("search the body: %w", err)
	}
	return nil
}

func (f *finder) readStructure() (err error) {
	if f.structure == nil {
		f.structure, err = f.structureOf(&f.scratch, f.content)
	}
	return err
}

func (f *finder) readHeader() (err error) {
	if f.hasHeader {
		return nil
	}
	if err := f.open(); err != nil {
		return err
	}
	if err := f.readStructure(); err != nil {
		return err
	}
	where := f.structure.Root().Header()
	if f.header, err = readHeader(f.content, where, f.header); err != nil {
		return err
	}
	f.hasHeader = true
	return nil
}
