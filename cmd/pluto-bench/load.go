package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-pluto/pluto/bench"
)

func opodis(ctx context.Context, args []string, s streams) error {
	var l load
	o := bench.OpodisDefaults()
	fs := newFlagSet("opodis", s)
	l.flags(fs, o.Users.Last)
	fs.IntVar(&o.Threads, "threads", o.Threads, "threads, each with one connection at a time")
	fs.IntVar(&o.Sessions, "sessions", o.Sessions, "sessions of all threads together")
	fs.IntVar(&o.Base, "base", o.Base, "least number of commands of a session")
	fs.IntVar(&o.Spread, "spread", o.Spread, "a session has up to so many commands more")
	fs.IntVar(&o.Lines.Min, "minlines", o.Lines.Min, "least number of lines of a message")
	fs.IntVar(&o.Lines.Max, "maxlines", o.Lines.Max, "largest number of lines of a message")
	fs.IntVar(&o.Lines.Length, "linelength", o.Lines.Length, "length of a line")
	fs.BoolVar(&o.NoClean, "noclean", false, "leave the folders there")
	if err := l.parse(fs, args); err != nil {
		return err
	}
	o.Options = l.options
	ctx, cancel := l.limit(ctx)
	defer cancel()
	r, err := bench.Opodis(ctx, o)
	if err != nil {
		return err
	}
	err = l.report(r, s)
	if l.json != "-" {
		bench.WriteOpodisComparison(s.out, r)
	}
	return err
}

func closed(ctx context.Context, args []string, s streams) error {
	var l load
	var o bench.ClosedOptions
	fs := newFlagSet("closed", s)
	l.flags(fs, defaultUsers)
	sizeFlags(fs, &l.options.Size)
	fs.IntVar(&o.Conns, "conns", 1, "connections")
	fs.IntVar(&o.Ops, "ops", 1000, "commands of each connection")
	fs.StringVar(&o.Mix, "mix", "mixed", "one of "+strings.Join(bench.MixNames(), " ")+", or NAME=WEIGHT,... of "+strings.Join(bench.MixCommands(), " "))
	fs.IntVar(&o.Prefill, "prefill", 100, "messages put into each mailbox beforehand (not for write)")
	fs.IntVar(&o.Page, "page", 50, "messages of one range of envelopes")
	fs.BoolVar(&o.Shared, "shared", false, "connections of one user share one mailbox")
	fs.BoolVar(&o.Reconnect, "reconnect", false, "write: a new connection for each session")
	fs.BoolVar(&o.NoClean, "noclean", false, "leave the mailboxes there")
	if err := l.parse(fs, args); err != nil {
		return err
	}
	o.Options = l.options
	ctx, cancel := l.limit(ctx)
	defer cancel()
	r, err := bench.Closed(ctx, o)
	if err != nil {
		return err
	}
	return l.report(r, s)
}

func lag(ctx context.Context, args []string, s streams) error {
	var l load
	var o bench.LagOptions
	var b, userB, passB string
	fs := newFlagSet("lag", s)
	l.flags(fs, defaultUsers)
	sizeFlags(fs, &l.options.Size)
	fs.StringVar(&b, "b", "", "address of the server where changes are looked for (-addr is where they are made)")
	fs.StringVar(&userB, "user-b", "", "user pattern at b (default: as at -addr)")
	fs.StringVar(&passB, "pass-b", "", "password pattern at b (default: as at -addr)")
	fs.StringVar(&o.Poll, "poll", "auto", "how to look: idle, noop, status, auto (idle where offered)")
	fs.StringVar(&o.Op, "op", "append", "append or store")
	fs.IntVar(&o.N, "n", 200, "changes")
	fs.IntVar(&o.Burst, "burst", 1, "append: messages sent in a row before waiting")
	fs.DurationVar(&o.Every, "every", time.Millisecond, "time between two polls")
	fs.DurationVar(&o.Gap, "gap", 50*time.Millisecond, "rest after each change was seen")
	fs.DurationVar(&o.Jitter, "jitter", 0, "further rest of random length up to this, so that the changes do not fall in step with a timer of the server")
	fs.DurationVar(&o.Max, "max", 30*time.Second, "longest wait for one change")
	if err := l.parse(fs, args); err != nil {
		return err
	}
	o.Options = l.options
	o.UsersB = o.Users
	if userB != "" {
		o.UsersB.Name = userB
	}
	if passB != "" {
		o.UsersB.Password = passB
	}
	var err error
	if o.B, err = l.target(b); err != nil {
		return err
	}
	ctx, cancel := l.limit(ctx)
	defer cancel()
	r, err := bench.Lag(ctx, o)
	if r != nil {
		if e := l.report(r, s); err == nil {
			err = e
		}
	}
	return err
}

