package comm

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the counters of replication, shared by all groups of a process.
type Metrics struct {
	lagSeconds    *prometheus.GaugeVec
	lagOperations *prometheus.GaugeVec
	connected     *prometheus.GaugeVec
	sentOps       *prometheus.CounterVec
	sentBytes     *prometheus.CounterVec
	receivedOps   *prometheus.CounterVec
	receivedBytes *prometheus.CounterVec
	reconnects    *prometheus.CounterVec
	appliedOps    *prometheus.CounterVec
	applyErrors   *prometheus.CounterVec
	batchSize     *prometheus.HistogramVec
	queueOps      *prometheus.GaugeVec
	queueBytes    *prometheus.GaugeVec
	shortfalls    *prometheus.CounterVec
	ackWait       *prometheus.HistogramVec
	aheadWait     *prometheus.HistogramVec
	missingBodies *prometheus.CounterVec
	pulledBodies  *prometheus.CounterVec
	fenced        *prometheus.GaugeVec
	isolated      *prometheus.GaugeVec
	givenBytes    *prometheus.CounterVec
	loadedBytes   *prometheus.CounterVec
	loadFailures  *prometheus.CounterVec
	loadAccounts  *prometheus.GaugeVec
	loadLeft      *prometheus.GaugeVec
	loadMissing   *prometheus.GaugeVec
}

// NewMetrics makes the counters and registers them with r, unless that is nil.
func NewMetrics(r prometheus.Registerer) *Metrics {
	peer, subnet := []string{"subnet", "peer"}, []string{"subnet"}
	gauge := func(name, help string, labels []string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		lagSeconds:    gauge("pluto_replication_lag_seconds", "Age of the oldest own operation that the peer has not acknowledged.", peer),
		lagOperations: gauge("pluto_replication_lag_operations", "Own operations that the peer has not acknowledged.", peer),
		connected:     gauge("pluto_replication_connected", "Whether the stream to the peer is up.", peer),
		sentOps:       counter("pluto_replication_sent_operations_total", "Operations sent to the peer.", peer),
		sentBytes:     counter("pluto_replication_sent_bytes_total", "Bytes of operations and bodies sent to the peer, as they are on the line.", peer),
		receivedOps:   counter("pluto_replication_received_operations_total", "Operations received from the peer, repeated ones too.", peer),
		receivedBytes: counter("pluto_replication_received_bytes_total", "Bytes of operations and bodies received from the peer, as they were on the line.", peer),
		reconnects:    counter("pluto_replication_reconnects_total", "Attempts to connect to the peer after the first one.", peer),
		appliedOps:    counter("pluto_replication_applied_operations_total", "Operations of peers applied.", subnet),
		applyErrors:   counter("pluto_replication_apply_errors_total", "Failed attempts to apply operations of peers.", subnet),
		batchSize: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pluto_replication_batch_operations", Help: "Operations applied with one disk sync.",
			Buckets: prometheus.ExponentialBuckets(1, 4, 6),
		}, subnet),
		queueOps:   gauge("pluto_replication_queue_operations", "Operations that were received and wait for others.", subnet),
		queueBytes: gauge("pluto_replication_queue_bytes", "Bytes of operations that were received and are not durable yet.", subnet),
		shortfalls: counter("pluto_ack_shortfalls_total", "Changes that fewer peers than AckPeers had on disk when their wait ended.", subnet),
		ackWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pluto_ack_wait_seconds", Help: "How long changes waited for acknowledgements of peers.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1},
		}, subnet),
		aheadWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pluto_replication_ahead_wait_seconds", Help: "How long large messages waited for their content to get to peers.",
			Buckets: prometheus.ExponentialBuckets(.01, 4, 8),
		}, subnet),
		missingBodies: counter("pluto_replication_missing_bodies_total", "Bodies that were to be sent and are not on this disk.", peer),
		pulledBodies:  counter("pluto_replication_pulled_bodies_total", "Bodies that were missing on this disk and came from the peer.", peer),
		fenced:        gauge("pluto_replication_fenced", "1 when this replica found its data to be older than what peers know of it, or was evicted.", subnet),
		isolated:      gauge("pluto_replication_isolated", "1 when this replica takes no writes because it has met no peer for EvictAfter.", subnet),
		givenBytes:    counter("pluto_snapshot_given_bytes_total", "Bytes of accounts and contents sent to the peer, which was behind the log.", peer),
		loadedBytes:   counter("pluto_snapshot_loaded_bytes_total", "Bytes of accounts and contents that came from peers because this replica was behind their logs.", subnet),
		loadFailures:  counter("pluto_snapshot_load_failures_total", "Interruptions of loading accounts.", subnet),
		loadAccounts:  gauge("pluto_snapshot_load_accounts", "Accounts to be loaded; 0 when none are.", subnet),
		loadLeft:      gauge("pluto_snapshot_load_left_accounts", "Accounts of these that are not loaded yet.", subnet),
		loadMissing:   gauge("pluto_snapshot_missing_contents", "Contents that are referred to and not here, as far as is known.", subnet),
	}
	if r != nil {
		r.MustRegister(m.lagSeconds, m.lagOperations, m.connected, m.sentOps, m.sentBytes, m.receivedOps, m.receivedBytes,
			m.reconnects, m.appliedOps, m.applyErrors, m.batchSize, m.queueOps, m.queueBytes, m.shortfalls, m.ackWait, m.aheadWait,
			m.missingBodies, m.pulledBodies, m.fenced, m.isolated,
			m.givenBytes, m.loadedBytes, m.loadFailures, m.loadAccounts, m.loadLeft, m.loadMissing)
	}
	return m
}
