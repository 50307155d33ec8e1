package mailstore

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the figures of the stores of one process.
type Metrics struct {
	commit           prometheus.Histogram
	sync             prometheus.Histogram
	batch            prometheus.Histogram
	keys             prometheus.Histogram
	operations       *prometheus.CounterVec
	replays          *prometheus.CounterVec
	recovered        *prometheus.CounterVec
	accounts         prometheus.Gauge
	mailboxes        prometheus.Gauge
	quarantined      prometheus.Gauge
	undecodable      prometheus.Counter
	backgroundErrors prometheus.Counter
	corruptions      prometheus.Counter
	failed           prometheus.Gauge
	deleted          prometheus.Counter
	logBytes         *prometheus.GaugeVec
}

// NewMetrics makes the figures and registers them with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pluto_commit_seconds", Help: "Time from a change to the moment its OK may be given.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18),
		}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pluto_commit_sync_seconds", Help: "Time that a commit waited for the disk.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18),
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pluto_commit_bytes", Help: "Size of a commit's batch.",
			Buckets: prometheus.ExponentialBuckets(256, 4, 10),
		}),
		keys: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pluto_commit_keys", Help: "Keys that a commit's batch writes.",
			Buckets: prometheus.ExponentialBuckets(4, 4, 8),
		}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pluto_operations_total", Help: "Operations applied, own and received.",
		}, []string{"from"}),
		replays: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pluto_replayed_changes_total",
			Help: "Changes that a session which had moved asked for again: done (known from before, only answered), executed.",
		}, []string{"result"}),
		recovered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pluto_recovered_changes_total",
			Help: "Changes of evicted members that nobody else had and that plutoctl member recover has done again: messages added, moved, removed, flags, mailboxes, settings.",
		}, []string{"what"}),
		accounts: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pluto_accounts_in_memory", Help: "Accounts held in memory.",
		}),
		mailboxes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pluto_mailboxes_open", Help: "Mailboxes that some session has selected.",
		}),
		quarantined: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pluto_accounts_quarantined", Help: "Accounts not served here because an operation could not be applied.",
		}),
		logBytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pluto_log_bytes", Help: "Size of the log of operations that some member may still need.",
		}, []string{"subnet"}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_operations_undecodable_total", Help: "Operations received whose header could not be read.",
		}),
		backgroundErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_store_background_errors_total", Help: "Failed background work of the database.",
		}),
		corruptions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_store_corruptions_total", Help: "Reads that met a block with a wrong checksum.",
		}),
		failed: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pluto_store_failed", Help: "1 after the disk failed and until the restart.",
		}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pluto_contents_deleted_total", Help: "Contents of messages deleted because nothing refers to them any more.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.commit, m.sync, m.batch, m.keys, m.operations, m.replays, m.recovered, m.accounts, m.mailboxes,
			m.quarantined, m.undecodable, m.backgroundErrors, m.corruptions, m.failed, m.deleted, m.logBytes)
	}
	return m
}
