package mailnode

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// snapshots is a mailstore replica as replication wants it that carries accounts
// between members.
type snapshots struct{ r *mailstore.Replica }

var _ comm.Snapshots = snapshots{}

// List implements comm.Snapshots.
func (s snapshots) List() (crdt.VC, []crdt.AccountID, func(), error) {
	all := s.r.Hold(nil) // nothing goes between the list and what is kept for it
	defer all()
	list, err := s.r.ListSnapshots()
	if err != nil {
		return nil, nil, nil, err
	}
	return list.Vector, list.Accounts, s.r.Hold(list.Vector), nil
}

// Hold implements comm.Snapshots.
func (s snapshots) Hold(v crdt.VC) (func(), bool) {
	release := s.r.Hold(v)
	if !s.r.Cut().LessEqual(v) {
		release()
		return nil, false
	}
	return release, true
}

// Give implements comm.Snapshots.
func (s snapshots) Give(user crdt.AccountID, f func([]byte) error) (err error) {
	reader, err := s.r.Snapshot(user)
	if errors.Is(err, mailstore.ErrUnavailable) {
		return fmt.Errorf("%w: %w", comm.ErrNotGiven, err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	for {
		piece, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(piece); err != nil {
			return err
		}
	}
}

// Begin implements comm.Snapshots.
func (s snapshots) Begin(v, cut crdt.VC, accounts []crdt.AccountID) error {
	return s.r.BeginLoad(mailstore.SnapshotList{Vector: v, Cut: cut, Accounts: accounts})
}

// Progress implements comm.Snapshots.
func (s snapshots) Progress() (out comm.LoadProgress, under bool, err error) {
	p, err := s.r.LoadProgress()
	if errors.Is(err, mailstore.ErrNoLoad) {
		return out, false, nil
	}
	if err != nil {
		return out, false, err
	}
	out.Vector, out.Loaded = p.Vector, p.Loaded
	for _, a := range p.Left {
		if a.Staged {
			out.Staged = append(out.Staged, a.Account)
		} else {
			out.Left = append(out.Left, a.Account)
		}
	}
	return out, true, nil
}

// Feed implements comm.Snapshots.
func (s snapshots) Feed(piece []byte) error { return s.r.FeedLoad(piece) }

// Merge implements comm.Snapshots.
func (s snapshots) Merge(ctx context.Context, user crdt.AccountID) error {
	return s.r.MergeLoad(ctx, user)
}

// Finish implements comm.Snapshots.
func (s snapshots) Finish(without []crdt.AccountID) error { return s.r.FinishLoad(without...) }

// Reload implements comm.Snapshots.
func (s snapshots) Reload(ctx context.Context, user crdt.AccountID, next func() ([]byte, error)) error {
	return s.r.ReloadAccount(ctx, user, next)
}

// Missing implements comm.Snapshots.
func (s snapshots) Missing(behind crdt.Root, n int) ([]crdt.Root, error) {
	return s.r.MissingContents(behind, n)
}
