package figures

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-pluto/pluto/internal/plot"
)

// block is a generated part of the document, between its markers.
type block struct {
	name string
	text func(*study) string
}

func blocks() []block {
	return []block{
		{"setting", setting},
		{"steady", steadyTable},
		{"cut", cutTable},
		{"readers", readersTable},
		{"leaderless", leaderlessTable},
		{"naive", naiveTable},
		{"gap", gapTable},
		{"traffic", trafficTable},
		{"sizes", sizesTable},
		{"checkpoints", checkpointTable},
	}
}

// picture is a generated file.
type picture struct {
	file  string
	chart func(*study) plot.Chart
}

func pictures() []picture {
	return []picture{
		{"reissues.svg", reissueChart},
		{"downloads.svg", downloadChart},
		{"span.svg", spanChart},
		{"agreement.svg", agreeChart},
		{"cut.svg", cutChart},
		{"naive.svg", naiveChart},
	}
}

// Write makes all figures: it replaces what is between the markers of a
// document, and writes the pictures to the folder "figures" beside it.
// Progress is told to a writer. When the context ends before, nothing has changed.
func Write(ctx context.Context, document string, scale Scale, progress io.Writer) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	text, files, err := generate(ctx, old, scale, progress)
	if err != nil {
		return fmt.Errorf("figures: %w", err)
	}
	dir := filepath.Join(filepath.Dir(document), "figures")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("folder of the figures: %w", err)
	}
	for _, p := range pictures() {
		if err := os.WriteFile(filepath.Join(dir, p.file), files[p.file], 0o644); err != nil {
			return fmt.Errorf("write a figure: %w", err)
		}
	}
	if err := os.WriteFile(document, text, 0o644); err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

// generate returns the document with new tables, and the pictures.
func generate(ctx context.Context, text []byte, scale Scale, progress io.Writer) ([]byte, map[string][]byte, error) {
	s := &study{ctx: ctx, scale: scale, progress: progress, known: make(map[string]outcome)}
	for _, b := range blocks() {
		made := b.text(s)
		if s.err != nil {
			return nil, nil, s.err
		}
		var err error
		if text, err = replace(text, b.name, made); err != nil {
			return nil, nil, err
		}
	}
	files := make(map[string][]byte)
	for _, p := range pictures() {
		c := p.chart(s)
		if s.err != nil {
			return nil, nil, s.err
		}
		files[p.file] = c.SVG()
	}
	return text, files, nil
}

func marker(what, name string) []byte {
	return fmt.Appendf(nil, "<!-- %s %s -->\n", what, name)
}

// replace puts text between the markers of a block.
func replace(document []byte, name, text string) ([]byte, error) {
	begin, end := marker("make figures:", name), marker("end of", name)
	if bytes.Count(document, begin) != 1 || bytes.Count(document, end) != 1 {
		return nil, fmt.Errorf("document needs one line %q and one %q", begin, end)
	}
	i, j := bytes.Index(document, begin)+len(begin), bytes.Index(document, end)
	if j < i {
		return nil, fmt.Errorf("document ends block %s before it begins", name)
	}
	return append(append(append([]byte(nil), document[:i]...), text...), document[j:]...), nil
}
