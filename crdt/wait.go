package crdt

import "slices"

// Wait is what is known of an instance that awaits another UID, or the moment at
// which it is shown, without reading it; the zero value is nothing.
type Wait struct {
	Since int64 // Unix ms when it was read
	Until int64 // Unix ms before which nothing is due for it
	State WaitState
}

// WaitState says why an instance waits.
type WaitState uint8

// The states of a [Wait]: not known, hidden because its UID was refused, shown
// under an older UID, held.
const (
	WaitUnknown WaitState = iota
	WaitHidden
	WaitShown
	WaitHeld
)

// WaitIndex is what a [State] may offer beside its methods: it remembers of
// awaiting instances what was found when they were read last, in memory only,
// and forgets that as soon as one is changed or settled. With it a tick reads
// the messages for which something is due, without one all that wait.
type WaitIndex interface {
	Noted(Instance) Wait
	Note(Instance, Wait)
}

// noted returns what is remembered of an instance, nothing if the clock was set
// back since.
func (s *Site) noted(i Instance) Wait {
	if index, ok := s.State.(WaitIndex); ok {
		if w := index.Noted(i); w.Since <= s.Now {
			return w
		}
	}
	return Wait{}
}

// note remembers that nothing is due for m before a moment.
func (s *Site) note(box MailboxID, m *Message, until int64) {
	index, ok := s.State.(WaitIndex)
	if !ok {
		return
	}
	w := Wait{Since: s.Now, Until: until, State: WaitHidden}
	switch {
	case m.Held:
		w.State = WaitHeld
	case m.Exp != 0:
		w.State = WaitShown
	}
	index.Note(Instance{box, m.Tag}, w)
}

// resting leaves out the instances for which nothing is due yet as far as is
// remembered, and returns when something may be, 0 for never. The leader, which
// acts for all that it knows at once, leaves out only what is held.
func (s *Site) resting(list []Instance) (left []Instance, next int64) {
	left = slices.DeleteFunc(list, func(i Instance) bool {
		w := s.noted(i)
		if w.State == WaitHeld {
			return true // until it is shown it has its own time (Reveal)
		}
		if w.Until <= s.Now || s.Self.Leader {
			return false
		}
		next = earlier(next, w.Until)
		return true
	})
	return left, next
}
