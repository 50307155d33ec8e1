package imap

import (
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/go-pluto/pluto/imap/wire"
)

// capabilities are what the engine offers after login, but for APPENDLIMIT,
// whose value is an option. Nothing is named here before it works whole. LITERAL- is
// what LITERAL+ includes, and must not stand beside it (RFC 7888 section 5).
var capabilities = [...]string{
	"IMAP4rev1", "LITERAL+", "IMAP4rev2", "SASL-IR", "ID", "ENABLE", "NAMESPACE", "IDLE", "UNSELECT",
	"CHILDREN", "UIDPLUS", "MOVE", "MULTIAPPEND", "SPECIAL-USE", "CREATE-SPECIAL-USE",
	"BINARY", "CATENATE", "REPLACE", "PREVIEW", "QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "METADATA",
	"LIST-EXTENDED", "LIST-STATUS", "STATUS=SIZE", "WITHIN", "ESEARCH", "SEARCHRES", "PARTIAL",
	"OBJECTID", "SAVEDATE", "CONDSTORE", "QRESYNC", "UTF8=ACCEPT",
	"SORT", "SORT=DISPLAY", "ESORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES", "CONTEXT=SEARCH", "CONTEXT=SORT",
	"NOTIFY", "INPROGRESS",
}

// Capabilities returns the capabilities that a session with these options is told of.
func Capabilities(o Options) []string {
	limit := o.MaxMessageSize
	if limit <= 0 {
		limit = DefaultMaxMessageSize
	}
	var shown []string
	for _, c := range capabilities {
		if !o.hidden(c) {
			shown = append(shown, c)
		}
	}
	if !o.hidden("APPENDLIMIT") {
		shown = append(shown, "APPENDLIMIT="+strconv.FormatInt(limit, 10))
	}
	return shown
}

// capabilityCode returns the CAPABILITY response code or data.
func (s *session) capabilityCode() string {
	o := s.shown()
	return "CAPABILITY " + strings.Join(s.turnCapabilities(&o, Capabilities(o)), " ")
}

// capability: RFC 3501 section 6.1.1.
func (s *session) capability(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	s.out.line(s.capabilityCode())
	return nil
}

// noop is NOOP and CHECK (RFC 3501 sections 6.1.2 and 6.4.1): what there is to
// announce follows every command, and everything is on disk anyway.
func (s *session) noop(c *wire.Command) error { return c.End() }

// logout: RFC 3501 section 6.1.3.
func (s *session) logout(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	s.out.line("BYE Logging out")
	s.leaving = true
	return nil
}

// namespace: RFC 2342. There is one personal namespace.
func (s *session) namespace(c *wire.Command) error {
	if err := c.End(); err != nil {
		return err
	}
	s.out.buf = append(s.out.buf, `* NAMESPACE (("" `...)
	s.out.buf = s.appendSeparator(s.out.buf)
	s.out.buf = append(s.out.buf, ")) NIL NIL\r\n"...)
	return nil
}

func (s *session) appendSeparator(dst []byte) []byte {
	return append(dst, '"', s.opts.Separator, '"')
}

// id: RFC 2971. Of what the client says of itself its name is kept.
func (s *session) id(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	said, err := clientid.Read(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if said.Name != s.client {
		s.client, s.stateDirty = said.Name, stateChanged
	}
	s.out.buf = append(s.out.buf, `* ID ("name" "pluto"`...)
	if s.opts.Version != "" {
		s.out.buf = append(s.out.buf, ` "version" `...)
		s.out.buf = wire.AppendString(s.out.buf, s.opts.Version)
	}
	s.out.buf = append(s.out.buf, ")\r\n"...)
	return nil
}
