// Package clientid is what a mail client says of itself with ID (RFC 2971), before
// login to the distributor or after it to its session, and what that changes: clients
// that stumble over what others need are known by their name, and are not told of it.
//
// What a client says is only believed for that. It is bounded (RFC 2971 section 3.3),
// and nothing is refused or allowed because of it: what is hidden works all the same.
package clientid

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// The limits of RFC 2971 section 3.3, in fields and in bytes.
const (
	maxFields = 30
	maxField  = 30
	MaxValue  = 1024
)

// ID is what a client said of itself.
type ID struct {
	List string // the parenthesised list of the command, with strings quoted anew; empty for NIL
	Name string // the value of "name" in lower case, at most MaxValue bytes; may be empty
}

// Read reads the parameters of ID, without the space before them and the end of the
// command.
func Read(cmd *wire.Command) (ID, error) {
	if !cmd.Byte('(') {
		_, isNil, err := cmd.NString()
		if err == nil && !isNil {
			err = cmd.SyntaxError("Expected a list of parameters or NIL")
		}
		return ID{}, err
	}
	var id ID
	list := []byte{'('}
	for n := 0; !cmd.Byte(')'); n++ {
		if n == maxFields {
			return ID{}, cmd.SyntaxError("Too many parameters")
		}
		if n > 0 {
			if err := cmd.SP(); err != nil {
				return ID{}, err
			}
			list = append(list, ' ')
		}
		field, value, isNil, err := readField(cmd)
		if err != nil {
			return ID{}, err
		}
		if strings.EqualFold(field, "name") {
			id.Name = lower(value)
		}
		list = wire.AppendString(list, field)
		list = append(list, ' ')
		list = wire.AppendNString(list, value, isNil)
	}
	id.List = string(append(list, ')'))
	return id, nil
}

func readField(cmd *wire.Command) (field, value string, isNil bool, err error) {
	if field, err = cmd.String(); err != nil {
		return "", "", false, err
	}
	if err = cmd.SP(); err != nil {
		return "", "", false, err
	}
	if value, isNil, err = cmd.NString(); err != nil {
		return "", "", false, err
	}
	if len(field) > maxField || len(value) > MaxValue {
		return "", "", false, cmd.SyntaxError("Parameter is too long")
	}
	return field, value, isNil, nil
}

// lower returns a name in lower case, cut off where that has made it longer than
// MaxValue: a byte that is no UTF-8 becomes three.
func lower(name string) string {
	name = strings.ToLower(name)
	return name[:min(len(name), MaxValue)]
}

// Parse reads a List that was passed on. Of what cannot be read nothing is known.
func Parse(list string) ID {
	if list == "" {
		return ID{}
	}
	cmd, err := wire.NewReader(strings.NewReader("a ID "+list+"\r\n"), wire.AfterLogin).Next()
	if err != nil || cmd.SP() != nil {
		return ID{}
	}
	id, err := Read(cmd)
	if err != nil {
		return ID{}
	}
	return id
}

// Quirk hides capabilities from clients whose name contains Client, in any case.
type Quirk struct {
	Client string
	Hide   []string
}

// Quirks are those of all clients.
type Quirks []Quirk

// Hidden returns the capabilities that a client of this name is not told of.
func (all Quirks) Hidden(name string) []string {
	if name == "" {
		return nil
	}
	name = strings.ToLower(name)
	var hidden []string
	for _, q := range all {
		if strings.Contains(name, strings.ToLower(q.Client)) {
			hidden = append(hidden, q.Hide...)
		}
	}
	return hidden
}

// Hides reports whether a capability is among those hidden from a client of this name.
func (all Quirks) Hides(name, capability string) bool {
	return slices.ContainsFunc(all.Hidden(name), func(h string) bool { return strings.EqualFold(h, capability) })
}
