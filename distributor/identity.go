package distributor

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/go-pluto/pluto/imap/wire"
)

// maxIDKept is how many bytes of what a client says of itself are passed on to its session.
const maxIDKept = 1024

// identity answers ID. What the client said goes to the session as the
// parenthesised list that it was.
func (c *client) identity(cmd *wire.Command) (*identified, error) {
	if err := cmd.SP(); err != nil {
		return nil, err
	}
	id, err := clientid.Read(cmd)
	if err != nil {
		return nil, err
	}
	if err := cmd.End(); err != nil {
		return nil, err
	}
	if c.id = id; len(id.List) > maxIDKept {
		c.id.List = ""
	}
	c.line(`* ID ("name" "pluto")`)
	c.tagged(cmd.Tag, "OK ID completed")
	return nil, nil
}

// capabilities returns those of the connection as it is now. Without TLS
// nothing is offered that takes a password (RFC 9051 section 6.2.1).
func (c *client) capabilities() string {
	list := slices.Clone(c.server.opts.Capabilities)
	if !c.secure {
		list = slices.DeleteFunc(list, func(s string) bool {
			return s == "SASL-IR" || strings.HasPrefix(s, "AUTH=")
		})
		list = append(list, "STARTTLS", "LOGINDISABLED")
	}
	list = slices.DeleteFunc(list, func(s string) bool { return c.server.opts.Quirks.Hides(c.id.Name, s) })
	return strings.Join(list, " ")
}
