package crdt

import "fmt"

// Bounds of what a client can make a mailbox skip by naming UIDs that nobody
// here has heard of (crdt.md 4.3).
const (
	evidenceStep   = 1 << 16       // UIDs at once
	evidencePerDay = 1 << 20       // UIDs of a mailbox in a day
	evidencePause  = 60 * 1000     // ms between two
	evidenceDay    = 24 * 3600_000 // ms
)

// Evidence is what a mailbox has skipped because clients named it.
type Evidence struct {
	Last  int64 // Unix ms when UIDs were skipped last, 0 never
	Since int64 // Unix ms when the day began for which Spent counts
	Spent UID   // UIDs skipped in that day
}

// allowed returns how many UIDs may be skipped now. A clock that was set back
// allows too much once rather than nothing for long.
func (e *Evidence) allowed(now int64) UID {
	switch {
	case now >= e.Last && now < e.Last+evidencePause:
		return 0
	case now < e.Since || now >= e.Since+evidenceDay:
		return evidenceStep
	}
	return min(evidenceStep, evidencePerDay-min(e.Spent, evidencePerDay))
}

// spend notes that n UIDs were skipped.
func (e *Evidence) spend(now int64, n UID) {
	if now < e.Since || now >= e.Since+evidenceDay {
		e.Since, e.Spent = now, 0
	}
	e.Last = now
	e.Spent += n
}

// Evidence is called when a client asks for every message from a UID on: it has
// been told that UIDNEXT is at least that, maybe by another replica, and will not
// ask for what is below. So nothing below may become visible here any more: what
// arrives late is refused and gets another UID, which the client finds. Naming
// UIDs above all that were heard of here uses them up, in bounds (crdt.md 4.3).
//
// It reads and at most writes the mailbox record. If N has changed, that must be
// durable before any client is told of the UIDNEXT that follows from it.
func (s *Site) Evidence(box MailboxID, from UID) error {
	b, err := s.mailbox(box)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	if b == nil || from.Era() != b.Era() || from <= b.H+1 {
		return nil // nothing new, or about an era that is over
	}
	told := min(from-1, NewUID(b.Era(), MaxNumber))
	known := max(b.N, b.H)
	if told > known {
		skip := min(told-known, b.Evidence.allowed(s.Now))
		if told = known + skip; skip > 0 {
			b.Evidence.spend(s.Now, skip)
			b.N = told
		}
	}
	if told <= b.H {
		return nil
	}
	b.H, b.N = told, max(b.N, told)
	if err := s.State.PutMailbox(b); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	return nil
}
