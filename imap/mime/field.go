package mime

// FieldName is a header field that a [Structure] keeps. The values are part of
// the stored format: never change one.
type FieldName uint8

// The fields kept. Those from FieldDate on are kept for messages only.
const (
	FieldType        FieldName = 1  // Content-Type
	FieldEncoding    FieldName = 2  // Content-Transfer-Encoding
	FieldID          FieldName = 3  // Content-ID
	FieldDescription FieldName = 4  // Content-Description
	FieldDisposition FieldName = 5  // Content-Disposition
	FieldLanguage    FieldName = 6  // Content-Language
	FieldLocation    FieldName = 7  // Content-Location
	FieldMD5         FieldName = 8  // Content-MD5
	FieldMIMEVersion FieldName = 9  // MIME-Version
	FieldDate        FieldName = 16 // Date
	FieldSubject     FieldName = 17 // Subject
	FieldFrom        FieldName = 18 // From
	FieldSender      FieldName = 19 // Sender
	FieldReplyTo     FieldName = 20 // Reply-To
	FieldTo          FieldName = 21 // To
	FieldCc          FieldName = 22 // Cc
	FieldBcc         FieldName = 23 // Bcc
	FieldInReplyTo   FieldName = 24 // In-Reply-To
	FieldMessageID   FieldName = 25 // Message-ID
	FieldReferences  FieldName = 26 // References, for threading
)

// cutMark is set in the stored name of a field whose value is not whole.
const cutMark = 0x80

// valid reports whether the stored format knows the field.
func (n FieldName) valid() bool {
	return FieldType <= n && n <= FieldMIMEVersion || FieldDate <= n && n <= FieldReferences
}

// ofMessage reports whether only messages have the field.
func (n FieldName) ofMessage() bool { return n >= FieldDate }

// isAddress reports whether the field is a list of addresses.
func (n FieldName) isAddress() bool { return FieldFrom <= n && n <= FieldBcc }

// fieldName returns the field that a name in a header denotes, 0 if it is none
// of those kept.
func fieldName(name []byte) FieldName {
	if len(name) < 2 || len(name) > len("content-transfer-encoding") {
		return 0
	}
	var buf [len("content-transfer-encoding")]byte
	for i, c := range name {
		buf[i] = lowerByte(c)
	}
	switch string(buf[:len(name)]) {
	case "content-type":
		return FieldType
	case "content-transfer-encoding":
		return FieldEncoding
	case "content-id":
		return FieldID
	case "content-description":
		return FieldDescription
	case "content-disposition":
		return FieldDisposition
	case "content-language":
		return FieldLanguage
	case "content-location":
		return FieldLocation
	case "content-md5":
		return FieldMD5
	case "mime-version":
		return FieldMIMEVersion
	case "date":
		return FieldDate
	case "subject":
		return FieldSubject
	case "from":
		return FieldFrom
	case "sender":
		return FieldSender
	case "reply-to":
		return FieldReplyTo
	case "to":
		return FieldTo
	case "cc":
		return FieldCc
	case "bcc":
		return FieldBcc
	case "in-reply-to":
		return FieldInReplyTo
	case "message-id":
		return FieldMessageID
	case "references":
		return FieldReferences
	}
	return 0
}
