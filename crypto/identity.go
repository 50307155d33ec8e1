package crypto

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Role is what a node may do.
type Role string

// The roles.
const (
	RoleDistributor Role = "distributor" // opens sessions
	RoleWorker      Role = "worker"      // keeps mail, replicates
	RoleStorage     Role = "storage"     // keeps mail, replicates
	RoleAdmin       Role = "plutoctl"    // administers
)

func (r Role) valid() bool {
	return slices.Contains([]Role{RoleDistributor, RoleWorker, RoleStorage, RoleAdmin}, r)
}

// Identity is who a node is. It can be compared and be a key.
type Identity struct {
	Role Role
	Name string // as in the configuration
}

// String returns the identity as in "worker eu-worker-1".
func (i Identity) String() string { return string(i.Role) + " " + i.Name }

const scheme = "pluto"

// URI returns what stands for the identity in a certificate.
func (i Identity) URI() *url.URL {
	return &url.URL{Scheme: scheme, Host: string(i.Role), Path: "/" + i.Name}
}

// ParseIdentity is the inverse of [Identity.URI].
func ParseIdentity(u *url.URL) (Identity, error) {
	i := Identity{Role: Role(u.Host), Name: strings.TrimPrefix(u.Path, "/")}
	switch {
	case u.Scheme != scheme:
		return Identity{}, fmt.Errorf("%q does not begin with %s://", u, scheme)
	case !i.Role.valid():
		return Identity{}, fmt.Errorf("%q names no role that is known here", u)
	case i.Name == "" || strings.Contains(i.Name, "/"):
		return Identity{}, fmt.Errorf("%q names no node", u)
	case i.URI().String() != u.String():
		return Identity{}, fmt.Errorf("%q has more than role and name", u)
	}
	return i, nil
}

// IdentityOf returns whose certificate it is. It does not verify the
// certificate.
func IdentityOf(cert *x509.Certificate) (Identity, error) {
	var found *url.URL
	for _, u := range cert.URIs {
		if u.Scheme != scheme {
			continue
		}
		if found != nil {
			return Identity{}, errors.New("the certificate names two nodes")
		}
		found = u
	}
	if found == nil {
		return Identity{}, fmt.Errorf("the certificate has no %s:// URI that would name role and node; was it made by pluto-pki?", scheme)
	}
	return ParseIdentity(found)
}
