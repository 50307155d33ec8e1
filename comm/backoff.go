package comm

import (
	"context"
	"math/rand/v2"
	"time"
)

const minBackoff = 50 * time.Millisecond

// backoff is a growing pause with jitter.
type backoff struct{ next, most time.Duration }

func newBackoff(most time.Duration) *backoff {
	return &backoff{next: min(minBackoff, most), most: most}
}

func (b *backoff) reset() { b.next = min(minBackoff, b.most) }

// wait pauses for between half of the current length and all of it, doubles the
// length up to the limit, and reports whether ctx still lives. A signal on hint
// ends the pause.
func (b *backoff) wait(ctx context.Context, hint <-chan struct{}) bool {
	pause := b.next/2 + rand.N(b.next/2+1)
	b.next = min(2*b.next, b.most)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-hint:
	case <-timer.C:
	}
	return ctx.Err() == nil
}
