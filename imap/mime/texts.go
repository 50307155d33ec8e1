package mime

import (
	"fmt"
	"io"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// textsVersion is changed whenever [Structure.FoldedTexts] hands out other texts than
// before for any message (see TestTextsVersion).
const textsVersion = 1

// TextsVersion names the way in which this program gets texts out of messages and folds
// them: what was made of the texts of another one is not comparable.
func TextsVersion() string {
	return fmt.Sprintf("%d unicode %s %s", textsVersion, unicode.Version, norm.Version)
}

// Folded returns the matcher's string in the form in which it is compared with
// folded texts. It must not be changed.
func (m *Matcher) Folded() []byte { return m.needle }

// FoldedSink takes texts in the form in which searches compare them.
type FoldedSink interface {
	// Write takes a piece of a text. It does not keep it.
	Write(folded []byte)
	// End ends a text: a string that is looked for has to be in one text.
	End()
}

// FoldedTexts hands out, folded, what [Structure.MatchBody] looks at: all headers to
// one sink, the texts of all parts to another. For an index of them: a matcher's string
// is found where it is in one of the texts, byte for byte. body is the message that s
// was parsed from. Memory is bounded however long that is. An error is one of body.
func (s *Structure) FoldedTexts(body io.ReaderAt, headers, texts FoldedSink) error {
	return s.texts(body, &foldingSink{out: headers}, &foldingSink{out: texts})
}

// foldingSink folds what it hands on.
type foldingSink struct {
	out     FoldedSink
	folding folding
	buf     []byte
}

func (f *foldingSink) write(text []byte) {
	f.buf = f.folding.fold(f.buf[:0], text)
	f.out.Write(f.buf)
}

func (f *foldingSink) end() {
	f.buf = f.folding.finish(f.buf[:0])
	f.out.Write(f.buf)
	f.out.End()
}

func (f *foldingSink) done() bool { return false }
