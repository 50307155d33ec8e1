// Package imap is the protocol engine: it runs the sessions of authenticated
// clients on the node that keeps their mail. The distributor has done greeting,
// TLS and login; [Serve] answers the login and then every command until the
// client leaves.
//
// The engine speaks IMAP4rev1 (RFC 3501) and, for clients that enable it, IMAP4rev2
// (RFC 9051), with the extensions that [Capabilities]
// lists. It reads commands with package wire, knows the form of messages from
// package mime, and knows mail only through the interfaces of mail.go. One
// goroutine runs a session; a second one reads the connection during IDLE and
// ends with it.
//
// Promises:
//
//   - Every tagged command is answered by exactly one tagged line, unless the
//     session ends. Errors have three kinds (errors.go): the client's grammar
//     (BAD), a legal wish that cannot be had (NO with a code of RFC 5530), and our
//     own fault (NO [SERVERBUG] with an identifier that the log has too).
//   - Message sequence numbers mean what the client was told. The session keeps
//     two immutable views of the selected mailbox: the one that it has told and
//     the newest. Only where RFC 3501 section 7.4.1 allows an EXPUNGE does the first
//     become the second; until then a message that somebody else expunged can
//     still be fetched, searched and flagged by its number (view.go).
//   - What is bounded by design stays so: a command by the limits of package wire,
//     a message by Options.MaxMessageSize, names, patterns, keywords and search
//     programs by limits.go. Bodies pass through in pieces.
//   - Responses go out in few large writes, and always before the session waits
//     for its client. With each go the client bytes that are done with and, when
//     it has changed, the state from which another node could go on (state.go).
//   - A panic ends its own session, is logged with its stack and counted.
//
// The engine holds no lock while it writes, never interprets a mailbox name as
// a path, never logs message contents, and keeps no state outside the session.
package imap
