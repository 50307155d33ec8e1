package mailnode

import (
	"fmt"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap/tunnel"
)

// find returns the member whose replica serves a user's account: where the user
// ID belongs, unless a subnet is named, or the account was moved to another one
// that is kept here too.
func (s *service) find(user uint32, subnet string) (*member, *refusal) {
	m := s.memberFor(user)
	if subnet != "" {
		m = s.memberOf(subnet)
	}
	if m == nil {
		return nil, &refusal{reason: tunnel.Refused_WRONG_NODE, err: fmt.Errorf("user %d is not kept here", user)}
	}
	home, refused := m.home(user)
	if refused != nil {
		return nil, refused
	}
	if home == m.subnet.Name {
		return m, nil
	}
	there := s.memberOf(home)
	if there == nil {
		return nil, &refusal{reason: tunnel.Refused_MOVED, moved: home, err: fmt.Errorf("account %d has moved to %s", user, home)}
	}
	if home, refused = there.home(user); refused == nil && home != there.subnet.Name {
		refused = &refusal{reason: tunnel.Refused_MOVED, moved: home, err: fmt.Errorf("account %d has moved on to %s", user, home)}
	}
	return there, refused
}

// home returns the subnet where an account lives, as this member knows.
func (m *member) home(user uint32) (string, *refusal) {
	home, target, err := m.replica.Home(crdt.AccountID(user))
	switch {
	case err != nil:
		return "", &refusal{reason: tunnel.Refused_UNAVAILABLE, err: err}
	case target != "":
		return "", &refusal{reason: tunnel.Refused_ON_ITS_WAY, err: fmt.Errorf("account %d is on its way to %s", user, home)}
	case home == "" && m.subnet.Users.Contains(user):
		return m.subnet.Name, nil
	case home == "": // the member that took it over has it, or it never came
		return "", &refusal{reason: tunnel.Refused_UNAVAILABLE, err: fmt.Errorf("account %d has not arrived in %s", user, m.subnet.Name)}
	}
	return home, nil
}

func (s *service) memberOf(subnet string) *member {
	for _, m := range s.members {
		if m.subnet.Name == subnet {
			return m
		}
	}
	return nil
}
