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
//
// A command whose literal is too large is not kept but followed (upload): if its
// replica is lost, another one answers for it.
type unconfirmed struct {
	chunks *chunks

	mu        sync.Mutex
	sent      uint64  // client bytes passed on
	confirmed uint64  // of those, done with
	kept      []byte  // those from confirmed on, up to sent, large, or where they were lost
	large     *upload // the command behind kept that is not kept; nil: none
	lost      bool    // there were too many to be kept
	closed    bool    // no more are taken
	asked     bool    // the session waits for its client, inside a command
	continued uint32  // continuation requests since confirmed

	state  []byte
	vector []byte
	parts  []*chunk // that state refers to
}

// add notes bytes before they are sent. It reports false if they are not to be:
// after closeIdle.
func (u *unconfirmed) add(p []byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return false
	}
	u.sent += uint64(len(p))
	u.asked = false
	u.keep(p)
	return true
}

// keep keeps bytes for another replica.
func (u *unconfirmed) keep(p []byte) {
	if u.lost {
		return
	}
	if u.large != nil {
		if u.lost = !u.large.add(p); u.lost {
			u.kept, u.large = nil, nil
		}
		return
	}
	if len(u.kept)+len(p) <= maxUnconfirmed {
		u.kept = append(u.kept, p...)
		return
	}
	all := append(u.kept, p...)
	start, large, ok := findUpload(all)
	if u.lost = !ok; !ok {
		u.kept = nil
		return
	}
	u.kept, u.large = append([]byte(nil), all[:start]...), large
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
	if done > u.confirmed {
		u.continued = 0
		u.forget(done)
	}
	if a.GetContinuation() {
		u.continued++
		// A quick client may have gone on already: it waits for the end of its command.
		u.asked = a.GetRead() == u.sent
	}
	u.vector = append(u.vector[:0], p.GetVector()...)
	if len(p.GetState()) == 0 {
		return nil
	}
	u.state = append(u.state[:0], p.GetState()...)
	if len(p.GetChunks()) == 0 && len(u.parts) == 0 {
		return nil
	}
	var err error
	u.parts, err = u.chunks.replace(u.parts, p)
	return err
}

// forget drops the bytes up to done.
func (u *unconfirmed) forget(done uint64) {
	n := done - u.confirmed
	u.confirmed = done
	switch {
	case done == u.sent:
		u.lost, u.large = false, nil
		if u.kept = u.kept[:0]; cap(u.kept) > idleBuffer {
			u.kept = nil
		}
	case u.lost:
		u.kept, u.large = nil, nil
	case n <= uint64(len(u.kept)):
		u.kept = u.kept[:copy(u.kept, u.kept[n:])]
	case u.large != nil && u.large.ended && n-uint64(len(u.kept)) >= u.large.size:
		n -= uint64(len(u.kept)) + u.large.size
		u.kept, u.large = u.large.after, nil
		u.kept = u.kept[:copy(u.kept, u.kept[min(n, uint64(len(u.kept))):])]
	default: // in the middle of a command: no checkpoint is there
		u.lost, u.kept, u.large = true, nil, nil
	}
}

// checkpoint returns what another replica goes on from.
func (u *unconfirmed) checkpoint() (p *tunnel.Checkpoint, continued uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p = &tunnel.Checkpoint{
		Consumed: u.confirmed,
		State:    append([]byte(nil), u.state...),
		Vector:   append([]byte(nil), u.vector...),
	}
	for _, c := range u.parts {
		p.Chunks = append(p.Chunks, c.name[:]...)
		p.Data = append(p.Data, c.data)
	}
	return p, u.continued
}

// replay returns a copy of what has to be sent again: bytes, then what stands for
// a command that was not kept (nil: there is none; it may not have ended yet), then
// the bytes after that. ok is false if the session cannot be gone on with.
func (u *unconfirmed) replay() (before []byte, large *upload, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.lost {
		return nil, nil, false
	}
	return append([]byte(nil), u.kept...), u.large, true
}

// finished returns, once the command that was not kept has ended, its tag and size
// and the bytes after it.
func (u *unconfirmed) finished(large *upload) (tag string, size uint64, after []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !large.ended {
		return "", 0, nil, false
	}
	return large.tag, large.size, append([]byte(nil), large.after...), true
}

// total returns how many bytes the client has sent.
func (u *unconfirmed) total() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.sent
}

// release drops what is shared with other sessions, at the end.
func (u *unconfirmed) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.chunks.release(u.parts)
	u.parts = nil
}

// rest returns what the client has said beyond the last answer. ok is false if it
// is not known any more.
func (u *unconfirmed) rest() (p []byte, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.kept, !u.lost && u.large == nil
}

// closeIdle reports whether the client waits for nothing: it was answered
// everything, or is itself waited for (IDLE, a literal). If so nothing more is
// passed on, so that what it says before it has read the BYE is not done either,
// and can be said again elsewhere.
func (u *unconfirmed) closeIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = u.closed || u.asked || u.confirmed == u.sent
	return u.closed
}

// movable reports whether the session can be moved without anybody noticing: the
// client waits for nothing and all that it has sent is kept.
func (u *unconfirmed) movable() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return (u.asked || u.confirmed == u.sent) && !u.lost && u.large == nil
}
