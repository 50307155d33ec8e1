package crdt

import (
	"maps"
	"slices"
)

// Twins implements State.
func (s *Memory) Twins(key TwinKey) ([]Instance, error) { return sortedInstances(s.twins[key]), nil }

// AddTwin implements State.
func (s *Memory) AddTwin(key TwinKey, i Instance) error {
	if s.twins[key] == nil {
		s.twins[key] = make(map[Instance]bool)
	}
	s.twins[key][i] = true
	return nil
}

// RemoveTwin implements State.
func (s *Memory) RemoveTwin(key TwinKey, i Instance) error {
	if delete(s.twins[key], i); len(s.twins[key]) == 0 {
		delete(s.twins, key)
	}
	return nil
}

// Filed implements State.
func (s *Memory) Filed(behind Filing, n int) ([]Filing, error) {
	var out []Filing
	for key, group := range s.twins {
		for i := range group {
			if f := (Filing{key, i}); f.Compare(behind) > 0 {
				out = append(out, f)
			}
		}
	}
	slices.SortFunc(out, Filing.Compare)
	return out[:min(n, len(out))], nil
}

// ReplaysOf implements State.
func (s *Memory) ReplaysOf(key TwinKey) ([]Replay, error) {
	var out []Replay
	for r := range s.replays {
		if r.Key == key {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, Replay.Compare)
	return out, nil
}

// AddReplay implements State.
func (s *Memory) AddReplay(r Replay) error {
	s.replays[r] = true
	return nil
}

// RemoveReplay implements State.
func (s *Memory) RemoveReplay(r Replay) error {
	delete(s.replays, r)
	return nil
}

// Replays implements State.
func (s *Memory) Replays(behind Replay, n int) ([]Replay, error) {
	out := slices.SortedFunc(maps.Keys(s.replays), Replay.Compare)
	out = slices.DeleteFunc(out, func(r Replay) bool { return r.Compare(behind) <= 0 })
	return out[:min(n, len(out))], nil
}
