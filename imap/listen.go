package imap

// A client that has used NOTIFY listens all the time (RFC 5465 section 3.1): while
// the session waits for its next command, what happens is told at once, as during
// IDLE.

// received is what a Read of the connection returned.
type received struct {
	n   int
	err error
}

// listens reports whether the client is to be told things between commands.
func (s *session) listens() bool {
	n := s.notify
	return n != nil && (n.watch != nil || n.selected.events != 0)
}

// readListening is Read of the connection while the client listens. Another
// goroutine reads; this one announces and waits for the other's end in any case.
func (s *session) readListening(p []byte) (int, error) {
	done := make(chan received, 1)
	go func() {
		defer func() {
			if value := recover(); value != nil {
				done <- received{0, s.recovered(value)}
			}
		}()
		n, err := s.conn.Read(p)
		done <- received{n, err}
	}()
	mode := syncAll
	if s.notify.selected.delayed { // RFC 5465 section 6.1.2
		mode = syncFlags
	}
	end, err := announceUntil(s, done, mode)
	if err != nil {
		return 0, err
	}
	return end.n, end.err
}

// announceUntil announces what happens, as the mode allows, until the other
// goroutine has ended: it returns what that says. An error ends the session, which
// has said goodbye.
func announceUntil[T any](s *session, other <-chan T, mode syncMode) (end T, err error) {
	for {
		var changed, elsewhere, noted <-chan struct{}
		if s.box != nil && s.selectedWish() != 0 {
			changed = s.box.mailbox.Changed()
		}
		if s.notify != nil && s.notify.watch != nil {
			elsewhere = s.notify.watch.Changed()
		}
		if s.notes != nil {
			noted = s.notes.watch.Changed()
		}
		var now chan struct{}
		if s.notify != nil && s.notify.retell {
			now = make(chan struct{})
			close(now)
		}
		select {
		case <-now:
			err = s.announceNow(mode)
		case end = <-other:
			return end, nil
		case <-changed:
			err = s.announceNow(mode)
		case <-elsewhere:
			err = s.announceNow(syncNone)
		case <-noted:
			err = s.announceNow(syncNone)
		}
		if err != nil {
			err = s.end(err)
			s.in.cancel()
			<-other
			return end, &endError{said: true, cause: err}
		}
	}
}

// announceNow sends what is new, if anything. A panic is an error here, so that
// the other goroutine is waited for.
func (s *session) announceNow(mode syncMode) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = s.recovered(value)
		}
	}()
	s.out.acquire()
	if err := s.sync(mode, false); err != nil {
		return err
	}
	s.settleHighest(false)
	if err := s.tellEvents(); err != nil {
		return err
	}
	if len(s.out.buf) == 0 && s.stateDirty == stateSame {
		s.out.release()
		return nil
	}
	s.answerDue = true
	return s.flush()
}
