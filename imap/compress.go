package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// compress: RFC 4978. The connection's other end does it, so that the session can
// go on elsewhere; here it is only turned on.
func (s *session) compress(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	mechanism, err := c.Atom()
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	switch {
	case !strings.EqualFold(mechanism, "DEFLATE"):
		return badSyntax("Unknown compression mechanism")
	case s.compressed:
		return &refusal{"COMPRESSIONACTIVE", "DEFLATE is active already"}
	case s.turner == nil:
		return &refusal{"", "Compression is not possible on this connection"}
	}
	s.compressed, s.stateDirty = true, stateChanged
	s.turn = s.turner.Compress
	return nil
}

// unauthenticate: RFC 8437. What is left of the session is the connection, and
// bytes of it that were sent early.
func (s *session) unauthenticate(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	if s.turner == nil || s.compressed {
		return &refusal{"CANNOT", "Not possible on this connection"}
	}
	s.closeMailbox()
	s.turn, s.handedBack = s.turner.Unauthenticate, true
	return nil
}

// turnCapabilities appends the capabilities that depend on the connection.
func (s *session) turnCapabilities(o *Options, shown []string) []string {
	if s.turner == nil || s.compressed {
		return shown
	}
	for _, c := range [...]string{"COMPRESS=DEFLATE", "UNAUTHENTICATE"} {
		if !o.hidden(c) {
			shown = append(shown, c)
		}
	}
	return shown
}
