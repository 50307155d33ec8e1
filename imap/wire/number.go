package wire

import "math"

// Number reads a number of 32 bits.
func (c *Command) Number() (uint32, error) {
	n, err := c.digits(math.MaxUint32)
	return uint32(n), err
}

// NzNumber reads a number of 32 bits that is not zero.
func (c *Command) NzNumber() (uint32, error) {
	n, err := c.Number()
	if err == nil && n == 0 {
		return 0, c.SyntaxError("Expected a number above 0")
	}
	return n, err
}

// Number64 reads a number of 63 bits, as mod-sequences and sizes are (RFC 9051
// section 9, RFC 7162 section 7).
func (c *Command) Number64() (uint64, error) { return c.digits(math.MaxInt64) }

// digits reads a number up to limit.
func (c *Command) digits(limit uint64) (uint64, error) {
	if b := c.Peek(); b < '0' || b > '9' {
		return 0, c.wrong("Expected a number")
	}
	r := c.reader
	var n uint64
	for ; r.pos < r.end && '0' <= r.buf[r.pos] && r.buf[r.pos] <= '9'; r.pos++ {
		d := uint64(r.buf[r.pos] - '0')
		if n > (limit-d)/10 {
			return 0, c.SyntaxError("Number is too big")
		}
		n = 10*n + d
	}
	return n, nil
}

// Range is a part of a NumSet: from Start to Stop, both included. 0 stands for
// "*", the largest number in use. Start <= Stop unless Stop is 0; a range with "*"
// has it as Stop (a client's "*:5" is 5:*, and that is 5 and above or the largest
// number: RFC 9051 section 9, seq-range).
type Range struct {
	Start, Stop uint32
}

// NumSet is a set of sequence numbers or UIDs as the client wrote it: in its order,
// perhaps overlapping, never expanded. It has no more ranges than a line has room for.
type NumSet struct {
	Ranges []Range
	Saved  bool // "$", the saved search result (RFC 5182); Ranges is empty then
}

// SequenceSet reads a sequence set.
func (c *Command) SequenceSet() (NumSet, error) {
	if c.Byte('$') {
		return NumSet{Saved: true}, nil
	}
	var set NumSet
	for {
		r, err := c.seqRange()
		if err != nil {
			return NumSet{}, err
		}
		set.Ranges = append(set.Ranges, r)
		if !c.Byte(',') {
			return set, nil
		}
	}
}

// seqRange reads a number or two with a colon between them.
func (c *Command) seqRange() (Range, error) {
	start, err := c.seqNumber()
	if err != nil || !c.Byte(':') {
		return Range{start, start}, err
	}
	stop, err := c.seqNumber()
	if stop != 0 && (start == 0 || start > stop) {
		start, stop = stop, start
	}
	return Range{start, stop}, err
}

// seqNumber reads a number above 0, or "*" as 0.
func (c *Command) seqNumber() (uint32, error) {
	if c.Byte('*') {
		return 0, nil
	}
	return c.NzNumber()
}
