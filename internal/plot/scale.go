package plot

import (
	"math"
	"strconv"
)

// scale maps an axis to a length in pixels.
type scale struct {
	Axis
	length float64
}

// place returns where v is, and whether that is on the axis.
func (s *scale) place(v float64) (float64, bool) {
	part := 0.0
	switch {
	case s.Log && v <= 0:
		return 0, false
	case s.Log:
		part = math.Log(v/s.From) / math.Log(s.To/s.From)
	default:
		part = (v - s.From) / (s.To - s.From)
	}
	const rounding = 1e-9
	return part * s.length, part >= -rounding && part <= 1+rounding
}

// clamp returns where v, or the end of the axis next to it, is.
func (s *scale) clamp(v float64) float64 {
	at, _ := s.place(max(s.From, min(s.To, v)))
	return at
}

// ticks returns the values that have labels.
func (s *scale) ticks() []float64 {
	if s.Ticks != nil {
		return s.Ticks
	}
	if s.Log {
		return decades(s.From, s.To)
	}
	step := niceStep((s.To - s.From) / 5)
	var out []float64
	for i := int(math.Ceil(s.From/step - 1e-9)); float64(i)*step <= s.To*(1+1e-9); i++ {
		out = append(out, float64(i)*step)
	}
	return out
}

// decades returns the powers of ten from a to b.
func decades(a, b float64) []float64 {
	var out []float64
	for e := math.Ceil(math.Log10(a) - 1e-9); e <= math.Log10(b)+1e-9; e++ {
		out = append(out, math.Pow(10, e))
	}
	return out
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
func niceStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// label returns how a value reads at the axis.
func (s *scale) label(v float64) string {
	if s.Format != nil {
		return s.Format(v)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}
