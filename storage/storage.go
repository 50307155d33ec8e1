// Package storage is the backup role: a node that keeps a replica of every
// subnet and runs the sessions of users whose worker is down. What it does it
// does as a [mailnode.Node]; this package says which one.
//
// A storage node is a full member of each subnet: it accepts writes like any
// other replica while it runs sessions.
package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailnode"
)

// Options of a storage node's start.
type Options struct {
	// Bootstrap lets a brand-new node take writes before a peer has confirmed
	// its slots.
	Bootstrap bool
	// Replaces is the lost incarnation whose place this one takes; 0: none.
	Replaces crdt.Origin
	Logger   log.Logger
}

// cacheSize is the memory for blocks read from disk: a storage node mostly
// writes, and has its cache to itself only while it stands in for a worker.
const cacheSize = 32 << 20

// Start runs the storage node of the configuration. The caller stops the node.
func Start(ctx context.Context, cfg *config.Config, opts Options) (*mailnode.Node, error) {
	if cfg.Storage == nil {
		return nil, errors.New("the configuration has no section [Storage]; write one or start another role")
	}
	n, err := mailnode.Start(ctx, mailnode.Options{
		Config: cfg, Node: &cfg.Storage.Node,
		Bootstrap: opts.Bootstrap, Replaces: opts.Replaces, CacheSize: cacheSize, Logger: opts.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("storage %s: %w", cfg.Storage.Name, err)
	}
	return n, nil
}
