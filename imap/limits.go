package imap

import "time"

// The limits of a session that are the same everywhere. Those of command lines
// and of strings are package wire's, that of messages is in Options.
const (
	maxNameBytes  = 1000 // of a mailbox name in UTF-8
	maxNameLevels = 50   // of a mailbox name
	maxPatterns   = 100  // of one LIST

	maxKeywordBytes = 255  // of one keyword
	maxToldKeywords = 4000 // of one mailbox, that are no more in use but were told
	maxKeywords     = 100  // in one command

	maxFetchItems  = 200 // in one FETCH
	maxSearchDepth = 50  // of parentheses, NOT and OR
	maxSearchKeys  = 2000

	maxSortCriteria = 50
	maxSortKeyBytes = 1 << 10   // of a text that messages are sorted by; what is beyond does not count
	maxSortBytes    = 128 << 20 // of all texts, or identifiers, of one SORT or THREAD

	maxNotifyBytes = 4 << 10 // of the arguments of NOTIFY, for the session to go on elsewhere
	maxNotifyNames = 10000   // mailboxes that NOTIFY watches

	maxContexts       = 16      // searches that a session follows
	maxContextResults = 1 << 20 // of all of them together, but for the first

	maxHeaderBytes = 4 << 20 // of a header that is looked into; what is beyond is not seen

	maxBadInRow = 25 // commands in a row that are no IMAP: then it is no IMAP client

	pieceBytes = 30 << 10 // response bytes that are collected before they are passed on
	pieceSlack = 2 << 10  // for the line that fills a piece

	maxVanished = 1000 // ranges of UIDs in one response
	manyChanges = 500  // messages whose flags are not told in one breath with new numbers

	// A client that is sending a command must get on with it.
	commandStall = 5 * time.Minute // without any byte
	commandGrace = 10 * time.Minute
	commandSpeed = 1 << 10 // bytes per second, after the grace
)

// DefaultAutologout is how long a client may be silent. RFC 3501 section 5.4
// demands 30 minutes at least.
const DefaultAutologout = 30*time.Minute + 30*time.Second
