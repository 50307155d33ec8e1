package textindex

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of an index.
type Metrics struct {
	damages prometheus.Counter
}

// NewMetrics makes the figures and registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		damages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_textindex_damages_total", Help: "How often the text index was found damaged and is made anew.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.damages)
	}
	return m
}
