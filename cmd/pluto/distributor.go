package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/auth"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto"
	"github.com/go-pluto/pluto/distributor"
	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/go-pluto/pluto/telemetry"
)

// One who guesses passwords delays others behind the same address who have not
// logged in there before, as in a school or behind webmail: not by much.
const (
	maxAddressDelay = 4 * time.Second
	maxAddressQueue = 12 * time.Second
)

// startGrace is how long a distributor that has just started waits for its own
// workers before it calls itself ready with others alone: logins would go to
// storage for no reason.
const startGrace = 3 * time.Second

// edge is a running distributor with what it needs around it.
type edge struct {
	server    *distributor.Server
	backend   io.Closer // of the authenticator; may be nil
	telemetry *telemetry.Server
	logger    log.Logger
	started   time.Time
	own       map[string]bool // names of the region's workers
	serving   sync.WaitGroup
	failed    chan error
}

// checkServed refuses what a distributor's configuration may say and this version
// does not do.
func checkServed(cfg *config.Config) error {
	if d := cfg.Distributor; d != nil && d.ListenLMTPAddr != "" {
		return fmt.Errorf("%s: Distributor.ListenLMTPAddr = %q: this version takes no mail by LMTP; leave it empty", cfg.Path, d.ListenLMTPAddr)
	}
	return nil
}

// startDistributor runs the distributor of a configuration. It waits for no replica.
func startDistributor(_ context.Context, cfg *config.Config, logger log.Logger) (_ *edge, err error) {
	d := cfg.Distributor
	if d == nil {
		return nil, errors.New("the configuration has no section [Distributor]; write one or start another role")
	}
	e := &edge{failed: make(chan error, 1), started: time.Now(), own: map[string]bool{}}
	for _, w := range cfg.Workers {
		e.own[w.Name] = true
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop(context.Background()))
		}
	}()
	logger = log.With(logger, "node", d.Name)
	e.logger = logger
	registry := telemetry.NewRegistry()
	certs := crypto.NewMetrics(registry)
	identity, err := crypto.LoadNode(cfg.RootCertLoc, d.InternalCertLoc, d.InternalKeyLoc,
		crypto.Identity{Role: crypto.RoleDistributor, Name: d.Name}, logger, certs)
	if err != nil {
		return nil, err
	}
	public, err := crypto.LoadKeyPair(d.PublicCertLoc, d.PublicKeyLoc, "public", logger, certs)
	if err != nil {
		return nil, err
	}
	users, closer, err := openUsers(d, logger)
	if err != nil {
		return nil, err
	}
	e.backend = closer
	var quirks clientid.Quirks
	for _, h := range cfg.IMAP.HideCapabilities {
		quirks = append(quirks, clientid.Quirk{Client: h.Client, Hide: h.Capabilities})
	}
	e.server, err = distributor.New(distributor.Options{
		Greeting: cfg.IMAP.Greeting,
		Quirks:   quirks,
		TLS:      crypto.PublicTLS(public),
		Auth:     auth.Measured(users, auth.NewMetrics(registry)),
		Throttle: auth.NewThrottle(auth.ThrottleOptions{MaxAddress: maxAddressDelay, MaxQueue: maxAddressQueue}),
		Route:    func(user uint32) []distributor.Replica { return replicas(cfg.Replicas(user)) },
		RouteIn:  func(subnet string) []distributor.Replica { return replicas(cfg.ReplicasIn(subnet)) },
		Replicas: replicas(cfg.AllReplicas()),
		DialTLS: func(r distributor.Replica) *tls.Config {
			return identity.ClientTLS(r.Name, crypto.RoleWorker, crypto.RoleStorage)
		},
		Limits: distributor.Limits{
			MaxConnections:        d.Limits.MaxConnections,
			MaxConnectionsPerUser: d.Limits.MaxConnectionsPerUser,
			MaxAuthFailures:       d.Limits.MaxAuthFailures,
			LoginTimeout:          d.Limits.LoginTimeout,
			LoginWait:             d.Limits.LoginWait,
			ResumeWait:            d.Limits.ResumeWait,
			MoveTimeout:           d.Limits.MoveTimeout,
			HomeDelay:             d.Limits.HomeDelay,
		},
		Logger:  logger,
		Metrics: distributor.NewMetrics(registry),
	})
	if err != nil {
		return nil, err
	}
	if err := e.listen(d); err != nil {
		return nil, err
	}
	if e.telemetry, err = telemetry.Listen(d.PrometheusAddr, d.Name, registry, e.state); err != nil {
		return nil, err
	}
	level.Info(logger).Log("msg", "distributor is up", "tls", d.ListenMailAddr, "starttls", d.ListenStartTLSAddr)
	return e, nil
}

