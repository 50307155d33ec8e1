package comm

import (
	"slices"
	"sync"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Which accounts have sessions where goes with the heartbeats: each once when its
// session begins and again every announceEvery while one lasts. A replica that
// opens a session of an account that was used elsewhere in the last usedFor asks
// the peers what they have first (crdt.md 4.3).
const (
	usedFor       = 10 * time.Minute
	announceEvery = 5 * time.Minute
	// maxAnnounced bounds how many accounts one heartbeat names; the others
	// follow with the next ones.
	maxAnnounced = 4096
)

// sessions counts the sessions of each account at this replica. The zero value
// is ready to use.
type sessions struct {
	mu sync.Mutex
	n  map[crdt.AccountID]int
}

// Session tells that a client session of an account begins here; end, that it is
// over. Peers learn of it with the next heartbeat.
func (g *Group) Session(account crdt.AccountID) (end func()) {
	s := &g.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = make(map[crdt.AccountID]int)
	}
	s.n[account]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.n[account]--; s.n[account] == 0 {
			delete(s.n, account)
		}
	})
}

// list returns the accounts that have sessions, ascending.
func (s *sessions) list() []crdt.AccountID {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]crdt.AccountID, 0, len(s.n))
	for id := range s.n {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// announcer knows when a peer was told of which account. The zero value has told nothing.
type announcer struct{ told map[crdt.AccountID]time.Time }

// tell returns which of the accounts in use are to be told now.
func (a *announcer) tell(used []crdt.AccountID, now time.Time) []uint32 {
	next := make(map[crdt.AccountID]time.Time, len(used))
	var out []uint32
	for _, id := range used {
		at, ok := a.told[id]
		if (!ok || now.Sub(at) >= announceEvery) && len(out) < maxAnnounced {
			out = append(out, uint32(id))
			at, ok = now, true
		}
		if ok {
			next[id] = at
		}
	}
	a.told = next
	return out
}

// elsewhere knows which accounts were used at peers lately. The zero value is
// ready to use.
type elsewhere struct {
	mu     sync.Mutex
	at     map[crdt.AccountID]time.Time
	purged time.Time
}

// UsedElsewhere reports whether an account had a session at a peer in the last
// ten minutes, as far as is known.
func (g *Group) UsedElsewhere(account crdt.AccountID) bool {
	e := &g.elsewhere
	e.mu.Lock()
	defer e.mu.Unlock()
	at, ok := e.at[account]
	return ok && time.Since(at) < usedFor
}

// heard takes what a peer told. What is old is forgotten.
func (e *elsewhere) heard(used []uint32, now time.Time) {
	if len(used) > maxAnnounced {
		used = used[:maxAnnounced]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = make(map[crdt.AccountID]time.Time)
	}
	for _, id := range used {
		e.at[crdt.AccountID(id)] = now
	}
	if now.Sub(e.purged) < announceEvery {
		return
	}
	e.purged = now
	for id, at := range e.at {
		if now.Sub(at) >= usedFor {
			delete(e.at, id)
		}
	}
}
