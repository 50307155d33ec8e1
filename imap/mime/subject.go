package mime

import "strings"

// Subject returns the base subject of the message, and whether its subject says
// that it is a reply or has been forwarded (RFC 5256 sections 2.1 and 3).
func (s *Structure) Subject() (base string, reply bool) {
	raw, _ := s.Root().Raw(FieldSubject)
	return BaseSubject(DecodeHeader(raw))
}

// BaseSubject returns what is left of a decoded subject without the marks of
// replies, forwards and mailing lists, and whether there was one of the first
// two. It is the procedure of RFC 5256 section 2.1, step by step.
func BaseSubject(subject string) (base string, reply bool) {
	base = joinSpace(subject) // (1)
	for {
		var forward bool
		base, forward = cutTrailers(base) // (2)
		reply = reply || forward
		base, forward = cutLeaders(base) // (3) to (5)
		reply = reply || forward
		inner, ok := cutForward(base) // (6)
		if !ok {
			return base, reply
		}
		base, reply = inner, true
	}
}

// joinSpace makes one space of every run of spaces, tabs and line breaks.
func joinSpace(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	inSpace := false
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			if !inSpace {
				b.WriteByte(' ')
			}
			inSpace = true
		default:
			b.WriteByte(c)
			inSpace = false
		}
	}
	return b.String()
}

// cutTrailers removes every subj-trailer, and reports whether one was "(fwd)".
func cutTrailers(s string) (rest string, forward bool) {
	for {
		s = strings.TrimRight(s, " ")
		n := len(s) - len("(fwd)")
		if n < 0 || !strings.EqualFold(s[n:], "(fwd)") {
			return s, forward
		}
		s, forward = s[:n], true
	}
}

// cutLeaders removes every subj-leader, and every subj-blob that is not all that
// there is. It reports whether one was a subj-refwd.
func cutLeaders(s string) (rest string, reply bool) {
	for {
		s = strings.TrimLeft(s, " ")
		last, after := s, s // of the blobs
		for next, ok := cutBlob(after); ok; next, ok = cutBlob(after) {
			last, after = after, next
		}
		var ok bool
		if s, ok = cutReply(after); ok {
			reply = true
			continue
		}
		if after == "" {
			return last, reply
		}
		return after, reply
	}
}

// cutReply removes "re", "fw" or "fwd", perhaps a blob, and a colon.
func cutReply(s string) (rest string, ok bool) {
	for _, word := range [...]string{"fwd", "fw", "re"} {
		if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
			continue
		}
		after := strings.TrimLeft(s[len(word):], " ")
		after, _ = cutBlob(after)
		if rest, ok = strings.CutPrefix(after, ":"); ok {
			return rest, true
		}
	}
	return s, false
}

// cutBlob removes text in brackets and the space after it.
func cutBlob(s string) (rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	end := strings.IndexAny(s[1:], "[]") + 1
	if end == 0 || s[end] != ']' {
		return s, false
	}
	return strings.TrimLeft(s[end+1:], " "), true
}

// cutForward takes the brackets off "[fwd: ...]".
func cutForward(s string) (inner string, ok bool) {
	const head = "[fwd:"
	if len(s) <= len(head) || !strings.EqualFold(s[:len(head)], head) || s[len(s)-1] != ']' {
		return s, false
	}
	return s[len(head) : len(s)-1], true
}
