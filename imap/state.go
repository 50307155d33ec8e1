package imap

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// stateChange says how much of what a checkpoint's state holds has changed since
// the last checkpoint.
type stateChange uint8

const (
	stateSame      stateChange = iota
	stateNewModSeq             // only the highest MODSEQ
	stateChanged
)

// stateVersion is the first byte of an encoded state.
const stateVersion = 2

// sessionState is what a checkpoint says about a session: enough for another
// replica to select the same mailbox and to tell the client what differs from
// what it was told.
type sessionState struct {
	Modes       modes
	Selected    bool
	ReadOnly    bool
	Name        string // of the mailbox, and
	MailboxID   string // its identity, should it have been renamed
	UIDValidity uint32
	ModSeq      ModSeq // highest that was told; a replica's own
	Told        []UIDRange
	TooMany     bool // Told and Saved were too large to be kept; the session cannot go on elsewhere
	Recent      []UIDRange
	Saved       []UIDRange // the saved search result
}

// checkpoint returns the point up to which the client was answered. The state
// is in it only when it has changed.
func (s *session) checkpoint() Checkpoint {
	p := Checkpoint{Consumed: s.consumed, Vector: s.account.Vector()}
	if s.stateDirty == stateSame {
		return p
	}
	state := s.encodeState()
	if s.stateDirty == stateNewModSeq && len(state) > bigStateBytes {
		// What is lost without it is that some flags are told again.
		return p
	}
	s.stateDirty = stateSame
	p.State = state
	return p
}

func (s *session) encodeState() []byte {
	b := s.box
	if b == nil {
		return sessionState{Modes: s.modes}.append(nil)
	}
	if b.runs == nil {
		b.runs = runsOf(b.told)
	}
	st := sessionState{
		Modes:       s.modes,
		Selected:    true,
		ReadOnly:    b.readOnly,
		Name:        b.mailbox.Name(),
		MailboxID:   b.mailbox.MailboxID(),
		UIDValidity: b.mailbox.UIDValidity(),
		ModSeq:      b.shown,
		Told:        b.runs,
		Recent:      b.recent,
		Saved:       b.saved,
		TooMany:     len(b.contexts) > 0, // the searches that are followed are not in it
	}
	return st.append(make([]byte, 0, 64+len(st.Name)+len(st.MailboxID)+3*len(st.Told)))
}

const (
	stateSelected = 1 << iota
	stateReadOnly
	stateTooMany
)

// append appends the encoded state.
func (st sessionState) append(dst []byte) []byte {
	dst = append(dst, stateVersion, byte(st.Modes))
	if !st.Selected {
		return append(dst, 0)
	}
	flags := byte(stateSelected)
	if st.ReadOnly {
		flags |= stateReadOnly
	}
	place := len(dst)
	dst = append(dst, flags)
	dst = appendText(dst, st.Name)
	dst = appendText(dst, st.MailboxID)
	dst = binary.AppendUvarint(dst, uint64(st.UIDValidity))
	dst = binary.AppendUvarint(dst, uint64(st.ModSeq))
	dst = appendRanges(dst, st.Recent)
	short := len(dst)
	if dst = appendRanges(appendRanges(dst, st.Saved), st.Told); st.TooMany || len(dst) > maxStateBytes {
		dst = dst[:short]
		dst[place] |= stateTooMany
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
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

var errState = errors.New("session state is damaged")

// decodeState is the inverse of append. It accepts what another node sends and
// therefore trusts nothing.
func decodeState(data []byte) (sessionState, error) {
	if len(data) < 3 {
		return sessionState{}, errState
	}
	if data[0] != stateVersion {
		return sessionState{}, fmt.Errorf("session state has version %d, not %d", data[0], stateVersion)
	}
	on, flags := modes(data[1]), data[2]
	d := stateDecoder{data: data[3:]}
	if flags&stateSelected == 0 {
		return sessionState{Modes: on}, d.end()
	}
	st := sessionState{
		Modes:       on,
		Selected:    true,
		ReadOnly:    flags&stateReadOnly != 0,
		TooMany:     flags&stateTooMany != 0,
		Name:        d.text(),
		MailboxID:   d.text(),
		UIDValidity: uint32(d.number(1<<32 - 1)),
		ModSeq:      ModSeq(d.number(1<<63 - 1)),
		Recent:      d.ranges(),
	}
	if !st.TooMany {
		st.Saved, st.Told = d.ranges(), d.ranges()
	}
	return st, d.end()
}

// stateDecoder reads the parts of a state; after a mistake everything is zero.
type stateDecoder struct {
	data []byte
	bad  bool
}

func (d *stateDecoder) end() error {
	if d.bad || len(d.data) > 0 {
		return errState
	}
	return nil
}

func (d *stateDecoder) number(limit uint64) uint64 {
	v, n := binary.Uvarint(d.data)
	if n <= 0 || v > limit {
		d.bad, d.data = true, nil
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *stateDecoder) text() string {
	n := d.number(uint64(len(d.data)))
	if n > uint64(len(d.data)) {
		d.bad, d.data = true, nil
		return ""
	}
	s := string(d.data[:n])
	d.data = d.data[n:]
	return s
}

func (d *stateDecoder) ranges() []UIDRange {
	n := d.number(uint64(len(d.data)))
	var ranges []UIDRange
	var last uint64
	for range n {
		from := last + d.number(1<<32-1)
		to := from + d.number(1<<32-1)
		if d.bad || from == last && last > 0 || from == 0 || to > 1<<32-1 {
			d.bad, d.data = true, nil
			return nil
		}
		ranges = append(ranges, UIDRange{UID(from), UID(to)})
		last = to
	}
	return ranges
}
