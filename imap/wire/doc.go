// Package wire is the lexical half of IMAP: it cuts a byte stream into commands
// and their arguments, and writes the pieces that responses are made of.
//
// Distributor and worker use this one tokenizer. Where two parsers of the same
// stream disagree about where a command ends, somebody can hide a command in
// the difference; so where a command ends is decided here, in one way, and
// never depends on whether its arguments made sense:
//
//   - A line ends with LF; a CR before it belongs to the line end.
//   - A line that ends with {n}, {n+}, ~{n} or ~{n+} is followed by a literal
//     of n bytes and then by a further line of the same command (RFC 9051
//     section 4.3, RFC 7888, RFC 3516). A synchronising literal ({n}) is
//     followed by nothing until it has been asked for: refused, it ends the command.
//   - The bytes of a literal are never read as a command. What is not wanted is
//     skipped, and where that would be too much the stream is given up.
//
// A [Reader] hands out one [Command] at a time. The command's methods take its
// arguments from left to right; each returns a [*SyntaxError] when the grammar is
// not met, after which [Command.Finish] skips what is left of the command and the
// stream is in step again. Any other error means that the stream cannot be used
// any more; a [*ProtocolError] among them has a text that may be told to the client.
//
// Promises: nothing that a client sends panics; what a command may keep in
// memory is bounded by [Limits]; however the input is cut into reads, the
// commands are the same; a Reader allocates nothing but the strings it hands out.
//
// The package knows no command, no state and no connection: it never writes to
// the client by itself (the request for a literal is a function that the caller
// sets), keeps no clock, and imports nothing else of this module.
//
// The functions whose names begin with Append write responses in the style of
// package strconv. They choose the form (atom, quoted string, literal) so that no
// value, whatever its bytes, can end a line or a response early.
package wire
