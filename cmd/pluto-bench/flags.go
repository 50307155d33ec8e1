package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/go-pluto/pluto/bench"
)

// usageError is a mistake in the flags.
type usageError struct {
	text    string
	printed bool
}

func (e usageError) Error() string { return e.text }

// transport holds the flags that say how to reach a server.
type transport struct {
	plain, skipVerify  bool
	caCert, serverName string
	timeout            time.Duration
}

func (t *transport) flags(fs *flag.FlagSet) {
	fs.StringVar(&t.caCert, "cacert", "", "file with certificates to trust (default: the system's)")
	fs.StringVar(&t.serverName, "servername", "", "TLS server name (default: host of the address)")
	fs.BoolVar(&t.skipVerify, "skip-verify", false, "do not verify the server's certificate")
	fs.BoolVar(&t.plain, "plain", false, "no TLS")
	fs.DurationVar(&t.timeout, "timeout", time.Minute, "time limit of one command")
}

func (t *transport) target(addr string) (bench.Target, error) {
	target := bench.Target{Addr: addr, Timeout: t.timeout}
	if t.plain {
		return target, nil
	}
	target.TLS = &tls.Config{ServerName: t.serverName, InsecureSkipVerify: t.skipVerify, MinVersion: tls.VersionTLS12}
	if t.caCert == "" {
		return target, nil
	}
	pem, err := os.ReadFile(t.caCert)
	if err != nil {
		return target, fmt.Errorf("-cacert: %w", err)
	}
	target.TLS.RootCAs = x509.NewCertPool()
	if !target.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return target, usageError{text: fmt.Sprintf("-cacert: %s holds no certificate", t.caCert)}
	}
	return target, nil
}

// load holds the flags that all measurements have.
type load struct {
	transport
	addr, json, pids string
	maxTime          time.Duration
	options          bench.Options
}

// defaultUsers is how many accounts there are, if nothing else is said.
const defaultUsers = 100

func (l *load) flags(fs *flag.FlagSet, users int) {
	l.transport.flags(fs)
	o := &l.options
	fs.StringVar(&l.addr, "addr", "127.0.0.1:993", "server address")
	fs.StringVar(&o.Users.Name, "user", "user%d", "user name pattern")
	fs.StringVar(&o.Users.Password, "pass", "pass%d", "password pattern")
	fs.IntVar(&o.Users.First, "first", 1, "first user number")
	fs.IntVar(&o.Users.Last, "last", users, "last user number")
	fs.DurationVar(&l.maxTime, "maxtime", 2*time.Minute, "time limit of the whole run")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the random numbers")
	fs.StringVar(&o.Label, "label", "", "name of the server, for the output")
	fs.StringVar(&l.json, "json", "", "append JSON lines to this file (- for stdout)")
	fs.StringVar(&l.pids, "pids", "", "server pids (\"12,34\" or @file); they and their children are measured")
	fs.StringVar(&o.Cgroup, "cgroup", "", "server cgroup directory, to read memory.current")
	fs.BoolVar(&o.LiteralPlus, "literalplus", false, "send literals at once where the server offers LITERAL+")
}

func sizeFlags(fs *flag.FlagSet, s *bench.MessageSize) {
	fs.IntVar(&s.Median, "size", 8<<10, "median message size in bytes")
	fs.Float64Var(&s.Sigma, "sigma", 1.2, "sigma of the log-normal message size; 0: all the same size")
	fs.IntVar(&s.Cap, "cap", 1<<20, "largest message size")
}

// parse parses the flags and resolves what stands behind them.
func (l *load) parse(fs *flag.FlagSet, args []string) (err error) {
	if err := parse(fs, args); err != nil {
		return err
	}
	if l.options.Target, err = l.target(l.addr); err != nil {
		return err
	}
	l.options.PIDs, err = bench.ParsePIDs(l.pids)
	return err
}

func newFlagSet(name string, s streams) *flag.FlagSet {
	fs := flag.NewFlagSet("pluto-bench "+name, flag.ContinueOnError)
	fs.SetOutput(s.err)
	return fs
}

// parseFlags parses flags; arguments may follow them.
func parseFlags(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err.Error(), true}
}

// parse parses flags that nothing may follow.
func parse(fs *flag.FlagSet, args []string) error {
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return usageError{text: fmt.Sprintf("unexpected argument %q", fs.Arg(0))}
	}
	return nil
}

// limit bounds a run in time.
func (l *load) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, l.maxTime)
}

// report writes a result, and judges it.
func (l *load) report(r *bench.Result, s streams) error {
	if l.json != "" {
		if err := r.AppendJSON(l.json, s.out); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	if l.json != "-" {
		r.WriteTable(s.out)
	}
	if n := r.Failed(); n > 0 {
		return fmt.Errorf("%w: %d", errFailed, n)
	}
	return nil
}
