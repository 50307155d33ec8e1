// Command pluto-bench puts load on any IMAP server, measures it, and checks that
// two fronts of one account agree. Everything it can do is in package bench (and
// crdt/measure/figures); here are the flags. Every run ends by itself: it is bounded in commands and by
// -maxtime.
//
//	pluto-bench opodis   -addr localhost:1993 -cacert ca.pem
//	pluto-bench closed   -addr localhost:1993 -cacert ca.pem -mix mixed -conns 16
//	pluto-bench lag      -addr localhost:1993 -b localhost:2993 -cacert ca.pem
//	pluto-bench conns    -addr localhost:1993 -cacert ca.pem -k 1000 -pids @pluto.pid
//	pluto-bench bigbox   -addr localhost:1993 -cacert ca.pem -k 100000
//	pluto-bench converge -a localhost:1993 -b localhost:2993 -cacert ca.pem
//	pluto-bench check    -a localhost:1993 -b localhost:2993 -cacert ca.pem
//	pluto-bench wan      -delay 40ms,150ms
//	pluto-bench failover -fault kill -time 5m
//	pluto-bench summary  results.jsonl
//	pluto-bench figures  -doc docs/convergence.md
//
// It exits with 0 when the run could be made and nothing was wrong, with 1 when
// the run could not be made, with 2 for wrong flags, and with 3 when commands
// failed or a check found a violation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK = iota
	exitError
	exitUsage
	exitFailed
)

// errFailed tells that the run was made and that what it found is bad.
var errFailed = errors.New("commands failed")

// streams are where a subcommand writes.
type streams struct{ out, err io.Writer }

// subcommand is one of the things that pluto-bench does.
type subcommand struct {
	name, help string
	run        func(ctx context.Context, args []string, s streams) error
}

func subcommands() []subcommand {
	return []subcommand{
		{"opodis", "the workload of the OPODIS 2017 evaluation", opodis},
		{"closed", "a closed loop of a mix of commands", closed},
		{"lag", "time until a change at one server is seen at another", lag},
		{"conns", "what idle connections cost", conns},
		{"bigbox", "commands on one large mailbox", bigbox},
		{"converge", "check that two fronts of one account agree under concurrent changes", converge},
		{"check", "check every response to many sessions that use the same mailboxes at random", check},
		{"wan", "a system of its own on this machine, with distance between its nodes: lag, throughput, traffic", wide},
		{"failover", "a system of its own on this machine, whose nodes are lost under its clients: errors, pauses", failover},
		{"summary", "medians over the runs in JSON files", summary},
		{"figures", "what convergence costs, in virtual time: tables and plots of docs/convergence.md", makeFigures},
	}
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: pluto-bench SUBCOMMAND [flags]   (pluto-bench SUBCOMMAND -h lists the flags)")
	for _, c := range subcommands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.help)
	}
}

func main() {
	raiseFileLimit()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := realMain(ctx, os.Args[1:], streams{os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

func realMain(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		usage(s.err)
		return exitUsage
	}
	for _, c := range subcommands() {
		if c.name == args[0] {
			return exitCode(c.run(ctx, args[1:], s), s)
		}
	}
	usage(s.err)
	return exitUsage
}

func exitCode(err error, s streams) int {
	var u usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.As(err, &u):
		if !u.printed {
			fmt.Fprintln(s.err, "pluto-bench:", err)
		}
		return exitUsage
	case errors.Is(err, errFailed):
		fmt.Fprintln(s.err, "pluto-bench:", err)
		return exitFailed
	}
	fmt.Fprintln(s.err, "pluto-bench:", err)
	return exitError
}

// raiseFileLimit allows as many connections as the system lets us have.
func raiseFileLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}
