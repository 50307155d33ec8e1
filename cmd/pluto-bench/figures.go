package main

import (
	"context"

	"github.com/go-pluto/pluto/crdt/measure/figures"
)

// makeFigures needs no server: it measures the algorithm itself.
func makeFigures(ctx context.Context, args []string, s streams) error {
	fs := newFlagSet("figures", s)
	doc := fs.String("doc", "docs/convergence.md", "document whose tables are made; the plots go to the folder figures beside it")
	scale := figures.Full()
	fs.IntVar(&scale.Seeds, "seeds", scale.Seeds, "runs of each case")
	fs.IntVar(&scale.Messages, "messages", scale.Messages, "messages of a run under steady load")
	if err := parse(fs, args); err != nil {
		return err
	}
	if scale.Seeds < 1 || scale.Messages < 1 {
		return usageError{text: "-seeds and -messages are at least 1"}
	}
	return figures.Write(ctx, *doc, scale, s.err)
}