func conns(ctx context.Context, args []string, s streams) error {
	var l load
	var o bench.ConnsOptions
	fs := newFlagSet("conns", s)
	l.flags(fs, defaultUsers)
	fs.IntVar(&o.K, "k", 1000, "connections")
	fs.IntVar(&o.Parallel, "par", 8, "logins at one time")
	fs.Float64Var(&o.Idle, "idle", 0.5, "share of connections in IDLE, where the server offers it")
	fs.DurationVar(&o.Hold, "hold", 5*time.Second, "rest before the memory is read")
	fs.BoolVar(&o.NoSelect, "noselect", false, "select no mailbox")
	if err := l.parse(fs, args); err != nil {
		return err
	}
	o.Options = l.options
	ctx, cancel := l.limit(ctx)
	defer cancel()
	r, err := bench.Conns(ctx, o)
	if err != nil {
		return err
	}
	return l.report(r, s)
}

func bigbox(ctx context.Context, args []string, s streams) error {
	var l load
	var o bench.BigboxOptions
	fs := newFlagSet("bigbox", s)
	l.flags(fs, defaultUsers)
	sizeFlags(fs, &l.options.Size)
	fs.IntVar(&o.K, "k", 100000, "messages")
	fs.IntVar(&o.Rounds, "rounds", 3, "times each command is measured")
	fs.IntVar(&o.Conns, "conns", 2, "connections that build the mailbox")
	fs.IntVar(&o.Batch, "batch", 200, "messages in one APPEND, where the server offers MULTIAPPEND")
	fs.StringVar(&o.Mailbox, "box", "Big", "mailbox")
	fs.BoolVar(&o.NoBuild, "nobuild", false, "the mailbox is there already")
	fs.BoolVar(&o.NoStore, "nostore", false, "leave out the STORE commands")
	fs.BoolVar(&o.Drop, "drop", false, "delete the mailbox at the end")
	if err := l.parse(fs, args); err != nil {
		return err
	}
	o.Options = l.options
	ctx, cancel := l.limit(ctx)
	defer cancel()
	r, err := bench.Bigbox(ctx, o)
	if r != nil {
		if e := l.report(r, s); err == nil {
			err = e
		}
	}
	return err
}

