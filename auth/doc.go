// Package auth decides whether somebody who names a login and a password is
// that user, and which user ID belongs to it.
//
// An [Authenticator] answers with the ID and the login as it is stored, with
// [ErrCredentials] (the client's fault: NO [AUTHENTICATIONFAILED]), or with an
// error that wraps [ErrUnavailable] (ours: NO [UNAVAILABLE]); never with "no
// such user" as something else than "wrong password". There are two:
// [File], a text file that is re-read when it changes, and [Postgres], a table
// users(id, username, password). Both understand the same password formats,
// see [ParseHash].
//
// How long an answer takes does not tell whether a login exists: for one that
// does not, a password is verified against a hash nobody has, of the format
// in use. (Where formats are mixed the difference between formats remains.)
// Verifying is limited to as many at a time as there are processors, so that
// a flood of logins with a memory-hard hash cannot take all memory.
//
// [Throttle] slows guessing down, per client address and per login, in bounded
// memory and without locking a user out. [ParsePlain] reads what SASL PLAIN
// carries.
//
// Everything here may be used concurrently. Passwords and hashes never appear
// in logs or errors.
package auth
