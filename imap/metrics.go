package imap

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what all sessions of a node do. Safe for concurrent use.
type Metrics struct {
	sessions prometheus.Gauge
	panics   prometheus.Counter
	commands map[string]*commandMetrics // by name; never changed after NewMetrics
}

// commandMetrics are the counters of one command.
type commandMetrics struct {
	results [results]prometheus.Counter
	seconds prometheus.Observer
}

// otherCommand is the label of everything that is no command, so that clients
// cannot invent labels.
const otherCommand = "other"

// NewMetrics makes the metrics and registers them with r, which may be nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "pluto", Subsystem: "imap", Name: "sessions",
			Help: "IMAP sessions that this node runs.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "pluto", Subsystem: "imap", Name: "session_panics_total",
			Help: "Sessions that were ended by a fault of the program.",
		}),
		commands: make(map[string]*commandMetrics),
	}
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "pluto", Subsystem: "imap", Name: "commands_total",
		Help: "IMAP commands by name and result (ok, no, bad, fault, ended).",
	}, []string{"command", "result"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "pluto", Subsystem: "imap", Name: "command_seconds",
		Help:    "Time from the first line of a command to its tagged answer (IDLE not included).",
		Buckets: prometheus.ExponentialBuckets(0.00005, 2.5, 14),
	}, []string{"command"})
	if r != nil {
		r.MustRegister(m.sessions, m.panics, counter, seconds)
	}
	for name := range commands {
		m.add(name, counter, seconds)
	}
	for name := range uidCommands {
		m.add(name, counter, seconds)
	}
	m.add(otherCommand, counter, seconds)
	return m
}

func (m *Metrics) add(name string, counter *prometheus.CounterVec, seconds *prometheus.HistogramVec) {
	c := &commandMetrics{seconds: seconds.WithLabelValues(name)}
	for r := range c.results {
		c.results[r] = counter.WithLabelValues(name, result(r).String())
	}
	m.commands[name] = c
}

// observe counts a command that is done.
func (m *Metrics) observe(name string, r result, took time.Duration) {
	c := m.commands[name]
	if c == nil {
		c = m.commands[otherCommand]
	}
	c.results[r].Inc()
	if name != "IDLE" {
		c.seconds.Observe(took.Seconds())
	}
}
