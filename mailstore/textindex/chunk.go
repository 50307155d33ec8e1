package textindex

import "encoding/binary"

// gram is three bytes that follow each other, the first one highest.
type gram uint32

// maxGram is the largest gram.
const maxGram gram = 1<<24 - 1

// A chunk holds the lists of the grams in a range. It begins with the last gram of the
// chunk before, plus one (0 in the first), so that a chunk that is missing is noticed; then
// for each gram its distance from what came before, and its list. The chunks of a kind
// of a block cover all grams: the last one ends with maxGram.

// chunkSize is from which size on, in bytes, a chunk is ended.
const chunkSize = 4 << 10

// chunkWriter makes the chunks of one kind of a block out of grams that come rising.
type chunkWriter struct {
	n    int                                 // contents of the block
	emit func(last gram, value []byte) error // takes a chunk; does not keep value
	buf  []byte
	next gram // what the next gram's distance is from
	open bool // a chunk is begun
}

func (w *chunkWriter) begin() {
	if !w.open {
		w.open = true
		w.buf = binary.AppendUvarint(w.buf[:0], uint64(w.next))
	}
}

// add takes the list of a gram, which is not empty.
func (w *chunkWriter) add(g gram, list []uint16) error {
	w.begin()
	w.buf = binary.AppendUvarint(w.buf, uint64(g-w.next))
	w.buf = appendList(w.buf, list, w.n)
	w.next = g + 1
	if len(w.buf) < chunkSize {
		return nil
	}
	w.open = false
	return w.emit(g, w.buf)
}

// end writes the last chunk.
func (w *chunkWriter) end() error {
	if w.next > maxGram && !w.open {
		return nil // it ends with a list of maxGram
	}
	w.begin()
	w.open = false
	return w.emit(maxGram, w.buf)
}

// chunkReader reads a chunk gram by gram.
type chunkReader struct {
	n    int
	last gram // of the chunk, from its key
	next gram
	rest []byte
}

func readChunk(last gram, value []byte, n int) (chunkReader, error) {
	first, rest, err := cutNumber(value, int(last)+1)
	return chunkReader{n: n, last: last, next: gram(first), rest: rest}, err
}

// more reads the next gram and its list; ok is false at the end.
func (r *chunkReader) more() (g gram, l listCode, ok bool, err error) {
	if len(r.rest) == 0 {
		return 0, l, false, nil
	}
	distance, rest, err := cutNumber(r.rest, int(r.last))
	if err != nil {
		return 0, l, false, err
	}
	if g = r.next + gram(distance); g > r.last {
		return 0, l, false, errCorrupt
	}
	l, r.rest, err = cutList(rest, r.n)
	r.next = g + 1
	return g, l, err == nil, err
}
