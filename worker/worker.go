// Package worker is the role that is responsible for a range of users in its
// region: it keeps one replica of their subnet and runs their sessions. What a
// worker does it does as a [mailnode.Node]; this package says which one.
//
// A worker never takes sessions of users outside its range, and never waits
// for other nodes to start.
package worker

import (
	"context"
	"fmt"

	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailnode"
)

// Options of a worker's start.
type Options struct {
	// Bootstrap lets a brand-new worker take writes before a peer has
	// confirmed its slot.
	Bootstrap bool
	// Replaces is the lost incarnation whose place this one takes; 0: none.
	Replaces crdt.Origin
	Logger   log.Logger
}

// Start runs the worker whose section or Name in the configuration is name. The
// caller stops the node.
func Start(ctx context.Context, cfg *config.Config, name string, opts Options) (*mailnode.Node, error) {
	w, err := cfg.WorkerNamed(name)
	if err != nil {
		return nil, err
	}
	n, err := mailnode.Start(ctx, mailnode.Options{
		Config: cfg, Node: &w.Node,
		Bootstrap: opts.Bootstrap, Replaces: opts.Replaces, Logger: opts.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", w.Name, err)
	}
	return n, nil
}
