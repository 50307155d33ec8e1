package distributor

import (
	"cmp"
	"crypto/tls"
	"errors"
	"time"

	"github.com/go-kit/log"
	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/imap/clientid"
)

// Options say what a Server serves and with what. Greeting, Capabilities,
// Limits, Throttle, Logger and Metrics have defaults.
type Options struct {
	// Greeting is the text of the first line that a client sees.
	Greeting string
	// Capabilities are those before login on a connection with TLS; without
	// TLS, STARTTLS and LOGINDISABLED stand in the place of AUTH=PLAIN and SASL-IR.
	Capabilities []string
	// Quirks hide some of them from certain clients, once they have told by ID what
	// they are.
	Quirks clientid.Quirks
	// TLS is for clients.
	TLS *tls.Config
	// Auth verifies passwords.
	Auth auth.Authenticator
	// Throttle delays guesses; nil: one with default numbers.
	Throttle *auth.Throttle
	// Route returns the user's replicas in the order in which they are tried;
	// none: nobody keeps that user. It may be called concurrently.
	Route func(userID uint32) []Replica
	// RouteIn returns those of a subnet, for users whose account was moved there.
	// nil: there are none.
	RouteIn func(subnet string) []Replica
	// Replicas are those that connections are kept to from the start. Others that
	// Route names get theirs with the first login.
	Replicas []Replica
	// DialTLS returns the configuration for connections to a replica, which is to
	// make sure that it is that one.
	DialTLS func(Replica) *tls.Config
	Limits  Limits
	Logger  log.Logger
	Metrics *Metrics

	// Other than the constants of these names, for tests.
	restAfter, farewellEvery time.Duration
}

// Replica is a node that can run sessions.
type Replica struct {
	Name string
	Addr string // host:port where it opens sessions
}

// Limits protect a Server. The zero value of each field stands for its default.
type Limits struct {
	MaxConnections        int           // of clients; default 100,000
	MaxConnectionsPerUser int           // sessions of one user; default 50
	MaxAuthFailures       int           // until BYE; default 3
	MaxBadCommands        int           // before login, until BYE; default 10
	HandshakeTimeout      time.Duration // for TLS; default 15 s
	LoginTimeout          time.Duration // from connecting to being logged in; default 1 min
	WriteTimeout          time.Duration // for the next 31 KiB to be taken by the client; default 3 min
	OpenTimeout           time.Duration // for a replica to open a session; default 4 s
	LoginWait             time.Duration // for some replica to be there, when none can open the session of a login; default 2 s, at most half of LoginTimeout
	ResumeWait            time.Duration // for a replica to get what a session has seen that moves to it; default 2 s
	MoveTimeout           time.Duration // until a session whose node is lost ends, if none takes it over; default 15 s
	HomeDelay             time.Duration // that a preferred replica is well before sessions go back to it; default 3 s
}

func (l Limits) withDefaults() Limits {
	number := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	duration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	number(&l.MaxConnections, 100000)
	number(&l.MaxConnectionsPerUser, 50)
	number(&l.MaxAuthFailures, 3)
	number(&l.MaxBadCommands, 10)
	duration(&l.HandshakeTimeout, 15*time.Second)
	duration(&l.LoginTimeout, time.Minute)
	duration(&l.WriteTimeout, 3*time.Minute)
	duration(&l.OpenTimeout, 4*time.Second)
	duration(&l.LoginWait, 2*time.Second)
	duration(&l.ResumeWait, 2*time.Second)
	duration(&l.MoveTimeout, 15*time.Second)
	duration(&l.HomeDelay, 3*time.Second)
	l.LoginWait = min(l.LoginWait, l.LoginTimeout/2) // so that its client can be told
	l.OpenTimeout = max(l.OpenTimeout, l.ResumeWait+time.Second)
	return l
}

// homeWait is how long a session that is well where it is waits for a replica to
// have what it has seen: it can be moved later.
func (l Limits) homeWait() time.Duration { return min(l.ResumeWait, 200*time.Millisecond) }

// DefaultCapabilities are what the pre-authentication machine can do.
var DefaultCapabilities = []string{"IMAP4rev1", "IMAP4rev2", "SASL-IR", "LITERAL+", "ID", "ENABLE", "AUTH=PLAIN"}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.TLS == nil:
		return o, errors.New("distributor: no TLS configuration for clients")
	case o.Auth == nil:
		return o, errors.New("distributor: no authenticator")
	case o.Route == nil:
		return o, errors.New("distributor: no routes")
	case o.DialTLS == nil:
		return o, errors.New("distributor: no TLS configuration for replicas")
	}
	if o.Greeting == "" {
		o.Greeting = "Pluto ready."
	}
	if len(o.Capabilities) == 0 {
		o.Capabilities = DefaultCapabilities
	}
	if o.Throttle == nil {
		o.Throttle = auth.NewThrottle(auth.ThrottleOptions{})
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	o.restAfter = cmp.Or(o.restAfter, restAfter)
	o.farewellEvery = cmp.Or(o.farewellEvery, farewellEvery)
	o.Limits = o.Limits.withDefaults()
	return o, nil
}
