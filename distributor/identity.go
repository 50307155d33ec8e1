package distributor

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// Limits of ID (RFC 2971 section 3.3).
const (
	maxIDFields = 30
	maxIDKey    = 30
	maxIDValue  = 1024
	maxIDKept   = 1024 // bytes passed on to the session
)

// identity answers ID. What the client said goes to the session as the
// parenthesised list that it was.
func (c *client) identity(cmd *wire.Command) (*identified, error) {
	if err := cmd.SP(); err != nil {
		return nil, err
	}
	id, name, err := readID(cmd)
	if err != nil {
		return nil, err
	}
	if err := cmd.End(); err != nil {
		return nil, err
	}
	if len(id) <= maxIDKept {
		c.id = id
	}
	c.name = strings.ToLower(name)
	c.line(`* ID ("name" "pluto")`)
	c.tagged(cmd.Tag, "OK ID completed")
	return nil, nil
}

// readID reads the parameters of ID and returns them as a list, empty for NIL, and the
// client's name among them.
func readID(cmd *wire.Command) (all, name string, err error) {
	if !cmd.Byte('(') {
		if _, isNil, err := cmd.NString(); err != nil || !isNil {
			return "", "", cmd.SyntaxError("Expected NIL or a list")
		}
		return "", "", nil
	}
	list := []byte{'('}
	for n := 0; !cmd.Byte(')'); n++ {
		if n == maxIDFields {
			return "", "", cmd.SyntaxError("Too many fields")
		}
		if n > 0 {
			if err := cmd.SP(); err != nil {
				return "", "", err
			}
			list = append(list, ' ')
		}
		key, err := cmd.String()
		if err != nil {
			return "", "", err
		}
		if err := cmd.SP(); err != nil {
			return "", "", err
		}
		value, isNil, err := cmd.NString()
		if err != nil {
			return "", "", err
		}
		if len(key) > maxIDKey || len(value) > maxIDValue {
			return "", "", cmd.SyntaxError("Field is too long")
		}
		if strings.EqualFold(key, "name") {
			name = value
		}
		list = wire.AppendString(list, key)
		list = append(list, ' ')
		list = wire.AppendNString(list, value, isNil)
	}
	return string(append(list, ')')), name, nil
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
	return strings.Join(slices.DeleteFunc(list, c.hidden), " ")
}

// hidden reports whether the client, which may have said by ID what it is, is not to be
// told of a capability. What is hidden works all the same.
func (c *client) hidden(capability string) bool {
	if c.name == "" {
		return false
	}
	return slices.ContainsFunc(c.server.opts.Quirks, func(q Quirk) bool {
		return strings.Contains(c.name, strings.ToLower(q.Client)) &&
			slices.ContainsFunc(q.Hide, func(h string) bool { return strings.EqualFold(h, capability) })
	})
}
