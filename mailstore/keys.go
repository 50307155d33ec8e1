package mailstore

import (
	"encoding/binary"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// The key space of one database. Integers are big endian, so that the order of
// keys is the order of what they name.
//
//	0x01                                  format version of all that follows (format.go)
//	0x02 <subnet name>                    replica record: number, origin, slot, subnet
//	0x10 R 'v'                            vector of the replica and its clock
//	0x10 R 'c'                            the log's cut, a vector
//	0x10 R 'e'                            epoch of the group, and that to which all accounts were raised
//	0x10 R 'l' origin n                   log: one operation
//	0x10 R 'p' <peer name>                what is remembered of a peer
//	0x10 R 'q' account                    quarantine of an account
//	0x10 R 'w' account box tag            an instance that awaits another UID
//	0x10 R 'f' account                    the account has records of kind 't' or 'c'
//	0x10 R 'k' slot                       incarnation in a slot, and since when its checkpoints count
//	0x10 R 'k' slot time                  checkpoint: the vector of the replica in that slot at that time
//	0x10 R 'd' hour account session place what an operation of a session's command has done
//	0x10 R 'n' 'w'                        load of snapshots under way: the source's vector
//	0x10 R 'n' 'a' account                how far the load of an account has come
//	0x10 R 'n' 'd' account <staged>       a record of a snapshot that is not merged yet
//	0x10 R 'a' account 'a'                account record
//	0x10 R 'a' account 'b' box            mailbox record
//	0x10 R 'a' account 'm' box tag        message instance
//	0x10 R 'a' account 't' twinkey box tag   a live instance of a group of twins
//	0x10 R 'a' account 'c' twinkey tag    a replay that is remembered, and its attempt
//	0x10 R 'a' account 'u' <name>         largest validity shown under a name
//	0x10 R 'a' account 's' <name>         subscription register of a name
//	0x10 R 'a' account 'i' server box <entry>   register of an annotation, of the account if server (1 byte) is 1
//	0x10 R 'a' account 'v' box mod uid    UIDs that vanished with a MODSEQ: this one and as many behind it
//	0x10 R 'a' account 'o' box tag        an instance that clients may know by other UIDs than the one shown
//	0x20 R 'r' root                       what refers to a content: instances, unsettled removals
//	0x20 R 'x' dot root                   a removal of instances of that content; the account
//	0x20 R 'g' root                       staging marker: content without an operation yet
//	0x20 R 's' root                       structure and sizes of a complete content
//	0x30 R root chunk                     piece of a content
//
// R is the number of the replica in this database (two bytes), account four
// bytes, box eight, a dot sixteen (origin 8, n 8), a tag twenty (origin 8, n 8,
// index 4), a uid and a mod eight, a root and a session sixteen, an hour and a
// chunk four.
// For twinkeys and records of replays see twinkeys.go.
//
// Records of one account lie together, and within it all messages of one
// mailbox, so that opening a mailbox is one scan. What grows with the bodies
// (0x30) lies apart from everything that is scanned. A root starts with the
// time at which it was drawn: bodies that arrive later lie behind, and the
// compactions move their tables without writing them again.
//
// Values begin with no version byte of their own: the format version covers
// them all, except those whose encoding is crdt's.
const (
	spaceFormat   = 0x01
	spaceReplicas = 0x02
	spaceState    = 0x10
	spaceContent  = 0x20
	spaceBodies   = 0x30
)

const (
	kindVector     = 'v'
	kindCut        = 'c'
	kindEpochs     = 'e'
	kindLog        = 'l'
	kindPeer       = 'p'
	kindQuarantine = 'q'
	kindAwait      = 'w'
	kindFiled      = 'f'
	kindCheckpoint = 'k'
	kindCommand    = 'd'
	kindLoad       = 'n'
	kindAccount    = 'a'

	recAccount      = 'a'
	recMailbox      = 'b'
	recMessage      = 'm'
	recTwin         = 't'
	recReplay       = 'c'
	recUsed         = 'u'
	recSubscription = 's'
	recNote         = 'i'
	recVanished     = 'v'
	recSeveral      = 'o'

	kindCount     = 'r'
	kindRemoval   = 'x'
	kindStaging   = 'g'
	kindStructure = 's'
)

// Lengths of the fixed parts of keys.
const (
	prefixLen        = 1 + 2 + 1         // space, replica, kind
	accountPrefixLen = prefixLen + 4 + 1 // and account, record kind
	tagLen           = 8 + 8 + 4
	instanceLen      = 8 + tagLen
	rootLen          = 16
)

// keyspace builds the keys of one replica. Every method appends to b, so that
// callers choose where keys live.
type keyspace uint16

func (k keyspace) kind(b []byte, space, kind byte) []byte {
	b = append(b, space)
	b = binary.BigEndian.AppendUint16(b, uint16(k))
	return append(b, kind)
}

func (k keyspace) vector(b []byte) []byte { return k.kind(b, spaceState, kindVector) }
func (k keyspace) cut(b []byte) []byte    { return k.kind(b, spaceState, kindCut) }

func (k keyspace) epochs(b []byte) []byte { return k.kind(b, spaceState, kindEpochs) }

func (k keyspace) log(b []byte, d crdt.Dot) []byte {
	b = k.kind(b, spaceState, kindLog)
	b = binary.BigEndian.AppendUint64(b, uint64(d.Origin))
	return binary.BigEndian.AppendUint64(b, d.N)
}

func (k keyspace) peer(b []byte, name string) []byte {
	return append(k.kind(b, spaceState, kindPeer), name...)
}

func (k keyspace) quarantine(b []byte, a crdt.AccountID) []byte {
	return binary.BigEndian.AppendUint32(k.kind(b, spaceState, kindQuarantine), uint32(a))
}

func (k keyspace) awaits(b []byte, a crdt.AccountID) []byte {
	return binary.BigEndian.AppendUint32(k.kind(b, spaceState, kindAwait), uint32(a))
}

func (k keyspace) await(b []byte, a crdt.AccountID, i crdt.Instance) []byte {
	return appendInstance(k.awaits(b, a), i)
}

func (k keyspace) record(b []byte, a crdt.AccountID, rec byte) []byte {
	b = k.kind(b, spaceState, kindAccount)
	b = binary.BigEndian.AppendUint32(b, uint32(a))
	return append(b, rec)
}

func (k keyspace) account(b []byte, a crdt.AccountID) []byte { return k.record(b, a, recAccount) }

func (k keyspace) mailbox(b []byte, a crdt.AccountID, box crdt.MailboxID) []byte {
	return binary.BigEndian.AppendUint64(k.record(b, a, recMailbox), uint64(box))
}

func (k keyspace) messages(b []byte, a crdt.AccountID, box crdt.MailboxID) []byte {
	return binary.BigEndian.AppendUint64(k.record(b, a, recMessage), uint64(box))
}

func (k keyspace) message(b []byte, a crdt.AccountID, i crdt.Instance) []byte {
	return appendTag(k.messages(b, a, i.Box), i.Tag)
}

func (k keyspace) used(b []byte, a crdt.AccountID, name string) []byte {
	return append(k.record(b, a, recUsed), name...)
}

func (k keyspace) subscription(b []byte, a crdt.AccountID, name string) []byte {
	return append(k.record(b, a, recSubscription), name...)
}

func (k keyspace) notes(b []byte, a crdt.AccountID) []byte { return k.record(b, a, recNote) }

func (k keyspace) note(b []byte, a crdt.AccountID, of crdt.Annotation) []byte {
	return appendAnnotation(k.notes(b, a), of)
}

func (k keyspace) vanishedIn(b []byte, a crdt.AccountID, box crdt.MailboxID) []byte {
	return binary.BigEndian.AppendUint64(k.record(b, a, recVanished), uint64(box))
}

// vanishedSince is the smallest key of what vanished with a MODSEQ of at least mod.
func (k keyspace) vanishedSince(b []byte, a crdt.AccountID, box crdt.MailboxID, mod crdt.Time) []byte {
	return binary.BigEndian.AppendUint64(k.vanishedIn(b, a, box), uint64(mod))
}

func (k keyspace) vanished(b []byte, a crdt.AccountID, box crdt.MailboxID, mod crdt.Time, uid crdt.UID) []byte {
	return binary.BigEndian.AppendUint64(k.vanishedSince(b, a, box, mod), uint64(uid))
}

func (k keyspace) severals(b []byte, a crdt.AccountID, box crdt.MailboxID) []byte {
	return binary.BigEndian.AppendUint64(k.record(b, a, recSeveral), uint64(box))
}

func (k keyspace) several(b []byte, a crdt.AccountID, i crdt.Instance) []byte {
	return appendTag(k.severals(b, a, i.Box), i.Tag)
}

func (k keyspace) checkpoints(b []byte, slot crdt.Slot) []byte {
	return append(k.kind(b, spaceState, kindCheckpoint), byte(slot))
}

func (k keyspace) checkpoint(b []byte, slot crdt.Slot, t crdt.Time) []byte {
	return binary.BigEndian.AppendUint64(k.checkpoints(b, slot), uint64(t))
}

func (k keyspace) content(b []byte, kind byte, root crdt.Root) []byte {
	return append(k.kind(b, spaceContent, kind), root[:]...)
}

// removals is the beginning of the removals by one operation. Those of one
// origin lie together by number: what becomes stable is found without reading
// what is not.
func (k keyspace) removals(b []byte, d crdt.Dot) []byte {
	b = k.kind(b, spaceContent, kindRemoval)
	b = binary.BigEndian.AppendUint64(b, uint64(d.Origin))
	return binary.BigEndian.AppendUint64(b, d.N)
}

func (k keyspace) removal(b []byte, r crdt.Removal) []byte {
	b = k.removals(b, r.By)
	return append(b, r.Root[:]...)
}

func (k keyspace) chunks(b []byte, root crdt.Root) []byte {
	b = append(b, spaceBodies)
	b = binary.BigEndian.AppendUint16(b, uint16(k))
	return append(b, root[:]...)
}

func (k keyspace) chunk(b []byte, root crdt.Root, index uint32) []byte {
	return binary.BigEndian.AppendUint32(k.chunks(b, root), index)
}

func formatKey() []byte { return []byte{spaceFormat} }

func replicaKey(subnet string) []byte { return append([]byte{spaceReplicas}, subnet...) }

// after returns the smallest key behind all that begin with prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func appendTag(b []byte, t crdt.Tag) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Origin))
	b = binary.BigEndian.AppendUint64(b, t.N)
	return binary.BigEndian.AppendUint32(b, t.Index)
}

