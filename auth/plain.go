package auth

import (
	"errors"
	"strings"
)

var (
	// ErrMalformed says that a SASL message is not of the mechanism's form: BAD.
	ErrMalformed = errors.New("malformed SASL PLAIN message")
	// ErrAuthorization says that somebody wants to act as another user: NO
	// [AUTHORIZATIONFAILED].
	ErrAuthorization = errors.New("acting as another user is not supported")
)

// ParsePlain reads the message of SASL PLAIN, already decoded from base64:
// [authzid] NUL authcid NUL passwd (RFC 4616 section 2). The authorization
// identity has to be missing or equal to the login.
func ParsePlain(message []byte) (login, password string, err error) {
	if len(message) > 2*maxLogin+maxPassword+2 {
		return "", "", ErrMalformed
	}
	fields := strings.Split(string(message), "\x00")
	if len(fields) != 3 || fields[1] == "" || fields[2] == "" {
		return "", "", ErrMalformed
	}
	if fields[0] != "" && fields[0] != fields[1] {
		return "", "", ErrAuthorization
	}
	return fields[1], fields[2], nil
}
