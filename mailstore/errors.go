package mailstore

import "errors"

// Errors of Account and Mailbox methods that mean something to a client (RFC
// 5530). They come wrapped; everything else is our own fault.
var (
	ErrNonexistent   = errors.New("no such mailbox")
	ErrAlreadyExists = errors.New("mailbox already exists")
	ErrCannot        = errors.New("not possible for this mailbox")
	ErrExpunged      = errors.New("message has been expunged")
	ErrTooBig        = errors.New("message is too big")
	ErrLimit         = errors.New("limit reached")
	ErrOverQuota     = errors.New("quota exceeded")
	ErrDiskFull      = errors.New("no space left for mail")
	ErrUnavailable   = errors.New("temporarily unavailable")
	ErrReadOnly      = errors.New("mailbox is read-only")
	// ErrContactAdmin is returned by Open for an account that is bound to
	// another login name.
	ErrContactAdmin = errors.New("account belongs to another login name")
	// ErrCut is returned by Replica.Read for operations that are no longer in the log.
	ErrCut = errors.New("operation is no longer in the log")
)
