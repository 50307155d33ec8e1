package distributor

import (
	"errors"
	"io"
	"math/bits"
)

// inflater decompresses what a client sends (RFC 1951). It gives out everything that
// the bits so far say before it asks for more: a client may end what it sends in the
// middle of a byte and of what a library reads at once (Z_PARTIAL_FLUSH of zlib, as
// mbsync does) and wait for the answer then.
//
// Invariant: a step either does all that it does or, for want of bits, nothing.
type inflater struct {
	src io.Reader
	buf [4 << 10]byte
	in  []byte // of buf, not used yet
	err error  // stays, but for errNothing

	hold  uint64 // bits that come next, the first one lowest
	holds uint

	step  func(*inflater) error
	final bool // the block is the last one
	left  int  // bytes of a stored block, or of a match
	dist  int  // of the match

	lengths           [maxLiterals + maxDistances]uint8 // of the codes being read
	literals, matches int                               // how many codes of each there are
	codes, got        int                               // code length codes, and lengths read
	literal, distance huffman

	window [32 << 10]byte
	at     int  // where in window the next byte goes
	full   bool // window has been filled once

	out []byte // where Read's bytes go
	n   int
}

const (
	maxLiterals  = 288
	maxDistances = 32
)

var (
	errMoreBits = errors.New("more bits are needed")
	errInflate  = errors.New("compressed data are damaged")
)

func newInflater(src io.Reader) *inflater { return &inflater{src: src, step: (*inflater).block} }

// Read implements [io.Reader].
func (f *inflater) Read(p []byte) (int, error) {
	f.out, f.n = p, 0
	for f.n < len(p) && f.err == nil {
		f.refill()
		err := f.step(f)
		if err == errMoreBits {
			if f.n > 0 {
				break
			}
			err = f.fetch()
		}
		f.err = err
	}
	f.out = nil
	if f.n > 0 || len(p) == 0 {
		return f.n, nil
	}
	err := f.err
	if err == errNothing {
		f.err = nil
	}
	return 0, err
}

