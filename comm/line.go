package comm

import (
	"context"
	"fmt"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// line is the stream to a peer with what is said on it beside operations.
type line struct {
	s      *sender
	stream upStream
	beat   <-chan time.Time
	asked  uint64 // the last question
}

// send sends what there is until the stream breaks. The first heartbeat tells
// the peer that its hello was accepted.
func (s *sender) send(ctx context.Context, stream upStream) error {
	beat := time.NewTicker(s.g.cfg.Heartbeat)
	defer beat.Stop()
	l := &line{s: s, stream: stream, beat: beat.C}
	if err := s.heartbeat(stream); err != nil {
		return err
	}
	for {
		if err := l.speak(); err != nil {
			return err
		}
		var next causal.Read
		var more bool
		s.g.step(func(_ time.Time, m *causal.Machine) { next, more = m.Next(s.member.Name) })
		if more {
			if err := s.sendRange(ctx, l, next); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := s.heartbeat(stream); err != nil {
				return err
			}
		case <-s.wake:
		}
	}
}

// speak sends what must not wait behind operations and contents: a question, and
// the heartbeat if it is time.
func (l *line) speak() error {
	if n := l.s.asked.Load(); n > l.asked {
		l.asked = n
		if err := l.stream.Send(&Up{Question: n}); err != nil {
			return err
		}
	}
	select {
	case <-l.stream.Context().Done():
		return l.stream.Context().Err()
	case <-l.beat:
		return l.s.heartbeat(l.stream)
	default:
		return nil
	}
}

func (s *sender) heartbeat(stream upStream) error {
	logged := s.g.logged()
	return stream.Send(&Up{Heartbeat: &Heartbeat{
		UnixMillis: time.Now().UnixMilli(),
		Logged:     logged.AppendBinary(nil),
		Clock:      uint64(s.g.store.Clock()), // read after logged
		Used:       s.used.tell(s.g.sessions.list(), time.Now()),
	}})
}

// sendRange reads operations from the log and sends them.
func (s *sender) sendRange(ctx context.Context, l *line, r causal.Read) error {
	list, err := s.g.tail.read(r.Origin, r.From, r.To, r.Bytes)
	if cut := s.g.store.Cut(); (err != nil || len(list) == 0) && cut.Get(r.Origin) >= r.From {
		// The log was cut since: the peer has it by another way, or will.
		s.g.step(func(_ time.Time, m *causal.Machine) { m.SetCut(cut) })
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operations of %s from %d: %w", r.Origin, r.From, err)
	}
	if len(list) == 0 || list[0].Dot != (crdt.Dot{Origin: r.Origin, N: r.From}) {
		return fmt.Errorf("operation %d of %s is not in the log, which should go to %d", r.From, r.Origin, r.To)
	}
	s.g.step(func(_ time.Time, m *causal.Machine) { list = m.Sending(s.member.Name, list) })
	f := frame{s: s, line: l, up: &Up{}}
	for i := range list {
		if err := f.add(ctx, &list[i]); err != nil {
			return err
		}
	}
	return f.flush()
}

// frame is a message that is being filled.
type frame struct {
	s     *sender
	line  *line
	up    *Up
	bytes int
}

// add puts an operation into the message, after the bodies that it brings, and
// sends the message when it is full.
func (f *frame) add(ctx context.Context, e *Entry) error {
	if len(e.Data) > MaxOperation {
		return fmt.Errorf("operation %d of %s has %d bytes, limit %d: it cannot be sent", e.Dot.N, e.Dot.Origin, len(e.Data), MaxOperation)
	}
	for _, root := range e.Bodies {
		if err := f.addBody(ctx, root); err != nil {
			return err
		}
	}
	if err := f.reserve(e.Size()); err != nil {
		return err
	}
	f.up.Operations = append(f.up.Operations, encodeEntry(e))
	return nil
}

// addBody adds the pieces of a content, but for those that went ahead.
func (f *frame) addBody(ctx context.Context, root crdt.Root) error {
	for i := f.s.takeAhead(root); ; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, last, err := f.s.g.store.BodyChunk(root, i)
		if err != nil {
			return fmt.Errorf("read piece %d of body %x: %w", i, root, err)
		}
		if data == nil && !last {
			// Gone since: the operation goes without it, and whoever finds
			// that the content is needed pulls it from somebody who has it.
			f.s.missing.Inc()
			level.Warn(f.s.logger).Log("msg", "body of an operation is not on this disk", "body", fmt.Sprintf("%x", root), "piece", i)
			return nil
		}
		if err := f.reserve(len(data) + len(root)); err != nil {
			return err
		}
		f.up.Chunks = append(f.up.Chunks, encodeChunk(root, i, last, data))
		if last {
			return nil
		}
	}
}

// reserve makes room for n bytes.
func (f *frame) reserve(n int) error {
	if f.bytes > 0 && f.bytes+n > frameBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.bytes += n
	return nil
}

// flush sends the message, if there is something in it.
func (f *frame) flush() error {
	if len(f.up.Chunks) == 0 && len(f.up.Operations) == 0 {
		return nil
	}
	operations := len(f.up.Operations)
	if err := packOperations(f.up); err != nil {
		return err
	}
	if err := f.line.stream.Send(f.up); err != nil {
		return err
	}
	f.s.sentOps.Add(float64(operations))
	f.s.sentBytes.Add(float64(proto.Size(f.up)))
	f.up, f.bytes = &Up{}, 0
	return f.line.speak()
}
