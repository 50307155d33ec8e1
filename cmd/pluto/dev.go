package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto/pki"
	"github.com/go-pluto/pluto/storage"
	"github.com/go-pluto/pluto/worker"
)

// runDev runs two regions in this process until ctx ends.
func runDev(ctx context.Context, f *flags, logger log.Logger, stdout, stderr io.Writer) int {
	l := layout{Dir: f.dir, Port: f.port}
	configs, err := l.setUp()
	if err != nil {
		fmt.Fprintln(stderr, "pluto: -dev:", err)
		return exitUsage
	}
	system, err := startSystem(ctx, configs, logger)
	if err != nil {
		fmt.Fprintln(stderr, "pluto: -dev:", err)
		system.stop(ctx)
		return exitFailed
	}
	fmt.Fprint(stdout, l.welcome())
	code := exitOK
	if err := system.await(ctx); err != nil {
		level.Error(logger).Log("msg", "stopping, because a node failed", "err", err)
		code = exitFailed
	}
	if err := system.stop(ctx); err != nil {
		level.Error(logger).Log("msg", "stop", "err", err)
		return exitFailed
	}
	return code
}

// setUp makes what is missing in the folder and loads the configurations.
func (l layout) setUp() ([]*config.Config, error) {
	if l.Port < 1 || l.Port+regionStep+portStorageMetrics > 65535 {
		return nil, fmt.Errorf("-port %d: want 1 to %d", l.Port, 65535-regionStep-portStorageMetrics)
	}
	files, err := l.prepare()
	if err != nil {
		return nil, err
	}
	var configs []*config.Config
	for _, file := range files {
		cfg, err := config.Load(file)
		if err != nil {
			return nil, err
		}
		configs = append(configs, cfg)
	}
	if err := config.CheckTogether(configs...); err != nil {
		return nil, err
	}
	err = pki.Generate(pki.Options{
		Configs: configs,
		Dir:     filepath.Join(l.Dir, "private"),
		Public:  []string{"localhost", "127.0.0.1"},
	})
	if err != nil {
		return nil, err
	}
	for _, cfg := range configs {
		if err := cfg.CheckAll(); err != nil {
			return nil, err
		}
	}
	return configs, nil
}

// welcome says how to use the system.
func (l layout) welcome() string {
	ca := filepath.Join(l.Dir, "private", "public-distributor-cert.pem")
	return fmt.Sprintf(`
pluto is running: two regions, eu and us, each with a worker, and one storage node.

  In a mail client (IMAP, SSL/TLS, normal password):

      region eu    host 127.0.0.1   port %[1]d
      region us    host 127.0.0.1   port %[2]d
      users        user1 to user%[3]d, passwords pass1 to pass%[3]d
      certificate  %[4]s (self-signed: import it, or accept it once)

  From a shell: store a message at eu, read it at us:

      curl --cacert %[4]s -u user1:pass1 -T %[6]s imaps://localhost:%[1]d/INBOX
      curl --cacert %[4]s -u user1:pass1 'imaps://localhost:%[2]d/INBOX;MAILINDEX=1'

  Metrics: http://127.0.0.1:%[5]d/metrics (worker eu). Everything is in %[7]s/. Ctrl-C ends it.

`, l.Port, l.Port+regionStep, devUsers, ca, l.Port+portWorkerMetrics, l.letter(), l.Dir)
}

// system is a set of running nodes.
type system struct{ nodes []node }

// startSystem runs every node of the configurations. What it returns is to be
// stopped, also after an error.
func startSystem(ctx context.Context, configs []*config.Config, logger log.Logger) (*system, error) {
	s := new(system)
	add := func(n node, err error) error {
		if err == nil {
			s.nodes = append(s.nodes, n)
		}
		return err
	}
	for _, cfg := range configs {
		if cfg.Storage != nil {
			n, err := storage.Start(ctx, cfg, storage.Options{Logger: logger})
			if err := add(n, err); err != nil {
				return s, err
			}
		}
		for _, w := range cfg.Workers {
			n, err := worker.Start(ctx, cfg, w.Key, worker.Options{Logger: logger})
			if err := add(n, err); err != nil {
				return s, err
			}
		}
	}
	for _, cfg := range configs {
		n, err := startDistributor(ctx, cfg, logger)
		if err := add(n, err); err != nil {
			return s, err
		}
	}
	return s, nil
}

// await returns when ctx ends, or with the error of the first node that fails.
func (s *system) await(ctx context.Context) error {
	failed := make(chan error, len(s.nodes))
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, n := range s.nodes {
		go func() {
			select {
			case err := <-n.Failed():
				failed <- err
			case <-watch.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// stop ends all nodes, those that clients see first.
func (s *system) stop(ctx context.Context) error {
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	var errs []error
	for _, n := range slices.Backward(s.nodes) {
		errs = append(errs, n.Stop(stop))
	}
	return errors.Join(errs...)
}
