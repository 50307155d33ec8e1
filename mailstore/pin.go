package mailstore

import (
	"context"
	"sync"

	"github.com/go-pluto/pluto/crdt"
)

// contents keeps those who read and write a content apart from the deletion of
// it: a literal that was begun ends. A content is pinned by any number of users,
// or reserved for deletion for the moment that its batch takes.
type contents struct {
	mu       sync.Mutex
	pinned   map[crdt.Root]int
	reserved map[crdt.Root]chan struct{} // closed when it is over
}

func (c *contents) init() {
	c.pinned = make(map[crdt.Root]int)
	c.reserved = make(map[crdt.Root]chan struct{})
}

// pin begins a use of a content, which unpin ends. It waits while a deletion is
// under way, at most until ctx ends.
func (c *contents) pin(ctx context.Context, root crdt.Root) error {
	for {
		c.mu.Lock()
		busy := c.reserved[root]
		if busy == nil {
			c.pinned[root]++
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *contents) unpin(root crdt.Root) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned[root]--; c.pinned[root] == 0 {
		delete(c.pinned, root)
	}
}

// reserve returns the removals whose contents nobody uses, and keeps everybody
// off them until release is called.
func (c *contents) reserve(list []removal) (free []crdt.Removal, release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := make(chan struct{})
	for _, x := range list {
		if c.take(x.Root, over) {
			free = append(free, x.Removal)
		}
	}
	return free, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, x := range free {
			delete(c.reserved, x.Root)
		}
		close(over)
	}
}

// take reserves a content unless somebody else uses it. Under mu.
func (c *contents) take(root crdt.Root, over chan struct{}) bool {
	if c.pinned[root] > 0 || c.reserved[root] != nil && c.reserved[root] != over {
		return false
	}
	c.reserved[root] = over
	return true
}
