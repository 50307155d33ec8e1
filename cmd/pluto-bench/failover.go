package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
	"github.com/go-pluto/pluto/e2e/distance"
	"github.com/go-pluto/pluto/e2e/survival"
)

// failover loses the nodes of a system of its own under its clients' sessions.
func failover(ctx context.Context, args []string, s streams) (err error) {
	o := survival.Options{Progress: s.err}
	var maxTime time.Duration
	fs := newFlagSet("failover", s)
	fs.StringVar(&o.Fault, "fault", survival.Kill, "kill (SIGKILL), stop (SIGSTOP), cut (off from the network) or rolling (SIGTERM and start of every node, distributors too)")
	fs.IntVar(&o.Sessions, "sessions", 200, "clients of one distributor, half of them in IDLE")
	fs.DurationVar(&o.Time, "time", 5*time.Minute, "how long nodes are lost")
	fs.DurationVar(&o.Every, "every", 5*time.Second, "from one loss to the next")
	fs.DurationVar(&o.Think, "think", 200*time.Millisecond, "pause between the commands of a session, on average")
	fs.StringVar(&o.Dir, "dir", "", "leave the system's files, with its logs, in this new folder")
	fs.Uint64Var(&o.Seed, "seed", 1, "seed of the random numbers")
	fs.DurationVar(&maxTime, "maxtime", 15*time.Minute, "time limit of the whole run")
	if err := parse(fs, args); err != nil {
		return err
	}
	if self, err := os.Executable(); err == nil {
		if err := distance.UseProgramsBeside(self); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, cluster.Cleanup()) }()
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	r, err := survival.Run(ctx, o)
	if err != nil {
		return err
	}
	if r.Write(s.out); r.Failed() {
		return errFailed
	}
	return nil
}
