package imap

import (
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// fetchKind is what a data item of FETCH asks for.
type fetchKind uint8

const (
	fetchUID fetchKind = iota
	fetchFlags
	fetchDate
	fetchSize
	fetchEnvelope
	fetchBody          // the structure without extension data
	fetchBodyStructure // with it
	fetchSection       // content
	fetchModSeq
	fetchSaveDate
	fetchEmailID
	fetchThreadID
	fetchBinary     // content without its transfer encoding
	fetchBinarySize // the size of that
	fetchPreview
	fetchLazyPreview // if it is at hand
)

// fetchItem is one data item of FETCH.
type fetchItem struct {
	kind    fetchKind
	name    string // as the response has it
	section mime.Section
	partial bool
	offset  int64 // of a partial fetch
	length  int64
}

// fetchArgs are the arguments of FETCH after the set.
type fetchArgs struct {
	items     []fetchItem
	uid       bool // UID is among them
	flags     bool
	seen      bool // they set \Seen
	structure bool // they need the structure
	body      bool // they need the content
	binary    bool // they need it decoded
	lazy      bool // they take structure and content if those are at hand

	modSeq bool // MODSEQ is among them

	partial  partialRange // of the messages, zero: all of them
	changed  bool         // only those with a MODSEQ above since
	since    ModSeq
	vanished bool // and what vanished since
}

// simpleItems are the items and macros without arguments (RFC 3501 section
// 6.4.5, RFC 7162, RFC 8474, RFC 8514).
var simpleItems = map[string][]fetchItem{
	"UID":           {{kind: fetchUID}},
	"FLAGS":         {{kind: fetchFlags}},
	"INTERNALDATE":  {{kind: fetchDate}},
	"RFC822.SIZE":   {{kind: fetchSize}},
	"ENVELOPE":      {{kind: fetchEnvelope}},
	"BODYSTRUCTURE": {{kind: fetchBodyStructure}},
	"MODSEQ":        {{kind: fetchModSeq}},
	"SAVEDATE":      {{kind: fetchSaveDate}},
	"EMAILID":       {{kind: fetchEmailID}},
	"THREADID":      {{kind: fetchThreadID}},
	"RFC822":        {{kind: fetchSection, name: "RFC822"}},
	"RFC822.HEADER": {{kind: fetchSection, name: "RFC822.HEADER", section: mime.Section{Specifier: mime.Header}}},
	"RFC822.TEXT":   {{kind: fetchSection, name: "RFC822.TEXT", section: mime.Section{Specifier: mime.Text}}},
}

// macros stand alone.
var macros = map[string][]fetchItem{
	"FAST": {{kind: fetchFlags}, {kind: fetchDate}, {kind: fetchSize}},
	"ALL":  {{kind: fetchFlags}, {kind: fetchDate}, {kind: fetchSize}, {kind: fetchEnvelope}},
	"FULL": {{kind: fetchFlags}, {kind: fetchDate}, {kind: fetchSize}, {kind: fetchEnvelope}, {kind: fetchBody}},
}

// readFetch reads the data items and modifiers to the end of the command.
func readFetch(c *wire.Command, uid bool) (a fetchArgs, err error) {
	if err := c.SP(); err != nil {
		return a, err
	}
	if !c.Byte('(') {
		if err := a.readItem(c, true); err != nil {
			return a, err
		}
		return a, a.readModifiers(c, uid)
	}
	for {
		if err := a.readItem(c, false); err != nil {
			return a, err
		}
		if c.Byte(')') {
			return a, a.readModifiers(c, uid)
		}
		if len(a.items) >= maxFetchItems {
			return a, badSyntax("Too many data items")
		}
		if err := c.SP(); err != nil {
			return a, err
		}
	}
}

func isItemByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || b == '.'
}

// readItem reads one item, or a macro where it may be one.
func (a *fetchArgs) readItem(c *wire.Command, alone bool) error {
	name := c.While(isItemByte)
	items, ok := simpleItems[name]
	if !ok { // what follows is for the unusual spellings
		name = strings.ToUpper(name)
		items, ok = simpleItems[name]
	}
	if macro := macros[name]; macro != nil && alone {
		items, ok = macro, true
	}
	if ok {
		for _, it := range items {
			a.add(it, name != "RFC822.HEADER")
		}
		return nil
	}
	if name == "BODY" && c.Peek() != '[' {
		a.add(fetchItem{kind: fetchBody}, false)
		return nil
	}
	read := argumentItems[name]
	if read == nil {
		return badSyntax("Unknown data item")
	}
	it, err := read(c)
	if err != nil {
		return err
	}
	a.add(it, !strings.HasSuffix(name, ".PEEK"))
	return nil
}

// argumentItems read what follows the name of an item that has arguments.
var argumentItems = map[string]func(*wire.Command) (fetchItem, error){
	"BODY":        readBodyItem,
	"BODY.PEEK":   readBodyItem,
	"BINARY":      readBinaryItem,
	"BINARY.PEEK": readBinaryItem,
	"BINARY.SIZE": readBinarySize,
	"PREVIEW":     readPreviewItem,
}

