package imap

import (
	"fmt"

	"github.com/go-pluto/pluto/imap/wire"
)

// previewRunes is how long a preview is at most (RFC 8970 section 3.3).
const previewRunes = 200

// readPreviewItem reads what follows PREVIEW: the modifier LAZY or nothing (RFC
// 8970 section 6).
func readPreviewItem(c *wire.Command) (fetchItem, error) {
	if c.Skip(" (LAZY)") {
		return fetchItem{kind: fetchLazyPreview}, nil
	}
	return fetchItem{kind: fetchPreview}, nil
}

// prepareLazy gets what a lazy preview needs, if this replica has it.
func (f *fetcher) prepareLazy(m *Message) (err error) {
	if f.body == nil {
		if f.body, err = f.account.Body(f.ctx, m); err != nil {
			f.body = nil
			return unlessMail(err)
		}
	}
	if f.structure == nil {
		if f.structure, err = f.structureOf(m, f.body); err != nil {
			f.structure = nil
			return unlessMail(err)
		}
	}
	return nil
}

// unlessMail returns err, unless it is one of those of mail.go.
func unlessMail(err error) error {
	if isMailError(err) {
		return nil
	}
	return err
}

// preview appends the beginning of what a reader would see (RFC 8970 section
// 3.2). It looks at a bounded part of the message, so that LAZY needs no other
// way than that there is none if the content is not here yet.
func (f *fetcher) preview() error {
	f.out.buf = append(f.out.buf, "PREVIEW "...)
	if f.structure == nil || f.body == nil {
		f.out.buf = append(f.out.buf, "NIL"...)
		return nil
	}
	text, err := f.structure.Preview(f.body, previewRunes)
	if err != nil {
		return f.unreadable(fmt.Errorf("preview: %w", err))
	}
	f.out.buf = wire.AppendString(f.out.buf, text)
	return nil
}