func converge(ctx context.Context, args []string, s streams) error {
	var t transport
	var a, b string
	var maxTime time.Duration
	o := bench.ConvergeOptions{Progress: s.err}
	fs := newFlagSet("converge", s)
	t.flags(fs)
	sizeFlags(fs, &o.Size)
	fs.StringVar(&a, "a", "", "address of one front")
	fs.StringVar(&b, "b", "", "address of the other front")
	fs.StringVar(&o.User, "user", "user1", "user name")
	fs.StringVar(&o.Password, "pass", "pass1", "password")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the random numbers")
	fs.IntVar(&o.Writers, "writers", 1, "writers at each front")
	fs.DurationVar(&o.Duration, "duration", time.Minute, "how long they write")
	fs.DurationVar(&o.Pause, "pause", 0, "rest of a writer after each command")
	fs.DurationVar(&o.Settle, "settle", 30*time.Second, "longest wait until both fronts show the same")
	fs.IntVar(&o.MaxMessages, "messages", 300, "a writer appends no more to a mailbox that has so many")
	fs.StringVar(&o.Prefix, "box", "", "prefix of the two mailboxes (default: a fresh one)")
	fs.BoolVar(&o.TolerateDisconnects, "tolerate-disconnects", false, "connections may break, commands may be refused")
	fs.BoolVar(&o.Keep, "keep", false, "leave the mailboxes there")
	fs.DurationVar(&maxTime, "maxtime", 0, "time limit of the whole run (default: -duration, twice -settle and a minute)")
	if err := parse(fs, args); err != nil {
		return err
	}
	var err error
	if o.A, err = t.target(a); err != nil {
		return err
	}
	if o.B, err = t.target(b); err != nil {
		return err
	}
	if maxTime <= 0 {
		maxTime = o.Duration + 2*o.Settle + time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	r, err := bench.Converge(ctx, o)
	if err != nil {
		return err
	}
	r.WriteText(s.out)
	if !r.OK() {
		return fmt.Errorf("%w: %d violations", errFailed, len(r.Violations)+r.Dropped)
	}
	return nil
}

func check(ctx context.Context, args []string, s streams) error {
	var t transport
	var a, b string
	o := bench.CheckOptions{Progress: s.err}
	fs := newFlagSet("check", s)
	t.flags(fs)
	fs.StringVar(&a, "a", "", "address of the server")
	fs.StringVar(&b, "b", "", "address of another front of the same account (default: none)")
	fs.StringVar(&o.User, "user", "user1", "user name")
	fs.StringVar(&o.Password, "pass", "pass1", "password")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the random numbers")
	fs.IntVar(&o.Sessions, "sessions", 8, "sessions at each front")
	fs.DurationVar(&o.Duration, "duration", time.Minute, "how long commands are sent")
	fs.DurationVar(&o.Settle, "settle", 30*time.Second, "longest wait until two fronts show the same")
	fs.IntVar(&o.MaxMessages, "messages", 60, "nobody adds to a mailbox that has so many")
	fs.StringVar(&o.Prefix, "box", "", "prefix of the two mailboxes (default: a fresh one)")
	fs.BoolVar(&o.Keep, "keep", false, "leave the mailboxes there")
	if err := parse(fs, args); err != nil {
		return err
	}
	var err error
	if o.A, err = t.target(a); err != nil {
		return err
	}
	if b != "" {
		if o.B, err = t.target(b); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, o.Duration+10*o.Settle+time.Minute)
	defer cancel()
	r, err := bench.Check(ctx, o)
	if err != nil {
		return err
	}
	r.WriteText(s.out)
	if !r.OK() {
		return fmt.Errorf("%w: %d violations", errFailed, len(r.Violations)+r.Dropped)
	}
	return nil
}

func summary(_ context.Context, args []string, s streams) error {
	fs := newFlagSet("summary", s)
	only := fs.String("cmd", "", "only commands that match this regular expression")
	extra := fs.Bool("extra", false, "print CPU and memory instead")
	var sum bench.Summary
	fs.Float64Var(&sum.MaxNoise, "noise", 0, "leave out runs with more noise_pct than this (0: none)")
	err := parseFlags(fs, args)
	if err != nil {
		return err
	}
	if sum.Only, err = regexp.Compile(*only); err != nil {
		return usageError{text: "-cmd: " + err.Error()}
	}
	for _, name := range fs.Args() {
		if err := readRows(&sum, name); err != nil {
			return err
		}
	}
	if *extra {
		sum.WriteExtra(s.out)
	} else {
		sum.WriteMarkdown(s.out)
	}
	return nil
}

func readRows(sum *bench.Summary, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := sum.Read(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
