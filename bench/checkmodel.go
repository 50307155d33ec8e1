package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/bench/imapc"
)

// checkModel is what a session was told of the mailbox that it has selected.
type checkModel struct {
	box      string
	validity uint32
	uidNext  uint32
	messages []modelMessage  // by number
	keywords map[string]bool // that FLAGS has announced, in lower case
}

// modelMessage is a message as the session knows it.
type modelMessage struct {
	uid    uint32          // 0: not told yet
	flags  map[string]bool // in lower case, nil: not told yet
	modSeq uint64          // 0: not told yet
	own    ownFlag
}

// ownFlag is what the session knows of its own keyword on a message.
type ownFlag uint8

const (
	ownUnknown ownFlag = iota
	ownSet
	ownClear
)

// allows says what the server may send during a command.
type allows struct {
	expunge bool // EXPUNGE and VANISHED (RFC 3501 section 7.4.1)
	opening bool // the mailbox is being selected
}

// take checks an untagged response and keeps what it says.
func (s *checkSession) take(r *imapc.Response) {
	s.trace("S: * " + r.Text())
	s.responses++
	switch r.Name {
	case "EXISTS":
		s.exists(int(r.Num))
	case "EXPUNGE":
		s.expunged(int(r.Num))
	case "VANISHED":
		s.vanished(string(r.Rest))
	case "RECENT":
		if int(r.Num) > len(s.messages) {
			s.wrong("%d RECENT of %d messages", r.Num, len(s.messages))
		}
	case "FLAGS":
		s.keywords = make(map[string]bool)
		for _, f := range strings.Fields(strings.Trim(string(r.Rest), "()")) {
			s.keywords[strings.ToLower(f)] = true
		}
	case "FETCH":
		s.fetched(int(r.Num), r.Rest)
	case "OK":
		s.code(r)
	case "BYE":
		s.wrong("BYE")
	}
}

func (s *checkSession) exists(n int) {
	if n < len(s.messages) && !s.allowed.opening {
		s.wrong("%d EXISTS after %d", n, len(s.messages))
		return
	}
	s.messages = slices.Grow(s.messages, n-len(s.messages))
	for len(s.messages) < n {
		s.messages = append(s.messages, modelMessage{})
	}
}

func (s *checkSession) expunged(n int) {
	switch {
	case !s.allowed.expunge:
		s.wrong("EXPUNGE during this command")
	case n < 1 || n > len(s.messages):
		s.wrong("EXPUNGE %d of %d messages", n, len(s.messages))
		return
	case s.mode.enable == "QRESYNC":
		s.wrong("EXPUNGE after ENABLE QRESYNC")
	}
	s.messages = slices.Delete(s.messages, n-1, n)
}

// vanished takes VANISHED (RFC 7162 section 3.2.10). A UID that the session was not
// told is that of a message between those with smaller and larger ones.
func (s *checkSession) vanished(set string) {
	if !s.allowed.expunge {
		s.wrong("VANISHED during this command")
	}
	for _, uid := range numbersOf(set) {
		i := slices.IndexFunc(s.messages, func(m modelMessage) bool { return m.uid == uid })
		if i < 0 {
			i = slices.IndexFunc(s.messages, func(m modelMessage) bool { return m.uid > uid })
			if i < 0 {
				i = len(s.messages)
			}
			if i--; i < 0 || s.messages[i].uid != 0 {
				s.wrong("VANISHED of UID %d, which is not there", uid)
				return
			}
		}
		s.messages = slices.Delete(s.messages, i, i+1)
	}
}

func (s *checkSession) code(r *imapc.Response) {
	name, args := r.Code()
	var n uint32
	fmt.Sscan(args, &n)
	switch name {
	case "UIDVALIDITY":
		if s.validity != 0 && n != s.validity && s.box == s.opened {
			s.wrong("UIDVALIDITY %d was %d", n, s.validity)
		}
		s.validity = n
	case "UIDNEXT":
		if s.box == s.opened && n < s.uidNext {
			s.wrong("UIDNEXT %d was %d", n, s.uidNext)
		}
		s.uidNext = n
	case "COPYUID":
		s.copied(args)
	}
}

// fetched takes a FETCH response.
func (s *checkSession) fetched(n int, rest []byte) {
	if n < 1 || n > len(s.messages) {
		s.wrong("FETCH %d of %d messages", n, len(s.messages))
		return
	}
	values, err := imapc.Parse(rest)
	if err != nil || len(values) != 1 || values[0].Kind != imapc.List {
		s.wrong("FETCH that cannot be read: %v", err)
		return
	}
	m := &s.messages[n-1]
	items := values[0].List
	var body []byte
	var flags map[string]bool
	var modSeq uint64
	for i := 0; i+1 < len(items); i += 2 {
		switch v := items[i+1]; strings.ToUpper(string(items[i].Str)) {
		case "UID":
			uid, _ := v.Uint()
			s.numbered(n, uint32(uid))
		case "FLAGS":
			flags = modelFlags(v)
		case "MODSEQ":
			if len(v.List) == 1 {
				modSeq, _ = v.List[0].Uint()
			}
		case "BODY[]":
			body = v.Str
		}
	}
	if flags != nil {
		s.flagged(m, flags, modSeq)
	}
	if body != nil && m.uid != 0 {
		s.read(m, body)
	}
	s.answered[n] = true
}

