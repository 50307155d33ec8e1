package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// sortKey is what messages are ordered by (RFC 5256 section 3, RFC 5957).
type sortKey uint8

const (
	sortArrival sortKey = iota
	sortSize
	sortDate
	sortSubject
	sortFrom
	sortTo
	sortCc
	sortDisplayFrom
	sortDisplayTo
)

var sortKeys = map[string]sortKey{
	"ARRIVAL": sortArrival, "SIZE": sortSize, "DATE": sortDate, "SUBJECT": sortSubject,
	"FROM": sortFrom, "TO": sortTo, "CC": sortCc,
	"DISPLAYFROM": sortDisplayFrom, "DISPLAYTO": sortDisplayTo,
}

// isText reports whether the key is a text and not a number.
func (k sortKey) isText() bool { return k >= sortSubject }

// sortCriterion is one of the keys of a SORT.
type sortCriterion struct {
	key     sortKey
	reverse bool
}

// readSortCriteria reads the list of criteria in parentheses.
func readSortCriteria(c *wire.Command) ([]sortCriterion, error) {
	if err := c.Expect('('); err != nil {
		return nil, err
	}
	var criteria []sortCriterion
	for {
		if len(criteria) == maxSortCriteria {
			return nil, badSyntax("Too many sort criteria")
		}
		one, err := readSortCriterion(c)
		if err != nil {
			return nil, err
		}
		criteria = append(criteria, one)
		if c.Byte(')') {
			return criteria, nil
		}
		if err := c.SP(); err != nil {
			return nil, err
		}
	}
}

func readSortCriterion(c *wire.Command) (one sortCriterion, err error) {
	word, err := c.Atom()
	if err != nil {
		return one, err
	}
	if strings.EqualFold(word, "REVERSE") {
		one.reverse = true
		if err := c.SP(); err != nil {
			return one, err
		}
		if word, err = c.Atom(); err != nil {
			return one, err
		}
	}
	key, ok := sortKeys[strings.ToUpper(word)]
	if !ok {
		return one, badSyntax("Unknown sort criterion")
	}
	one.key = key
	return one, nil
}

// readSort reads the arguments of SORT: result options, if the client wants an
// ESEARCH response (RFC 5267 section 3), sort criteria and search criteria.
func (s *session) readSort(c *wire.Command) ([]sortCriterion, program, error) {
	if err := c.SP(); err != nil {
		return nil, program{}, err
	}
	var answer findReturn
	if c.Peek() != '(' {
		if word, err := c.Atom(); err != nil || !strings.EqualFold(word, "RETURN") {
			return nil, program{}, either(err, "Expected sort criteria")
		}
		if err := answer.read(c); err != nil {
			return nil, program{}, err
		}
		if err := c.SP(); err != nil {
			return nil, program{}, err
		}
	}
	criteria, err := readSortCriteria(c)
	if err != nil {
		return nil, program{}, err
	}
	p, err := s.readCriteria(c)
	p.answer = answer
	return criteria, p, err
}

// readCriteria reads the character set, which SORT and THREAD demand, and the
// criteria to the end of the command (RFC 5256 section 5, search-criteria).
func (s *session) readCriteria(c *wire.Command) (program, error) {
	p := &searchParser{session: s, command: c}
	if err := p.charset(); err != nil {
		return p.program, err
	}
	if err := c.SP(); err != nil {
		return p.program, err
	}
	root, err := p.and(p.word())
	if err != nil {
		return p.program, err
	}
	p.program.root = root
	return p.program, c.End()
}
