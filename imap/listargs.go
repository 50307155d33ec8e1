package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// listOptions is a set of selection and return options of LIST (RFC 5258).
type listOptions uint8

const (
	listSubscribed listOptions = 1 << iota
	listRemote                 // there are no remote mailboxes: no meaning
	listRecursive
	listSpecialUse
	listChildren
	listStatus
)

var selectOptions = map[string]listOptions{
	"SUBSCRIBED": listSubscribed, "REMOTE": listRemote,
	"RECURSIVEMATCH": listRecursive, "SPECIAL-USE": listSpecialUse,
}

var returnOptions = map[string]listOptions{
	"SUBSCRIBED": listSubscribed, "CHILDREN": listChildren,
	"SPECIAL-USE": listSpecialUse, "STATUS": listStatus,
}

// listArgs are the arguments of LIST.
type listArgs struct {
	xlist     bool // the command is XLIST
	extended  bool // any of the forms of RFC 5258 section 1
	which     listOptions
	told      listOptions
	status    statusSet
	patterns  []string // with the reference before them
	reference string
	root      bool // the pattern is empty: the question for the separator
}

// readList reads the arguments of LIST to the end of the command.
func (s *session) readList(c *wire.Command) (a listArgs, err error) {
	if err := c.SP(); err != nil {
		return a, err
	}
	if c.Peek() == '(' {
		a.extended = true
		if a.which, err = readListOptions(c, selectOptions, nil); err != nil {
			return a, err
		}
		if err := c.SP(); err != nil {
			return a, err
		}
	}
	if err := s.readPatterns(c, &a, true); err != nil {
		return a, err
	}
	if !c.EOL() {
		if err := readReturn(c, &a); err != nil {
			return a, err
		}
	}
	if a.which&listRecursive != 0 && a.which&^(listRecursive|listRemote) == 0 {
		return a, badSyntax("RECURSIVEMATCH needs another option")
	}
	return a, c.End()
}

// readPatterns reads the reference and one pattern, or several in parentheses.
func (s *session) readPatterns(c *wire.Command, a *listArgs, several bool) error {
	var err error
	if a.reference, err = c.Mailbox(); err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	if !several || !c.Byte('(') {
		return a.readPattern(c)
	}
	a.extended = true
	for {
		if err := a.readPattern(c); err != nil || c.Byte(')') {
			return err
		}
		if len(a.patterns) == maxPatterns {
			return badSyntax("Too many patterns")
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
}

func (a *listArgs) readPattern(c *wire.Command) error {
	p, err := c.ListMailbox()
	if err != nil {
		return err
	}
	if a.root = p == ""; !a.root { // an empty one matches nothing, RFC 5258 section 3
		a.patterns = append(a.patterns, a.reference+p)
	}
	return nil
}

// readReturn reads "RETURN (...)".
func readReturn(c *wire.Command, a *listArgs) error {
	if err := c.SP(); err != nil {
		return err
	}
	if word, err := c.Atom(); err != nil || !strings.EqualFold(word, "RETURN") {
		return either(err, "Unknown argument")
	}
	if err := c.SP(); err != nil {
		return err
	}
	a.extended = true
	var err error
	a.told, err = readListOptions(c, returnOptions, func() error {
		if err := c.SP(); err != nil {
			return err
		}
		a.status, err = readStatusItems(c)
		return err
	})
	return err
}

// readListOptions reads options in parentheses; status reads what follows the
// option STATUS.
func readListOptions(c *wire.Command, known map[string]listOptions, status func() error) (listOptions, error) {
	if err := c.Expect('('); err != nil {
		return 0, err
	}
	var set listOptions
	for first := true; !c.Byte(')'); first = false {
		if !first {
			if err := c.SP(); err != nil {
				return 0, err
			}
		}
		word, err := c.Atom()
		if err != nil {
			return 0, err
		}
		option := known[strings.ToUpper(word)]
		if option == 0 {
			return 0, badSyntax("Unknown option")
		}
		if option == listStatus {
			if err := status(); err != nil {
				return 0, err
			}
		}
		set |= option
	}
	return set, nil
}
