package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// The log is cut where all members have come to. One that is away for long would
// make it grow without end; so it is also cut where it is too large or too old
// (ReplicaOptions.LogMaxSize, LogMaxAge), and who comes back then takes a snapshot
// (load.go). For that the log is known in segments of some operations of one
// origin: how large they are and when the last of them was logged.

const (
	// logSegments is about how many segments a full log has of each kind: a
	// segment ends when it has this part of LogMaxSize, or of LogMaxAge.
	logSegments = 1024
	// trimEvery is how often it is looked for what is too old.
	trimEvery = time.Minute
)

// logSize knows how large the log is.
type logSize struct {
	mu       sync.Mutex
	bytes    int64
	origins  map[crdt.Origin][]segment // ascending, without holes
	measured bool                      // what was there at the start is counted
	start    crdt.VC                   // what was there
}

// segment is a stretch of one origin's log.
type segment struct {
	first, last uint64
	bytes       int64
	logged      int64 // when the last one was logged, Unix milliseconds
	began       int64 // and the first one
}

// logged is an operation that a transaction has put into the log.
type logged struct {
	dot   crdt.Dot
	bytes int
}

// bounded reports whether the log is to be cut by size or age.
func (r *Replica) bounded() bool {
	return !r.opts.KeepLog && (r.opts.LogMaxSize > 0 || r.opts.LogMaxAge > 0)
}

// noteLogged counts what was put into the log.
func (r *Replica) noteLogged(list []logged) {
	if !r.bounded() || len(list) == 0 {
		return
	}
	now := r.now()
	s := &r.logSize
	s.mu.Lock()
	for _, l := range list {
		s.origins[l.dot.Origin] = r.grow(s.origins[l.dot.Origin], l.dot.N, int64(l.bytes), now)
		s.bytes += int64(l.bytes)
	}
	full, bytes := r.opts.LogMaxSize > 0 && s.bytes > r.opts.LogMaxSize, s.bytes
	s.mu.Unlock()
	r.showLogSize(bytes)
	if full {
		r.collector.notify()
	}
}

func (r *Replica) showLogSize(bytes int64) {
	r.store.opts.Metrics.logBytes.WithLabelValues(r.opts.Subnet).Set(float64(bytes))
}

// grow adds an operation behind the segments of its origin.
func (r *Replica) grow(list []segment, n uint64, bytes, at int64) []segment {
	if len(list) > 0 {
		s := &list[len(list)-1]
		if s.last+1 == n && !r.fullSegment(s, at) {
			s.last, s.bytes, s.logged = n, s.bytes+bytes, max(s.logged, at)
			return list
		}
	}
	return append(list, segment{first: n, last: n, bytes: bytes, logged: at, began: at})
}

func (r *Replica) fullSegment(s *segment, at int64) bool {
	bySize := r.opts.LogMaxSize > 0 && s.bytes >= r.opts.LogMaxSize/logSegments
	byAge := r.opts.LogMaxAge > 0 && at-s.began >= r.opts.LogMaxAge.Milliseconds()/logSegments
	return bySize || byAge
}

