package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/ianaindex"
)

// cost says what has to be read to know whether a message meets a criterion.
// Cheap criteria are looked at first, so that the dear ones often need not be.
type cost uint8

const (
	costIndex     cost = iota // the index alone
	costStructure             // the structure kept with the message
	costHeader                // the header
	costBody                  // everything
)

// searchOp is the kind of a criterion.
type searchOp uint8

const (
	searchAll searchOp = iota
	searchAnd
	searchOr
	searchNot
	searchSet         // message numbers or UIDs, as places in told
	searchUIDs        // the same in a search that is followed: UIDs, whatever their places
	searchFlag        // a system flag is set
	searchKeyword     // a keyword is set
	searchRecent      // is \Recent
	searchLarger      // than number bytes
	searchSmaller     // than number bytes
	searchBefore      // day of INTERNALDATE is before number
	searchOn          // is number
	searchModSeq      // MODSEQ is at or above number (RFC 7162)
	searchSavedBefore // day of the save date is before number (RFC 8514)
	searchSavedOn
	searchEmailID // is text (RFC 8474)
	searchOlder   // INTERNALDATE is at or before number, in Unix seconds
	searchSentBefore
	searchSentOn
	searchSentSince
	searchThreadID // is text
	searchHeader   // a field contains text
	searchBody     // text is in the bodies
	searchText     // text is in headers or bodies
)

// criterion is a node of a search program.
type criterion struct {
	op      searchOp
	cost    cost
	kids    []*criterion // of and, or, not
	spans   []span
	uids    uidRanges   // of MODSEQ: these too
	set     wire.NumSet // that spans are the places of
	uid     bool        // it is of UIDs
	flag    Flags
	number  int64
	text    string // keyword or field name
	matcher *mime.Matcher
	needle  int // index of a text among those of its kind
}

// program is what a SEARCH looks for.
type program struct {
	root    *criterion
	bodies  []*mime.Matcher // of all BODY keys
	texts   []*mime.Matcher // of all TEXT keys
	modSeqs []*criterion    // all MODSEQ keys
	open    UID             // from which on a UID key names everything, 0: none does
	answer  findReturn
	ends    findOptions // findMin and findMax, if nothing else of what is found counts
}

// searchParser reads the criteria of a SEARCH.
type searchParser struct {
	*session
	command *wire.Command
	decode  *encoding.Decoder // nil: UTF-8 already
	program program
	depth   int
	keys    int
}

// readSearch reads the arguments of SEARCH to the end of the command.
func (s *session) readSearch(c *wire.Command) (program, error) {
	p := &searchParser{session: s, command: c}
	if err := c.SP(); err != nil {
		return p.program, err
	}
	word := p.word()
	if s.on(modeRev2) { // RFC 9051 section 6.4.4
		p.program.answer = findReturn{extended: true, options: findAll}
	}
	if word == "RETURN" {
		p.program.answer = findReturn{}
		if err := p.program.answer.read(c); err != nil {
			return p.program, err
		}
		if err := c.SP(); err != nil {
			return p.program, err
		}
		word = p.word()
	}
	if word == "CHARSET" {
		if s.on(modeUTF8) { // RFC 6855 section 3
			return p.program, badSyntax("CHARSET is not allowed after ENABLE UTF8=ACCEPT")
		}
		if err := p.charset(); err != nil {
			return p.program, err
		}
		if err := c.SP(); err != nil {
			return p.program, err
		}
		word = p.word()
	}
	root, err := p.and(word)
	if err != nil {
		return p.program, err
	}
	p.program.root = root
	return p.program, c.End()
}

// word reads the word that begins a key; it is empty before a set or "(".
func (p *searchParser) word() string {
	return strings.ToUpper(p.command.While(func(b byte) bool {
		return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
	}))
}

// charset reads the character set of the strings (RFC 3501 section 6.4.4).
func (p *searchParser) charset() error {
	if err := p.command.SP(); err != nil {
		return err
	}
	name, err := p.command.AString()
	if err != nil {
		return err
	}
	if strings.EqualFold(name, "UTF-8") || strings.EqualFold(name, "US-ASCII") {
		return nil
	}
	enc, err := ianaindex.MIME.Encoding(name)
	if err != nil || enc == nil {
		return &refusal{"BADCHARSET (US-ASCII UTF-8)", "Character set is not known"}
	}
	p.decode = enc.NewDecoder()
	return nil
}

