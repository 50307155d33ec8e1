package mime

// address is an element of an ENVELOPE address list (RFC 9051 section 7.5.2).
// nil is NIL. The start of a group has only a mailbox, its end has nothing.
type address struct {
	name, route, mailbox, host []byte
}

// What stands for the parts that an address lacks or that cannot be read. A
// client sees that there is an address, and that it is not one to answer to.
var (
	missingMailbox = []byte("MISSING_MAILBOX")
	missingDomain  = []byte("MISSING_DOMAIN")
	syntaxError    = []byte("SYNTAX_ERROR")
	invalidRoute   = []byte("INVALID_ROUTE")
)

// parseAddresses reads an address list (RFC 5322 section 3.4, with the obsolete
// syntax of section 4.4) as far as it makes sense.
func parseAddresses(raw []byte) []address {
	p := addressParser{lexer: lexer{in: raw, wantComment: true}}
	if !p.space() {
		return nil
	}
	for p.more() {
		p.address(false)
		if !p.accept(',') {
			break
		}
		if !p.space() {
			p.add(address{}) // an open comment instead of an address
		}
	}
	return p.out
}

type addressParser struct {
	lexer
	out []address
}

// add adds a mailbox, and says what is missing of it.
func (p *addressParser) add(a address) {
	if a.mailbox == nil {
		a.mailbox = missingMailbox
	}
	if len(a.host) == 0 {
		a.host = missingDomain
	}
	p.out = append(p.out, a)
}

// address reads a mailbox or, unless in one, a group.
func (p *addressParser) address(inGroup bool) {
	start := p.pos
	name, ok := p.phrase(nil)
	switch {
	case ok && p.at(':') && !inGroup:
		p.group(name)
	case ok && p.at('<'):
		p.named(name)
	default:
		p.pos = start
		p.add(p.bare())
	}
}

// group reads ":" mailboxes ";".
func (p *addressParser) group(name []byte) {
	p.out = append(p.out, address{mailbox: nonNil(name)})
	p.pos++
	if p.space() && p.more() && !p.at(';') {
		for {
			p.address(true)
			if !p.accept(',') || !p.space() || !p.more() {
				break
			}
		}
	}
	if p.accept(';') {
		p.space()
	}
	p.out = append(p.out, address{})
}

// named reads an address in angle brackets.
func (p *addressParser) named(name []byte) {
	var a address
	if len(name) > 0 {
		a.name = name
	}
	if !p.angle(&a) {
		a.host = syntaxError
	}
	p.add(a)
}

// angle reads "<" [route ":"] mailbox "@" domain ">".
func (p *addressParser) angle(a *address) bool {
	p.pos++
	if !p.space() || !p.more() {
		return false
	}
	if p.at('@') {
		if route, ok := p.route(); ok && p.accept(':') {
			a.route = route
		} else {
			a.route = invalidRoute
		}
		if !p.space() || !p.more() {
			return false
		}
	}
	if !p.at('>') && !p.localAndDomain(a) {
		return false
	}
	return p.accept('>') && p.space()
}

func (p *addressParser) localAndDomain(a *address) bool {
	local, ok := p.local()
	if !ok {
		return false
	}
	a.mailbox = nonNil(local)
	if !p.at('@') {
		return p.more()
	}
	domain, ok := p.domain(nil)
	if !ok {
		return false
	}
	a.host = domain
	return p.more()
}

// route reads a list of domains, each with its "@".
func (p *addressParser) route() (route []byte, ok bool) {
	for p.at('@') {
		if len(route) > 0 {
			route = append(route, ',')
		}
		if route, ok = p.domain(append(route, '@')); !ok || !p.more() {
			return nil, false
		}
		for p.space() && p.at(',') {
			p.pos++
		}
	}
	return route, p.more()
}

// bare reads an address without angle brackets. A comment after it is its
// name; words that are no address are a name without one.
func (p *addressParser) bare() (a address) {
	p.comment = nil
	isQuoted := p.at('"')
	words, ok := p.local()
	if ok {
		a.mailbox = nonNil(words)
	}
	hasDomain := p.at('@')
	if hasDomain {
		if domain, ok := p.domain(nil); ok {
			a.host = domain
		}
	}
	switch {
	case len(p.comment) > 0:
		a.name = p.comment
	case hasDomain:
	default:
		n := len(words) + 1
		words = append(words[:len(words):len(words)], ' ')
		if words, _ = p.phrase(words); len(words) > n {
			a.name, a.mailbox = words, nil
		} else if isQuoted {
			a.name, a.mailbox = a.mailbox, nil
		}
	}
	return a
}

// local reads the part before "@": words, quoted or not, with dots between
// them and perhaps space around those. (Dots may also be where none should be.)
func (p *addressParser) local() (text []byte, ok bool) {
	for p.more() {
		if p.at('"') {
			var word []byte
			word, ok = p.quoted()
			text = append(nonNil(text), word...)
		} else if word := p.run(atomByte | dotByte); len(word) > 0 {
			text = append(text, word...)
			ok = p.space()
		} else {
			break
		}
		if !ok || !p.at('.') && !endsInDot(text) {
			break
		}
	}
	return text, ok
}

func endsInDot(b []byte) bool { return len(b) > 0 && b[len(b)-1] == '.' }

// domain reads "@" and a domain or an address in brackets, and appends it.
func (p *addressParser) domain(dst []byte) (text []byte, ok bool) {
	p.pos++
	if !p.space() || !p.more() {
		return dst, false
	}
	if !p.at('[') {
		return p.dotAtom(dst)
	}
	start := p.pos
	for ; p.more(); p.pos++ {
		switch p.in[p.pos] {
		case '\\':
			p.pos++
		case ']':
			p.pos++
			return append(dst, p.in[start:p.pos]...), p.space()
		}
	}
	p.pos = len(p.in)
	return dst, false
}

// dotAtom reads atoms with single dots between them, and perhaps space around
// those.
func (p *addressParser) dotAtom(dst []byte) (text []byte, ok bool) {
	for {
		atom := p.run(atomByte)
		dst = append(dst, atom...)
		if len(atom) == 0 || !p.space() {
			return dst, false
		}
		if !p.accept('.') {
			return dst, true
		}
		dst = append(dst, '.')
		if !p.space() {
			return dst, false
		}
	}
}

// phrase reads words, quoted or not, and joins them with single spaces.
func (p *addressParser) phrase(dst []byte) (text []byte, ok bool) {
	if !p.more() {
		return dst, false
	}
	for {
		if p.at('"') {
			var word []byte
			word, ok = p.quoted()
			dst = append(dst, word...)
		} else {
			dst = append(dst, p.run(atomByte|dotByte)...)
			ok = p.space()
		}
		if !ok {
			return dst, false
		}
		if !p.at('"') && (!p.more() || classes[p.in[p.pos]]&(atomByte|dotByte) == 0) {
			return dst, true
		}
		dst = append(dst, ' ')
	}
}
