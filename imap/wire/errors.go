package wire

// SyntaxError says that a command does not meet the grammar or exceeds a limit.
// After [Command.Finish] (which [Reader.Next] calls by itself) the stream is in
// step and the session can go on: the client is told a tagged BAD, or an
// untagged one when Tag is empty.
type SyntaxError struct {
	Tag     string // of the command, as far as it is known
	Message string // for the client: printable ASCII without line ends
	Limit   bool   // well-formed perhaps, but longer than the limits allow
}

// Error returns the message.
func (e *SyntaxError) Error() string { return e.Message }

// ProtocolError says that the stream cannot be brought in step again, and why.
// The client gets a BYE with the message.
type ProtocolError struct {
	Message string // for the client: printable ASCII without line ends
}

// Error returns the message.
func (e *ProtocolError) Error() string { return e.Message }
