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
//     the next replica within OpenTimeout. When none can serve it they are asked again
//     for LoginWait; then the client is told NO [UNAVAILABLE] and may try again.
//   - When a session's node is lost, hangs or drains, the session goes on at the next of
//     the user's replicas: at once when the connection broke, 2 s after the last sign of
//     life otherwise. Its client is told nothing: what it sent is sent again, what it
//     has of an answer it does not get twice (move.go, repeat.go). An upload of more than a
//     megabyte is not kept; it is answered NO [UNAVAILABLE], in its place, unless it is
//     known to be done (upload.go).
//   - Only where nobody can go on, for MoveTimeout, or in the middle of a message that
//     cannot be had the same again, does the client lose its session: with BYE
//     [UNAVAILABLE], but never in the middle of a response. So it does, at once, where
//     its account is moved to another subnet.
//   - A shutdown sends clients away one after the other, each when it waits for nothing.
//     What a client says after that, before it has read the BYE, is not done: it can be
//     said elsewhere.
//   - Sessions go back to the node that is preferred when that has been well for a
//     while, which doubles each time it is lost, and has what they have seen (health.go).
//   - A session costs a bounded amount of memory: 40 KiB when it is idle (lazyconn.go); a
//     megabyte of unconfirmed bytes twice, usually nothing; the state, of which what is
//     large is kept once for all sessions with the same (chunks.go).
//   - A client that is slow, silent, broken or hostile costs others nothing: there is
//     a limit on connections in all and of each user, on the time until a login, on
//     failed logins and on commands that are none; writes to it have to progress.
//   - Passwords are in no log and no metric, and neither are logins that failed:
//     people type the one in place of the other.
//   - A client may compress (RFC 4978) and may log in again (RFC 8437): both are decided
//     by the session and done here, because they outlive it.
package distributor
