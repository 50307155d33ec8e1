package plot

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Sizes in pixels.
const (
	width, height = 720, 400
	left, right   = 70, 190 // the legend is to the right
	top, bottom   = 44, 56
	lineHeight    = 22
	markerSize    = 4.5
)

// style keeps to greys and colours of middle lightness, so that the picture can
// stand on a white page and on a black one.
const style = `text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;font-size:13px;fill:#7a828e}
.title{font-size:15px;font-weight:600}
.grid{stroke:#7a828e;stroke-opacity:.25;stroke-width:1}
.axis{stroke:#7a828e;stroke-width:1.2;fill:none}
.line{fill:none;stroke-width:2;stroke-linejoin:round}
.range{stroke-width:1.4;stroke-opacity:.7}`

type drawing struct {
	bytes.Buffer
	x, y scale
}

// SVG returns the chart as a document of its own.
func (c *Chart) SVG() []byte {
	d := &drawing{
		x: scale{c.X, width - left - right},
		y: scale{c.Y, height - top - bottom},
	}
	d.line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`,
		width, height, width, height, html.EscapeString(c.Title))
	d.line("<title>%s</title>", html.EscapeString(c.Title))
	d.line("<style>%s</style>", style)
	d.text(left, top-20, "start", "title", c.Title)
	d.axes()
	for i := range c.Series {
		d.series(&c.Series[i])
	}
	d.legend(c.Series)
	d.line("</svg>")
	return d.Bytes()
}

func (d *drawing) line(format string, args ...any) {
	fmt.Fprintf(d, format, args...)
	d.WriteByte('\n')
}

func (d *drawing) text(x, y float64, anchor, class, text string) {
	if class != "" {
		class = ` class="` + class + `"`
	}
	d.line(`<text x="%s" y="%s" text-anchor="%s"%s>%s</text>`, px(x), px(y), anchor, class, html.EscapeString(text))
}

// px formats a coordinate to a tenth of a pixel.
func px(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// at returns the place of a point in the picture.
func (d *drawing) at(p Point) (x, y float64, ok bool) {
	x, okX := d.x.place(p.X)
	y, okY := d.y.place(p.Y)
	return left + x, height - bottom - y, okX && okY
}

func (d *drawing) axes() {
	const bottomY, rightX = height - bottom, width - right
	for _, v := range d.x.ticks() {
		x := left + d.x.clamp(v)
		d.line(`<path class="grid" d="M%s %dV%d"/>`, px(x), top, bottomY)
		d.text(x, bottomY+20, "middle", "", d.x.label(v))
	}
	for _, v := range d.y.ticks() {
		y := bottomY - d.y.clamp(v)
		d.line(`<path class="grid" d="M%d %sH%d"/>`, left, px(y), rightX)
		d.text(left-8, y+4, "end", "", d.y.label(v))
	}
	d.line(`<path class="axis" d="M%d %dV%dH%d"/>`, left, top, bottomY, rightX)
	d.text((left+rightX)/2, height-12, "middle", "", d.x.Label)
	d.line(`<g transform="rotate(-90 18 %d)">`, (top+bottomY)/2)
	d.text(18, (top+bottomY)/2, "middle", "", d.y.Label)
	d.line("</g>")
}

func (d *drawing) series(s *Series) {
	d.ranges(s)
	var path strings.Builder
	pen := "M"
	for _, p := range s.Points {
		x, y, ok := d.at(p)
		if !ok {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%s %s", pen, px(x), px(y))
		pen = "L"
	}
	if !s.NoLine && path.Len() > 0 {
		d.line(`<path class="line" stroke="%s"%s d="%s"/>`, s.Colour, s.dashes(), path.String())
	}
	for _, p := range s.Points {
		if x, y, ok := d.at(p); ok && !s.NoMarks {
			d.marker(s, x, y)
		}
	}
}

func (d *drawing) ranges(s *Series) {
	for _, p := range s.Points {
		x, _, ok := d.at(p)
		if !ok || p.High <= p.Low {
			continue
		}
		low, high := d.y.clamp(p.Low), d.y.clamp(p.High)
		d.line(`<path class="range" stroke="%s" d="M%s %sV%s"/>`, s.Colour, px(x), px(height-bottom-low), px(height-bottom-high))
	}
}

func (s *Series) dashes() string {
	if s.Hollow {
		return ` stroke-dasharray="3 4"`
	}
	return ""
}

// marker draws the shape of a series' points.
func (d *drawing) marker(s *Series, x, y float64) {
	fill := s.Colour.String()
	if s.Hollow {
		fill = "none"
	}
	paint := fmt.Sprintf(`fill="%s" stroke="%s" stroke-width="1.6"`, fill, s.Colour)
	const r = markerSize
	switch s.Marker {
	case Square:
		d.line(`<rect x="%s" y="%s" width="%s" height="%s" %s/>`, px(x-r), px(y-r), px(2*r), px(2*r), paint)
	case Triangle:
		d.line(`<path d="M%s %sl%s %sh%sz" %s/>`, px(x), px(y-1.2*r), px(1.2*r), px(2.2*r), px(-2.4*r), paint)
	case Diamond:
		d.line(`<path d="M%s %sl%s %sl%s %sl%s %sz" %s/>`, px(x), px(y-1.3*r), px(1.3*r), px(1.3*r), px(-1.3*r), px(1.3*r), px(-1.3*r), px(-1.3*r), paint)
	default:
		d.line(`<circle cx="%s" cy="%s" r="%s" %s/>`, px(x), px(y), px(r), paint)
	}
}

func (d *drawing) legend(list []Series) {
	x := float64(width - right + 18)
	for i := range list {
		s, y := &list[i], float64(top+8+i*lineHeight)
		if !s.NoLine {
			d.line(`<path class="line" stroke="%s"%s d="M%s %sh24"/>`, s.Colour, s.dashes(), px(x), px(y))
		}
		if !s.NoMarks {
			d.marker(s, x+12, y)
		}
		d.text(x+32, y+4, "start", "", s.Name)
	}
}

// String returns the colour as SVG writes it.
func (c Colour) String() string {
	return colours[uint(c)%uint(len(colours))]
}
