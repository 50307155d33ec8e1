package distributor

import (
	"fmt"
	"sync"

	"github.com/go-pluto/pluto/imap/tunnel"
)

const (
	maxUnconfirmed = 1 << 20 // bytes kept for another replica
	idleBuffer     = 1 << 10 // kept for the next command
)

// unconfirmed is what another replica needs to go on with a session: the last
// checkpoint, and the client's bytes that came after it. It also
// tells whether the client waits for something.
type unconfirmed struct {
	mu         sync.Mutex
	sent       uint64 // client bytes passed on
	confirmed  uint64 // of those, done with
	kept       []byte // those from confirmed to sent, unless lost
	lost       bool   // there were too many to be kept
	asked      bool   // the session waits for its client, inside a command
	checkpoint tunnel.Checkpoint
}

// add notes bytes before they are sent.
func (u *unconfirmed) add(p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.sent += uint64(len(p))
	u.asked = false
	if !u.lost && len(u.kept)+len(p) > maxUnconfirmed {
		u.lost, u.kept = true, nil
	}
	if !u.lost {
		u.kept = append(u.kept, p...)
	}
}

// confirm takes an answer's checkpoint over, after the answer was written.
func (u *unconfirmed) confirm(a *tunnel.Answer) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := a.GetCheckpoint()
	done := p.GetConsumed()
	if done > u.sent || done < u.confirmed {
		return fmt.Errorf("%w: %d bytes consumed after %d, of %d", tunnel.ErrProtocol, done, u.confirmed, u.sent)
	}
	if !u.lost {
		u.kept = u.kept[:copy(u.kept, u.kept[done-u.confirmed:])]
	}
	if u.confirmed = done; done == u.sent {
		u.lost = false
		if cap(u.kept) > idleBuffer {
			u.kept = nil
		}
	}
	u.asked = u.asked || a.GetContinuation()
	u.checkpoint.Consumed, u.checkpoint.Vector = done, p.GetVector()
	if len(p.GetState()) > 0 {
		u.checkpoint.State = p.GetState()
	}
	return nil
}

// rest returns what the client has said beyond the last answer. ok is false if it
// is not known any more.
func (u *unconfirmed) rest() (p []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.kept, !u.lost
}

// silent reports whether the client has said nothing beyond the last answer.
func (u *unconfirmed) silent() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.confirmed == u.sent
}

// idle reports whether the client waits for nothing: it was answered
// everything, or is itself waited for (IDLE, a literal).
func (u *unconfirmed) idle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked || u.confirmed == u.sent
}
