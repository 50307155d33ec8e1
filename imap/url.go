package imap

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
	"golang.org/x/text/unicode/norm"
)

// messageURL is a relative IMAP URL that names a message of this account or a
// section of it (RFC 5092 section 7, RFC 4469 section 3).
type messageURL struct {
	mailbox     string // empty: the selected one
	uidValidity uint32 // 0: not given
	uid         UID
	section     mime.Section
	partial     bool
	offset      int64
	length      int64 // -1: to the end
}

// parseMessageURL reads a URL as "/mailbox;UIDVALIDITY=1/;UID=2/;SECTION=3/;PARTIAL=4.5".
// ok is false for anything else, a URL with scheme or server too.
func parseMessageURL(text string) (u messageURL, ok bool) {
	if !utf8.ValidString(text) || strings.HasPrefix(text, "//") {
		return u, false
	}
	// "/;" divides the parts; a name as it stands in a URL has no ";".
	text = strings.TrimPrefix(text, "/")
	first, rest, _ := strings.Cut(text, ";")
	u.mailbox, ok = unescapeURL(strings.TrimSuffix(first, "/"))
	if !ok || strings.Contains(first, ":") {
		return u, false
	}
	for _, part := range strings.Split(rest, ";") {
		key, value, found := strings.Cut(strings.TrimSuffix(part, "/"), "=")
		if !found || !u.set(strings.ToUpper(key), value) {
			return u, false
		}
	}
	return u, u.uid != 0
}

// unescapeURL decodes the %xx of a URL. What it is must be UTF-8.
func unescapeURL(s string) (string, bool) {
	plain, err := url.PathUnescape(s)
	if err != nil || !utf8.ValidString(plain) {
		return "", false
	}
	return norm.NFC.String(plain), true
}

// set takes one of the parts behind a ";".
func (u *messageURL) set(key, value string) bool {
	switch key {
	case "UIDVALIDITY":
		n, err := strconv.ParseUint(value, 10, 32)
		u.uidValidity = uint32(n)
		return err == nil && n > 0 && u.mailbox != ""
	case "UID":
		n, err := strconv.ParseUint(value, 10, 32)
		u.uid = UID(n)
		return err == nil && n > 0
	case "SECTION":
		return u.uid != 0 && u.setSection(value)
	case "PARTIAL":
		return u.uid != 0 && u.setPartial(value)
	}
	return false
}

// setSection reads a section as FETCH BODY[...] has it.
func (u *messageURL) setSection(value string) bool {
	text, ok := unescapeURL(value)
	if !ok || strings.ContainsAny(text, "\r\n\x00{") {
		return false
	}
	c, err := wire.NewReader(strings.NewReader("a URL "+text+"]\r\n"), wire.AfterLogin).Next()
	if err != nil || c.SP() != nil {
		return false
	}
	if u.section, err = readSection(c); err != nil {
		return false
	}
	return c.Expect(']') == nil && c.End() == nil
}

// setPartial reads "offset" or "offset.length" (RFC 5092 section 11, partial-range).
func (u *messageURL) setPartial(value string) bool {
	from, length, bounded := strings.Cut(value, ".")
	n, err := strconv.ParseUint(from, 10, 32)
	if err != nil {
		return false
	}
	u.partial, u.offset, u.length = true, int64(n), -1
	if !bounded {
		return true
	}
	n, err = strconv.ParseUint(length, 10, 32)
	u.length = int64(n)
	return err == nil && n > 0
}

// cut returns which part of so many bytes the URL names.
func (u *messageURL) cut(size int64) (offset, length int64) {
	if !u.partial {
		return 0, size
	}
	offset = min(u.offset, size)
	length = size - offset
	if u.length >= 0 {
		length = min(length, u.length)
	}
	return offset, length
}
