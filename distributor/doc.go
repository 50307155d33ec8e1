// Package distributor is the edge node: it is what mail clients connect to.
//
// It terminates TLS, speaks the few commands of IMAP that are allowed before
// login by itself (CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE PLAIN,
// LOGOUT), authenticates, and opens the session on the first of the user's replicas
// that can serve it. From then on it moves bytes.
//
// Promises:
//
//   - No password is asked for or taken on a connection without TLS, and nothing
//     that came before STARTTLS has finished has any meaning after it.
//   - Where a client's commands begin and end before login is decided by imap/wire,
//     which the sessions use too; what was read beyond the LOGIN goes to the session
//     before anything else.
//   - A login goes to the primary whenever that can be reached. Otherwise it goes to
//     the next replica within OpenTimeout, and when none can serve it the client
//     is told NO [UNAVAILABLE] and may try again.
//   - When a session's node is lost, its client is told BYE [UNAVAILABLE], at the end of a line or
//     not at all: never in the middle of an answer.
//   - A client that is slow, silent, broken or hostile costs others nothing: there is
//     a limit on connections in all and of each user, on the time until a login, on
//     failed logins and on commands that are none; writes to it have to progress.
//   - Passwords are in no log and no metric, and neither are logins that failed:
//     people type the one in place of the other.
//   - A client may compress (RFC 4978) and may log in again (RFC 8437): both are decided
//     by the session and done here, because they outlive it.
//
// The bytes of a session that its node has not confirmed are kept, as is the last checkpoint,
// up to a limit: another replica can go on from them.
package distributor