// measureLog counts, once, what was in the log at the start.
func (r *Replica) measureLog() error {
	s := &r.logSize
	s.mu.Lock()
	done, start := s.measured, s.start
	s.mu.Unlock()
	if done {
		return nil
	}
	for o, last := range start.All() {
		list, bytes, err := r.measureOrigin(o, last)
		if err != nil {
			return fmt.Errorf("measure the log: %w", err)
		}
		s.mu.Lock()
		s.origins[o] = append(list, s.origins[o]...)
		s.bytes += bytes
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.measured = true
	s.mu.Unlock()
	return nil
}

// measureOrigin reads one origin's log up to number last.
func (r *Replica) measureOrigin(o crdt.Origin, last uint64) (list []segment, bytes int64, err error) {
	if err := r.store.enter(); err != nil {
		return nil, 0, err
	}
	defer r.store.leave()
	lower := r.keys.log(nil, crdt.Dot{Origin: o, N: 1})
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: append(r.keys.log(nil, crdt.Dot{Origin: o, N: last}), 0)})
	if err != nil {
		return nil, 0, err
	}
	at := int64(0)
	for ok := it.First(); ok; ok = it.Next() {
		if r.ctx.Err() != nil {
			return nil, 0, errors.Join(r.ctx.Err(), it.Close())
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, errors.Join(err, it.Close())
		}
		d := crdt.Dot{Origin: o, N: binary.BigEndian.Uint64(it.Key()[len(it.Key())-8:])}
		if e, err := parseLogEntry(d, v); err == nil {
			at = max(at, e.Time.UnixMillis())
		}
		list = r.grow(list, d.N, int64(len(it.Key())+len(v)), at)
		bytes += int64(len(it.Key()) + len(v))
	}
	return list, bytes, it.Close()
}

// forgetCut takes what was cut off out of the count.
func (s *logSize) forgetCut(cut crdt.VC) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for o, list := range s.origins {
		n := cut.Get(o)
		for len(list) > 0 && list[0].last <= n {
			s.bytes -= list[0].bytes
			list = list[1:]
		}
		if len(list) > 0 && list[0].first <= n {
			part := list[0].bytes * int64(n-list[0].first+1) / int64(list[0].last-list[0].first+1)
			list[0].first, list[0].bytes = n+1, list[0].bytes-part
			s.bytes -= part
		}
		if len(list) == 0 {
			delete(s.origins, o)
			continue
		}
		s.origins[o] = slices.Clip(list)
	}
}

// excess returns where to cut the log if it has more than size bytes (then no more
// than seven eighths are to be left, so that it is not cut all the time) and to
// take away what was logged before a time. The oldest segments go.
func (s *logSize) excess(size int64, before int64) crdt.VC {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size <= 0 || s.bytes <= size {
		size = s.bytes
	} else {
		size -= size / 8
	}
	var cut crdt.VC
	next := make(map[crdt.Origin]int) // the oldest segment that is left
	for bytes := s.bytes; ; {
		var oldest *segment
		var of crdt.Origin
		for o, list := range s.origins {
			if i := next[o]; i < len(list) && (oldest == nil || list[i].logged < oldest.logged || list[i].logged == oldest.logged && o < of) {
				oldest, of = &list[i], o
			}
		}
		if oldest == nil || oldest.logged >= before && bytes <= size {
			return cut
		}
		bytes -= oldest.bytes
		cut.Set(of, oldest.last)
		next[of]++
	}
}

// trim cuts off what is too much of the log, but for what somebody is given.
func (r *Replica) trim() error {
	if !r.bounded() {
		return nil
	}
	if err := r.measureLog(); err != nil {
		return err
	}
	before := int64(0)
	if r.opts.LogMaxAge > 0 {
		before = r.now() - r.opts.LogMaxAge.Milliseconds()
	}
	r.showLogSize(r.LogBytes())
	cut := r.collector.unheld(r.logSize.excess(r.opts.LogMaxSize, before))
	if len(cut) == 0 || cut.LessEqual(r.Cut()) {
		return nil
	}
	level.Info(r.logger).Log("msg", "the log is cut because of its size or age; members that are away for longer will take snapshots", "bytes", r.LogBytes(), "at", cut)
	return r.cutBehind(cut)
}

// unheld returns the part of v that nobody needs who is given the state at an
// earlier vector.
func (c *collector) unheld(v crdt.VC) crdt.VC {
	c.mu.Lock()
	defer c.mu.Unlock()
	for hold := range c.holds {
		v = v.Min(*hold)
	}
	return v
}

// LogBytes returns the size of the log, keys and values; 0 when it is not bounded,
// and less than it is as long as what was there at the start is being counted.
func (r *Replica) LogBytes() int64 {
	r.logSize.mu.Lock()
	defer r.logSize.mu.Unlock()
	return r.logSize.bytes
}
