package comm

import (
	"context"
	"errors"

	"github.com/go-pluto/pluto/crdt"
)

// Snapshots is what carrying accounts between members needs of a replica's disk
// (crdt.md 6.3). Its methods may be called concurrently, but there is one load at
// a time.
type Snapshots interface {
	// List returns the accounts of this replica and the vector of what it had
	// applied. Until release is called the log is kept behind the vector, and the
	// contents that accounts refer to there.
	List() (v crdt.VC, accounts []crdt.AccountID, release func(), err error)
	// Hold does that with an earlier vector; false: the log begins behind it already.
	Hold(v crdt.VC) (release func(), ok bool)
	// Give calls f with each piece of a snapshot of an account. An error that
	// wraps [ErrNotGiven] says that there is none to be had here now.
	Give(user crdt.AccountID, f func(piece []byte) error) error

	// Begin begins to load accounts of a peer whose log begins behind cut, or
	// goes on with another list. What is loaded stays so unless it is from
	// before cut.
	Begin(v, cut crdt.VC, accounts []crdt.AccountID) error
	// Progress tells how far the load has come, also that of an earlier life;
	// false if none is under way.
	Progress() (LoadProgress, bool, error)
	// Feed takes a piece of a snapshot and returns when it is durable.
	Feed(piece []byte) error
	// Merge takes over an account of which all pieces are here. It goes on where
	// it was interrupted.
	Merge(ctx context.Context, user crdt.AccountID) error
	// Finish ends the load: Logged and Cut of the [Store] rise. Accounts that
	// nobody gives may be left out: until they come by Reload they are not served,
	// and operations about them are logged and not applied.
	Finish(without []crdt.AccountID) error
	// Reload loads one account by itself, whose pieces next returns until io.EOF.
	Reload(ctx context.Context, user crdt.AccountID, next func() (piece []byte, err error)) error
	// Missing returns up to n contents behind one (the zero value: from the
	// first) that are referred to and not here.
	Missing(behind crdt.Root, n int) ([]crdt.Root, error)
}

// LoadProgress says how far a load has come.
type LoadProgress struct {
	Vector crdt.VC // of the list
	Loaded int
	Staged []crdt.AccountID // all pieces are here: to be merged
	Left   []crdt.AccountID
}

// ErrNotGiven is wrapped by errors of [Snapshots.Give] that concern one account:
// it is in quarantine, or being loaded itself.
var ErrNotGiven = errors.New("no snapshot of this account now")

// MaxPiece is the largest piece of a snapshot, in bytes.
const MaxPiece = 4 << 20
