package crypto

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-pluto/pluto/internal/stamp"
)

// maxPEM limits what is read as a certificate or a key.
const maxPEM = 1 << 20

// KeyPair is a certificate with its key that follows its files: when they
// change, [KeyPair.Get] returns what is in them. A new pair that cannot be used
// is logged, once, and the old one stays. Its methods may be called
// concurrently.
type KeyPair struct {
	now     atomic.Pointer[tls.Certificate]
	logger  log.Logger
	metrics *Metrics
	use     string
	accept  func(*x509.Certificate) error // nil: any

	mu                sync.Mutex // held while looking at the files
	cert, key         *stamp.File
	certText, keyText []byte
	dirty             bool   // the texts have not been tried since they changed
	complaint         string // what was logged last, so that it is once
}

// LoadKeyPair reads a certificate and its key. use names the pair in logs and
// metrics, as in "public". metrics may be nil.
func LoadKeyPair(certLoc, keyLoc, use string, logger log.Logger, metrics *Metrics) (*KeyPair, error) {
	return loadKeyPair(certLoc, keyLoc, use, nil, logger, metrics)
}

// loadKeyPair is LoadKeyPair for certificates that accept bears.
func loadKeyPair(certLoc, keyLoc, use string, accept func(*x509.Certificate) error, logger log.Logger, metrics *Metrics) (*KeyPair, error) {
	k := &KeyPair{
		logger:  log.With(logger, "certificate", certLoc, "use", use),
		metrics: metrics,
		use:     use,
		accept:  accept,
		cert:    stamp.New(certLoc, maxPEM),
		key:     stamp.New(keyLoc, maxPEM),
	}
	if _, err := k.reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Get returns the current pair, after a look at the files. It never waits for
// another caller that is looking.
func (k *KeyPair) Get() *tls.Certificate {
	if !k.mu.TryLock() {
		return k.now.Load()
	}
	defer k.mu.Unlock()
	changed, err := k.reload()
	switch {
	case err == nil:
		k.complaint = ""
	case err.Error() != k.complaint:
		k.complaint = err.Error()
		k.metrics.reloadFailed(k.use)
		level.Error(k.logger).Log("msg", "changed certificate cannot be used, keeping the old one", "err", err)
	}
	if changed {
		level.Info(k.logger).Log("msg", "certificate changed", "not_after", k.now.Load().Leaf.NotAfter.Format(time.RFC3339))
	}
	return k.now.Load()
}

// reload takes up what is in the files and reports whether that is new.
func (k *KeyPair) reload() (bool, error) {
	certText, certChanged, err := k.cert.Changed()
	if err != nil {
		return false, fmt.Errorf("read the %s certificate: %w", k.use, err)
	}
	if certChanged {
		k.certText, k.dirty = certText, true
	}
	keyText, keyChanged, err := k.key.Changed()
	if err != nil {
		return false, fmt.Errorf("read the key of the %s certificate: %w", k.use, err)
	}
	if keyChanged {
		k.keyText, k.dirty = keyText, true
	}
	if !k.dirty {
		return false, nil
	}
	k.dirty = false
	pair, err := tls.X509KeyPair(k.certText, k.keyText)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w", k.cert.Path(), k.key.Path(), err)
	}
	if k.accept != nil {
		if err := k.accept(pair.Leaf); err != nil {
			return false, fmt.Errorf("certificate %s: %w", k.cert.Path(), err)
		}
	}
	k.now.Store(&pair)
	k.metrics.loaded(k.use, pair.Leaf.NotAfter)
	return true, nil
}

// Metrics tells about certificates. A nil *Metrics does nothing.
type Metrics struct {
	notAfter *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		notAfter: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "pluto_certificate_not_after_seconds",
			Help: "Unix time at which the certificate in use ends.",
		}, []string{"use"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pluto_certificate_reload_failures_total",
			Help: "Changed certificates that could not be used, so that the old one stayed.",
		}, []string{"use"}),
	}
	if reg != nil {
		reg.MustRegister(m.notAfter, m.failures)
	}
	return m
}

func (m *Metrics) loaded(use string, notAfter time.Time) {
	if m == nil {
		return
	}
	m.notAfter.WithLabelValues(use).Set(float64(notAfter.Unix()))
	m.failures.WithLabelValues(use) // so that it is there with 0
}

func (m *Metrics) reloadFailed(use string) {
	if m != nil {
		m.failures.WithLabelValues(use).Inc()
	}
}
