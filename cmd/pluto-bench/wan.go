package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
	"github.com/go-pluto/pluto/e2e/distance"
)

// wide measures a system of its own over distances.
func wide(ctx context.Context, args []string, s streams) (err error) {
	o := distance.Defaults()
	o.Out, o.Progress = s.out, s.err
	var what, delays string
	var line float64
	var maxTime time.Duration
	fs := newFlagSet("wan", s)
	fs.StringVar(&what, "what", strings.Join(o.Parts, ","), "what to measure")
	fs.StringVar(&delays, "delay", "40ms,150ms", "one-way delays between any two nodes")
	fs.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the random numbers")
	fs.Float64Var(&o.Rate, "rate", o.Rate, "lag: operations a second")
	fs.IntVar(&o.Pairs, "pairs", o.Pairs, "lag: writers, each with a reader in the other region")
	fs.DurationVar(&o.LagTime, "time", o.LagTime, "lag: how long")
	fs.IntVar(&o.Conns, "conns", o.Conns, "throughput: connections")
	fs.IntVar(&o.Ops, "ops", o.Ops, "throughput: commands of each connection")
	fs.IntVar(&o.Rounds, "rounds", o.Rounds, "throughput: rounds")
	fs.IntVar(&o.Attachment, "attachment", o.Attachment, "attachment: size of the large message in bytes")
	fs.Float64Var(&line, "line", float64(o.Line)*8/1e6, "attachment: Mbit/s between any two nodes")
	fs.IntVar(&o.Count, "count", o.Count, "traffic: operations of each kind")
	fs.IntVar(&o.Away, "away", o.Away, "absence: commands done while a member is away")
	fs.StringVar(&o.Mix, "mix", o.Mix, "absence: what they are; after hundreds of thousands of the mix write, accounts have thousands of mailboxes")
	fs.DurationVar(&maxTime, "maxtime", 15*time.Minute, "time limit of the whole run")
	if err := parse(fs, args); err != nil {
		return err
	}
	o.Parts, o.Delays, o.Line = strings.Split(what, ","), nil, int64(line*1e6/8)
	for text := range strings.SplitSeq(delays, ",") {
		d, err := time.ParseDuration(text)
		if err != nil {
			return usageError{text: fmt.Sprintf("-delay: %v", err)}
		}
		o.Delays = append(o.Delays, d)
	}
	if self, err := os.Executable(); err == nil {
		if err := distance.UseProgramsBeside(self); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, cluster.Cleanup()) }()
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	return distance.Run(ctx, o)
}
