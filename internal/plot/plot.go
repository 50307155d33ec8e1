// Package plot draws line charts as SVG, for documents that are read as plain
// files: axes (linear or logarithmic), series with markers and ranges, a
// legend. Text is the reader's own sans-serif font; colours are chosen to be
// seen on white and on black alike, and markers differ in shape, too. Equal
// charts give equal bytes.
package plot

// Chart is one picture.
type Chart struct {
	Title  string // said to who does not see the picture; drawn above it
	X, Y   Axis
	Series []Series
}

// Axis describes an axis. What lies outside of it is not drawn.
type Axis struct {
	Label    string
	Log      bool // decimal logarithm; then From is above 0
	From, To float64
	Ticks    []float64              // where the labels are; nil: at round numbers
	Format   func(v float64) string // how they read; nil: as numbers
}

// Series is one line of points.
type Series struct {
	Name    string
	Colour  Colour
	Marker  Marker
	Hollow  bool // markers are outlines, the line is dashed
	NoLine  bool
	NoMarks bool
	Points  []Point
}

// Point is one point; where High is above Low, a line from Low to High is its range.
type Point struct{ X, Y, Low, High float64 }

// Colour is one of a few that are told apart also by those who see no red or
// green (after Okabe and Ito).
type Colour int

// The colours.
const (
	Blue Colour = iota
	Orange
	Green
	Purple
)

var colours = [...]string{"#2a7fc0", "#d9661f", "#1a9e77", "#a566b3"}

// Marker is the shape of a series' points.
type Marker int

// The markers.
const (
	Circle Marker = iota
	Square
	Triangle
	Diamond
)
