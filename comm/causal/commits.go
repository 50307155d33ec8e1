package causal

import (
	"slices"
	"time"
)

const (
	// commitGrain is the least distance between two samples.
	commitGrain = 5 * time.Millisecond
	// maxCommits bounds the samples; older ones get sparser.
	maxCommits = 1024
)

// commits remembers roughly when own operations were committed: a sample
// (n, t) says that operation n and those up to the next sample were committed
// at t or soon after.
type commits struct{ samples []commit }

type commit struct {
	first uint64
	at    time.Time
}

// add notes that operation n was committed.
func (c *commits) add(now time.Time, n uint64) {
	if l := len(c.samples); l > 0 && now.Sub(c.samples[l-1].at) < commitGrain {
		return
	}
	if len(c.samples) >= maxCommits {
		c.thin()
	}
	c.samples = append(c.samples, commit{n, now})
}

// thin drops every second sample of the older half.
func (c *commits) thin() {
	kept := c.samples[:0]
	for i, s := range c.samples {
		if i == 0 || i >= maxCommits/2 || i%2 == 0 {
			kept = append(kept, s)
		}
	}
	c.samples = kept
}

// at returns when operation n was committed, at the latest.
func (c *commits) at(n uint64) time.Time {
	i, found := slices.BinarySearchFunc(c.samples, n, func(s commit, n uint64) int {
		switch {
		case s.first < n:
			return -1
		case s.first > n:
			return 1
		}
		return 0
	})
	if !found && i > 0 {
		i--
	}
	return c.samples[i].at
}
