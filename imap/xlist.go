package imap

import "github.com/go-pluto/pluto/imap/wire"

// xlist is LIST as some servers had it before RFC 6154: old clients know special
// uses by it. It is not among the capabilities, as those that need it try it.
func (s *session) xlist(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	a := listArgs{xlist: true}
	if err := s.readPatterns(c, &a, false); err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if a.root {
		s.tellRoot("XLIST")
		return nil
	}
	return s.tellEntries(&a)
}

// oldAttributes gives special uses the names that they have in XLIST.
func oldAttributes(attributes []string, e *listEntry) []string {
	for i, name := range attributes {
		if name == `\Junk` {
			attributes[i] = `\Spam`
		}
	}
	if e.Name == "INBOX" {
		attributes = append(attributes, `\Inbox`)
	}
	return attributes
}
