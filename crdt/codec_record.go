package crdt

import "fmt"

// The encodings below are local: a replica reads only what it wrote itself, so
// they may change with recordVersion as long as old ones can be read.

// Bits of a message record that say which rare fields follow.
const (
	hasMove    = 1 << iota // Src, SrcTime
	hasCause               // Cause
	hasAliases             // All is not just Reg
	hasBase                // Base
	hasWait                // Refused, Tries, Nudged, Due, Held
	isHidden               // Exp is not Reg, it follows
	isCopy                 // Copied
	hasAll     = hasMove | hasCause | hasAliases | hasBase | hasWait | isHidden | isCopy
)

// AppendBinary appends the encoding of m to dst.
func (m *Message) AppendBinary(dst []byte) []byte {
	w := writer{b: dst}
	has := m.fields()
	w.byte(recordVersion)
	w.byte(has)
	w.dot(m.Tag.Dot())
	w.uint(uint64(m.Tag.Index))
	w.root(m.Root)
	w.uint(uint64(m.Reg))
	w.time(m.Mod)
	w.flags(m.Flags)
	w.uint(m.Size)
	w.int(m.Date)
	w.int(int64(m.Zone))
	w.int(m.Saved)
	w.time(m.Arrived)
	if has&isHidden != 0 {
		w.uint(uint64(m.Exp))
	}
	if has&hasAliases != 0 {
		w.uint(uint64(len(m.All)))
		for _, u := range m.All {
			w.uint(uint64(u))
		}
	}
	if has&hasMove != 0 {
		w.dot(m.Src.Dot())
		w.uint(uint64(m.Src.Index))
		w.uint(uint64(m.SrcTime))
	}
	if has&hasCause != 0 {
		w.cause(m.Cause)
	}
	if has&hasBase != 0 {
		w.uint(uint64(m.Base))
	}
	if has&hasWait != 0 {
		w.int(m.Refused)
		w.byte(m.Tries)
		w.uint(uint64(m.Nudged))
		w.int(m.Due)
		w.bool(m.Held)
	}
	return w.b
}

func (m *Message) fields() byte {
	var has byte
	if !m.Src.IsZero() || m.SrcTime != 0 {
		has |= hasMove
	}
	if !m.Cause.IsZero() {
		has |= hasCause
	}
	if len(m.All) != 1 || m.All[0] != m.Reg {
		has |= hasAliases
	}
	if m.Base != 0 {
		has |= hasBase
	}
	if m.Refused != 0 || m.Tries != 0 || m.Nudged != 0 || m.Due != 0 || m.Held {
		has |= hasWait
	}
	if m.Exp != m.Reg {
		has |= isHidden
	}
	if m.Copied {
		has |= isCopy
	}
	return has
}

// DecodeMessage reads what [Message.AppendBinary] wrote; an error wraps
// [ErrVersion] or [ErrMalformed].
func DecodeMessage(b []byte) (*Message, error) {
	m := new(Message)
	if err := m.UnmarshalBinary(b); err != nil {
		return nil, err
	}
	return m, nil
}