// add adds an item. seen says whether it sets \Seen if it is content.
func (a *fetchArgs) add(it fetchItem, seen bool) {
	switch it.kind {
	case fetchUID:
		a.uid = true
	case fetchFlags:
		a.flags = true
	case fetchModSeq:
		a.modSeq = true
	case fetchEnvelope, fetchBody, fetchBodyStructure, fetchThreadID:
		a.structure = true
	case fetchSection:
		a.body = true
		a.seen = a.seen || seen
		a.structure = a.structure || !it.whole()
	case fetchBinary, fetchBinarySize:
		a.body, a.structure, a.binary = true, true, true
		a.seen = a.seen || seen && it.kind == fetchBinary
	case fetchPreview:
		a.body, a.structure = true, true
	case fetchLazyPreview:
		a.lazy = true
	}
	a.items = append(a.items, it)
}

// whole reports whether the item is the whole message, for which no structure
// is needed.
func (it *fetchItem) whole() bool {
	return it.section.Specifier == mime.Everything && len(it.section.Part) == 0
}

// readBodyItem reads what follows BODY or BODY.PEEK: "[section]<partial>".
func readBodyItem(c *wire.Command) (it fetchItem, err error) {
	it.kind = fetchSection
	if err := c.Expect('['); err != nil {
		return it, err
	}
	if it.section, err = readSection(c); err != nil {
		return it, err
	}
	if err := c.Expect(']'); err != nil {
		return it, err
	}
	if c.Byte('<') {
		if err := it.readPartial(c); err != nil {
			return it, err
		}
	}
	it.name = it.responseName("BODY")
	return it, nil
}

// readPartial reads "offset.length>".
func (it *fetchItem) readPartial(c *wire.Command) error {
	offset, err := c.Number64() // RFC 9051 section 9, partial-range
	if err != nil {
		return err
	}
	if err := c.Expect('.'); err != nil {
		return err
	}
	length, err := c.Number64()
	if err != nil || length == 0 {
		return either(err, "Expected a number above 0")
	}
	it.partial, it.offset, it.length = true, int64(offset), int64(length)
	return c.Expect('>')
}

// specifiers are the parts of a section that are words.
var specifiers = map[string]mime.Specifier{
	"HEADER": mime.Header, "HEADER.FIELDS": mime.HeaderFields, "HEADER.FIELDS.NOT": mime.HeaderFieldsNot,
	"TEXT": mime.Text, "MIME": mime.MIME,
}

// readSection reads a section specification (RFC 3501 section 9, section-spec).
func readSection(c *wire.Command) (sec mime.Section, err error) {
	more, err := readPart(c, &sec)
	if err != nil || !more && len(sec.Part) > 0 {
		return sec, err
	}
	if c.Peek() == ']' {
		return sec, nil
	}
	spec, ok := specifiers[strings.ToUpper(c.While(isItemByte))]
	if !ok || spec == mime.MIME && len(sec.Part) == 0 {
		return sec, badSyntax("Unknown section")
	}
	sec.Specifier = spec
	if spec == mime.HeaderFields || spec == mime.HeaderFieldsNot {
		sec.Fields, err = readFields(c)
	}
	return sec, err
}

// readPart reads the part numbers of a section. more reports that something
// has to follow them.
func readPart(c *wire.Command, sec *mime.Section) (more bool, err error) {
	for b := c.Peek(); '1' <= b && b <= '9'; b = c.Peek() {
		n, err := c.NzNumber()
		if err != nil {
			return false, err
		}
		sec.Part = append(sec.Part, int(min(n, 1<<30)))
		if !c.Byte('.') {
			return false, nil
		}
		if len(sec.Part) > mime.MaxDepth {
			return false, badSyntax("Section is too deep")
		}
		if c.Peek() == ']' {
			return false, badSyntax("Expected a section")
		}
		more = true
	}
	return more, nil
}

// readFields reads the list of header field names.
func readFields(c *wire.Command) ([]string, error) {
	if err := c.SP(); err != nil {
		return nil, err
	}
	if err := c.Expect('('); err != nil {
		return nil, err
	}
	var fields []string
	for {
		field, err := c.AString()
		if err != nil {
			return nil, err
		}
		if field == "" || len(field) > maxNameBytes {
			return nil, badSyntax("Not the name of a header field")
		}
		if fields = append(fields, field); c.Byte(')') {
			return fields, nil
		}
		if err := c.SP(); err != nil {
			return nil, err
		}
	}
}

// responseName returns the item's name in the response: the word, the section
// and where a part of it begins.
func (it *fetchItem) responseName(word string) string {
	name := append([]byte(word), '[')
	for i, n := range it.section.Part {
		if i > 0 {
			name = append(name, '.')
		}
		name = strconv.AppendInt(name, int64(n), 10)
	}
	if it.section.Specifier != mime.Everything && len(it.section.Part) > 0 {
		name = append(name, '.')
	}
	for word, spec := range specifiers {
		if spec == it.section.Specifier {
			name = append(name, word...)
		}
	}
	if len(it.section.Fields) > 0 {
		name = append(name, " ("...)
		for i, field := range it.section.Fields {
			if i > 0 {
				name = append(name, ' ')
			}
			name = wire.AppendAtom(name, field) // as the client wrote it
		}
		name = append(name, ')')
	}
	name = append(name, ']')
	if it.partial {
		name = append(name, '<')
		name = strconv.AppendInt(name, it.offset, 10)
		name = append(name, '>')
	}
	return string(name)
}
