package distributor

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/tunnel"
	"google.golang.org/protobuf/proto"
)

// A session that is lost is opened at the next replica with the last checkpoint,
// and gets what its client has said since. That is at once when the connection
// broke, because then the node's end of it ends too, or after tunnel.SilentTime
// without a beat, when no lease lasts any more (replication.md). The client is told
// nothing.

// Why sessions move, for logs and metrics.
const (
	moveDied    = "died"    // the stream broke
	moveSilent  = "silent"  // no beat came
	moveDrained = "drained" // the node wanted to be rid of it
	moveHome    = "home"    // a preferred node can be had again
)

var (
	errReplaced = errors.New("session goes on elsewhere")
	errLeave    = errors.New("node wants to be rid of the session")
	errSilent   = errors.New("no beat of the node has come")
	errTorn     = errors.New("lost in the middle of a response that cannot be finished")
)

const (
	hurry      = 2 * time.Second // after a move: another one is one too many
	maxHurried = 6               // of those: something is wrong with the session
	retryFirst = 20 * time.Millisecond
	retryLast  = 500 * time.Millisecond
)

// next returns the session that follows one that has ended with err, nil and why if
// there is none.
func (r *relay) next(old *opened, err error) (*opened, error) {
	if now := r.current(); now != old {
		return now, nil // moved by plan
	}
	if errors.Is(err, errBye) || errors.Is(err, errClientGone) || r.isOver() {
		return nil, err
	}
	if err == io.EOF {
		err = errors.New("ended by the node")
	}
	if errors.Is(err, errTorn) || errors.Is(err, tunnel.ErrProtocol) {
		return nil, err
	}
	old.end() // whoever sends to it is let go
	r.sending.Lock()
	if now := r.current(); now != old {
		r.sending.Unlock()
		return now, nil
	}
	session, why := r.move(old, err)
	if session == nil {
		r.sending.Unlock()
		return nil, errors.Join(err, why)
	}
	// This goroutine receives, so that the node can take what another one sends.
	go func() {
		defer r.sending.Unlock()
		r.replay(session)
	}()
	return session, nil
}

func (r *relay) current() *opened {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.session
}

// isOver reports whether nobody waits for the session any more.
func (r *relay) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended || r.left
}

// leaving ends the search for another node when the client is gone.
func (r *relay) leaving() {
	if r.sending.TryLock() { // no move is under way
		r.sending.Unlock()
		return
	}
	r.cancel()
}

// reason says why a session has ended, for metrics.
func reason(old *opened, err error) string {
	switch {
	case errors.Is(err, errLeave):
		return moveDrained
	case errors.Is(context.Cause(old.Context()), errSilent), errors.Is(err, tunnel.ErrStalled):
		return moveSilent
	}
	return moveDied
}

// move opens the session somewhere else, or again where it was. r.sending is held.
func (r *relay) move(old *opened, cause error) (*opened, error) {
	if err := r.mayMove(); err != nil {
		return nil, err
	}
	began, why := time.Now(), reason(old, cause)
	session, err := r.search(old.replica, began.Add(r.client.limits.MoveTimeout))
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.set(session)
	r.wanted, r.fresh = "", true
	if r.repeat = nil; r.delivered != nil {
		r.repeat = newRepeat(r.delivered)
	}
	r.mu.Unlock()
	r.noteMove(old, session, why, time.Since(began))
	return session, nil
}

// mayMove returns why the session cannot go on elsewhere.
func (r *relay) mayMove() error {
	if r.hurried++; time.Since(r.moved) > hurry {
		r.hurried = 0
	}
	if r.hurried > maxHurried {
		return errors.New("lost too often in a row")
	}
	if _, _, ok := r.bytes.replay(); !ok {
		return errors.New("more was sent than is kept")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.delivered != nil && r.delivered.once {
		return errTorn
	}
	return nil
}

// set makes a session the relay's. r.mu is held.
func (r *relay) set(session *opened) {
	r.count(-1)
	r.session = session
	r.at.Store(session)
	r.count(1)
}

// count counts the sessions of each replica, and those that are not where they are at home.
func (r *relay) count(n int64) {
	if r.session == nil {
		return
	}
	r.client.server.metrics.at.WithLabelValues(r.session.replica.Name).Add(float64(n))
	if len(r.list) > 0 && r.session.replica != r.list[0] {
		r.client.server.away.Add(n)
	}
}

func (r *relay) noteMove(old, session *opened, why string, took time.Duration) {
	c := r.client
	r.moved = time.Now()
	c.server.metrics.moves.WithLabelValues(why, session.replica.Name).Inc()
	c.server.metrics.moveSeconds.WithLabelValues(why).Observe(took.Seconds())
	level.Info(c.log).Log("msg", "session moved", "user", r.open.UserId, "from", old.replica.Name, "to", session.replica.Name,
		"reason", why, "took", took)
}

// search tries the session's replicas until one has it or time is up. Where it was
// is tried last: it may be the session that is at fault there.
func (r *relay) search(was Replica, until time.Time) (*opened, error) {
	pause := retryFirst
	for {
		session, err := r.searchOnce(was, r.client.limits.homeWait(), false)
		if errors.Is(err, errBehind) { // nobody has all of it yet
			session, err = r.searchOnce(was, r.client.limits.ResumeWait, false)
		}
		if errors.Is(err, errBehind) {
			// Nobody has all that the session has seen. That is no loss if what it
			// wrote itself is there.
			session, err = r.searchOnce(was, 0, true)
		}
		if err == nil || errors.Is(err, errBehind) || final(err) {
			return session, err
		}
		if time.Until(until) < pause {
			return nil, fmt.Errorf("%w in time", err)
		}
		r.client.server.replicas.hasten(r.list)
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return nil, r.ctx.Err()
		}
		pause = min(2*pause, retryLast)
	}
}

