package mime

// AppendEnvelope appends the message's ENVELOPE (RFC 9051 section 7.5.2), with
// its parentheses. Header fields are sent as they are, not decoded.
func (s *Structure) AppendEnvelope(dst []byte) []byte {
	return s.Root().appendEnvelope(dst)
}

func (p Part) appendEnvelope(dst []byte) []byte {
	dst = append(dst, '(')
	dst = p.appendStringField(dst, FieldDate)
	dst = append(dst, ' ')
	if subject, ok := p.Raw(FieldSubject); ok {
		dst = appendText(dst, subject)
	} else {
		dst = append(dst, "NIL"...)
	}
	from := p.addresses(FieldFrom)
	dst = appendAddresses(append(dst, ' '), from)
	for _, name := range [...]FieldName{FieldSender, FieldReplyTo} {
		list := p.addresses(name)
		if len(list) == 0 {
			list = from // RFC 9051 section 7.5.2
		}
		dst = appendAddresses(append(dst, ' '), list)
	}
	for _, name := range [...]FieldName{FieldTo, FieldCc, FieldBcc} {
		dst = appendAddresses(append(dst, ' '), p.addresses(name))
	}
	dst = p.appendStringField(append(dst, ' '), FieldInReplyTo)
	dst = p.appendStringField(append(dst, ' '), FieldMessageID)
	return append(dst, ')')
}

// appendStringField appends the value of a field, or NIL.
func (p Part) appendStringField(dst []byte, name FieldName) []byte {
	raw, ok := p.Raw(name)
	if !ok {
		return append(dst, "NIL"...)
	}
	return appendString(dst, raw)
}

// addresses returns the addresses of all fields of a name.
func (p Part) addresses(name FieldName) (list []address) {
	for raw := range p.Raws(name) {
		list = append(list, parseAddresses(raw)...)
	}
	return list
}

func appendAddresses(dst []byte, list []address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for _, a := range list {
		dst = append(dst, '(')
		if a.name == nil {
			dst = append(dst, "NIL"...)
		} else {
			dst = appendText(dst, a.name)
		}
		dst = appendNString(append(dst, ' '), a.route)
		dst = appendNString(append(dst, ' '), a.mailbox)
		dst = appendNString(append(dst, ' '), a.host)
		dst = append(dst, ')')
	}
	return append(dst, ')')
}