func appendInstance(b []byte, i crdt.Instance) []byte {
	return appendTag(binary.BigEndian.AppendUint64(b, uint64(i.Box)), i.Tag)
}

// parseTag reads a tag from the end of a key.
func parseTag(b []byte) (crdt.Tag, error) {
	if len(b) != tagLen {
		return crdt.Tag{}, fmt.Errorf("%w: tag of %d bytes in a key", errCorrupt, len(b))
	}
	return crdt.Tag{
		Origin: crdt.Origin(binary.BigEndian.Uint64(b)),
		N:      binary.BigEndian.Uint64(b[8:]),
		Index:  binary.BigEndian.Uint32(b[16:]),
	}, nil
}

// parseInstance reads a mailbox and a tag from the end of a key.
func parseInstance(b []byte) (crdt.Instance, error) {
	if len(b) != instanceLen {
		return crdt.Instance{}, fmt.Errorf("%w: instance of %d bytes in a key", errCorrupt, len(b))
	}
	tag, err := parseTag(b[8:])
	return crdt.Instance{Box: crdt.MailboxID(binary.BigEndian.Uint64(b)), Tag: tag}, err
}

// parseRemoval reads a removal from the part of a key behind its kind.
func parseRemoval(b []byte) (crdt.Removal, error) {
	if len(b) != 16+rootLen {
		return crdt.Removal{}, fmt.Errorf("%w: removal of %d bytes in a key", errCorrupt, len(b))
	}
	by := crdt.Dot{Origin: crdt.Origin(binary.BigEndian.Uint64(b)), N: binary.BigEndian.Uint64(b[8:])}
	return crdt.Removal{Root: crdt.Root(b[16:]), By: by}, nil
}

// parseAccount reads an account from the part of a key behind its kind.
func parseAccount(b []byte) (crdt.AccountID, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("%w: account in a key", errCorrupt)
	}
	return crdt.AccountID(binary.BigEndian.Uint32(b)), nil
}
