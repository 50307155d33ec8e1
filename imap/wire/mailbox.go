package wire

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Mailbox reads a mailbox name and returns it as valid, NFC-normalised UTF-8;
// INBOX in any case is "INBOX". On the wire it is modified UTF-7 (RFC 3501
// section 5.1.3) or UTF-8, after [Reader.SetUTF8] always the latter. Whether a mailbox can be called
// so is not a question of grammar: the name may be empty or have control
// characters, and one that cannot be decoded is [NoName].
func (c *Command) Mailbox() (string, error) {
	name, _, err := c.MailboxAsSent()
	return name, err
}

// MailboxAsSent is Mailbox that also returns the name in UTF-8 as the client sent it.
func (c *Command) MailboxAsSent() (name, sent string, err error) {
	s, err := c.AString()
	if err != nil {
		return "", "", err
	}
	if len(s) == len("INBOX") && strings.EqualFold(s, "INBOX") {
		return "INBOX", s, nil
	}
	sent = c.mailboxName(s)
	return norm.NFC.String(sent), sent, nil
}

// ListMailbox reads a pattern of LIST or LSUB: a mailbox name that may have the
// wildcards "%" and "*". INBOX is not folded. What cannot be decoded is [NoName].
func (c *Command) ListMailbox() (string, error) {
	s := c.take(listChar)
	if s == "" {
		var err error
		if s, err = c.String(); err != nil {
			return "", err
		}
	} else if c.atLiteral8(s) {
		return "", c.SyntaxError("Binary literal is not allowed here")
	}
	return norm.NFC.String(c.mailboxName(s)), nil
}

// NoName stands for a mailbox name that is not in the encoding that names have on
// the wire. No mailbox may have U+FFFD in its name.
const NoName = "\ufffd"

// mailboxName decodes a name from the wire. Characters that modified UTF-7 cannot
// have are UTF-8 at any time (RFC 6855 section 3).
func (c *Command) mailboxName(s string) string {
	if !c.reader.utf8 && isASCII(s) {
		name, err := DecodeUTF7(s)
		if err != nil {
			return NoName
		}
		return name
	}
	if !utf8.ValidString(s) {
		return NoName
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