// and reads keys up to the end of the command or of a parenthesis; the word of
// the first key has been read.
func (p *searchParser) and(word string) (*criterion, error) {
	var kids []*criterion
	for {
		k, err := p.key(word)
		if err != nil {
			return nil, err
		}
		kids = append(kids, k)
		if p.command.Peek() == ')' || p.command.EOL() {
			return all(kids), nil
		}
		if err := p.command.SP(); err != nil {
			return nil, err
		}
		word = p.word()
	}
}

// simpleKeys are the keys without arguments.
var simpleKeys = map[string]criterion{
	"ALL":               {op: searchAll},
	"SAVEDATESUPPORTED": {op: searchAll}, // RFC 8514 section 4.3
	"ANSWERED":          {op: searchFlag, flag: Answered},
	"DELETED":           {op: searchFlag, flag: Deleted},
	"DRAFT":             {op: searchFlag, flag: Draft},
	"FLAGGED":           {op: searchFlag, flag: Flagged},
	"SEEN":              {op: searchFlag, flag: Seen},
	"RECENT":            {op: searchRecent},
	"UNANSWERED":        {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Answered}}},
	"UNDELETED":         {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Deleted}}},
	"UNDRAFT":           {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Draft}}},
	"UNFLAGGED":         {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Flagged}}},
	"UNSEEN":            {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Seen}}},
	"OLD":               {op: searchNot, kids: []*criterion{{op: searchRecent}}},
	"NEW": {op: searchAnd, kids: []*criterion{
		{op: searchRecent}, {op: searchNot, kids: []*criterion{{op: searchFlag, flag: Seen}}},
	}},
}

// argumentKeys are the keys with arguments, which begin with a space.
var argumentKeys map[string]func(p *searchParser, word string) (*criterion, error)

func init() { // the keys NOT and OR refer to the table
	argumentKeys = map[string]func(p *searchParser, word string) (*criterion, error){
		"BCC": (*searchParser).field, "CC": (*searchParser).field, "FROM": (*searchParser).field,
		"SUBJECT": (*searchParser).field, "TO": (*searchParser).field, "HEADER": (*searchParser).header,
		"BODY": (*searchParser).body, "TEXT": (*searchParser).body,
		"BEFORE": (*searchParser).date, "ON": (*searchParser).date, "SINCE": (*searchParser).date,
		"SENTBEFORE": (*searchParser).date, "SENTON": (*searchParser).date, "SENTSINCE": (*searchParser).date,
		"SAVEDBEFORE": (*searchParser).date, "SAVEDON": (*searchParser).date, "SAVEDSINCE": (*searchParser).date,
		"MODSEQ":  (*searchParser).modSeq,
		"EMAILID": (*searchParser).objectID, "THREADID": (*searchParser).objectID,
		"KEYWORD": (*searchParser).keyword, "UNKEYWORD": (*searchParser).keyword,
		"LARGER": (*searchParser).size, "SMALLER": (*searchParser).size,
		"OLDER": (*searchParser).age, "YOUNGER": (*searchParser).age,
		"NOT": (*searchParser).not, "OR": (*searchParser).or, "UID": (*searchParser).uids,
	}
}

// key reads one key whose word has been read.
func (p *searchParser) key(word string) (*criterion, error) {
	if p.keys++; p.keys > maxSearchKeys {
		return nil, &refusal{"LIMIT", "Too many search keys"}
	}
	if simple, ok := simpleKeys[word]; ok {
		return &simple, nil
	}
	if word == "" {
		return p.group()
	}
	read := argumentKeys[word]
	if read == nil {
		return nil, badSyntax("Unknown search key")
	}
	if err := p.command.SP(); err != nil {
		return nil, err
	}
	return read(p, word)
}

// group reads keys in parentheses, or a set of message numbers.
func (p *searchParser) group() (*criterion, error) {
	if !p.command.Byte('(') {
		return p.set(false)
	}
	if err := p.descend(); err != nil {
		return nil, err
	}
	defer p.ascend()
	k, err := p.and(p.word())
	if err != nil {
		return nil, err
	}
	return k, p.command.Expect(')')
}

func (p *searchParser) descend() error {
	if p.depth++; p.depth > maxSearchDepth {
		return badSyntax("Search keys are nested too deeply")
	}
	return nil
}