// UnmarshalBinary reads what [Message.AppendBinary] wrote into m, whose slices
// it reuses: who loads many messages needs one.
func (m *Message) UnmarshalBinary(b []byte) error {
	r := reader{b: b}
	r.version(recordVersion)
	has := r.byte()
	if has&^hasAll != 0 {
		r.fail(errNumber)
	}
	m.Tag.Origin, m.Tag.N, m.Tag.Index = Origin(r.fixed()), r.uint(), r.uint32()
	m.Root = r.root()
	m.Reg = r.uid()
	m.Mod = r.time()
	m.Flags = r.flags(m.Flags)
	m.Size = r.uint()
	m.Date, m.Zone, m.Saved = r.int(), r.int16(), r.int()
	m.Arrived = r.time()
	m.decodeRare(&r, has)
	if err := r.finish(); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

func (m *Message) decodeRare(r *reader, has byte) {
	m.Exp = m.Reg
	if has&isHidden != 0 {
		m.Exp = r.uid()
	}
	m.All = m.All[:0]
	if has&hasAliases == 0 {
		m.All = append(m.All, m.Reg)
	} else {
		for range r.count(1) {
			m.All = append(m.All, r.uid())
		}
	}
	m.Src, m.SrcTime, m.Cause, m.Base = Tag{}, 0, Cause{}, 0
	if has&hasMove != 0 {
		m.Src = Tag{Origin(r.fixed()), r.uint(), r.uint32()}
		m.SrcTime = Time(r.uint())
	}
	m.Copied = has&isCopy != 0
	if has&hasCause != 0 {
		m.Cause = r.cause()
	}
	if has&hasBase != 0 {
		m.Base = Time(r.uint())
	}
	m.Refused, m.Tries, m.Nudged, m.Due, m.Held = 0, 0, 0, 0, false
	if has&hasWait != 0 {
		m.Refused, m.Tries, m.Nudged = r.int(), r.byte(), r.uid()
		m.Due, m.Held = r.int(), r.bool()
	}
}

// AppendBinary appends the encoding of b to dst. Watched is not written, and H
// only for a process that reads what it wrote itself; see [Mailbox.Restart].
func (b *Mailbox) AppendBinary(dst []byte) []byte {
	w := writer{b: dst}
	version := byte(recordVersion)
	if b.Doubt != b.VanFloor {
		version = doubtVersion
	}
	w.byte(version)
	w.fixed(uint64(b.ID))
	w.string(b.Created)
	w.uint(uint64(b.Generation))
	w.uint(uint64(b.Name.Time))
	w.string(b.Name.Value)
	w.uint(uint64(b.C))
	w.uint(uint64(len(b.Dots)))
	for _, d := range b.Dots {
		w.dot(d)
	}
	w.uint(uint64(b.SpecialUse.Time))
	w.string(b.SpecialUse.Value)
	for _, x := range [...]uint64{
		uint64(b.Instances), uint64(b.N), uint64(b.H), uint64(b.High), uint64(b.MaxExp),
		uint64(b.Messages), uint64(b.Unseen), uint64(b.Deleted), b.Bytes, uint64(b.VanFloor), uint64(b.Recent),
		uint64(b.Evidence.Last), uint64(b.Evidence.Since), uint64(b.Evidence.Spent), uint64(b.Held),
	} {
		w.uint(x)
	}
	if version == doubtVersion {
		w.uint(uint64(b.Doubt))
	}
	return w.b
}

// AppendShared is AppendBinary for another replica, which has a doubt of its own: in
// version 1, so that members of an earlier version read it too.
func (b *Mailbox) AppendShared(dst []byte) []byte {
	c := *b
	c.Doubt = c.VanFloor
	return c.AppendBinary(dst)
}

// doubtVersion is the version of the record of a mailbox that tells Doubt from
// VanFloor. In version 1 one number was both.
const doubtVersion = recordVersion + 1

// DecodeMailbox reads what [Mailbox.AppendBinary] wrote; an error wraps
// [ErrVersion] or [ErrMalformed].
func DecodeMailbox(data []byte) (*Mailbox, error) {
	r := reader{b: data}
	doubt := len(data) > 0 && data[0] == doubtVersion
	r.version(doubtVersion)
	b := &Mailbox{ID: MailboxID(r.fixed()), Created: r.string(), Generation: r.uint32()}
	b.Name.Time = Time(r.uint())
	b.Name.Value = r.string()
	if b.Name.Value == b.Created {
		b.Name.Value = b.Created // one string in memory
	}
	b.C = r.uint32()
	b.Dots = elements[Dot](&r, 9)
	for i := range b.Dots {
		b.Dots[i] = r.dot()
	}
	b.SpecialUse.Time = Time(r.uint())
	b.SpecialUse.Value = r.string()
	b.Instances, b.N, b.H = r.uint32(), r.uid(), r.uid()
	b.High, b.MaxExp = Time(r.uint()), r.uid()
	b.Messages, b.Unseen, b.Deleted = r.uint32(), r.uint32(), r.uint32()
	b.Bytes, b.VanFloor, b.Recent = r.uint(), Time(r.uint()), r.uid()
	b.Evidence = Evidence{int64(r.uint()), int64(r.uint()), r.uid()}
	b.Held = r.uint32()
	if b.Doubt = b.VanFloor; doubt {
		b.Doubt = Time(r.uint())
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("decode mailbox: %w", err)
	}
	return b, nil
}

// AppendBinary appends the encoding of a to dst.
func (a *Account) AppendBinary(dst []byte) []byte {
	w := writer{b: dst}
	version := byte(recordVersion)
	switch {
	case len(a.Recovered) > 0:
		version = recoveredVersion
	case a.Home.Time != 0:
		version = movedVersion
	}
	w.byte(version)
	w.uint(uint64(a.Login.Time))
	w.string(a.Login.Value)
	w.bool(a.Provisioned)
	w.uint(uint64(a.Epoch))
	w.vector(a.Vector)
	w.uint(uint64(a.Replays))
	if version >= movedVersion {
		w.uint(uint64(a.Home.Time))
		w.string(a.Home.Value)
		w.string(a.Target)
	}
	if version == recoveredVersion {
		w.uint(uint64(len(a.Recovered)))
		for _, t := range a.Recovered {
			w.dot(t.Dot())
			w.uint(uint64(t.Index))
		}
	}
	return w.b
}

// Versions of the record of an account: of one that was moved, which says where to,
// and of one to which something of an evicted replica was added again. Others are
// written as before, so that earlier versions of this package read them.
const (
	movedVersion     = recordVersion + 1
	recoveredVersion = recordVersion + 2
)

// DecodeAccount reads what [Account.AppendBinary] wrote; an error wraps
// [ErrVersion] or [ErrMalformed].
func DecodeAccount(b []byte) (*Account, error) {
	r := reader{b: b}
	var version byte
	if len(b) > 0 {
		version = b[0]
	}
	r.version(recoveredVersion)
	a := &Account{Login: Register[string]{Time(r.uint()), r.string()}, Provisioned: r.bool(), Epoch: r.uint32()}
	a.Vector, a.Replays = r.vector(), r.uint32()
	if version >= movedVersion {
		a.Home, a.Target = Register[string]{Time(r.uint()), r.string()}, r.string()
	}
	if version == recoveredVersion {
		a.Recovered = elements[Tag](&r, 8+1+1)
		for i := range a.Recovered {
			d := r.dot()
			a.Recovered[i] = Tag{d.Origin, d.N, r.uint32()}
			if r.err == nil && i > 0 && d.Origin <= a.Recovered[i-1].Origin {
				r.fail(errVectorOrder)
			}
		}
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("decode account: %w", err)
	}
	return a, nil
}
