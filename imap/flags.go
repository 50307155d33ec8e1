package imap

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// flagNames are the system flags in the order of their bits.
var flagNames = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// ParseFlag returns the system flag of a name in any case, and false for
// everything else.
func ParseFlag(name string) (Flags, bool) {
	for i, n := range flagNames {
		if strings.EqualFold(n, name) {
			return 1 << i, true
		}
	}
	return 0, false
}

// Names returns the names of the flags in f.
func (f Flags) Names() []string {
	var names []string
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// appendFlags appends a FLAGS data item.
func appendFlags(dst []byte, m *Message, recent bool) []byte {
	dst = append(dst, "FLAGS ("...)
	start := len(dst)
	for i, n := range flagNames {
		if m.Flags&(1<<i) != 0 {
			dst = append(append(dst, n...), ' ')
		}
	}
	if recent {
		dst = append(dst, `\Recent `...)
	}
	for _, k := range m.Keywords {
		dst = append(append(dst, k...), ' ')
	}
	if len(dst) > start {
		dst = dst[:len(dst)-1]
	}
	return append(dst, ')')
}

// appendDefinedFlags appends the system flags and keywords of a mailbox.
func appendDefinedFlags(dst []byte, keywords []string) []byte {
	dst = append(dst, `\Answered \Flagged \Deleted \Seen \Draft`...)
	for _, k := range keywords {
		dst = append(append(dst, ' '), k...)
	}
	return dst
}

// appendFetch appends the beginning of an untagged FETCH.
func appendFetch(dst []byte, place int) []byte {
	dst = append(dst, "* "...)
	dst = strconv.AppendInt(dst, int64(place)+1, 10)
	return append(dst, " FETCH ("...)
}

func appendUID(dst []byte, uid UID) []byte {
	dst = append(dst, "UID "...)
	return strconv.AppendUint(dst, uint64(uid), 10)
}

// readFlags reads the flags of STORE or APPEND: a list, or for STORE also flags
// without parentheses (RFC 3501 section 9, store-att-flags).
func readFlags(c *wire.Command) (Flags, []string, error) {
	if c.Peek() == '(' {
		names, err := c.FlagList()
		if err != nil {
			return 0, nil, err
		}
		return sortFlags(names)
	}
	var names []string
	for {
		name, err := c.Flag()
		if err != nil {
			return 0, nil, err
		}
		if names = append(names, name); c.EOL() {
			return sortFlags(names)
		}
		if err := c.SP(); err != nil {
			return 0, nil, err
		}
	}
}

// sortFlags divides the flags that a client has sent into system flags and
// keywords, each keyword once. \Recent is left out: it is not the client's to
// change, but clients send back what they were told.
func sortFlags(names []string) (Flags, []string, error) {
	var flags Flags
	keywords := names[:0]
	for _, name := range names {
		if f, ok := ParseFlag(name); ok {
			flags |= f
			continue
		}
		if strings.EqualFold(name, `\Recent`) {
			continue
		}
		if name[0] == '\\' {
			return 0, nil, badSyntax("Unknown system flag")
		}
		if len(name) > maxKeywordBytes {
			return 0, nil, &refusal{"LIMIT", "Keyword is too long"}
		}
		same := func(k string) bool { return strings.EqualFold(k, name) }
		if !slices.ContainsFunc(keywords, same) {
			keywords = append(keywords, name)
		}
	}
	if len(keywords) > maxKeywords {
		return 0, nil, &refusal{"LIMIT", "Too many keywords"}
	}
	return flags, keywords, nil
}

// apply makes the change to a message's flags, as [Mailbox.Store] does.
func (c *FlagChange) apply(m *Message) {
	has := func(list []string, k string) bool {
		return slices.ContainsFunc(list, func(l string) bool { return strings.EqualFold(l, k) })
	}
	var kept []string
	for _, k := range m.Keywords {
		if c.Op == FlagsAdd || c.Op == FlagsRemove && !has(c.Keywords, k) {
			kept = append(kept, k)
		}
	}
	if c.Op != FlagsRemove {
		for _, k := range c.Keywords {
			if !has(kept, k) {
				kept = append(kept, k)
			}
		}
	}
	slices.Sort(kept)
	m.Keywords = kept
	switch c.Op {
	case FlagsReplace:
		m.Flags = c.Flags
	case FlagsAdd:
		m.Flags |= c.Flags
	case FlagsRemove:
		m.Flags &^= c.Flags
	}
}
