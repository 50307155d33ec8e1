package imap

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// What IMAP4rev2 changes (RFC 9051 appendix E) is decided where each response is
// made: there are no \Recent messages, SEARCH is answered by ESEARCH, unsolicited
// FETCH responses have the UID, and SELECT tells a LIST response. A client that
// enabled it, or UTF8=ACCEPT (RFC 6855), has names of mailboxes in UTF-8.

// utf8 reports whether strings to the client may have UTF-8 in them.
func (s *session) utf8() bool { return s.on(modeUTF8 | modeRev2) }

// appendMailbox appends the name of a mailbox as the client wants it.
func (s *session) appendMailbox(dst []byte, name string) []byte {
	return wire.AppendMailbox(dst, name, s.utf8())
}

// tellSelected appends the LIST response that SELECT has (RFC 9051 section 6.3.2).
func (s *session) tellSelected(name string) error {
	if !s.on(modeRev2) {
		return nil
	}
	return s.tellName(name, "")
}

// tellNormalised tells a client under which name it finds a mailbox that it named in
// another form of Unicode, or INBOX in another case (RFC 9051 section 6.3.9.7).
func (s *session) tellNormalised(name, attributes string) error {
	if !s.on(modeRev2) || s.sentName == name {
		return nil
	}
	return s.tellName(name, attributes)
}

// tellName appends a LIST response of a mailbox, with the name that the client gave
// if it is another one. Without attributes they are looked up.
func (s *session) tellName(name, attributes string) error {
	if attributes == "" {
		entries, err := s.entries()
		if err != nil {
			return err
		}
		a := listArgs{extended: true, told: listSubscribed}
		if i := slices.IndexFunc(entries, func(e listEntry) bool { return e.Name == name }); i >= 0 {
			attributes = a.attributes(&entries[i])
		}
	}
	s.appendList("LIST", attributes, name)
	if s.sentName != name && s.sentName != wire.NoName {
		s.out.buf = append(s.out.buf, ` ("OLDNAME" (`...)
		s.out.buf = append(s.appendMailbox(s.out.buf, s.sentName), "))"...)
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	return s.out.spill()
}

// trimLevel removes the separator with which a client says that inferiors of a
// mailbox will follow.
func (s *session) trimLevel(name string) string {
	separator := string(s.opts.Separator)
	s.sentName = strings.TrimSuffix(s.sentName, separator)
	return strings.TrimSuffix(name, separator)
}
