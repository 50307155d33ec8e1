package figures

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// document is the one whose tables this package makes.
const document = "../../../docs/convergence.md"

// small returns a scale that shows that everything runs, not what it costs.
func small() Scale {
	return Scale{
		Seeds: 2, Messages: 40, Cut: 5 * time.Second, Cuts: []time.Duration{time.Second, 3 * time.Second},
		Futile: 3 * time.Second, Watch: 300 * time.Millisecond, Days: 1,
	}
}

// TestGenerate: the document has a place for every table and shows every
// picture, and the same source gives the same bytes.
func TestGenerate(t *testing.T) {
	old, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text, files, err := generate(t.Context(), old, small(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	again, filesAgain, err := generate(t.Context(), text, small(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, again) {
		t.Error("the tables differ the second time")
	}
	for _, p := range pictures() {
		svg := files[p.file]
		if !bytes.Equal(svg, filesAgain[p.file]) {
			t.Errorf("%s differs the second time", p.file)
		}
		if !bytes.Contains(svg, []byte("<path class=\"line\"")) || bytes.Contains(svg, []byte("NaN")) {
			t.Errorf("%s shows no line, or a place that is no number", p.file)
		}
		if !bytes.Contains(text, []byte("](figures/"+p.file+")")) {
			t.Errorf("the document does not show %s", p.file)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(document), "figures", p.file)); err != nil {
			t.Error(err)
		}
	}
	for _, b := range blocks() {
		begin := bytes.Index(text, marker("make figures:", b.name))
		end := bytes.Index(text, marker("end of", b.name))
		if end-begin < 200 {
			t.Errorf("block %s is empty", b.name)
		}
	}
}

func TestReplace(t *testing.T) {
	const doc = "a\n<!-- make figures: x -->\nold\n<!-- end of x -->\nb\n"
	got, err := replace([]byte(doc), "x", "new\n")
	if want := strings.Replace(doc, "old", "new", 1); err != nil || string(got) != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{
		"", doc + doc,
		"<!-- make figures: x -->\n",
		"<!-- end of x -->\n<!-- make figures: x -->\n",
	} {
		if _, err := replace([]byte(bad), "x", "new\n"); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}

// TestWriteOrNothing: a document that cannot be completed stays as it is.
func TestWriteOrNothing(t *testing.T) {
	whole, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, k := range []struct {
		ctx  context.Context
		text []byte
		want string
	}{
		{t.Context(), []byte("no markers\n"), "needs one line"},
		{ended, whole, context.Canceled.Error()},
	} {
		name := filepath.Join(t.TempDir(), "doc.md")
		if err := os.WriteFile(name, k.text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Write(k.ctx, name, small(), io.Discard); err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("error %v, want %q", err, k.want)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, k.text) {
			t.Errorf("the document was changed: %v", err)
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(name), "figures")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("folder of figures: %v", err)
		}
	}
}

func TestStatistics(t *testing.T) {
	if got, want := spreadOf([]float64{4, 1, 2, 9}), (spread{1, 3, 9}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
	times := make([]time.Duration, 100)
	for i := range times {
		times[i] = time.Duration(i+1) * time.Second
	}
	for part, want := range map[float64]float64{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(times, part); got != want {
			t.Errorf("quantile %g is %g, want %g", part, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for s, want := range map[spread]string{
		{}:                      "0",
		{0.1, 0.2, 0.3}:         "0.200 (0.100–0.300)",
		{0.0002, 0.0015, 0.002}: "0.002 (0.0002–0.002)",
		{7, 7, 7}:               "7.00",
		{8, 95.04, 230.4}:       "95.0 (8.00–230)",
	} {
		if got := s.number(); got != want {
			t.Errorf("%v reads %q, want %q", s, got, want)
		}
	}
	for v, want := range map[float64]string{0.0504: "50 ms", 1.2: "1200 ms", 42.25: "42.2 s"} {
		if got := seconds(v); got != want {
			t.Errorf("%g s reads %q, want %q", v, got, want)
		}
	}
}
