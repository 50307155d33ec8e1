// Command pluto is the IMAP server. One binary, three roles:
//
//	pluto -distributor         client TLS, login, routing
//	pluto -worker worker-1     keeps the mail of a range of users, runs their sessions
//	pluto -storage             backup node: replicates everything, takes over sessions
//
// And for people who want to see it first:
//
//	pluto -dev                 two regions on loopback, everything made on first start
//	pluto -check               validates the configuration and its files
//
// It exits with 0 after SIGTERM or SIGINT, with 1 when the role failed and with
// 2 when flags or configuration are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailnode"
	"github.com/go-pluto/pluto/storage"
	"github.com/go-pluto/pluto/worker"
)

var version = "development" // set by the linker

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// stopTime is how long a stopping process lets its sessions and peers finish.
const stopTime = 15 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// flags are the command line.
type flags struct {
	config      string
	distributor bool
	worker      string
	storage     bool
	dev         bool
	dir         string
	port        int
	check       bool
	bootstrap   bool
	replaces    string
	logLevel    string
	logFormat   string
	version     bool
}

func parseFlags(args []string, stderr io.Writer) (*flags, error) {
	f := new(flags)
	set := flag.NewFlagSet("pluto", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.config, "config", "config.toml", "configuration `file` of the region")
	set.BoolVar(&f.distributor, "distributor", false, "run the distributor")
	set.StringVar(&f.worker, "worker", "", "run the worker of that `name` (section or Name in the configuration)")
	set.BoolVar(&f.storage, "storage", false, "run the storage node")
	set.BoolVar(&f.dev, "dev", false, "run a whole system of two regions on loopback, needs no configuration")
	set.StringVar(&f.dir, "dir", "pluto-dev", "with -dev: `folder` for keys, users and mail")
	set.IntVar(&f.port, "port", 1993, "with -dev: IMAP port of eu; us has the one 1000 above")
	set.BoolVar(&f.check, "check", false, "only validate the configuration")
	set.BoolVar(&f.bootstrap, "bootstrap", false, "let a brand-new replica take writes before a peer has confirmed its slot")
	set.StringVar(&f.replaces, "replaces", "", "`origin` (16 hexadecimal digits) of the lost incarnation of this node whose place it takes")
	set.StringVar(&f.logLevel, "loglevel", "info", "least `level` that is logged: debug, info, warn, error")
	set.StringVar(&f.logFormat, "logformat", "logfmt", "`format` of logs: logfmt or json")
	set.BoolVar(&f.version, "version", false, "print the version")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	return f, f.validate()
}

// validate checks that the flags name one thing to do.
func (f *flags) validate() error {
	modes := 0
	for _, on := range []bool{f.distributor, f.worker != "", f.storage, f.dev, f.check, f.version} {
		if on {
			modes++
		}
	}
	roleToCheck := f.check && modes == 2 && !f.dev && !f.version
	if modes != 1 && !roleToCheck {
		return errors.New("say what to run, one of -distributor, -worker NAME, -storage, -dev (or -check with or without a role)")
	}
	return nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	f, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintln(stderr, "pluto:", err)
		return exitUsage
	}
	if f.version {
		fmt.Fprintln(stdout, "pluto", version)
		return exitOK
	}
	logger, err := newLogger(stderr, f.logFormat, f.logLevel)
	if err != nil {
		fmt.Fprintln(stderr, "pluto:", err)
		return exitUsage
	}
	if f.dev {
		return runDev(ctx, f, logger, stdout, stderr)
	}
	cfg, err := load(f)
	if err != nil {
		fmt.Fprintln(stderr, "pluto:", err)
		return exitUsage
	}
	if f.check {
		fmt.Fprintf(stdout, "%s is valid\n", f.config)
		return exitOK
	}
	return runRole(ctx, f, cfg, logger)
}

// load reads and checks the configuration for what the flags want.
func load(f *flags) (*config.Config, error) {
	cfg, err := config.Load(f.config)
	if err != nil {
		return nil, err
	}
	switch {
	case f.distributor:
		err = errors.Join(cfg.Check(config.RoleDistributor, ""), checkServed(cfg))
	case f.worker != "":
		err = cfg.Check(config.RoleWorker, f.worker)
	case f.storage:
		err = cfg.Check(config.RoleStorage, "")
	default:
		err = errors.Join(cfg.CheckAll(), checkServed(cfg))
	}
	return cfg, err
}

// node is a running role.
type node interface {
	// Failed receives the reason when the node cannot go on by itself.
	Failed() <-chan error
	// Stop ends it, in order until the context ends.
	Stop(context.Context) error
}

// runRole runs one role until ctx ends or the role fails.
func runRole(ctx context.Context, f *flags, cfg *config.Config, logger log.Logger) int {
	n, err := startRole(ctx, f, cfg, logger)
	if err != nil {
		level.Error(logger).Log("msg", "cannot start", "err", err)
		return exitFailed
	}
	code := exitOK
	select {
	case <-ctx.Done():
		level.Info(logger).Log("msg", "stopping")
	case err := <-n.Failed():
		if errors.Is(err, mailnode.ErrDrained) {
			level.Info(logger).Log("msg", "stopping", "why", err)
			break
		}
		level.Error(logger).Log("msg", "stopping, because the node failed", "err", err)
		code = exitFailed
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := n.Stop(stop); err != nil {
		level.Error(logger).Log("msg", "stop", "err", err)
		return exitFailed
	}
	level.Info(logger).Log("msg", "stopped")
	return code
}

func startRole(ctx context.Context, f *flags, cfg *config.Config, logger log.Logger) (node, error) {
	var replaces crdt.Origin
	if f.replaces != "" {
		n, err := strconv.ParseUint(f.replaces, 16, 64)
		if err != nil {
			return nil, fmt.Errorf("-replaces %q: want the 16 hexadecimal digits that peers name in their log", f.replaces)
		}
		replaces = crdt.Origin(n)
	}
	switch {
	case f.distributor:
		return startDistributor(ctx, cfg, logger)
	case f.storage:
		return storage.Start(ctx, cfg, storage.Options{Bootstrap: f.bootstrap, Replaces: replaces, Logger: logger})
	default:
		return worker.Start(ctx, cfg, f.worker, worker.Options{Bootstrap: f.bootstrap, Replaces: replaces, Logger: logger})
	}
}

// newLogger returns the logger of the process.
func newLogger(w io.Writer, format, least string) (log.Logger, error) {
	var logger log.Logger
	switch w := log.NewSyncWriter(w); format {
	case "logfmt":
		logger = log.NewLogfmtLogger(w)
	case "json":
		logger = log.NewJSONLogger(w)
	default:
		return nil, fmt.Errorf("-logformat %q: want logfmt or json", format)
	}
	value, err := level.Parse(least)
	if err != nil {
		return nil, fmt.Errorf("-loglevel %q: want debug, info, warn or error", least)
	}
	logger = level.NewFilter(logger, level.Allow(value))
	return log.With(logger, "ts", log.DefaultTimestampUTC), nil
}
