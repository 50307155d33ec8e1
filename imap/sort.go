package imap

import (
	"bytes"
	"cmp"
	"errors"
	"slices"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// sort: RFC 5256 section 3, RFC 5957.
func (s *session) sort(c *wire.Command) error { return s.sortMessages(c, false) }

// uidSort: RFC 5256 section 3.
func (s *session) uidSort(c *wire.Command) error { return s.sortMessages(c, true) }

func (s *session) sortMessages(c *wire.Command, uid bool) error {
	criteria, p, err := s.readSort(c)
	if err == nil {
		err = s.runSort(c.Tag, criteria, &p, uid)
	}
	if err != nil && !isSyntax(err) && p.answer.options&findSave != 0 {
		s.stateDirty = stateChanged
		s.box.save(nil) // RFC 5182 section 2.1
	}
	return err
}

// runSort finds messages and tells of them in order. A sorted result is places
// as spans too, in the order of the result.
func (s *session) runSort(tag string, criteria []sortCriterion, p *program, uid bool) error {
	if err := s.box.unused(tag, &p.answer); err != nil {
		return err
	}
	f, found, err := s.findFor(*p, 2)
	if err != nil {
		return err
	}
	table, err := f.order(found, criteria)
	if err != nil {
		return err
	}
	found = table.spans(s.box.told)
	if p.answer.options&findSave != 0 {
		s.stateDirty = stateChanged
		s.box.save(normal(slices.Clone(p.answer.chosen(found))))
	}
	mod := s.highestFound(p, found)
	if p.answer.extended {
		err = s.tellFound(tag, uid, &p.answer, found, mod)
	} else {
		err = s.tellNumbers("SORT", uid, found, mod)
	}
	if err != nil {
		return err
	}
	if p.answer.options&findUpdate != 0 {
		s.follow(&searchContext{tag: tag, uid: uid, program: f.program, table: table})
	}
	return f.failed
}

// stepSecond is step in the second round, for the i-th of the n messages found.
func (f *finder) stepSecond(i, n int) error {
	f.reached = f.goal/2 + i*(f.goal/2)/n
	return f.step(f.session, true)
}

// order returns the messages at the places in spans sorted. Equal ones stay in
// the order of the mailbox (RFC 5256 section 3).
func (f *finder) order(spans []span, criteria []sortCriterion) (*sortTable, error) {
	t := newSortTable(criteria, count(spans))
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if err := f.stepSecond(len(t.uids), cap(t.uids)); err != nil {
				return nil, err
			}
			if err := f.keysOf(i, t); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(t.sorted, t.compare)
	return t, nil
}

// keysOf appends a row for the message at a place. One whose structure is gone
// has no texts.
func (f *finder) keysOf(i int, t *sortTable) error {
	f.box.message(i, &f.scratch)
	var structure *mime.Structure
	if t.needStructure() {
		var err error
		if structure, err = f.sortStructure(); err != nil {
			return err
		}
	}
	if t.add(&f.scratch, structure) > maxSortBytes {
		return &refusal{"LIMIT", "Too many messages to sort"}
	}
	return nil
}

// sortStructure returns the structure of the message in scratch, nil if it
// cannot be had.
func (f *finder) sortStructure() (*mime.Structure, error) {
	structure, err := f.structureOf(&f.scratch, nil)
	if err == nil || !isMailError(err) {
		return structure, err
	}
	if !errors.Is(err, ErrExpunged) {
		f.failed = err
	}
	return nil, nil
}

// sortTable has a row for each message and a column for each criterion.
type sortTable struct {
	criteria []sortCriterion
	columns  []sortColumn
	uids     []UID
	sorted   []int32 // rows in the order of the result
}

func newSortTable(criteria []sortCriterion, n int) *sortTable {
	t := &sortTable{
		criteria: criteria, columns: make([]sortColumn, len(criteria)),
		uids: make([]UID, 0, n), sorted: make([]int32, 0, n),
	}
	for k, c := range criteria {
		t.columns[k] = newSortColumn(c.key, n)
	}
	return t
}

// add appends a row, unsorted, and returns the size of all texts.
func (t *sortTable) add(m *Message, structure *mime.Structure) (size int) {
	for k := range t.columns {
		t.columns[k].add(m, structure)
		size += len(t.columns[k].texts)
	}
	t.sorted = append(t.sorted, int32(len(t.uids)))
	t.uids = append(t.uids, m.UID)
	return size
}

// spans returns the places of the messages in a view, in the order of the result.
func (t *sortTable) spans(v View) []span {
	var spans []span
	for _, row := range t.sorted {
		if i, ok := v.Find(t.uids[row]); ok {
			spans = addPlace(spans, i)
		}
	}
	return spans
}

func (t *sortTable) needStructure() bool {
	return slices.ContainsFunc(t.criteria, func(c sortCriterion) bool { return c.key >= sortDate })
}

// compare orders two rows.
func (t *sortTable) compare(a, b int32) int {
	for k := range t.columns {
		if d := t.columns[k].compare(a, b); d != 0 {
			if t.criteria[k].reverse {
				return -d
			}
			return d
		}
	}
	return cmp.Compare(t.uids[a], t.uids[b])
}

// sortColumn has the values of one key: numbers, or texts one after the other.
type sortColumn struct {
	key     sortKey
	numbers []int64
	texts   []byte
	ends    []uint32
}

func newSortColumn(key sortKey, n int) sortColumn {
	if key.isText() {
		return sortColumn{key: key, ends: make([]uint32, 0, n)}
	}
	return sortColumn{key: key, numbers: make([]int64, 0, n)}
}

// add appends the value of a message. structure may be nil.
func (c *sortColumn) add(m *Message, structure *mime.Structure) {
	if !c.key.isText() {
		c.numbers = append(c.numbers, sortNumber(c.key, m, structure))
		return
	}
	if start := len(c.texts); structure != nil {
		c.texts = mime.AppendCollation(c.texts, sortText(c.key, structure))
		c.texts = c.texts[:min(len(c.texts), start+maxSortKeyBytes)]
	}
	c.ends = append(c.ends, uint32(len(c.texts)))
}

func (c *sortColumn) compare(a, b int32) int {
	if c.numbers != nil {
		return cmp.Compare(c.numbers[a], c.numbers[b])
	}
	return bytes.Compare(c.at(a), c.at(b))
}

func (c *sortColumn) at(row int32) []byte {
	start := uint32(0)
	if row > 0 {
		start = c.ends[row-1]
	}
	return c.texts[start:c.ends[row]]
}

func sortNumber(key sortKey, m *Message, structure *mime.Structure) int64 {
	switch key {
	case sortSize:
		return m.Size
	case sortDate:
		return sentTime(m, structure)
	}
	return m.Date
}

// sentTime returns the sent date in Unix seconds (RFC 5256 section 2.2).
func sentTime(m *Message, structure *mime.Structure) int64 {
	if structure != nil {
		if t, ok := structure.SentDate(); ok {
			return t.Unix()
		}
	}
	return m.Date
}

func sortText(key sortKey, structure *mime.Structure) string {
	switch key {
	case sortFrom:
		return structure.FirstMailbox(mime.FieldFrom)
	case sortTo:
		return structure.FirstMailbox(mime.FieldTo)
	case sortCc:
		return structure.FirstMailbox(mime.FieldCc)
	case sortDisplayFrom:
		return structure.FirstDisplay(mime.FieldFrom)
	case sortDisplayTo:
		return structure.FirstDisplay(mime.FieldTo)
	}
	base, _ := structure.Subject()
	return base
}
