package imap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// Object identifiers (RFC 8474). They are made of what all replicas have alike:
// EMAILID of the identity of the content, THREADID of the message that began the
// conversation, as the header names it. Letters keep the kinds apart.

// appendEmailID appends the EMAILID of a content, which copies share.
func appendEmailID(dst []byte, root [16]byte) []byte {
	return hex.AppendEncode(append(dst, 'M'), root[:])
}

// threadIDBytes of a hash are enough to tell all threads of an account apart.
const threadIDBytes = 10

// appendThreadID appends the THREADID of a message: that of the oldest message that
// it refers to, or its own. It follows from the content alone and never changes (RFC
// 8474 section 5.2).
func appendThreadID(dst []byte, s *mime.Structure, root [16]byte) []byte {
	first := threadStart(s)
	if first == nil {
		first = root[:]
	}
	hash := sha256.Sum256(first)
	return hex.AppendEncode(append(dst, 'T'), hash[:threadIDBytes])
}

// threadStart returns the message ID with which the thread of a message begins,
// nil if there is none.
func threadStart(s *mime.Structure) []byte {
	for _, field := range [...]mime.FieldName{mime.FieldReferences, mime.FieldInReplyTo, mime.FieldMessageID} {
		value, ok := s.Root().Raw(field)
		if !ok {
			continue
		}
		if id := messageID(value); id != nil {
			return id
		}
	}
	return nil
}

// messageID returns what is between the first "<" and the ">" after it, without
// white space, nil if there is nothing.
func messageID(value []byte) []byte {
	_, rest, _ := bytes.Cut(value, []byte("<"))
	id, _, ok := bytes.Cut(rest, []byte(">"))
	if id = bytes.Join(bytes.Fields(id), nil); !ok || len(id) == 0 {
		return nil
	}
	return id
}

// readObjectID reads an object identifier (RFC 8474 section 7).
func readObjectID(c *wire.Command) (string, error) {
	id := c.While(func(b byte) bool {
		return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '_' || b == '-'
	})
	if id == "" || len(id) > 255 {
		return "", badSyntax("Expected an object identifier")
	}
	return id, nil
}

// objectID reads the argument of EMAILID or THREADID in SEARCH (RFC 8474 section 6).
func (p *searchParser) objectID(word string) (*criterion, error) {
	id, err := readObjectID(p.command)
	k := &criterion{op: searchEmailID, text: id}
	if word == "THREADID" {
		k.op, k.cost = searchThreadID, costStructure
	}
	return k, err
}

// inThread reports whether the message has a THREADID.
func (f *finder) inThread(id string) (bool, error) {
	if err := f.readStructure(); err != nil {
		return false, err
	}
	var buf [64]byte
	return string(appendThreadID(buf[:0], f.structure, f.scratch.Root)) == id, nil
}

// hasEmailID reports whether the message has an EMAILID.
func (m *Message) hasEmailID(id string) bool {
	var buf [64]byte
	return string(appendEmailID(buf[:0], m.Root)) == id
}
