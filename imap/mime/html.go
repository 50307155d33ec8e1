package mime

import (
	"html"
	"strings"
)

// textOfHTML returns the text that HTML shows, in one pass: without tags,
// comments and what is only for programs, with character references replaced.
// Where a tag ends a paragraph or a cell, there is a line break. Any bytes will do.
func textOfHTML(src string) string {
	var out strings.Builder
	for {
		text, rest, found := strings.Cut(src, "<")
		out.WriteString(text)
		if !found {
			break
		}
		name, after, ok := cutTag(rest)
		if !ok { // a "<" that begins no tag
			out.WriteByte('<')
			src = rest
			continue
		}
		src = after
		if hiddenElements[name] {
			src = skipElement(src, name)
		}
		if !inlineElements[strings.TrimPrefix(name, "/")] {
			out.WriteByte('\n')
		}
	}
	return html.UnescapeString(out.String())
}

// hiddenElements are those whose content is not shown.
var hiddenElements = map[string]bool{
	"script": true, "style": true, "template": true, "title": true, "noscript": true, "svg": true, "object": true,
}

// inlineElements are those that do not interrupt a word.
var inlineElements = map[string]bool{
	"!": true, "a": true, "abbr": true, "b": true, "big": true, "code": true, "em": true, "font": true, "i": true, "ins": true,
	"mark": true, "s": true, "small": true, "span": true, "strong": true, "sub": true, "sup": true, "tt": true, "u": true, "wbr": true,
}

// cutTag reads a tag or a comment, whose "<" has been read, and returns its name in
// lower case ("/p" for an end, "!" for what is no element) and what follows. ok
// is false if it is none. One without end goes to the end.
func cutTag(src string) (name, after string, ok bool) {
	if comment, found := strings.CutPrefix(src, "!--"); found {
		_, after, _ = strings.Cut(comment, "-->")
		return "!", after, true
	}
	if src == "" || !isTagStart(src[0]) {
		return "", src, false
	}
	if src[0] == '!' || src[0] == '?' {
		_, after, _ = strings.Cut(src, ">")
		return "!", after, true
	}
	end := 1
	for end < len(src) && isTagName(src[end]) {
		end++
	}
	return strings.ToLower(src[:end]), src[tagEnd(src, end):], true
}

func isTagStart(b byte) bool { return b == '/' || b == '!' || b == '?' || isLetter(b) }

func isTagName(b byte) bool {
	return isLetter(b) || '0' <= b && b <= '9' || b == ':' || b == '-'
}

func isLetter(b byte) bool {
	b = lowerByte(b)
	return 'a' <= b && b <= 'z'
}

// tagEnd returns where the tag ends that goes on at i: behind the first ">" that is
// in no quoted value.
func tagEnd(src string, i int) int {
	quote := byte(0)
	for ; i < len(src); i++ {
		switch b := src[i]; {
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '"' || b == '\'':
			if src[i-1] == '=' || src[i-1] == ' ' {
				quote = b
			}
		case b == '>':
			return i + 1
		}
	}
	return len(src)
}

// skipElement returns what follows the end tag of an element, nothing if it has none.
func skipElement(src, name string) string {
	for rest := src; ; {
		_, after, found := strings.Cut(rest, "</")
		if !found {
			return ""
		}
		if len(after) >= len(name) && strings.EqualFold(after[:len(name)], name) {
			return after[tagEnd(after, len(name)):]
		}
		rest = after
	}
}
