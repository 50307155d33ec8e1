package mailstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// Staging receives the bytes of one message before it is appended. At most one
// chunk of it is in memory; a message of one chunk is written only by the
// commit that appends it. Used by one goroutine at a time.
type Staging struct {
	r       *Replica
	root    crdt.Root
	buf     []byte // the chunk being filled
	flushed uint32 // chunks already written
	state   stagingState
	pinned  bool
}

type stagingState uint8

const (
	stagingOpen stagingState = iota
	stagingFinished
	stagingAdopted // an Append has it
	stagingDropped
)

var errStaging = errors.New("staged message is used out of order")

func (r *Replica) stage(size int64) (*Staging, error) {
	if size > r.opts.MaxMessageSize {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooBig, size, r.opts.MaxMessageSize)
	}
	if err := r.mayWrite(); err != nil {
		return nil, err
	}
	root, err := r.store.newRoot(r.opts.Now())
	if err != nil {
		return nil, err
	}
	return &Staging{r: r, root: root, buf: make([]byte, 0, min(max(size, 0), chunkSize))}, nil
}

// Size returns the number of bytes written so far.
func (s *Staging) Size() int64 { return int64(s.flushed)*chunkSize + int64(len(s.buf)) }

// Write adds bytes. Errors: ErrTooBig, ErrDiskFull, ErrUnavailable, the disk's.
func (s *Staging) Write(p []byte) (int, error) {
	if s.state != stagingOpen {
		return 0, errStaging
	}
	if s.Size()+int64(len(p)) > s.r.opts.MaxMessageSize {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooBig, s.r.opts.MaxMessageSize)
	}
	done := 0
	for done < len(p) {
		if len(s.buf) == chunkSize {
			if err := s.flush(); err != nil {
				return done, err
			}
		}
		n := min(len(p)-done, chunkSize-len(s.buf))
		s.buf = append(s.buf, p[done:done+n]...)
		done += n
	}
	return done, nil
}

// flush writes the full chunk. The staging marker is written with the first
// one, hence never after a chunk that it stands for.
func (s *Staging) flush() error {
	st := s.r.store
	if err := st.enter(); err != nil {
		return err
	}
	defer st.leave()
	if err := st.Err(); err != nil {
		return err
	}
	if err := st.room(int64(len(s.buf))); err != nil {
		return err
	}
	b := st.db.NewBatch()
	defer b.Close()
	if s.flushed == 0 {
		if err := s.begin(b); err != nil {
			return err
		}
	}
	if err := b.Set(s.r.keys.chunk(nil, s.root, s.flushed), s.buf, nil); err != nil {
		return err
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("stage message: %w", err)
	}
	s.flushed++
	s.buf = s.buf[:0]
	s.grown()
	return nil
}

// begin marks the content as staged; it is not swept up until end.
func (s *Staging) begin(b *pebble.Batch) error {
	if !s.pinned {
		if err := s.r.contents.pin(s.r.ctx, s.root); err != nil {
			return err
		}
		s.pinned = true
	}
	return s.r.mark(b, s.root)
}

// end says what has become of the message.
func (s *Staging) end(state stagingState) {
	s.state = state
	if s.pinned {
		s.pinned = false
		s.r.contents.unpin(s.root)
	}
}

// Finish ends the writing and returns a reader over what was written, good
// until Append or Discard.
func (s *Staging) Finish() (*Body, error) {
	if s.state > stagingFinished {
		return nil, errStaging
	}
	s.state = stagingFinished
	return &Body{r: s.r, root: s.root, size: s.Size(), tail: s.buf, tailIndex: s.flushed}, nil
}

// Discard deletes the bytes; a no-op after a successful Append.
func (s *Staging) Discard() {
	if s.state >= stagingAdopted {
		return
	}
	s.end(stagingDropped)
	s.dropped()
	s.buf = nil
	if s.flushed == 0 || s.r.store.Err() != nil || s.r.store.enter() != nil {
		return // the next start sweeps up what was written
	}
	defer s.r.store.leave()
	b := s.r.store.db.NewBatch()
	defer b.Close()
	err := b.Delete(s.r.keys.content(nil, kindStaging, s.root), nil)
	for i := range s.flushed {
		err = errors.Join(err, b.Delete(s.r.keys.chunk(nil, s.root, i), nil))
	}
	if err = errors.Join(err, b.Commit(pebble.NoSync)); err != nil {
		// The marker is still there: the next start deletes them.
		s.r.warn("discard staged message", err)
	}
}

// adopt puts what is not yet on the disk into the batch of the commit that
// refers to it.
func (s *Staging) adopt(b *pebble.Batch, structure []byte) error {
	if s.state > stagingFinished {
		return errStaging
	}
	if len(structure) > MaxStructure {
		return fmt.Errorf("%w: structure of %d bytes", ErrLimit, len(structure))
	}
	k := s.r.keys
	if len(s.buf) > 0 {
		if err := b.Set(k.chunk(nil, s.root, s.flushed), s.buf, nil); err != nil {
			return err
		}
	}
	if s.flushed > 0 {
		if err := b.Delete(k.content(nil, kindStaging, s.root), nil); err != nil {
			return err
		}
	}
	t := trailer{size: uint64(s.Size()), structure: structure}
	return b.Set(k.content(nil, kindStructure, s.root), t.append(nil), nil)
}
