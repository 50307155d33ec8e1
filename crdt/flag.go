package crdt

import (
	"fmt"
	"slices"
	"strings"
)

// Canonical names of the system flags (RFC 9051 section 2.3.2).
const (
	FlagSeen     = `\Seen`
	FlagAnswered = `\Answered`
	FlagFlagged  = `\Flagged`
	FlagDeleted  = `\Deleted`
	FlagDraft    = `\Draft`
)

// MaxFlagLen is the largest length of a flag name in bytes, MaxFlags the
// largest number of flag registers that a STORE may leave at one message.
const (
	MaxFlagLen = 255
	MaxFlags   = 512
)

// commonFlags are the names with a spelling of their own, and their numbers
// (place + 1) in encodings: only ever append. The keywords are those of the
// IANA registry and of widespread clients.
var commonFlags = [...]string{
	FlagSeen, FlagAnswered, FlagFlagged, FlagDeleted, FlagDraft,
	"$Forwarded", "$MDNSent", "$Junk", "$NotJunk", "$Phishing", "$Important",
	"$SubmitPending", "$Submitted", "Junk", "NonJunk", "NotJunk", "Forwarded", "Redirected",
	"$label1", "$label2", "$label3", "$label4", "$label5",
	"$MailFlagBit0", "$MailFlagBit1", "$MailFlagBit2", "$Todo", "$Ignored", "$Watched",
	"$HasAttachment", "$HasNoAttachment", "$Memo", "$HasMemo", "$AutoSent", "$Unsubscribed",
	"$CanUnsubscribe", "$IsTrusted", "$Followed", "$Muted", "$MaskedEmail", "$New", "$Notify",
}

// CanonicalFlag returns the spelling under which a flag is stored. System flags
// and well-known keywords have one spelling; other keywords keep the client's.
// Flags that differ only in ASCII case are one flag everywhere in this package,
// kept as whoever set it last wrote it. The error wraps [ErrFlag]: not an atom,
// too long, \Recent, or a system flag that does not exist.
func CanonicalFlag(name string) (string, error) {
	if err := checkFlag(name); err != nil {
		return "", err
	}
	for _, c := range commonFlags {
		if len(c) == len(name) && compareFold(c, name) == 0 {
			return c, nil
		}
	}
	return name, nil
}

// CanonicalFlags returns canonical spellings without doubles, in the order given.
func CanonicalFlags(names []string) ([]string, error) {
	if len(names) > MaxFlags {
		return nil, fmt.Errorf("%w: %d flags at once, at most %d", ErrLimit, len(names), MaxFlags)
	}
	var out []string
	for _, n := range names {
		c, err := CanonicalFlag(n)
		if err != nil {
			return nil, err
		}
		if !containsFold(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}

func containsFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return compareFold(s, name) == 0 })
}

// checkFlag says what is wrong with a flag name.
func checkFlag(name string) error {
	if name == "" || len(name) > MaxFlagLen {
		return fmt.Errorf("%w: name of %d bytes", ErrFlag, len(name))
	}
	if name[0] == '\\' {
		for _, c := range commonFlags[:5] {
			if compareFold(c, name) == 0 {
				return nil
			}
		}
		return fmt.Errorf("%w: %q is not a system flag that can be set", ErrFlag, name)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return fmt.Errorf("%w: %q is not an atom", ErrFlag, name)
		}
	}
	return nil
}

// compareFold orders names without regard to ASCII case.
func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func (m *Message) findFlag(name string) (int, bool) {
	return slices.BinarySearchFunc(m.Flags, name, func(f Flag, n string) int { return compareFold(f.Name, n) })
}

// Has reports whether a flag is set.
func (m *Message) Has(flag string) bool {
	i, ok := m.findFlag(flag)
	return ok && m.Flags[i].On
}

// FlagNames returns the flags that are set, in a deterministic order.
func (m *Message) FlagNames() []string {
	var out []string
	for i := range m.Flags {
		if m.Flags[i].On {
			out = append(out, m.Flags[i].Name)
		}
	}
	return out
}

// setFlag writes a flag's register and reports whether it took the value. A
// value that is there already but with an earlier time counts as taken: the
// later write decides about a third one that arrives yet, and a client that
// comes from a replica where that one was seen must be told (crdt.md 4.2).
func (m *Message) setFlag(name string, t Time, on bool) bool {
	if t < m.Base {
		return false
	}
	i, ok := m.findFlag(name)
	if !ok {
		m.Flags = slices.Insert(m.Flags, i, Flag{name, t, on})
		return true
	}
	f := &m.Flags[i]
	if t < f.Time || t == f.Time && (f.On || !on) {
		return false
	}
	*f = Flag{name, t, on}
	return true
}

// rebase makes flags set before t off, for ever: their registers are no longer
// needed. It reports whether anything was said that was not known.
func (m *Message) rebase(t Time) bool {
	if t <= m.Base {
		return false
	}
	m.Base = t
	m.Flags = slices.DeleteFunc(m.Flags, func(f Flag) bool { return f.Time < t })
	return true
}

// store applies a Store to one message and reports whether any register changed.
func (m *Message) store(p *Store, t Time) bool {
	changed := false
	if p.Mode == StoreReplace {
		base := p.Base
		if base == 0 || base > t {
			base = t
		}
		changed = m.rebase(base)
	}
	for _, f := range p.Flags {
		if m.setFlag(f, t, p.Mode != StoreRemove) {
			changed = true
		}
	}
	return changed
}

// flag writes a register: the number of a common name, or 0 and the name; bit 0
// is whether it is on.
func (w *writer) flag(f *Flag) {
	n := uint64(commonNumber(f.Name)) << 1
	if f.On {
		n |= 1
	}
	w.uint(n)
	if n>>1 == 0 {
		w.string(f.Name)
	}
	w.time(f.Time)
}

func commonNumber(name string) int {
	return slices.Index(commonFlags[:], name) + 1
}

// flags reads a list of registers into dst's memory.
func (r *reader) flags(dst []Flag) []Flag {
	n := r.count(9)
	if n == 0 {
		return dst[:0]
	}
	dst = slices.Grow(dst[:0], n)[:n]
	for i := range dst {
		f := &dst[i]
		x := r.uint()
		f.On = x&1 == 1
		switch x >>= 1; {
		case x == 0:
			f.Name = r.flagName()
		case x <= uint64(len(commonFlags)):
			f.Name = commonFlags[x-1]
		default:
			r.fail(errNumber)
		}
		f.Time = r.time()
	}
	return dst
}

// flagName reads a name without allocating for common ones.
func (r *reader) flagName() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return ""
	}
	b := r.bytes(int(n))
	for _, c := range commonFlags {
		if string(b) == c {
			return c
		}
	}
	return string(b)
}
