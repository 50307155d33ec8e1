package distributor

import (
	"bytes"

	"github.com/go-pluto/pluto/imap/wire"
)

// upload follows a command with a literal that is too large to be kept.
type upload struct {
	tag     string
	size    uint64 // bytes of it so far, in all when it has ended
	literal uint64 // bytes of its literal that are still to come
	line    []byte // the end of the present line, if it is in one
	ended   bool
	after   []byte // the client's bytes behind it
}

// lineEnd is how much of a line is looked at for a literal's announcement.
const lineEnd = 64

// findUpload finds, in what a client sends from the beginning of a command on, the
// command whose literal goes on behind it, and where it begins. false: there is none.
func findUpload(p []byte) (start int, u *upload, ok bool) {
	for start < len(p) {
		u := &upload{tag: firstWord(p[start:])}
		u.follow(p[start:])
		if !u.ended {
			return start, u, u.literal > 0 && u.tag != ""
		}
		start += int(u.size)
	}
	return 0, nil, false
}

func firstWord(p []byte) string {
	word, _, ok := bytes.Cut(p[:min(len(p), 1<<10)], []byte(" "))
	if !ok {
		return ""
	}
	return string(word)
}

// add takes the next bytes of the client. It reports whether they can be kept.
func (u *upload) add(p []byte) bool {
	if !u.ended {
		p = p[u.follow(p):]
	}
	if len(u.after)+len(p) > maxUnconfirmed {
		return false
	}
	u.after = append(u.after, p...)
	return true
}

// follow takes bytes of the command, and returns how many were it.
func (u *upload) follow(p []byte) int {
	n := 0
	for n < len(p) && !u.ended {
		if u.literal > 0 {
			k := min(u.literal, uint64(len(p)-n))
			u.literal -= k
			n += int(k)
			continue
		}
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			u.keepLine(p[n:])
			n = len(p)
			break
		}
		u.keepLine(p[n : n+i+1])
		n += i + 1
		size, literal := wire.LiteralAt(u.line)
		u.line = u.line[:0]
		u.literal, u.ended = uint64(size), !literal
	}
	u.size += uint64(n)
	return n
}

func (u *upload) keepLine(p []byte) {
	u.line = append(u.line, p[max(0, len(p)-lineEnd):]...)
	if len(u.line) > 2*lineEnd {
		u.line = u.line[:copy(u.line, u.line[len(u.line)-lineEnd:])]
	}
}
