package crdt

import "fmt"

// Forgetting says how far a pass of [Site.Forget] has come. The zero value
// begins one.
type Forgetting struct {
	filing  Filing
	replay  Replay
	replays bool // the file of twins is done
	done    bool
}

// Done reports whether the pass has seen everything.
func (f Forgetting) Done() bool { return f.done }

// Forget drops what instances keep only for concurrent operations that may yet
// arrive, where those that made them are causally stable (crdt.md 2.3): the
// causes of commands, the sources of MOVEs, and the memory of replays. stable
// must be such that whatever is applied here later depends on all of it, also
// what members make that were away for long. Forgetting changes nothing that
// anybody sees, now or later: what decides between twins never concerns
// operations of which one depends on the other.
//
// One call looks at no more than n entries; the caller goes on with what it
// returns, in this or in another transaction. It is no operation.
func (s *Site) Forget(stable VC, from Forgetting, n int) (Forgetting, error) {
	if !from.replays {
		return s.forgetTwins(stable, from, n)
	}
	return s.forgetReplays(stable, from, n)
}

func (s *Site) forgetTwins(stable VC, from Forgetting, n int) (Forgetting, error) {
	list, err := s.State.Filed(from.filing, n)
	if err != nil {
		return from, fmt.Errorf("filed twins: %w", err)
	}
	for _, f := range list {
		from.filing = f
		if !stable.Has(f.At.Tag.Dot()) {
			continue
		}
		if err := s.forgetTwin(f); err != nil {
			return from, fmt.Errorf("forget cause of %v: %w", f.At.Tag, err)
		}
	}
	from.replays = len(list) < n
	return from, nil
}

// forgetTwin makes one instance an ordinary one, unless another MOVE of the same
// source competes with it.
func (s *Site) forgetTwin(f Filing) error {
	if !f.Key.Source.IsZero() {
		twins, err := s.State.Twins(f.Key)
		if err != nil || len(twins) > 1 {
			return err
		}
	}
	m, err := s.State.Message(f.At.Box, f.At.Tag)
	if err != nil {
		return err
	}
	if m != nil {
		m.Src, m.SrcTime, m.Cause, m.Copied = Tag{}, 0, Cause{}, false
		if err := s.State.PutMessage(f.At.Box, m); err != nil {
			return err
		}
	}
	return s.State.RemoveTwin(f.Key, f.At)
}

func (s *Site) forgetReplays(stable VC, from Forgetting, n int) (Forgetting, error) {
	list, err := s.State.Replays(from.replay, n)
	if err != nil {
		return from, fmt.Errorf("remembered replays: %w", err)
	}
	var gone uint32
	for _, r := range list {
		from.replay = r
		if !stable.Has(r.Tag.Dot()) {
			continue
		}
		if err := s.State.RemoveReplay(r); err != nil {
			return from, fmt.Errorf("forget replay %v: %w", r.Tag, err)
		}
		gone++
	}
	from.done = len(list) < n
	if gone == 0 {
		return from, nil
	}
	a, err := s.State.Account()
	if err != nil {
		return from, fmt.Errorf("account: %w", err)
	}
	a.Replays -= min(gone, a.Replays)
	return from, s.State.PutAccount(a)
}
