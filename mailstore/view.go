package mailstore

import (
	"slices"
	"sort"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Flags is the set of system flags of a message (RFC 9051 section 2.3.2).
type Flags uint8

// The system flags. \Recent belongs to sessions, not to messages.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

var systemFlags = [...]struct {
	name string
	flag Flags
}{
	{`\Seen`, Seen}, {`\Answered`, Answered}, {`\Flagged`, Flagged}, {`\Deleted`, Deleted}, {`\Draft`, Draft},
}

// systemFlag returns the bit of a system flag's canonical name, 0 for a keyword.
func systemFlag(name string) Flags {
	if name == "" || name[0] != '\\' {
		return 0
	}
	for _, f := range systemFlags {
		if f.name == name {
			return f.flag
		}
	}
	return 0
}

// Message is what FETCH FLAGS, SEARCH of flags and the like need to know.
type Message struct {
	UID      crdt.UID
	Tag      crdt.Tag
	Root     crdt.Root // content identity (EMAILID)
	Flags    Flags
	Keywords []string // sorted; shared, never changed
	ModSeq   crdt.Time
	Size     int64
	Date     int64 // INTERNALDATE, Unix seconds
	Zone     int16 // minutes east of UTC
	Saved    int64 // SAVEDATE, Unix seconds
}

// InternalDate returns the message's INTERNALDATE in its own zone.
func (m *Message) InternalDate() time.Time {
	return time.Unix(m.Date, 0).In(time.FixedZone("", int(m.Zone)*60))
}

// View is an immutable picture of a mailbox: its shown messages by rising UID.
// It costs a pointer; views of one mailbox share the chunks in which they do
// not differ. Safe for concurrent use.
type View struct {
	chunks []*chunk
	starts []int32 // index of the first message of each chunk
	len    int
	next   crdt.UID  // UIDNEXT
	high   crdt.Time // HIGHESTMODSEQ
}

// chunkRows is the largest number of messages in a chunk: a flag change copies
// the changeable columns of one chunk (6 kB), and the list of chunks (8 bytes
// for each).
const chunkRows = 256

// A chunk holds neighbouring messages as columns. What is below the lengths of
// its slices never changes once the chunk is in a view. Slices of chunks of
// successive views may share an array: a message that comes last is written
// behind the last one of the newest chunk, where no older chunk looks. There
// is one writer, who always extends the newest chunk.
type chunk struct {
	uids  []crdt.UID
	fixed []fixedRow
	state []stateRow
}

// fixedRow is what never changes about an instance.
type fixedRow struct {
	origin crdt.Origin
	n      uint64
	root   crdt.Root
	size   uint64
	date   int64
	saved  int64
	index  uint32
	zone   int16
}

// stateRow is what flag changes change.
type stateRow struct {
	mod      crdt.Time
	keywords *[]string // interned, sorted, nil for none
	flags    Flags
}

// row is one message on its way into a chunk.
type row struct {
	uid crdt.UID
	fixedRow
	stateRow
}

// Len returns the number of messages.
func (v *View) Len() int { return v.len }

// Era returns the era of the mailbox, which all UIDs of the view have.
func (v *View) Era() uint32 { return v.next.Era() }

// UIDNext returns the UIDNEXT that goes with the view.
func (v *View) UIDNext() crdt.UID { return v.next }

// HighestModSeq returns the HIGHESTMODSEQ that goes with the view.
func (v *View) HighestModSeq() crdt.Time { return v.high }

// locate returns the chunk and the place in it of message i, 0 <= i < Len.
func (v *View) locate(i int) (*chunk, int) {
	c := sort.Search(len(v.starts), func(c int) bool { return int(v.starts[c]) > i }) - 1
	return v.chunks[c], i - int(v.starts[c])
}

// UIDAt returns the UID of message i (from 0), 0 if there is none.
func (v *View) UIDAt(i int) crdt.UID {
	if i < 0 || i >= v.len {
		return 0
	}
	c, j := v.locate(i)
	return c.uids[j]
}

// At fills m with message i (from 0); with the zero Message if there is none.
func (v *View) At(i int, m *Message) {
	if i < 0 || i >= v.len {
		*m = Message{}
		return
	}
	c, j := v.locate(i)
	f, s := &c.fixed[j], &c.state[j]
	m.UID = c.uids[j]
	m.Tag = crdt.Tag{Origin: f.origin, N: f.n, Index: f.index}
	m.Root = f.root
	m.Flags = s.flags
	m.Keywords = nil
	if s.keywords != nil {
		m.Keywords = *s.keywords
	}
	m.ModSeq = s.mod
	m.Size, m.Date, m.Zone, m.Saved = int64(f.size), f.date, f.zone, f.saved
}

// Find returns the index of the first message with a UID >= uid (Len if there
// is none), and whether it is equal.
func (v *View) Find(uid crdt.UID) (int, bool) {
	c := chunkOf(v.chunks, uid)
	if c == len(v.chunks) {
		return v.len, false
	}
	j, ok := slices.BinarySearch(v.chunks[c].uids, uid)
	return int(v.starts[c]) + j, ok
}

// chunkOf returns the first chunk whose last UID is >= uid.
func chunkOf(chunks []*chunk, uid crdt.UID) int {
	return sort.Search(len(chunks), func(c int) bool { return chunks[c].last() >= uid })
}

func (c *chunk) last() crdt.UID { return c.uids[len(c.uids)-1] }

func (c *chunk) row(j int) row {
	return row{uid: c.uids[j], fixedRow: c.fixed[j], stateRow: c.state[j]}
}

// push adds r behind the last message, in place where there is room.
func (c *chunk) push(r row) {
	c.uids = append(c.uids, r.uid)
	c.fixed = append(c.fixed, r.fixedRow)
	c.state = append(c.state, r.stateRow)
}

// newView makes a view of rows, which it sorts by UID.
func newView(rows []row, next crdt.UID, high crdt.Time) *View {
	slices.SortFunc(rows, func(a, b row) int { return int(int64(a.uid) - int64(b.uid)) })
	var chunks []*chunk
	for part := range slices.Chunk(rows, chunkRows) {
		chunks = append(chunks, newChunk(part))
	}
	return assemble(chunks, nil, next, high)
}

func newChunk(rows []row) *chunk {
	c := &chunk{
		uids:  make([]crdt.UID, 0, len(rows)),
		fixed: make([]fixedRow, 0, len(rows)),
		state: make([]stateRow, 0, len(rows)),
	}
	for i := range rows {
		c.push(rows[i])
	}
	return c
}

// assemble makes a view of chunks. starts are those of the first of them, as
// far as they are known.
func assemble(chunks []*chunk, starts []int32, next crdt.UID, high crdt.Time) *View {
	v := &View{chunks: chunks, starts: make([]int32, len(chunks)), next: next, high: high}
	i := copy(v.starts, starts)
	if i > 0 {
		v.len = int(starts[i-1]) + len(chunks[i-1].uids)
	}
	for ; i < len(chunks); i++ {
		v.starts[i] = int32(v.len)
		v.len += len(chunks[i].uids)
	}
	return v
}

// rowOf makes the row of a shown message.
func (k *keywordSets) rowOf(m *crdt.Message) row {
	r := row{
		uid: m.Exp,
		fixedRow: fixedRow{
			origin: m.Tag.Origin, n: m.Tag.N, index: m.Tag.Index, root: m.Root,
			size: m.Size, date: m.Date, saved: m.Saved, zone: m.Zone,
		},
		stateRow: stateRow{mod: m.Mod},
	}
	var buf [8]string
	words := buf[:0]
	for i := range m.Flags {
		f := &m.Flags[i]
		if !f.On {
			continue
		}
		if bit := systemFlag(f.Name); bit != 0 {
			r.flags |= bit
			continue
		}
		words = append(words, f.Name)
	}
	slices.Sort(words)
	r.keywords = k.of(words)
	return r
}
