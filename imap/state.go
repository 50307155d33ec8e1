package imap

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// What another replica needs to go on with a session goes with its checkpoints:
// the session's state, made of parts. A part is one row of stateParts and nothing
// else knows of it. A replica that does not know a part of a state does not take
// the session over: it could not keep what the client was promised.

// statePart is a piece of a session's state.
type statePart struct {
	id byte // never given to another piece
	// save appends the piece. What appends nothing is not in the state.
	save func(*session, *stateWriter)
	// load takes the piece over. It is called only if the piece is in the state, in
	// the order of the rows; an error is the session's end.
	load func(*session, *stateReader) error
}

// stateParts are all pieces, those that others build upon first.
var stateParts []statePart

func init() { // the rows refer to functions that refer to the table
	stateParts = []statePart{
		{4, (*session).saveModes, (*session).loadModes},
		{1, (*session).saveSelected, (*session).loadSelected},
		{2, (*session).saveResult, (*session).loadResult},
		{3, (*session).saveContexts, (*session).loadContexts},
		{5, (*session).saveNotify, (*session).loadNotify},
		{6, (*session).saveConnection, (*session).loadConnection},
	}
}

// stateChange says how much of what a checkpoint's state holds has changed since
// the last checkpoint.
type stateChange uint8

const (
	stateSame      stateChange = iota
	stateNewModSeq             // only the highest MODSEQ
	stateChanged
)

// stateVersion is the first byte of an encoded state.
const stateVersion = 3

// Chunk is a part of a state that is large, and often the same in the states of
// other sessions: it is kept once under its name.
type Chunk struct {
	Name [ChunkName]byte
	Data []byte // at most MaxChunk bytes; nil: a checkpoint before had it
}

// Sizes of chunks, in bytes.
const (
	ChunkName = 16 // of a name, the beginning of the data's SHA-256
	MaxChunk  = 4 << 10
)

// NameOf returns the name of a chunk with that data.
func NameOf(data []byte) (name [ChunkName]byte) {
	sum := sha256.Sum256(data)
	return [ChunkName]byte(sum[:])
}

// checkpoint returns the point up to which the client was answered. The state
// is in it only when it has changed.
func (s *session) checkpoint() Checkpoint {
	if !keepsCheckpoints {
		return Checkpoint{Consumed: s.consumed}
	}
	p := Checkpoint{Consumed: s.consumed, Vector: s.account.Vector()}
	if s.stateDirty == stateSame {
		return p
	}
	if s.stateDirty == stateNewModSeq && s.box != nil && len(s.box.pieces) > maxCheapPieces {
		// What is lost without it is that some flags are told again.
		return p
	}
	s.stateDirty = stateSame
	p.State, p.Chunks = s.encodeState()
	return p
}

// encodeState returns the state and the chunks that it refers to, in order.
func (s *session) encodeState() ([]byte, []Chunk) {
	w := stateWriter{buf: append(make([]byte, 0, 256), stateVersion)}
	for i := range stateParts {
		w.part(&stateParts[i], s)
	}
	return w.buf, w.chunks
}

// restore makes s the session that another replica has left.
func (s *session) restore(r *Resume) error {
	if len(r.State) == 0 || r.State[0] != stateVersion {
		return fmt.Errorf("%w: version", errState)
	}
	d := stateReader{data: r.State[1:], chunks: r.Chunks}
	var parts [256]*stateReader
	for len(d.data) > 0 {
		id := d.byte()
		part := &stateReader{data: []byte(d.text())}
		if part.chunks = d.take(); d.bad || parts[id] != nil {
			return errState
		}
		parts[id] = part
	}
	for i := range stateParts {
		p := &stateParts[i]
		part := parts[p.id]
		if part == nil {
			continue
		}
		if err := p.load(s, part); err != nil {
			return err
		}
		if err := part.end(); err != nil {
			return fmt.Errorf("part %d: %w", p.id, err)
		}
		parts[p.id] = nil
	}
	for id, part := range parts {
		if part != nil {
			return fmt.Errorf("%w: part %d is not known here", errState, id)
		}
	}
	if len(d.chunks) > 0 {
		return errState
	}
	return nil
}

