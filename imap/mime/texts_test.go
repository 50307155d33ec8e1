package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// gathered is a FoldedSink that keeps the texts.
type gathered struct {
	texts [][]byte
	open  []byte
}

func (g *gathered) Write(folded []byte) { g.open = append(g.open, folded...) }

func (g *gathered) End() { g.texts, g.open = append(g.texts, g.open), nil }

func (g *gathered) contains(needle []byte) bool {
	return slices.ContainsFunc(g.texts, func(text []byte) bool { return bytes.Contains(text, needle) })
}

func foldedTexts(t testing.TB, s sample) (headers, texts *gathered) {
	t.Helper()
	headers, texts = new(gathered), new(gathered)
	if err := parse(t, s.data).FoldedTexts(bytes.NewReader(s.data), headers, texts); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	if len(headers.open)+len(texts.open) > 0 {
		t.Errorf("%s: a text has no end", s.name)
	}
	return headers, texts
}

// What MatchBody finds is what is in the folded texts, and nothing else: an index of these
// answers for it.
func TestFoldedTextsAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, s := range samples(t) {
		headers, texts := foldedTexts(t, s)
		var ms []*Matcher
		for range 40 {
			ms = append(ms, NewMatcher(randomNeedle(r, s.data, headers, texts)))
		}
		for _, inHeaders := range []bool{false, true} {
			found, err := parse(t, s.data).MatchBody(bytes.NewReader(s.data), ms, inHeaders)
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range ms {
				if want := texts.contains(m.Folded()) || inHeaders && headers.contains(m.Folded()); found[i] != want && len(m.Folded()) > 0 {
					t.Errorf("%s: %q is found: %v, headers %v; in the folded texts: %v", s.name, m.Folded(), found[i], inHeaders, want)
				}
			}
		}
	}
}

// randomNeedle returns a piece of a folded text, of the message as it is, or one with another letter.
func randomNeedle(r *rand.Rand, raw []byte, sources ...*gathered) string {
	var all [][]byte
	for _, s := range sources {
		all = append(all, s.texts...)
	}
	text := raw
	if len(all) > 0 && r.IntN(4) > 0 {
		text = all[r.IntN(len(all))]
	}
	from := r.IntN(len(text) + 1)
	piece := bytes.Clone(text[from:min(len(text), from+r.IntN(14))])
	if len(piece) > 0 && r.IntN(3) == 0 {
		piece[r.IntN(len(piece))] = "aeiou\xff"[r.IntN(6)]
	}
	return string(bytes.ToValidUTF8(piece, []byte("?")))
}

// Who changes what texts are got out of a message, or how they are folded, changes
// textsVersion too, and the sum here: what is indexed already does not count any more then.
func TestTextsVersion(t *testing.T) {
	h := sha256.New()
	for _, s := range ownSamples {
		headers, texts := foldedTexts(t, sample{s.name, crlf(s.text)})
		for _, text := range slices.Concat(headers.texts, texts.texts) {
			h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
			h.Write(text)
		}
	}
	const want = "1 dedd1430c73eb973"
	if got := fmt.Sprintf("%d %x", textsVersion, h.Sum(nil)[:8]); got != want {
		t.Errorf("texts have changed: %s, not %s", got, want)
	}
}

// What is folded for an index is counted in bytes of the message.
func BenchmarkFoldedTexts(b *testing.B) {
	data := plainMessage()
	s := parse(b, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.FoldedTexts(bytes.NewReader(data), discarded{}, discarded{}); err != nil {
			b.Fatal(err)
		}
	}
}

type discarded struct{}

func (discarded) Write([]byte) {}
func (discarded) End()         {}
