// Package mime knows the structure of mail messages as IMAP shows it: ENVELOPE,
// BODY and BODYSTRUCTURE, the sections that BODY[...] names, and the decoded
// text that SEARCH looks into and PREVIEW begins with (RFC 9051, RFC 5322, RFC 2045
// to 2047, RFC 2231, RFC 8970).
//
// A message is read once, when it is appended: [Parse] streams over it and
// returns a [Structure], whose encoded form is stored beside the message. From
// then on everything but the content itself comes from that: a FETCH of an
// envelope reads no message, and a FETCH of a part reads just its bytes. The
// structure keeps header fields as they stand in the message, unfolded but
// neither parsed nor decoded, so that a better reading of them needs no new
// format.
//
// What the package promises:
//
//   - Any bytes are a message. There is no invalid one, only one that shows less
//     structure. Nothing here panics, whatever the bytes.
//   - Time is linear in the input, memory bounded by the limits (MaxDepth,
//     MaxParts, MaxField, MaxText), not by the message.
//   - Parts lie within the parts around them, headers and bodies side by side: a
//     message is its header and its body, byte for byte. Sizes and offsets are
//     of the stored bytes; line ends are not changed.
//   - Stored structures stay readable. What cannot be read is [ErrVersion] or
//     [ErrCorrupt], and can be made anew from the message.
//   - Answers are as Dovecot's for the same message, but for what
//     DIFFERENCES.md lists.
//
// It never writes, repairs or generates messages, and knows nothing of
// mailboxes, sessions or the network.
package mime