// errState says that a state cannot be taken over.
var errState = errors.New("session state cannot be read")

// stateWriter collects a state.
type stateWriter struct {
	buf    []byte
	chunks []Chunk
}

// part appends a part: its number, its bytes, how many chunks are its own.
func (w *stateWriter) part(p *statePart, s *session) {
	before, chunks := w.buf, len(w.chunks)
	w.buf = nil
	p.save(s, w)
	bytes := w.buf
	w.buf = before
	if len(bytes) == 0 {
		return
	}
	w.byte(p.id)
	w.text(string(bytes))
	w.number(uint64(len(w.chunks) - chunks))
}

func (w *stateWriter) byte(b byte)     { w.buf = append(w.buf, b) }
func (w *stateWriter) number(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *stateWriter) text(s string) {
	w.number(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

// maxInline is the largest set of UIDs that is no chunk, in bytes.
const maxInline = 512

// ranges appends a set of UIDs of any size.
func (w *stateWriter) ranges(set []UIDRange) {
	data := appendRanges(nil, set)
	if len(data) <= maxInline {
		w.number(0)
		w.text(string(data))
		return
	}
	w.number(uint64(len(data)+MaxChunk-1) / MaxChunk)
	for len(data) > 0 {
		piece := data[:min(len(data), MaxChunk)]
		data = data[len(piece):]
		w.chunks = append(w.chunks, Chunk{NameOf(piece), piece})
	}
}

// appendRanges appends sorted ranges as distances.
func appendRanges(dst []byte, ranges []UIDRange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ranges)))
	var last UID
	for _, r := range ranges {
		dst = binary.AppendUvarint(dst, uint64(r.From-last))
		dst = binary.AppendUvarint(dst, uint64(r.To-r.From))
		last = r.To
	}
	return dst
}

// stateReader reads a state or a part of one; after a mistake everything is zero.
// It accepts what another node sends and therefore trusts nothing.
type stateReader struct {
	data   []byte
	chunks []Chunk
	bad    bool
}

func (d *stateReader) end() error {
	if d.bad || len(d.data) > 0 || len(d.chunks) > 0 {
		return errState
	}
	return nil
}

func (d *stateReader) fail() {
	d.bad, d.data = true, nil
}

func (d *stateReader) byte() byte {
	if len(d.data) == 0 {
		d.fail()
		return 0
	}
	b := d.data[0]
	d.data = d.data[1:]
	return b
}

func (d *stateReader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 || v > limit {
		d.fail()
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *stateReader) text() string {
	n := d.number(uint64(len(d.data)))
	if n > uint64(len(d.data)) {
		d.fail()
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

// take reads a number and returns that many chunks.
func (d *stateReader) take() []Chunk {
	n := d.number(uint64(len(d.chunks)))
	chunks := d.chunks[:n]
	d.chunks = d.chunks[n:]
	return chunks
}

// ranges reads a set of UIDs.
func (d *stateReader) ranges() []UIDRange {
	chunks := d.take()
	if len(chunks) == 0 {
		return parseRanges([]byte(d.text()), d)
	}
	var data []byte
	for _, c := range chunks {
		data = append(data, c.Data...)
	}
	return parseRanges(data, d)
}

// parseRanges is the inverse of appendRanges; mistakes are d's.
func parseRanges(data []byte, d *stateReader) []UIDRange {
	r := stateReader{data: data}
	n := r.number(uint64(len(data)))
	var ranges []UIDRange
	var last uint64
	for range n {
		from := last + r.number(1<<32-1)
		to := from + r.number(1<<32-1)
		if r.bad || from == last && last > 0 || from == 0 || to > 1<<32-1 {
			d.fail()
			return nil
		}
		ranges = append(ranges, UIDRange{UID(from), UID(to)})
		last = to
	}
	if r.end() != nil {
		d.fail()
	}
	return ranges
}
