package imap

import (
	"encoding/binary"
	"sort"
)

// The UIDs that a client knows go into checkpoints as pieces: the UID space is cut
// in halves, and these again, until what is in each fits a chunk. So a new or
// expunged message changes one piece, and sessions that know the same messages
// have the same pieces.

// viewPiece is a part of the UID space with what a view has in it.
type viewPiece struct {
	from UID  // the first UID
	bits uint // 1<<bits UIDs belong to it
	name [ChunkName]byte
	data []byte // nil: empty, or a checkpoint has it already
	full bool   // there are messages
}

const (
	uidBits        = 32
	maxPieces      = 400 // of a view that can go elsewhere: 1.6 MB
	maxCheapPieces = 64  // from here on they are not sent for a new MODSEQ alone
)

// cutView returns the pieces of a part of the UID space.
func cutView(pieces []viewPiece, v View, from UID, bits uint) []viewPiece {
	data, ok := appendPiece(nil, v, from, bits)
	if !ok && bits > 0 {
		pieces = cutView(pieces, v, from, bits-1)
		return cutView(pieces, v, from+1<<(bits-1), bits-1)
	}
	p := viewPiece{from: from, bits: bits, data: data, full: len(data) > 0}
	if p.full {
		p.name = NameOf(data)
	}
	return append(pieces, p)
}

// last returns the largest UID of a piece.
func (p *viewPiece) last() UID { return p.from + (1<<p.bits - 1) }

// appendPiece appends the UIDs of v in a part of the UID space as the distances
// and lengths of runs; false: they do not fit a chunk.
func appendPiece(dst []byte, v View, from UID, bits uint) ([]byte, bool) {
	i, _ := v.Find(from)
	end := v.Len()
	if last := uint64(from) + 1<<bits; last < 1<<uidBits {
		end, _ = v.Find(UID(last))
	}
	before := UID(0)
	for i < end {
		first, n := v.UIDAt(i), runAt(v, i, end)
		dst = binary.AppendUvarint(dst, uint64(first-before))
		dst = binary.AppendUvarint(dst, uint64(n-1))
		if len(dst) > MaxChunk {
			return nil, false
		}
		before = first + UID(n) - 1
		i += n
	}
	return dst, true
}

// parsePieces returns the UIDs of pieces, in order; false: they are none.
func parsePieces(chunks []Chunk) ([]UIDRange, bool) {
	var out []UIDRange
	last := uint64(0)
	for _, c := range chunks {
		d := stateReader{data: c.Data}
		for at := uint64(0); len(d.data) > 0; {
			from := at + d.number(1<<uidBits-1)
			to := from + d.number(1<<uidBits-1)
			if d.bad || from <= last || to > 1<<uidBits-1 {
				return nil, false
			}
			if n := len(out); n > 0 && from == last+1 {
				out[n-1].To = UID(to) // a run that goes on in the next piece
			} else {
				out = append(out, UIDRange{UID(from), UID(to)})
			}
			at, last = to, to
		}
	}
	return out, true
}

// recut brings the pieces up to date after messages came or went.
func (b *selection) recut(changed ...[]UID) {
	if b.pieces == nil {
		return // to be cut anew
	}
	dirty := map[int]struct{}{}
	for _, uids := range changed {
		for _, uid := range uids {
			i := sort.Search(len(b.pieces), func(i int) bool { return b.pieces[i].last() >= uid })
			dirty[i] = struct{}{}
		}
	}
	pieces := make([]viewPiece, 0, len(b.pieces))
	for i := range b.pieces {
		p := &b.pieces[i]
		if _, ok := dirty[i]; ok {
			pieces = cutView(pieces, b.told, p.from, p.bits)
		} else {
			pieces = append(pieces, *p)
		}
	}
	b.pieces = pieces
}

// chunks returns the pieces that have something in them. What was returned once
// is returned without its data.
func (b *selection) chunks() []Chunk {
	if b.pieces == nil {
		b.pieces = cutView(nil, b.told, 0, uidBits)
	}
	var out []Chunk
	for i := range b.pieces {
		if p := &b.pieces[i]; p.full {
			out = append(out, Chunk{p.name, p.data})
			p.data = nil
		}
	}
	return out
}
