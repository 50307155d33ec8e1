package mime

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew (then review the difference)")

// TestGolden compares with the answers that were agreed with Dovecot, see
// TestAsDovecot, or are listed in DIFFERENCES.md. A long answer is there as its
// hash.
func TestGolden(t *testing.T) {
	var own, others strings.Builder
	for _, s := range samples(t) {
		if strings.HasPrefix(s.name, "corpus-") {
			describe(t, &others, s)
		} else {
			describe(t, &own, s)
		}
	}
	compareGolden(t, "own.golden", own.String())
	if others.Len() == 0 {
		t.Log("no corpus beside the repository: corpus.golden is not compared")
		return
	}
	compareGolden(t, "corpus.golden", others.String())
}

func describe(t *testing.T, b *strings.Builder, s sample) {
	ours := parse(t, s.data)
	short := func(answer []byte) string {
		if len(answer) > 2000 {
			return fmt.Sprintf("%d bytes, SHA-256 %x", len(answer), sha256.Sum256(answer))
		}
		return strings.Trim(fmt.Sprintf("%+q", answer), `"`)
	}
	fmt.Fprintf(b, "== %s: %d bytes\n", s.name, len(s.data))
	fmt.Fprintf(b, "ENVELOPE %s\n", short(ours.AppendEnvelope(nil)))
	fmt.Fprintf(b, "BODY %s\n", short(ours.AppendBody(nil, false)))
	fmt.Fprintf(b, "BODYSTRUCTURE %s\n", short(ours.AppendBody(nil, true)))
	for _, sec := range comparedSections {
		if r, ok := ours.Locate(parseSection(sec)); ok && !strings.Contains(sec, "FIELDS") {
			fmt.Fprintf(b, "BODY[%s] %d+%d\n", sec, r.Offset, r.Length)
		}
	}
	for _, sec := range comparedSections {
		if content, ok := sectionOf(ours, s.data, sec); ok && strings.Contains(sec, "FIELDS") {
			fmt.Fprintf(b, "BODY[%s] %s\n", sec, short(content))
		}
	}
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	title := ""
	for i := range min(len(g), len(w)) {
		if strings.HasPrefix(g[i], "== ") {
			title = g[i]
		}
		if g[i] != w[i] {
			t.Fatalf("%s, %s\nwant %s\ngot  %s", name, title, w[i], g[i])
		}
	}
	t.Fatalf("%s has %d lines, want %d", name, len(g), len(w))
}
