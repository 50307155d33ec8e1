package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Authenticator verifies credentials. Implementations are safe for concurrent
// use and return early when the context ends.
type Authenticator interface {
	// Authenticate returns the user's ID, never 0, and the login as it is
	// stored. The error is [ErrCredentials] or wraps [ErrUnavailable].
	Authenticate(ctx context.Context, login, password string) (userID uint32, canonicalLogin string, err error)
}

var (
	// ErrCredentials says that there is no such user or that the password is
	// wrong; not which.
	ErrCredentials = errors.New("wrong login or password")
	// ErrUnavailable says that it could not be found out.
	ErrUnavailable = errors.New("authentication is not available")
)

// unavailable wraps err so that it is an ErrUnavailable.
func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}

// Limits of what a client may send. RFC 4616 recommends no more than 255 octets
// for each; nobody's password is longer than what is allowed here.
const (
	maxLogin    = 255
	maxPassword = 1024
)

// plausible reports whether somebody could have that login and password, so
// that nothing else reaches a database.
func plausible(login, password string) bool {
	return validLogin(login) && password != "" && len(password) <= maxPassword
}

// validLogin reports whether a user may have this login.
func validLogin(s string) bool {
	if s == "" || len(s) > maxLogin || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return false
		}
	}
	return true
}

// verifier verifies passwords, a limited number at a time, and spends the same
// work on users that do not exist.
type verifier struct {
	slots chan struct{}
	decoy atomic.Pointer[Hash] // of the format that was verified last
}

func newVerifier() *verifier {
	v := &verifier{slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	decoy := defaultDecoy()
	v.decoy.Store(&decoy)
	return v
}

// verify reports whether password fits hash; a nil hash stands for a user that
// does not exist.
func (v *verifier) verify(ctx context.Context, hash *Hash, password string) error {
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return unavailable("wait for a processor", context.Cause(ctx))
	}
	if hash == nil {
		v.decoy.Load().Verify(password)
		return ErrCredentials
	}
	v.imitate(*hash)
	if !hash.Verify(password) {
		return ErrCredentials
	}
	return nil
}

// imitate makes the decoy one of the given format.
func (v *verifier) imitate(h Hash) {
	if v.decoy.Load().cost() != h.cost() {
		decoy := h.decoy()
		v.decoy.Store(&decoy)
	}
}

// Metrics counts authentications.
type Metrics struct {
	results *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewMetrics registers the metrics with reg, which may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pluto_auth_total",
			Help: "Authentications by result: ok, failed, unavailable.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pluto_auth_seconds",
			Help:    "Time to verify a login and its password.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
	}
	for _, r := range []string{"ok", "failed", "unavailable"} {
		m.results.WithLabelValues(r)
	}
	if reg != nil {
		reg.MustRegister(m.results, m.seconds)
	}
	return m
}

// Measured returns a that also counts in m.
func Measured(a Authenticator, m *Metrics) Authenticator { return measured{a, m} }

type measured struct {
	Authenticator
	metrics *Metrics
}

func (a measured) Authenticate(ctx context.Context, login, password string) (uint32, string, error) {
	start := time.Now()
	id, name, err := a.Authenticator.Authenticate(ctx, login, password)
	a.metrics.seconds.Observe(time.Since(start).Seconds())
	result := "ok"
	switch {
	case errors.Is(err, ErrCredentials):
		result = "failed"
	case err != nil:
		result = "unavailable"
	}
	a.metrics.results.WithLabelValues(result).Inc()
	return id, name, err
}
