package distributor

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what a Server counts. See the help texts for their meaning.
type Metrics struct {
	connections prometheus.Gauge
	accepted    *prometheus.CounterVec
	rejected    *prometheus.CounterVec
	sessions    prometheus.Gauge
	logins      *prometheus.CounterVec
	opens       *prometheus.CounterVec
	failovers   *prometheus.CounterVec
	lost        *prometheus.CounterVec
	moves       *prometheus.CounterVec
	moveSeconds *prometheus.HistogramVec
	replayed    prometheus.Counter
	up          *prometheus.GaugeVec
	well        *prometheus.GaugeVec
	at          *prometheus.GaugeVec
	bytes       *prometheus.CounterVec
	fromClients prometheus.Counter
	toClients   prometheus.Counter
}

// Reasons for which a login did not become a session, and loginOK.
const (
	loginOK           = "ok"
	loginCredentials  = "credentials"
	loginMalformed    = "malformed"
	loginThrottled    = "throttled"
	loginAuthDown     = "auth_unavailable"
	loginLimit        = "user_limit"
	loginContactAdmin = "contact_admin"
	loginNoReplica    = "no_replica"
)

// NewMetrics registers the metrics with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pluto_distributor_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "pluto_distributor_" + name, Help: help})
	}
	m := &Metrics{
		connections: gauge("connections", "Open connections of clients."),
		accepted:    counters("accepted_total", "Accepted connections by listener: tls, starttls.", "listener"),
		rejected:    counters("rejected_total", "Connections closed before login by reason: limit, handshake, timeout, bad_commands, auth_failures.", "reason"),
		sessions:    gauge("sessions", "Sessions of logged-in clients."),
		logins: counters("logins_total", "Logins by result: ok, credentials, malformed, throttled, auth_unavailable, user_limit, "+
			"contact_admin (the account belongs to another login name: look into it), no_replica.", "result"),
		opens:     counters("opens_total", "Sessions opened on a replica by result: ok, refused, failed.", "replica", "result"),
		failovers: counters("failovers_total", "Logins that another replica than the first served.", "replica"),
		lost:      counters("lost_total", "Sessions that ended because their replica was lost and none could go on with them.", "replica"),
		moves: counters("moves_total", "Sessions that went on at another replica, or again at theirs, by reason: died, silent, "+
			"drained, home.", "reason", "to"),
		moveSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pluto_distributor_move_seconds", Help: "Time from the loss of a replica, or from the wish to move, until another one has a session.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"reason"}),
		replayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_distributor_replayed_bytes_total", Help: "Bytes of clients that were sent to a second replica.",
		}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pluto_distributor_replica_up", Help: "Whether the replica can be reached: 1 or 0.",
		}, []string{"replica"}),
		well: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pluto_distributor_replica_well", Help: "Whether the replica answers and is not draining: 1 or 0.",
		}, []string{"replica"}),
		at: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pluto_distributor_replica_sessions", Help: "Sessions of logged-in clients that the replica runs.",
		}, []string{"replica"}),
		bytes: counters("bytes_total", "Bytes of sessions by direction: from_client, to_client.", "direction"),
	}
	m.fromClients, m.toClients = m.bytes.WithLabelValues("from_client"), m.bytes.WithLabelValues("to_client")
	for _, result := range []string{loginOK, loginCredentials, loginMalformed, loginThrottled, loginAuthDown, loginLimit,
		loginContactAdmin, loginNoReplica} {
		m.logins.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(m.connections, m.accepted, m.rejected, m.sessions, m.logins, m.opens, m.failovers, m.lost, m.moves, m.moveSeconds, m.replayed, m.up, m.well, m.at, m.bytes)
	}
	return m
}
