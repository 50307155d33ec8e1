package mailstore

import (
	"fmt"
	"sync/atomic"
	"time"
)

// spaceWatch refuses writes while the disk is nearly full. A database that runs
// into the end of its disk in the middle of a write cannot go on; one that
// stops before can: clients are told NO, reads go on, and when there is room
// again so do writes.
type spaceWatch struct {
	written atomic.Int64 // bytes since the last look
	looked  atomic.Int64 // when that was, Unix milliseconds
	full    atomic.Bool
}

// How long the answer of the file system is believed.
const (
	spaceBytes  = 16 << 20
	spaceMillis = 1000
)

// room returns ErrOverQuota if less than MinFree would be free after n bytes more.
func (s *Store) room(n int64) error {
	if s.opts.MinFree < 0 {
		return nil
	}
	w := &s.space
	now := time.Now().UnixMilli()
	if w.written.Add(n) >= spaceBytes || now-w.looked.Load() >= spaceMillis {
		w.written.Store(0)
		w.looked.Store(now)
		u, err := s.opts.FS.GetDiskUsage(s.dir)
		if err != nil {
			return fmt.Errorf("free space of %s: %w", s.dir, err)
		}
		w.full.Store(u.AvailBytes < uint64(s.opts.MinFree))
	}
	if w.full.Load() {
		return fmt.Errorf("%w: less than %d bytes free in %s", ErrDiskFull, s.opts.MinFree, s.dir)
	}
	return nil
}