// openUsers opens the configured authentication adapter.
func openUsers(d *config.Distributor, logger log.Logger) (auth.Authenticator, io.Closer, error) {
	if d.AuthAdapter == config.AuthFile {
		f, err := auth.OpenFile(d.AuthFile.File, d.AuthFile.Separator, logger)
		return f, nil, err
	}
	p := d.AuthPostgres
	db, err := auth.OpenPostgres(auth.PostgresOptions{
		Host: p.IP, Port: p.Port, Database: p.Database,
		User: p.User, Password: p.Password, PasswordFile: p.PasswordFile,
		UseTLS: p.UseTLS, RootCertLoc: p.RootCertLoc,
		MaxConnections: p.MaxConnections, Timeout: p.Timeout, Logger: logger,
	})
	return db, db, err
}

func replicas(list []config.Replica) []distributor.Replica {
	out := make([]distributor.Replica, len(list))
	for i, r := range list {
		out[i] = distributor.Replica{Name: r.Name, Addr: r.Addr}
	}
	return out
}

// listen serves clients on the configured addresses.
func (e *edge) listen(d *config.Distributor) error {
	for _, at := range []struct {
		key, addr string
		serve     func(net.Listener) error
	}{
		{"ListenMailAddr", d.ListenMailAddr, e.server.Serve},
		{"ListenStartTLSAddr", d.ListenStartTLSAddr, e.server.ServeSTARTTLS},
	} {
		if at.addr == "" {
			continue
		}
		l, err := net.Listen("tcp", at.addr)
		if err != nil {
			return fmt.Errorf("listen at Distributor.%s = %q: %w", at.key, at.addr, err)
		}
		e.serving.Go(func() {
			if err := at.serve(l); !errors.Is(err, distributor.ErrShutdown) {
				select {
				case e.failed <- err:
				default: // one reason is enough
				}
			}
		})
	}
	return nil
}

// state is ready when some replica can be reached and, just after the start,
// all workers of the region.
func (e *edge) state() telemetry.State {
	var s telemetry.State
	reachable := 0
	for r, up := range e.server.Up() {
		if up {
			reachable++
			continue
		}
		if e.own[r.Name] && time.Since(e.started) < startGrace {
			s.NotReady = append(s.NotReady, fmt.Sprintf("%s at %s was not reached yet", r.Name, r.Addr))
		}
		s.Degraded = append(s.Degraded, fmt.Sprintf("%s at %s cannot be reached", r.Name, r.Addr))
	}
	if e.server.Closing() {
		s.NotReady = append(s.NotReady, "stopping: no more clients are taken")
	}
	if reachable == 0 {
		s.NotReady = append(s.NotReady, "no replica can be reached")
	}
	return s
}

// Failed implements node.
func (e *edge) Failed() <-chan error { return e.failed }

// Stop implements node. A client that does not come to an end with a command is
// cut off, which is no failure to stop: clients decide nothing here.
func (e *edge) Stop(ctx context.Context) error {
	var errs []error
	if e.server != nil {
		if err := e.server.Shutdown(ctx); err != nil {
			level.Warn(e.logger).Log("msg", "clients were cut off in the middle of a command", "err", err)
		}
	}
	e.serving.Wait()
	if e.backend != nil {
		errs = append(errs, e.backend.Close())
	}
	if e.telemetry != nil {
		errs = append(errs, e.telemetry.Close(ctx))
	}
	return errors.Join(errs...)
}
