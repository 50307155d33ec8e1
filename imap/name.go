package imap

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-pluto/pluto/imap/wire"
)

// Mailbox names are text: NFC-normalised UTF-8 without control characters,
// bounded in length and depth, no empty level. They are never paths here; still
// "." and ".." between slashes are refused, as clients and backup tools that keep
// mailboxes in folders would stumble over them. The first level in any case of
// INBOX is INBOX, so that there are no two trees of it.

// mailbox reads an argument that is the name of a mailbox, after a space. The
// name may be one that cannot exist; see [session.validName].
func (s *session) mailbox(c *wire.Command) (string, error) {
	if err := c.SP(); err != nil {
		return "", err
	}
	name, sent, err := c.MailboxAsSent()
	if err != nil {
		return "", err
	}
	s.sentName = sent
	return s.foldInbox(name), nil
}

// foldInbox writes the first level of a name as INBOX if it is that in any case.
func (s *session) foldInbox(name string) string {
	const inbox = "INBOX"
	if len(name) < len(inbox) || !strings.EqualFold(name[:len(inbox)], inbox) {
		return name
	}
	if len(name) == len(inbox) || name[len(inbox)] == s.opts.Separator {
		return inbox + name[len(inbox):]
	}
	return name
}

// validName says why there can be no mailbox of that name.
func (s *session) validName(name string) error {
	if name == "" {
		return &refusal{"CANNOT", "Mailbox name is empty"}
	}
	if name == wire.NoName {
		return &refusal{"CANNOT", "Mailbox name is not encoded as names have to be"}
	}
	if len(name) > maxNameBytes {
		return &refusal{"LIMIT", "Mailbox name is too long"}
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, forbidden) {
		return &refusal{"CANNOT", "Mailbox name has characters that are not allowed"}
	}
	separator := string(s.opts.Separator)
	if strings.HasPrefix(name, separator) || strings.HasSuffix(name, separator) ||
		strings.Contains(name, separator+separator) {
		return &refusal{"CANNOT", "Mailbox name has an empty level"}
	}
	if looksLikePath(name) {
		return &refusal{"CANNOT", `Mailbox name has "." or ".." as a path has`}
	}
	if strings.Count(name, separator) >= maxNameLevels {
		return &refusal{"LIMIT", "Mailbox name has too many levels"}
	}
	return nil
}

// looksLikePath reports whether a name would lead somewhere else if somebody
// took it for a path.
func looksLikePath(name string) bool {
	for element := range strings.SplitSeq(name, "/") {
		if element == "." || element == ".." {
			return true
		}
	}
	return false
}

// forbidden characters are controls and those that end lines or have no meaning
// (RFC 5198 section 2, RFC 9051 section 5.1).
func forbidden(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError || r == '\ufeff'
}

// existing checks a name that is to be one of an existing mailbox. A name that
// none can have denotes none.
func (s *session) existing(name string) error {
	if s.validName(name) != nil {
		return ErrNonexistent
	}
	return nil
}