// fetch reads from the source. Only when that ends is it an error that bits are missing.
func (f *inflater) fetch() error {
	n, err := f.src.Read(f.buf[:])
	f.in = f.buf[:n]
	if n > 0 {
		return nil
	}
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// refill takes whole bytes into hold. A step needs at most 48 bits.
func (f *inflater) refill() {
	for f.holds <= 56 && len(f.in) > 0 {
		f.hold |= uint64(f.in[0]) << f.holds
		f.holds += 8
		f.in = f.in[1:]
	}
}

// take returns the next n bits.
func (f *inflater) take(n uint) (int, bool) {
	if n > f.holds {
		return 0, false
	}
	v := int(f.hold & (1<<n - 1))
	f.hold >>= n
	f.holds -= n
	return v, true
}

// block begins a block (section 3.2.3).
func (f *inflater) block() error {
	if f.final {
		return io.EOF
	}
	v, ok := f.take(3)
	if !ok {
		return errMoreBits
	}
	f.final = v&1 != 0
	switch v >> 1 {
	case 0:
		f.take(f.holds % 8)
		f.step = (*inflater).storedLength
	case 1:
		f.literal, f.distance = fixedLiterals, fixedDistances
		f.step = (*inflater).symbol
	case 2:
		f.step = (*inflater).counts
	default:
		return errInflate
	}
	return nil
}

// storedLength: section 3.2.4.
func (f *inflater) storedLength() error {
	v, ok := f.take(32)
	if !ok {
		return errMoreBits
	}
	if f.left = v & 0xffff; f.left != ^v>>16&0xffff {
		return errInflate
	}
	f.step = (*inflater).stored
	return nil
}

func (f *inflater) stored() error {
	if f.left == 0 {
		f.step = (*inflater).block
		return nil
	}
	v, ok := f.take(8)
	if !ok {
		return errMoreBits
	}
	f.put(byte(v))
	f.left--
	return nil
}

// counts begins the description of the codes (section 3.2.7).
func (f *inflater) counts() error {
	v, ok := f.take(14)
	if !ok {
		return errMoreBits
	}
	f.literals, f.matches, f.codes, f.got = v&31+257, v>>5&31+1, v>>10+4, 0
	if f.literals > 286 || f.matches > 30 {
		return errInflate
	}
	clear(f.lengths[:])
	f.step = (*inflater).codeLength
	return nil
}

var codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// codeLength reads one length of the code in which the lengths are.
func (f *inflater) codeLength() error {
	v, ok := f.take(3)
	if !ok {
		return errMoreBits
	}
	f.lengths[codeOrder[f.got]] = uint8(v)
	if f.got++; f.got < f.codes {
		return nil
	}
	if !f.literal.make(f.lengths[:len(codeOrder)]) {
		return errInflate
	}
	clear(f.lengths[:])
	f.got, f.step = 0, (*inflater).length
	return nil
}

// length reads one length, or several that are alike.
func (f *inflater) length() error {
	sym, n, err := f.literal.decode(f.hold, f.holds)
	if err != nil {
		return err
	}
	extra, base := uint(0), 1
	switch sym {
	case 16:
		extra, base = 2, 3
	case 17:
		extra, base = 3, 3
	case 18:
		extra, base = 7, 11
	}
	if f.holds < n+extra {
		return errMoreBits
	}
	f.take(n)
	more, _ := f.take(extra)
	value := uint8(sym)
	if sym > 16 {
		value = 0
	}
	if sym == 16 {
		if f.got == 0 {
			return errInflate
		}
		value = f.lengths[f.got-1]
	}
	if base += more; f.got+base > f.literals+f.matches {
		return errInflate
	}
	for range base {
		f.lengths[f.got] = value
		f.got++
	}
	if f.got < f.literals+f.matches {
		return nil
	}
	return f.codesDone()
}

func (f *inflater) codesDone() error {
	literals := f.lengths[:f.literals]
	if literals[endOfBlock] == 0 || !f.literal.make(literals) || !f.distance.make(f.lengths[f.literals:f.got]) {
		return errInflate
	}
	f.step = (*inflater).symbol
	return nil
}

const endOfBlock = 256

// The lengths and distances of matches (section 3.2.5).
var (
	lengthBase = [...]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits = [...]uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
)

// symbol decodes a byte or a match.
func (f *inflater) symbol() error {
	sym, n, err := f.literal.decode(f.hold, f.holds)
	if err != nil {
		return err
	}
	switch {
	case sym < endOfBlock:
		f.take(n)
		f.put(byte(sym))
		return nil
	case sym == endOfBlock:
		f.take(n)
		f.step = (*inflater).block
		return nil
	case sym-endOfBlock > len(lengthBase):
		return errInflate
	}
	return f.match(sym-endOfBlock-1, n)
}

// match decodes the rest of a match, whose length's code has n bits.
func (f *inflater) match(sym int, n uint) error {
	hold, holds := f.hold>>n, f.holds-n
	extra := lengthBits[sym]
	if holds < extra {
		return errMoreBits
	}
	length := lengthBase[sym] + int(hold&(1<<extra-1))
	hold, holds = hold>>extra, holds-extra
	sym, n, err := f.distance.decode(hold, holds)
	if err != nil {
		return err
	}
	if sym >= 30 {
		return errInflate
	}
	hold, holds = hold>>n, holds-n
	dist := sym + 1
	if sym >= 4 {
		extra = uint(sym/2 - 1)
		if holds < extra {
			return errMoreBits
		}
		dist = (2+sym%2)<<extra + 1 + int(hold&(1<<extra-1))
		hold, holds = hold>>extra, holds-extra
	}
	if dist > f.at && !f.full {
		return errInflate
	}
	f.hold, f.holds, f.left, f.dist, f.step = hold, holds, length, dist, (*inflater).repeat
	return nil
}

// repeat copies what is left of a match, as far as there is room for it.
func (f *inflater) repeat() error {
	for ; f.left > 0 && f.n < len(f.out); f.left-- {
		f.put(f.window[(f.at-f.dist)&(len(f.window)-1)])
	}
	if f.left == 0 {
		f.step = (*inflater).symbol
	}
	return nil
}

// put gives out a byte; there is room for it.
func (f *inflater) put(b byte) {
	f.out[f.n] = b
	f.n++
	f.window[f.at] = b
	if f.at++; f.at == len(f.window) {
		f.at, f.full = 0, true
	}
}

// huffman is a code: how many words of each length there are, and the symbols in the
// order of their words (section 3.2.2).
type huffman struct {
	count   [16]uint16
	symbols [maxLiterals]uint16
}

// make makes the code with these lengths, and reports whether there can be one.
func (h *huffman) make(lengths []uint8) bool {
	*h = huffman{}
	for _, n := range lengths {
		h.count[n]++
	}
	used := len(lengths) - int(h.count[0])
	h.count[0] = 0
	var next [16]uint16
	left := 1 // words of a length that are free
	for n := 1; n < len(h.count); n++ {
		if left = 2*left - int(h.count[n]); left < 0 {
			return false
		}
		if n+1 < len(next) {
			next[n+1] = next[n] + h.count[n]
		}
	}
	for sym, n := range lengths {
		if n > 0 {
			h.symbols[next[n]] = uint16(sym)
			next[n]++
		}
	}
	return left == 0 || used == 0 || used == 1 && h.count[1] == 1
}

// decode returns the symbol whose word comes next, and the word's length.
func (h *huffman) decode(hold uint64, holds uint) (symbol int, n uint, err error) {
	code, first, index := 0, 0, 0
	for n = 1; n < uint(len(h.count)); n++ {
		if n > holds {
			return 0, 0, errMoreBits
		}
		code |= int(hold & 1)
		hold >>= 1
		count := int(h.count[n])
		if code-first < count {
			return int(h.symbols[index+code-first]), n, nil
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0, errInflate
}

// The codes of section 3.2.6.
var fixedLiterals, fixedDistances = fixedCodes()

func fixedCodes() (literals, distances huffman) {
	var lengths [maxLiterals]uint8
	for i := range lengths {
		switch {
		case i < 144 || i >= 280:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		default:
			lengths[i] = 7
		}
	}
	literals.make(lengths[:])
	for i := range maxDistances {
		lengths[i] = uint8(bits.Len(maxDistances - 1))
	}
	distances.make(lengths[:maxDistances])
	return literals, distances
}
