package textindex

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// maxContents is how many contents a block has at most: their numbers fit in 12 bits.
const maxContents = 4096

// errCorrupt says that the index holds something that was never written to it.
var errCorrupt = errors.New("text index is damaged")

// A list is some of the numbers 0 to n-1, rising: the contents of a block of n that have a gram.
// Its code is how many they are; then nothing if that is all n, the number itself if it
// is one, else the length in bytes of the gaps and the gaps as a Golomb-Rice code: a gap g is
// g>>k zeros, a one and the lower k bits of g, from the lowest bit of each byte on. k follows
// from n and how many there are. With k = 0 that is a bitmap.

// rice returns the parameter k for a list of so many out of n.
func rice(many, n int) uint {
	return uint(max(0, bits.Len(uint(n*69/100/many))-1))
}

// appendList appends the code of a list that is not empty.
func appendList(b []byte, list []uint16, n int) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	switch len(list) {
	case n:
		return b
	case 1:
		return binary.AppendUvarint(b, uint64(list[0]))
	}
	k := rice(len(list), n)
	size, next := uint(len(list))*(k+1), uint16(0)
	for _, x := range list {
		size += uint(x-next) >> k
		next = x + 1
	}
	w := bitWriter{buf: binary.AppendUvarint(b, uint64(size+7)/8)}
	next = 0
	for _, x := range list {
		gap := uint(x - next)
		w.zeros(gap >> k)
		w.write(1|uint64(gap&(1<<k-1))<<1, k+1)
		next = x + 1
	}
	w.end()
	return w.buf
}

type bitWriter struct {
	buf  []byte
	acc  uint64
	have uint
}

// write takes the lower n <= 32 bits of v.
func (w *bitWriter) write(v uint64, n uint) {
	w.acc |= v << w.have
	for w.have += n; w.have >= 8; w.have -= 8 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) zeros(n uint) {
	for ; n > 32; n -= 32 {
		w.write(0, 32)
	}
	w.write(0, n)
}

func (w *bitWriter) end() {
	if w.have > 0 {
		w.buf = append(w.buf, byte(w.acc))
	}
}

// listCode is a list as it lies in a chunk.
type listCode struct {
	many int
	one  int    // of many == 1
	gaps []byte // of other lists than of one or all
}

// cutList reads the code of a list of a block of n contents from the beginning of b.
func cutList(b []byte, n int) (l listCode, rest []byte, err error) {
	many, b, err := cutNumber(b, n)
	if err != nil {
		return l, nil, err
	}
	if l.many = many; many == 0 {
		return l, nil, errCorrupt
	}
	switch many {
	case n:
		return l, b, nil
	case 1:
		l.one, b, err = cutNumber(b, n-1)
		return l, b, err
	}
	size, b, err := cutNumber(b, len(b))
	if err != nil || size > len(b) {
		return l, nil, errCorrupt
	}
	l.gaps = b[:size]
	return l, b[size:], nil
}

func cutNumber(b []byte, limit int) (int, []byte, error) {
	v, size := binary.Uvarint(b)
	if size <= 0 || v > uint64(limit) {
		return 0, nil, errCorrupt
	}
	return int(v), b[size:], nil
}

// decode appends the numbers of a list of a block of n contents.
func (l listCode) decode(list []uint16, n int) ([]uint16, error) {
	switch l.many {
	case n:
		for i := range n {
			list = append(list, uint16(i))
		}
		return list, nil
	case 1:
		return append(list, uint16(l.one)), nil
	}
	k := rice(l.many, n)
	r := bitReader{buf: l.gaps}
	next := 0
	for range l.many {
		zeros, ok := r.zeros()
		low, enough := r.read(k)
		if next += zeros<<k | int(low); !ok || !enough || next >= n {
			return nil, errCorrupt
		}
		list = append(list, uint16(next))
		next++
	}
	return list, nil
}

type bitReader struct {
	buf  []byte
	acc  uint64
	have uint
}

func (r *bitReader) fill() {
	for r.have <= 56 && len(r.buf) > 0 {
		r.acc |= uint64(r.buf[0]) << r.have
		r.buf = r.buf[1:]
		r.have += 8
	}
}

// zeros reads zeros and the one behind them.
func (r *bitReader) zeros() (n int, ok bool) {
	for {
		r.fill()
		if r.acc != 0 {
			z := uint(bits.TrailingZeros64(r.acc))
			r.acc >>= z + 1
			r.have -= z + 1
			return n + int(z), true
		}
		if r.have == 0 || n > maxContents {
			return 0, false
		}
		n += int(r.have)
		r.have = 0
	}
}

// read reads n <= 32 bits.
func (r *bitReader) read(n uint) (uint64, bool) {
	if r.have < n {
		if r.fill(); r.have < n {
			return 0, false
		}
	}
	v := r.acc & (1<<n - 1)
	r.acc >>= n
	r.have -= n
	return v, true
}
