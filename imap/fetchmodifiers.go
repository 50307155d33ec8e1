package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// readModifiers reads the modifiers of FETCH (RFC 4466 section 2.4), if there are
// any, to the end of the command.
func (a *fetchArgs) readModifiers(c *wire.Command, uid bool) error {
	if c.EOL() {
		return nil
	}
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	for first := true; first || !c.Byte(')'); first = false {
		if !first {
			if err := c.SP(); err != nil {
				return err
			}
		}
		if err := a.readModifier(c, uid); err != nil {
			return err
		}
	}
	if a.vanished && !a.changed {
		return badSyntax("VANISHED needs CHANGEDSINCE")
	}
	if a.changed && !a.modSeq {
		a.add(fetchItem{kind: fetchModSeq}, false)
	}
	return c.End()
}

func (a *fetchArgs) readModifier(c *wire.Command, uid bool) error {
	word, err := c.Atom()
	if err != nil {
		return err
	}
	switch strings.ToUpper(word) {
	case "PARTIAL": // RFC 9394 section 3.3
		if !uid || a.partial != (partialRange{}) {
			return badSyntax("PARTIAL is not allowed here")
		}
		if err := c.SP(); err != nil {
			return err
		}
		a.partial, err = readPartialRange(c)
		return err
	case "CHANGEDSINCE": // RFC 7162 section 3.1.4.1
		if a.changed {
			return badSyntax("CHANGEDSINCE is given twice")
		}
		if err := c.SP(); err != nil {
			return err
		}
		n, err := c.Number64()
		a.changed, a.since = true, ModSeq(n)
		return err
	case "VANISHED": // RFC 7162 section 3.2.6
		if !uid {
			return badSyntax("VANISHED is not allowed here")
		}
		a.vanished = true
		return nil
	}
	return badSyntax("Unknown modifier")
}

// narrow leaves of the places of a FETCH those that its modifiers leave.
func (a *fetchArgs) narrow(spans []span) []span {
	if a.partial == (partialRange{}) {
		return spans
	}
	from, to := a.partial.bounds(count(spans))
	return cut(spans, from, to)
}
