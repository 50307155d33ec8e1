package distributor

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// Compression lives here and not with the session (RFC 4978): what both ends
// remember of the stream survives the node. A client costs about 48 KiB then: the
// window that it compresses with, which is fixed, and the end of what it was sent.

// deflater compresses what a client is sent. It keeps no state but the end of the
// text, which the next piece may refer to.
type deflater struct {
	last []byte // the last bytes sent, at most maxDictionary
}

// maxDictionary is how far back a piece may refer.
const maxDictionary = 8 << 10

// deflated are buffers for compressed pieces.
var deflated = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// write compresses p and writes it so that the client can read all of it.
func (d *deflater) write(w io.Writer, p []byte) error {
	buf := deflated.Get().(*bytes.Buffer)
	defer deflated.Put(buf)
	buf.Reset()
	if err := flate.StatelessDeflate(buf, p, false, d.last); err != nil {
		return err
	}
	d.remember(p)
	_, err := w.Write(buf.Bytes())
	return err
}

func (d *deflater) remember(p []byte) {
	if len(p) > maxDictionary {
		p = p[len(p)-maxDictionary:]
	}
	if over := len(d.last) + len(p) - maxDictionary; over > 0 {
		d.last = d.last[:copy(d.last, d.last[over:])]
	}
	d.last = append(d.last, p...)
}

// compress makes the client one that compresses, from the end of the answer on
// that is written next.
func (c *client) compress() { c.compressed.Store(true) }

// read reads what the client says. It belongs to the goroutine that reads.
func (c *client) read(p []byte) (int, error) {
	if c.inflater != nil {
		return c.inflater.Read(p)
	}
	n, err := c.conn.Read(p)
	if n == 0 || !c.compressed.Load() {
		return n, err
	}
	// It was told to compress before this came, hence has done so: what came before it
	// was told has been read before.
	begun := bytes.NewReader(bytes.Clone(p[:n]))
	c.inflater = newInflater(io.MultiReader(begun, c.conn))
	return c.inflater.Read(p)
}
