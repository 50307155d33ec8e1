package distributor

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/go-pluto/pluto/imap/tunnel"
)

const (
	chunkName = 16      // bytes of a chunk's name: the beginning of its data's SHA-256
	maxChunks = 1 << 10 // of one session
	maxChunk  = 4 << 10 // bytes
)

// chunks are the parts of sessions' states that are large: each is kept once, for
// all sessions that have it. The zero value is ready to use.
type chunks struct {
	mu sync.Mutex
	m  map[[chunkName]byte]*chunk
}

// chunk is immutable but for refs, which the table's lock guards.
type chunk struct {
	name [chunkName]byte
	data []byte
	refs int
}

// replace takes what a checkpoint says of chunks for what a session had before: the
// names of all, and the data of those that are new.
func (t *chunks) replace(old []*chunk, p *tunnel.Checkpoint) ([]*chunk, error) {
	names := p.GetChunks()
	if len(names)%chunkName != 0 || len(names)/chunkName > maxChunks {
		return old, fmt.Errorf("%w: %d bytes of names", tunnel.ErrProtocol, len(names))
	}
	fresh := make(map[[chunkName]byte][]byte, len(p.GetData()))
	for _, data := range p.GetData() {
		if len(data) > maxChunk {
			return old, fmt.Errorf("%w: chunk of %d bytes", tunnel.ErrProtocol, len(data))
		}
		fresh[chunkNameOf(data)] = data
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]*chunk, 0, len(names)/chunkName)
	for ; len(names) > 0; names = names[chunkName:] {
		name := [chunkName]byte(names)
		c := t.m[name]
		if data, ok := fresh[name]; c == nil && ok {
			c = t.add(name, data)
		}
		if c == nil {
			t.drop(list)
			return old, fmt.Errorf("%w: chunk that was never sent", tunnel.ErrProtocol)
		}
		c.refs++
		list = append(list, c)
	}
	t.drop(old)
	return list, nil
}

func (t *chunks) add(name [chunkName]byte, data []byte) *chunk {
	if t.m == nil {
		t.m = make(map[[chunkName]byte]*chunk)
	}
	c := &chunk{name: name, data: append([]byte(nil), data...)}
	t.m[name] = c
	return c
}

func chunkNameOf(data []byte) [chunkName]byte {
	sum := sha256.Sum256(data)
	return [chunkName]byte(sum[:])
}

// release drops what a session had.
func (t *chunks) release(list []*chunk) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(list)
}

func (t *chunks) drop(list []*chunk) {
	for _, c := range list {
		if c.refs--; c.refs == 0 {
			delete(t.m, c.name)
		}
	}
}

// size returns how many chunks there are, and their bytes.
func (t *chunks) size() (n, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.m {
		bytes += len(c.data)
	}
	return len(t.m), bytes
}
