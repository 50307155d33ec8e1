package comm

import (
	"context"
	"sync"
	"time"
)

// paceBurst is for how long at most what was not used may be used later.
const paceBurst = 100 * time.Millisecond

// pace spreads bytes over time. It is safe for concurrent use.
type pace struct {
	rate int // bytes per second; not positive: no bound

	mu   sync.Mutex
	free time.Time // when all that was let through so far is paid for
}

// wait returns when n more bytes may go, or with ctx's error.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	delay := p.reserve(time.Now(), n)
	if delay <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve books n bytes and returns how long to wait until they may go.
func (p *pace) reserve(now time.Time, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if earliest := now.Add(-paceBurst); p.free.Before(earliest) {
		p.free = earliest
	}
	delay := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return delay
}