func (p *searchParser) ascend() { p.depth-- }

func (p *searchParser) set(uid bool) (*criterion, error) {
	set, err := p.command.SequenceSet()
	if err != nil {
		return nil, err
	}
	if uid {
		p.program.open = max(p.program.open, openFrom(set))
	}
	p.numbers = p.numbers || !uid && !set.Saved
	// Numbers that do not exist are no error here, as other servers have it.
	return &criterion{op: searchSet, spans: p.box.appendPlaces(nil, set, uid), set: set, uid: uid}, nil
}

func (p *searchParser) uids(string) (*criterion, error) { return p.set(true) }

func (p *searchParser) not(string) (*criterion, error) {
	if err := p.descend(); err != nil {
		return nil, err
	}
	defer p.ascend()
	k, err := p.key(p.word())
	if err != nil {
		return nil, err
	}
	return negate(k), nil
}

func (p *searchParser) or(string) (*criterion, error) {
	if err := p.descend(); err != nil {
		return nil, err
	}
	defer p.ascend()
	a, err := p.key(p.word())
	if err != nil {
		return nil, err
	}
	if err := p.command.SP(); err != nil {
		return nil, err
	}
	b, err := p.key(p.word())
	if err != nil {
		return nil, err
	}
	return group(searchOr, []*criterion{a, b}), nil
}

// text reads a string to be searched for, as UTF-8.
func (p *searchParser) text() (string, error) {
	s, err := p.command.AString()
	if err != nil || p.decode == nil {
		return s, err
	}
	decoded, err := p.decode.String(s)
	if err != nil {
		return "", badSyntax("String is not of its character set")
	}
	return decoded, nil
}

func (p *searchParser) matcher() (*mime.Matcher, error) {
	text, err := p.text()
	if err != nil {
		return nil, err
	}
	return mime.NewMatcher(text), nil
}

func (p *searchParser) field(word string) (*criterion, error) {
	m, err := p.matcher()
	return &criterion{op: searchHeader, cost: costHeader, text: word, matcher: m}, err
}

func (p *searchParser) header(string) (*criterion, error) {
	field, err := p.command.AString()
	if err != nil {
		return nil, err
	}
	if err := p.command.SP(); err != nil {
		return nil, err
	}
	return p.field(field)
}

func (p *searchParser) body(word string) (*criterion, error) {
	m, err := p.matcher()
	if err != nil {
		return nil, err
	}
	op, list := searchBody, &p.program.bodies
	if word == "TEXT" {
		op, list = searchText, &p.program.texts
	}
	*list = append(*list, m)
	return &criterion{op: op, cost: costBody, needle: len(*list) - 1}, nil
}

func (p *searchParser) date(word string) (*criterion, error) {
	t, err := p.command.Date()
	if err != nil {
		return nil, err
	}
	k := &criterion{number: dayOf(t.Unix(), 0)}
	switch word {
	case "BEFORE", "SINCE":
		k.op = searchBefore
	case "ON":
		k.op = searchOn
	case "SAVEDBEFORE", "SAVEDSINCE":
		k.op = searchSavedBefore
	case "SAVEDON":
		k.op = searchSavedOn
	default: // a message without a Date field meets none of them
		k.cost = costStructure
		k.op = map[string]searchOp{
			"SENTBEFORE": searchSentBefore, "SENTON": searchSentOn, "SENTSINCE": searchSentSince,
		}[word]
	}
	if word == "SINCE" || word == "SAVEDSINCE" {
		k = negate(k)
	}
	return k, nil
}

func (p *searchParser) keyword(word string) (*criterion, error) {
	text, err := p.command.Flag()
	k := &criterion{op: searchKeyword, text: text}
	if word == "UNKEYWORD" {
		k = negate(k)
	}
	return k, err
}

func (p *searchParser) size(word string) (*criterion, error) {
	n, err := p.command.Number64()
	k := &criterion{op: searchLarger, number: int64(n)}
	if word == "SMALLER" {
		k.op = searchSmaller
	}
	return k, err
}

// age reads the interval of OLDER and YOUNGER (RFC 5032), in seconds before now.
func (p *searchParser) age(word string) (*criterion, error) {
	n, err := p.command.NzNumber()
	k := &criterion{op: searchOlder, number: p.opts.Now().Unix() - int64(n)}
	if word == "YOUNGER" {
		k = negate(k)
	}
	return k, err
}
