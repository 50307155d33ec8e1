package mime

import "strconv"

// emptyPart stands for the parts of a multipart that has none, because a
// multipart without parts cannot be expressed (RFC 9051 section 9, body-type-mpart).
const emptyPart = `("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0`

// AppendBody appends the message's BODY or, extended, BODYSTRUCTURE (RFC 9051
// section 7.5.2), with its parentheses.
func (s *Structure) AppendBody(dst []byte, extended bool) []byte {
	return s.Root().appendBody(dst, extended)
}

// appendBody recurses to the depth of the parts, MaxDepth at most.
func (p Part) appendBody(dst []byte, extended bool) []byte {
	dst = append(dst, '(')
	if p.IsMultipart() {
		dst = p.appendMultipart(dst, extended)
	} else {
		dst = p.appendSinglePart(dst, extended)
	}
	return append(dst, ')')
}

func (p Part) appendMultipart(dst []byte, extended bool) []byte {
	if p.Children() == 0 {
		dst = append(dst, emptyPart...)
		if extended {
			dst = append(dst, " NIL NIL NIL NIL"...)
		}
		dst = append(dst, ')')
	}
	for i := p.i + 1; i < p.node().after; i = p.s.parts[i].after {
		dst = Part{p.s, i}.appendBody(dst, extended)
	}
	ct := p.contentType()
	dst = appendString(append(dst, ' '), ct.subtype)
	if !extended {
		return dst
	}
	dst = appendParams(append(dst, ' '), ct.params)
	return p.appendExtension(dst)
}

func (p Part) appendSinglePart(dst []byte, extended bool) []byte {
	typ, subtype, params := p.typeToSend()
	dst = appendString(dst, typ)
	dst = appendString(append(dst, ' '), subtype)
	dst = appendParams(append(dst, ' '), params)
	dst = p.appendContent(append(dst, ' '), FieldID)
	dst = p.appendContent(append(dst, ' '), FieldDescription)
	dst = append(dst, ' ')
	raw, _ := p.content(FieldEncoding)
	if enc := parseEncoding(raw); enc != nil {
		dst = appendString(dst, enc)
	} else {
		dst = append(dst, `"7bit"`...)
	}
	dst = strconv.AppendInt(append(dst, ' '), p.Body().Length, 10)
	switch {
	case p.IsMessage():
		inner := Part{p.s, p.i + 1}
		dst = inner.appendEnvelope(append(dst, ' '))
		dst = inner.appendBody(append(dst, ' '), extended)
		dst = strconv.AppendInt(append(dst, ' '), p.Lines(), 10)
	case equalFold(typ, "text"):
		dst = strconv.AppendInt(append(dst, ' '), p.Lines(), 10)
	}
	if !extended {
		return dst
	}
	dst = p.appendContent(append(dst, ' '), FieldMD5)
	return p.appendExtension(dst)
}

// typeToSend returns the media type and parameters of a part without parts.
func (p Part) typeToSend() (typ, subtype []byte, params []param) {
	ct := p.contentType()
	typ, subtype, params = ct.typ, ct.subtype, ct.params
	switch p.node().kind {
	case message:
		return []byte("message"), []byte("rfc822"), params
	case tooDeep:
		return []byte("application"), []byte("octet-stream"), params
	}
	if typ == nil {
		typ, subtype = []byte("text"), []byte("plain")
	}
	if !equalFold(typ, "text") {
		return typ, subtype, params
	}
	for _, pa := range params {
		if equalFold(pa.name, "charset") {
			return typ, subtype, params
		}
	}
	return typ, subtype, append(params[:len(params):len(params)], param{[]byte("charset"), []byte("us-ascii")})
}

// content returns a Content- field. A message that has neither MIME-Version nor
// Content-Type is none that MIME is about (RFC 2045 section 4).
func (p Part) content(name FieldName) (value []byte, ok bool) {
	if p.HasEnvelope() {
		_, hasVersion := p.Raw(FieldMIMEVersion)
		if _, hasType := p.Raw(FieldType); !hasVersion && !hasType {
			return nil, false
		}
	}
	return p.Raw(name)
}

// appendContent appends the value of a Content- field, or NIL.
func (p Part) appendContent(dst []byte, name FieldName) []byte {
	raw, ok := p.content(name)
	if !ok {
		return append(dst, "NIL"...)
	}
	return appendString(dst, raw)
}

// appendExtension appends disposition, language and location.
func (p Part) appendExtension(dst []byte) []byte {
	dst = p.appendDisposition(append(dst, ' '))
	dst = p.appendLanguage(append(dst, ' '))
	return p.appendContent(append(dst, ' '), FieldLocation)
}

func (p Part) appendDisposition(dst []byte) []byte {
	raw, ok := p.content(FieldDisposition)
	if !ok {
		return append(dst, "NIL"...)
	}
	d, ok := parseDisposition(raw)
	if !ok {
		return append(dst, "NIL"...)
	}
	dst = appendString(append(dst, '('), d.value)
	dst = appendParams(append(dst, ' '), d.params)
	return append(dst, ')')
}

func (p Part) appendLanguage(dst []byte) []byte {
	raw, _ := p.content(FieldLanguage)
	tags := parseLanguages(raw)
	if len(tags) == 0 {
		return append(dst, "NIL"...)
	}
	for i, tag := range tags {
		sep := byte(' ')
		if i == 0 {
			sep = '('
		}
		dst = appendString(append(dst, sep), tag)
	}
	return append(dst, ')')
}

func appendParams(dst []byte, params []param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	for i, p := range params {
		sep := byte(' ')
		if i == 0 {
			sep = '('
		}
		dst = appendString(append(dst, sep), p.name)
		dst = appendString(append(dst, ' '), p.value)
	}
	return append(dst, ')')
}
