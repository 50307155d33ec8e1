package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/go-pluto/pluto/crdt"
)

// A snapshot of an account travels in pieces. A piece is
//
//	version 1 | snapshot 8 | account 4 | number 4 | entries | CRC-32C of all that 4
//
// and an entry is a kind, the length of what follows, and that:
//
//	'a'  clock 8 | vector of the replica, with its length | account record
//	'b'  mailbox record
//	'u'  validity 8 | name
//	's'  subscription register 9 | name
//	'i'  length of the entry's name 1 | annotation 9 and its name | register
//	'm'  mailbox 8 | message
//	'c'  attempt 4 | twinkey and tag of a remembered replay
//	'v'  mailbox 8 | UID 8 | count of further ones behind it
//	'e'  count of all pieces 4
//
// The records are crdt's encodings with versions of their own. The first entry of
// a snapshot is 'a', the last one 'e'.
const (
	pieceVersion = 1
	pieceHeader  = 1 + 8 + 4 + 4
	pieceSum     = 4
	// pieceTarget is how large a piece becomes before another one is begun.
	pieceTarget = 128 << 10
	// MaxPiece is the largest piece that is taken from a peer, in bytes: a
	// message may have hundreds of keywords.
	MaxPiece = 4 << 20
	// maxRun is how many vanished UIDs one entry may list.
	maxRun = 4096
)

// ErrPiece is returned by [Replica.FeedLoad] for bytes that are no piece of a
// snapshot, or not the one that is expected next.
var ErrPiece = errors.New("not the expected piece of a snapshot")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pieceID says to what a piece belongs.
type pieceID struct {
	snapshot uint64
	account  crdt.AccountID
	number   uint32 // from 0
}

func (p pieceID) begin() []byte {
	b := make([]byte, 0, pieceTarget+pieceTarget/8)
	b = append(b, pieceVersion)
	b = binary.BigEndian.AppendUint64(b, p.snapshot)
	b = binary.BigEndian.AppendUint32(b, uint32(p.account))
	return binary.BigEndian.AppendUint32(b, p.number)
}

// appendEntry appends an entry that consists of parts.
func appendEntry(b []byte, kind byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = binary.AppendUvarint(append(b, kind), uint64(n))
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// seal ends a piece.
func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// pieceEntry is one entry of a piece, sharing its memory.
type pieceEntry struct {
	kind byte
	data []byte
}

// parsePiece takes a piece apart. It allocates no more than a small multiple of
// the piece's length.
func parsePiece(b []byte) (id pieceID, entries []pieceEntry, err error) {
	if len(b) > MaxPiece || len(b) < pieceHeader+pieceSum {
		return id, nil, fmt.Errorf("%w: %d bytes", ErrPiece, len(b))
	}
	if b[0] != pieceVersion {
		return id, nil, fmt.Errorf("%w: version %d, this is %d", ErrPiece, b[0], pieceVersion)
	}
	body := b[:len(b)-pieceSum]
	if binary.BigEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return id, nil, fmt.Errorf("%w: checksum", ErrPiece)
	}
	id.snapshot = binary.BigEndian.Uint64(b[1:])
	id.account = crdt.AccountID(binary.BigEndian.Uint32(b[9:]))
	id.number = binary.BigEndian.Uint32(b[13:])
	for rest := body[pieceHeader:]; len(rest) > 0; {
		n, k := binary.Uvarint(rest[1:])
		if k <= 0 || n > uint64(len(rest)-1-k) {
			return id, nil, fmt.Errorf("%w: an entry is longer than the piece", ErrPiece)
		}
		entries = append(entries, pieceEntry{rest[0], rest[1+k : 1+k+int(n)]})
		rest = rest[1+k+int(n):]
	}
	return id, entries, nil
}

// snapshotHead is the first entry of a snapshot.
type snapshotHead struct {
	clock   crdt.Time
	vector  crdt.VC // operations that the replica had applied, of all accounts
	account *crdt.Account
}

