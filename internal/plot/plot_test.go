package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func chart() *Chart {
	return &Chart{
		Title: `Re-issues <per> "message"`,
		X:     Axis{Label: "rate & round trip", Log: true, From: 0.01, To: 10},
		Y:     Axis{Label: "per message", To: 1},
		Series: []Series{
			{Name: "n = 2", Points: []Point{{X: 0.01, Y: 0.5, Low: 0.4, High: 2}, {X: 0.1, Y: 1}, {X: 1, Y: 3}}},
			{Name: "design", Marker: Square, Hollow: true, Points: []Point{{X: 0, Y: 1}, {X: 10, Y: 0}}},
			{Name: "t", Marker: Triangle, NoLine: true, Points: []Point{{X: 1, Y: 0.25}}},
			{Name: "d", Marker: Diamond, Points: []Point{{X: 1, Y: 0.75}}},
		},
	}
}

func TestSVG(t *testing.T) {
	svg := chart().SVG()
	if !bytes.Equal(svg, chart().SVG()) {
		t.Error("the same chart gives other bytes")
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	count := map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("no XML: %v\n%s", err, svg)
		}
		if e, ok := tok.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
	// Two points of the first series and the legend; one of the second, which
	// has one outside of a logarithmic axis, and the legend.
	if count["circle"] != 3 || count["rect"] != 2 {
		t.Errorf("%d circles and %d squares, want 3 and 2", count["circle"], count["rect"])
	}
	for _, want := range []string{
		`d="M70 194L223.3 44"`, // from (0.01, 0.5) to (0.1, 1)
		`M70 224V44`,           // its range, cut at the end of the axis
		`rate &amp; round trip`, `&lt;per&gt;`, `stroke-dasharray`,
	} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis Axis
		want []string
	}{
		{Axis{To: 1}, []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}},
		{Axis{To: 1.1}, []string{"0", "0.5", "1"}},
		{Axis{From: 10, To: 52}, []string{"10", "20", "30", "40", "50"}},
		{Axis{From: 0.01, To: 10, Log: true}, []string{"0.01", "0.1", "1", "10"}},
		{Axis{From: 0.5, To: 300, Log: true}, []string{"1", "10", "100"}},
		{Axis{To: 9, Ticks: []float64{3}, Format: func(float64) string { return "three" }}, []string{"three"}},
	} {
		s := scale{c.axis, 100}
		var got []string
		for _, v := range s.ticks() {
			got = append(got, s.label(v))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("axis from %g to %g: %v, want %v", c.axis.From, c.axis.To, got, c.want)
		}
	}
}