// numbered says which UID the n-th message has.
func (s *checkSession) numbered(n int, uid uint32) {
	m := &s.messages[n-1]
	if m.uid != 0 {
		if m.uid != uid {
			s.wrong("message %d has UID %d, had %d", n, uid, m.uid)
		}
		return
	}
	for i := n - 2; i >= 0; i-- {
		if before := s.messages[i].uid; before != 0 {
			if before >= uid {
				s.wrong("message %d has UID %d, message %d has %d", n, uid, i+1, before)
			}
			break
		}
	}
	for i := n; i < len(s.messages); i++ {
		if after := s.messages[i].uid; after != 0 {
			if after <= uid {
				s.wrong("message %d has UID %d, message %d has %d", n, uid, i+1, after)
			}
			break
		}
	}
	m.uid = uid
}

func modelFlags(v imapc.Value) map[string]bool {
	flags := make(map[string]bool, len(v.List))
	for _, f := range v.List {
		flags[strings.ToLower(string(f.Str))] = true
	}
	return flags
}

// flagged says which flags a message has. The flags of others may be anything; the
// session's own keyword is as the session has made it.
func (s *checkSession) flagged(m *modelMessage, flags map[string]bool, modSeq uint64) {
	for f := range flags {
		if f[0] != '\\' && !s.keywords[f] {
			s.wrong("keyword %s of UID %d is not among FLAGS", f, m.uid)
		}
	}
	if has := flags[s.keyword()]; m.own != ownUnknown && has != (m.own == ownSet) && !s.storing {
		s.wrong("keyword %s of UID %d is set: %t, which is not what the session did last", s.keyword(), m.uid, has)
	}
	if m.own = ownClear; flags[s.keyword()] {
		m.own = ownSet
	}
	if modSeq != 0 && m.modSeq != 0 && m.flags != nil {
		if modSeq < m.modSeq {
			s.wrong("MODSEQ %d of UID %d was %d", modSeq, m.uid, m.modSeq)
		}
		if modSeq == m.modSeq && !sameFlags(m.flags, flags) {
			s.wrong("flags of UID %d differ with the same MODSEQ %d: %v, %v", m.uid, modSeq, sorted(m.flags), sorted(flags))
		}
	}
	m.flags = flags
	if modSeq != 0 {
		m.modSeq = modSeq
	} else {
		m.modSeq = 0 // of other flags
	}
}

// sameFlags compares flags but for \Recent, which is the session's.
func sameFlags(a, b map[string]bool) bool { return slices.Equal(sorted(a), sorted(b)) }

func sorted(flags map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(flags)), func(f string) bool { return f == `\recent` })
}

// read checks a message's content.
func (s *checkSession) read(m *modelMessage, body []byte) {
	id, _, _ := strings.Cut(strings.TrimPrefix(string(body[:min(len(body), 80)]), "X-Check: "), "\r\n")
	if string(body) != checkContent(id) {
		s.wrong("UID %d has other bytes than any message", m.uid)
		return
	}
	s.denote(s.box, s.validity, m.uid, id)
}

func (s *checkSession) denote(box string, validity, uid uint32, id string) {
	if before, ok := s.denotes(place{box, validity, uid}, id); !ok {
		s.wrong("UID %d of %s denotes %s, denoted %s", uid, box, id, before)
	}
}

// copied takes COPYUID: each UID there denotes what its source denotes.
func (s *checkSession) copied(args string) {
	words := strings.Fields(args)
	if len(words) != 3 || s.destination == "" {
		s.wrong("COPYUID %s", args)
		return
	}
	from, to := numbersOf(words[1]), numbersOf(words[2])
	if len(from) != len(to) {
		s.wrong("COPYUID of %d and %d UIDs", len(from), len(to))
		return
	}
	var validity uint32
	fmt.Sscan(words[0], &validity)
	for i, uid := range from {
		if !slices.Contains(s.sources, uid) && !slices.Contains(s.sources, 0) {
			s.wrong("COPYUID from UID %d, which is not there", uid)
		}
		if id := s.content(place{s.box, s.validity, uid}); id != "" {
			s.denote(s.destination, validity, to[i], id)
		}
	}
}

// numbersOf returns the numbers of a set.
func numbersOf(set string) (numbers []uint32) {
	for part := range strings.SplitSeq(strings.TrimSpace(set), ",") {
		var a, b uint32
		if n, _ := fmt.Sscanf(part, "%d:%d", &a, &b); n < 2 {
			b = a
		}
		for a, b = min(a, b), max(a, b); a <= b && a != 0 && len(numbers) < 1<<20; a++ {
			numbers = append(numbers, a)
		}
	}
	return numbers
}

// differs says in what two sessions differ that have the same mailbox selected.
func (s *checkSession) differs(other *checkSession) string {
	if s.validity != other.validity {
		return fmt.Sprintf("UIDVALIDITY %d, %d", other.validity, s.validity)
	}
	if len(s.messages) != len(other.messages) {
		return fmt.Sprintf("%d and %d messages", len(other.messages), len(s.messages))
	}
	for i := range s.messages {
		a, b := &other.messages[i], &s.messages[i]
		if a.uid != b.uid || !sameFlags(a.flags, b.flags) {
			return fmt.Sprintf("message %d is UID %d %v, UID %d %v", i+1, a.uid, sorted(a.flags), b.uid, sorted(b.flags))
		}
	}
	return ""
}