func (h *snapshotHead) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.clock))
	b = appendVector(b, h.vector)
	return h.account.AppendBinary(b)
}

func parseSnapshotHead(b []byte) (*snapshotHead, error) {
	if len(b) < 8 {
		return nil, errShort
	}
	h := &snapshotHead{clock: crdt.Time(binary.BigEndian.Uint64(b))}
	v, rest, err := cutVector(b[8:])
	if err != nil {
		return nil, err
	}
	h.vector = v
	h.account, err = crdt.DecodeAccount(rest)
	return h, err
}

var errShort = errors.New("record ends early")

// appendVector appends a vector with its length, cutVector reads it.
func appendVector(b []byte, v crdt.VC) []byte {
	data := v.AppendBinary(nil)
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

func cutVector(b []byte) (v crdt.VC, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, errShort
	}
	v, err = crdt.DecodeVC(b[k : k+int(n)])
	return v, b[k+int(n):], err
}

// stagedRecord is an entry as it is kept until the account is merged. all counts
// the pieces, at the last entry.
type stagedRecord struct {
	key   []byte // behind the account's prefix
	value []byte
	head  *snapshotHead
	also  []byte // another key, without value
	all   uint32
}

// staged checks an entry and says what to keep of it.
func (e pieceEntry) staged() (s stagedRecord, err error) {
	switch e.kind {
	case stagedHead:
		s.head, err = parseSnapshotHead(e.data)
		s.key, s.value = []byte{stagedHead}, e.data
	case stagedMailbox:
		var b *crdt.Mailbox
		if b, err = crdt.DecodeMailbox(e.data); err == nil {
			s.key, s.value = binary.BigEndian.AppendUint64([]byte{stagedMailbox}, uint64(b.ID)), e.data
		}
	case stagedUsed, stagedSubscription:
		n := 8
		if e.kind == stagedSubscription {
			n = 9
		}
		if len(e.data) < n || len(e.data) > n+crdt.MaxNameLen {
			return s, errShort
		}
		s.key, s.value = append([]byte{e.kind}, e.data[n:]...), e.data[:n]
		if e.kind == stagedSubscription {
			_, err = parseSubscription(s.value)
		}
	case stagedNote:
		return e.stagedNote()
	case stagedMessage:
		return e.stagedMessage()
	case stagedReplay:
		if len(e.data) < 4 {
			return s, errShort
		}
		s.key, s.value = append([]byte{stagedReplay}, e.data[4:]...), e.data[:4]
		_, err = parseStagedReplay(s.key[1:], s.value)
	case stagedVanished:
		if len(e.data) < 17 {
			return s, errShort
		}
		if n, k := binary.Uvarint(e.data[16:]); k != len(e.data)-16 || n >= maxRun {
			return s, fmt.Errorf("%w: run of UIDs", errCorrupt)
		}
		s.key, s.value = append([]byte{stagedVanished}, e.data[:16]...), e.data[16:]
	case stagedEnd:
		if len(e.data) != 4 {
			return s, errShort
		}
		s.all = binary.BigEndian.Uint32(e.data)
	default:
		err = fmt.Errorf("%w: entry of kind %d", errCorrupt, e.kind)
	}
	return s, err
}

func (e pieceEntry) stagedMessage() (s stagedRecord, err error) {
	if len(e.data) < 8 {
		return s, errShort
	}
	box := e.data[:8]
	m, err := crdt.DecodeMessage(e.data[8:])
	if err != nil {
		return s, err
	}
	s.key = binary.BigEndian.AppendUint64(append([]byte{stagedMessage}, box...), uint64(m.Reg))
	s.key, s.value = appendTag(s.key, m.Tag), e.data[8:]
	s.also = appendTag(append([]byte{stagedTag}, box...), m.Tag)
	return s, nil
}

func parseStagedReplay(key, v []byte) (crdt.Replay, error) {
	k, rest, err := parseTwinKey(key)
	if err != nil {
		return crdt.Replay{}, err
	}
	return parseReplay(k, rest, v)
}
