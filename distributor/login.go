package distributor

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/imap/wire"
)

// newSessionID returns what names a session on every replica.
func newSessionID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return id
}

// verifyPlain logs in with a message of SASL PLAIN.
func (c *client) verifyPlain(tag string, message []byte) (*identified, error) {
	login, password, err := auth.ParsePlain(message)
	switch {
	case errors.Is(err, auth.ErrAuthorization):
		c.failed(tag, loginMalformed, "[AUTHORIZATIONFAILED] Acting as another user is not supported")
		return nil, nil
	case err != nil:
		c.server.metrics.logins.WithLabelValues(loginMalformed).Inc()
		return nil, &wire.SyntaxError{Tag: tag, Message: "Malformed response"}
	}
	return c.verify(tag, login, password)
}

// failed answers a login that is not to be.
func (c *client) failed(tag, result, text string) {
	c.server.metrics.logins.WithLabelValues(result).Inc()
	level.Info(c.log).Log("msg", "login failed", "reason", result)
	c.tagged(tag, "NO "+text)
}

// verify logs in: it verifies the password and opens the session, whose node
// answers the command.
func (c *client) verify(tag, login, password string) (*identified, error) {
	ctx, cancel := context.WithDeadline(c.ctx, c.loginBy)
	defer cancel()
	throttle := c.server.opts.Throttle
	if err := throttle.Wait(ctx, c.remote, login); err != nil {
		c.failed(tag, loginThrottled, "[LIMIT] Too many failed logins, try again later")
		return nil, c.goodbye("Too many failed logins")
	}
	user, canonical, err := c.server.opts.Auth.Authenticate(ctx, login, password)
	switch {
	case errors.Is(err, auth.ErrCredentials):
		throttle.Failed(c.remote, login)
		return nil, c.wrongPassword(tag)
	case err != nil:
		level.Error(c.log).Log("msg", "cannot verify a password", "err", err)
		c.failed(tag, loginAuthDown, "[UNAVAILABLE] Cannot verify passwords at the moment")
		return nil, nil
	}
	throttle.Succeeded(c.remote, login)
	quota, err := auth.QuotaOf(ctx, c.server.opts.Auth, canonical)
	if err != nil {
		level.Error(c.log).Log("msg", "cannot look up a quota", "user", user, "err", err)
		c.failed(tag, loginAuthDown, "[UNAVAILABLE] Cannot look up the account at the moment")
		return nil, nil
	}
	return c.admit(tag, user, canonical, quota), nil
}

// wrongPassword answers a wrong login or password, and ends the connection
// after too many.
func (c *client) wrongPassword(tag string) error {
	c.failed(tag, loginCredentials, "[AUTHENTICATIONFAILED] Wrong login or password")
	if c.failures++; c.failures < c.limits.MaxAuthFailures {
		return nil
	}
	c.server.metrics.rejected.WithLabelValues("auth_failures").Inc()
	return c.goodbye("Too many failed logins")
}

// admit opens the session of a user whose password was right. It returns nil
// when that is not possible, which the client has been told.
func (c *client) admit(tag string, user uint32, login string, quota auth.Quota) *identified {
	if !c.server.users.enter(user) {
		c.failed(tag, loginLimit, "[LIMIT] Too many connections of this user")
		return nil
	}
	session, err := c.openFor(tag, user, login, quota)
	switch {
	case err == nil:
		c.server.metrics.logins.WithLabelValues(loginOK).Inc()
		return &identified{user: user, opened: session}
	case errors.Is(err, errContactAdmin):
		level.Error(c.log).Log("msg", "ALARM: the account belongs to another login name", "user", user, "login", login, "err", err)
		c.failed(tag, loginContactAdmin, "[CONTACTADMIN] This account belongs to another login name")
	case errors.Is(err, errNoRoute):
		level.Error(c.log).Log("msg", "nobody keeps this user's mail; is there a worker with this ID in its range?", "user", user, "login", login)
		c.failed(tag, loginNoReplica, "[CONTACTADMIN] No server keeps this account's mail")
	default:
		level.Error(c.log).Log("msg", "no replica can open the session", "user", user)
		c.failed(tag, loginNoReplica, "[UNAVAILABLE] No server for this account can be reached, try again later")
	}
	c.server.users.leave(user)
	return nil
}
