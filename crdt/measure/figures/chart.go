package figures

import (
	"fmt"
	"time"

	"github.com/go-pluto/pluto/crdt/measure"
	"github.com/go-pluto/pluto/internal/plot"
)

// look gives each number of replicas its colour and marker.
func look(n int) plot.Series {
	s := plot.Series{Name: fmt.Sprintf("n = %d", n)}
	switch n {
	case 2:
		s.Colour, s.Marker = plot.Blue, plot.Circle
	case 3:
		s.Colour, s.Marker = plot.Orange, plot.Square
	default:
		s.Colour, s.Marker = plot.Green, plot.Triangle
	}
	return s
}

func loadAxis() plot.Axis {
	return plot.Axis{Label: "λ·RTT: messages per round trip and replica", Log: true, From: 0.008, To: 13, Ticks: []float64{0.01, 0.1, 1, 10}}
}

// point is a spread at a place.
func point(x float64, s spread) plot.Point {
	return plot.Point{X: x, Y: s.median, Low: s.low, High: s.high}
}

// overLoad draws one figure of steady load, and what the design says of it.
func overLoad(s *study, title string, y plot.Axis, figure func(o *outcome) spread, design func(p promised) string) plot.Chart {
	c := plot.Chart{Title: title, X: loadAxis(), Y: y}
	for _, n := range groups() {
		line := look(n)
		for _, x := range allLoads() {
			o := s.of(s.steady(x, n))
			line.Points = append(line.Points, point(x, figure(&o)))
		}
		c.Series = append(c.Series, line)
	}
	if design == nil {
		return c
	}
	for _, n := range groups() {
		marks := look(n)
		marks.Name += ", design"
		marks.Hollow, marks.NoLine = true, true
		for _, x := range loads() {
			if y, ok := parse(design(designSteady()[place{x, n}])); ok {
				marks.Points = append(marks.Points, plot.Point{X: x, Y: y})
			}
		}
		c.Series = append(c.Series, marks)
	}
	return c
}

// parse reads a figure of the design.
func parse(s string) (v float64, ok bool) {
	n, err := fmt.Sscan(s, &v)
	return v, n == 1 && err == nil
}

func reissueChart(s *study) plot.Chart {
	return overLoad(s, "Re-issues per message, a client at every replica", plot.Axis{Label: "re-issues per message", Log: true, From: 0.001, To: 2},
		func(o *outcome) spread { return o.reissues }, func(p promised) string { return p.reissues })
}

func downloadChart(s *study) plot.Chart {
	return overLoad(s, "Messages downloaded again, a client at every replica", plot.Axis{Label: "per message and client", To: 0.5},
		func(o *outcome) spread { return o.idle }, func(p promised) string { return p.again })
}

func spanChart(s *study) plot.Chart {
	return overLoad(s, "UIDs used per message, a client at every replica", plot.Axis{Label: "largest UID / messages", To: 250},
		func(o *outcome) spread { return o.span }, nil)
}

func agreeChart(s *study) plot.Chart {
	c := overLoad(s, "Time until all replicas agree on a message's UID", plot.Axis{Label: "milliseconds", To: 400},
		func(o *outcome) spread { return o.most.over(0.001) }, nil)
	for i, n := range groups() {
		line := look(n)
		line.Name = fmt.Sprintf("n = %d, half", n)
		line.Hollow = true
		for _, x := range allLoads() {
			o := s.of(s.steady(x, n))
			line.Points = append(line.Points, point(x, o.median.over(0.001)))
		}
		c.Series[i].Name += ", 99 %"
		c.Series = append(c.Series, line)
	}
	return c
}

// cutChart draws a figure against the length of the cut.
func cutChart(s *study) plot.Chart {
	c := plot.Chart{
		Title: "After a cut: re-issues and re-downloads, a client at every replica",
		X: plot.Axis{Label: "length of the cut (one message per second and replica)", Log: true, From: 0.8, To: 400,
			Ticks: cutTicks(s.scale.Cuts), Format: func(v float64) string { return fmt.Sprintf("%g s", v) }},
		Y: plot.Axis{Label: "per message (re-downloads: and client)", To: 1.4},
	}
	for _, again := range []bool{false, true} {
		for _, n := range groups() {
			line := look(n)
			line.Name += ", re-issues"
			if again {
				line.Name = look(n).Name + ", downloads"
			}
			line.Hollow = again
			for _, length := range s.scale.Cuts {
				o := s.of(s.cut(length, n))
				figure := o.reissues
				if again {
					figure = o.idle
				}
				line.Points = append(line.Points, point(length.Seconds(), figure))
			}
			c.Series = append(c.Series, line)
		}
	}
	return c
}

func cutTicks(cuts []time.Duration) []float64 {
	var out []float64
	for _, c := range cuts {
		out = append(out, c.Seconds())
	}
	return out
}

// naiveChart draws how re-issues grow after a cut when everybody re-issues.
func naiveChart(s *study) plot.Chart {
	c := plot.Chart{
		Title: "Why not everybody re-issues: re-issues per message after a cut",
		X:     plot.Axis{Label: "seconds since the end of the cut", To: s.scale.Watch.Seconds()},
		Y:     plot.Axis{Label: "re-issues per message so far", Log: true, From: 0.3, To: 300},
	}
	for _, k := range []struct {
		name string
		rule measure.Rule
	}{{", everybody", measure.ByEverybody}, {", pluto", measure.ByLeader}} {
		for _, n := range groups() {
			line := look(n)
			line.Name += k.name
			line.NoMarks = k.rule == measure.ByEverybody
			line.Hollow = !line.NoMarks
			line.Points = s.growth(s.of(s.futile(n, k.rule, true)).timeline)
			c.Series = append(c.Series, line)
		}
	}
	return c
}

// growth makes points of a timeline: from the end of the cut to the end of the watch.
func (s *study) growth(timeline []float64) []plot.Point {
	var out []plot.Point
	from := int(s.scale.Futile / measure.Interval)
	for i := range int(s.scale.Watch / measure.Interval) {
		if len(timeline) == 0 {
			break
		}
		at := time.Duration(i+1) * measure.Interval
		out = append(out, plot.Point{X: at.Seconds(), Y: timeline[min(from+i, len(timeline)-1)]})
	}
	return out
}