// searchOnce tries each replica once, those first that look well.
func (r *relay) searchOnce(was Replica, wait time.Duration, shortfall bool) (*opened, error) {
	behind := false
	for _, which := range r.client.server.replicas.preferred(r.list, was) {
		session, err := r.try(which, wait, shortfall)
		switch {
		case err == nil, final(err):
			return session, err
		case r.ctx.Err() != nil:
			return nil, r.ctx.Err()
		}
		behind = behind || errors.Is(err, errBehind)
		level.Info(r.client.log).Log("msg", "replica does not take a session over", "replica", which.Name, "user", r.open.UserId, "err", err)
	}
	if behind {
		return nil, errBehind
	}
	return nil, errNoReplica
}

// final reports whether a replica's refusal is an answer for all: nobody goes on with
// the session. One whose account lives in another subnet, or will, begins anew there.
func final(err error) bool {
	var moved *movedError
	return errors.Is(err, errNotResumable) || errors.Is(err, errContactAdmin) || errors.As(err, &moved)
}

// try opens the session at a replica as it is now.
func (r *relay) try(which Replica, wait time.Duration, shortfall bool) (*opened, error) {
	open := proto.CloneOf(r.open)
	open.Tag = ""
	open.Checkpoint, open.Continued = r.bytes.checkpoint()
	r.attempts++
	open.Attempt, open.Sent = r.attempts, r.bytes.total()
	open.WaitMilliseconds, open.Shortfall = uint32(wait.Milliseconds()), shortfall
	session, err := r.client.server.replicas.try(r.ctx, which, open)
	r.client.server.metrics.opens.WithLabelValues(which.Name, openResult(err)).Inc()
	return session, err
}

// replay sends what the session's node before may not have done. r.sending is held.
func (r *relay) replay(session *opened) {
	before, large, _ := r.bytes.replay()
	r.client.server.metrics.replayed.Add(float64(len(before)))
	if len(before) > 0 && session.Send(before) != nil {
		return // Recv says why
	}
	if r.swallow = large; large != nil {
		r.standIn()
	}
}

// standIn sends, when a command that was not kept has ended, what is answered in
// its place, and what follows it. r.sending is held.
func (r *relay) standIn() {
	tag, size, after, ok := r.bytes.finished(r.swallow)
	if !ok {
		return
	}
	r.swallow = nil
	line := fmt.Appendf(nil, "%s XPLUTOLOST %s %d\r\n", tag, hex.EncodeToString(r.open.GetSession()), size)
	if r.session.Send(line) != nil {
		return
	}
	r.session.Stands(uint64(len(line)), size)
	if len(after) > 0 {
		_ = r.session.Send(after) // Recv says why
	}
}

// want asks for the session to be moved, to a replica that is preferred to where it
// is or away from a node that drains, as soon as its client waits for nothing.
func (r *relay) want(why string) {
	if !r.mu.TryLock() {
		return // somebody writes to the client, which takes what time it wants; it is asked again
	}
	defer r.mu.Unlock()
	r.wanted = why
	r.moveIfWanted()
}

// moveIfWanted begins to move the session if that is asked for and possible. r.mu
// is held.
func (r *relay) moveIfWanted() {
	if r.wanted == "" || r.ended || r.left || r.draining || r.delivered != nil || r.repeat != nil || !r.bytes.movable() {
		return
	}
	why := r.wanted
	r.wanted = ""
	r.client.server.running.Go(func() { r.movePlanned(why) })
}

// movePlanned opens the session elsewhere while it still is where it was, and
// switches over if neither its client nor its node has said anything meanwhile.
func (r *relay) movePlanned(why string) {
	limit := r.client.server.movers
	select {
	case limit <- struct{}{}:
		defer func() { <-limit }()
	case <-r.ctx.Done():
		return
	}
	r.sending.Lock()
	defer r.sending.Unlock()
	r.mu.Lock()
	old, heard := r.session, r.heard
	ready := !r.ended && !r.left && !r.draining && r.delivered == nil && r.bytes.movable()
	r.mu.Unlock()
	if !ready {
		return // what asked for it asks again
	}
	began := time.Now()
	for _, which := range r.client.server.replicas.better(r.list, old.replica) {
		session, err := r.try(which, r.client.limits.homeWait(), false)
		if err != nil {
			level.Debug(r.client.log).Log("msg", "session stays", "replica", which.Name, "err", err)
			continue
		}
		r.mu.Lock()
		switched := !r.ended && !r.left && r.session == old && r.heard == heard
		if switched {
			r.set(session)
			r.fresh = true
		}
		r.mu.Unlock()
		if !switched {
			session.end()
			return
		}
		old.end() // who receives from it finds the new one
		r.noteMove(old, session, why, time.Since(began))
		r.replay(session)
		return
	}
}
