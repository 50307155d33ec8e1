package crdt

import "fmt"

// LoadReplays remembers replays that the source of a snapshot remembers, in any
// portions: what they supersede here is removed, and what they supersede and is
// still to come will not be added (crdt.md 2.3).
func (s *Site) LoadReplays(l *Load, list []Replay) error {
	check := func(*work) error { return checkReplays(l, list) }
	_, err := s.load(l, check, func(w *work) error {
		for _, r := range list {
			if err := w.loadReplay(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load replays: %w", err)
	}
	return nil
}

func checkReplays(l *Load, list []Replay) error {
	for _, r := range list {
		if err := checkReplay(l.Theirs, r); err != nil {
			return err
		}
	}
	return nil
}

func checkReplay(theirs VC, r Replay) error {
	if r.Attempt == 0 || !theirs.Has(r.Tag.Dot()) || r.Key.Cause.Attempt != 0 {
		return impossible("attempt %d by %v is remembered", r.Attempt, r.Tag)
	}
	return nil
}

// loadReplay does nothing for a replay that is known here: it may be stable by
// now, and what it supersedes was removed when it came.
func (w *work) loadReplay(r Replay) error {
	if w.load.Ours.Has(r.Tag.Dot()) {
		return nil
	}
	if err := w.remember(r); err != nil {
		return err
	}
	return w.supersede(r, nil, Instance{})
}
