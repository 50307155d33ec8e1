package textindex

import (
	"encoding/binary"

	"github.com/go-pluto/pluto/crdt"
)

// Root names a content. The texts of a content never change.
type Root = crdt.Root

const rootLen = len(Root{})

// Owner is whose contents are searched together.
type Owner struct {
	Replica crdt.Origin
	Account crdt.AccountID
}

// The key space. Integers are big endian.
//
//	0x00                              version
//	0x01 replica account 'h' block    header of a block: how many contents, which of them are gone
//	0x01 replica account 'r' block    their roots, rising, and which of them may contain anything
//	0x01 replica account 'g' block kind gram   chunk of lists that ends with gram
//
// A replica and a block are eight bytes, an account four, a gram three.
const (
	spaceVersion = 0x00
	spaceBlocks  = 0x01

	recHeader = 'h'
	recRoots  = 'r'
	recGrams  = 'g'

	ownerLen = 1 + 8 + 4
	blockLen = ownerLen + 1 + 8
	chunkLen = blockLen + 1 + 3
)

// kind says what texts a list is of.
type kind byte

const (
	kindHeaders kind = iota
	kindTexts
	kinds // how many there are
)

func (o Owner) key(b []byte) []byte {
	b = append(b, spaceBlocks)
	b = binary.BigEndian.AppendUint64(b, uint64(o.Replica))
	return binary.BigEndian.AppendUint32(b, uint32(o.Account))
}

// parseOwner reads the owner from the beginning of a key.
func parseOwner(key []byte) (o Owner, ok bool) {
	if len(key) < ownerLen || key[0] != spaceBlocks {
		return o, false
	}
	return Owner{
		Replica: crdt.Origin(binary.BigEndian.Uint64(key[1:])),
		Account: crdt.AccountID(binary.BigEndian.Uint32(key[9:])),
	}, true
}

func (o Owner) records(b []byte, rec byte) []byte { return append(o.key(b), rec) }

func (o Owner) block(b []byte, rec byte, block uint64) []byte {
	return binary.BigEndian.AppendUint64(o.records(b, rec), block)
}

func (o Owner) grams(b []byte, block uint64, k kind) []byte {
	return append(o.block(b, recGrams, block), byte(k))
}

func (o Owner) chunk(b []byte, block uint64, k kind, last gram) []byte {
	return append(o.grams(b, block, k), byte(last>>16), byte(last>>8), byte(last))
}

// parseChunk reads the last gram of a chunk from its key.
func parseChunk(key []byte) (gram, error) {
	if len(key) != chunkLen {
		return 0, errCorrupt
	}
	k := key[chunkLen-3:]
	return gram(k[0])<<16 | gram(k[1])<<8 | gram(k[2]), nil
}

// after returns the smallest key behind all that begin with prefix, which does not
// consist of 0xff alone.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i > 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	end[0]++
	return end[:1]
}
