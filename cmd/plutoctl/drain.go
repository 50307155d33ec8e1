package main

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/admin"
)

var drainCommand = command{
	name: "drain", args: "NODE", about: "moves a node's sessions to others, then ends its process", run: drain,
}

// drain returns when the sessions are gone.
func drain(ctx context.Context, e *environment, args []string) error {
	node, err := e.oneArg(e.newFlags("drain", "NODE"), args, "node")
	if err != nil {
		return err
	}
	conn, err := e.dial(node)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := admin.NewDrainClient(conn).Run(ctx, &admin.DrainRequest{})
	if err != nil {
		return remote(node, err)
	}
	reply, err := stream.Recv()
	if err != nil {
		return remote(node, err)
	}
	fmt.Fprintf(e.stdout, "%s: %d sessions were moved; the process ends\n", node, reply.GetSessions())
	return nil
}
