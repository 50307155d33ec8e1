package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-pluto/pluto/admin"
)

var verifyCommand = command{
	name: "verify", args: "NODE [-repair]", about: "reads everything on a node's disk; with -repair what is damaged comes from peers", run: verify,
}

// verify fails when something is damaged and not repaired.
func verify(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("verify", "NODE [-repair] [-subnet NAME]")
	repair := set.Bool("repair", false, "get what is damaged from peers")
	subnet := set.String("subnet", "", "only this `subnet` (default all that the node keeps)")
	node, err := e.oneArg(set, args, "node")
	if err != nil {
		return err
	}
	conn, err := e.dial(node)
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := admin.NewVerifyClient(conn).Run(ctx, &admin.VerifyRequest{Subnet: *subnet, Repair: *repair})
	if err != nil {
		return remote(node, err)
	}
	left := 0
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return remote(node, err)
		}
		left += printVerified(e.stdout, r)
	}
	if left > 0 {
		return fmt.Errorf("%s: %d damages are not repaired", node, left)
	}
	return nil
}

// printVerified prints a report and returns how many damages it leaves.
func printVerified(w io.Writer, r *admin.VerifyReport) (left int) {
	switch d := r.GetDamage(); {
	case d != nil && d.GetRepaired():
		fmt.Fprintf(w, "%s: repaired: %s: %s\n", r.GetSubnet(), d.GetWhat(), d.GetError())
	case d != nil:
		fmt.Fprintf(w, "%s: DAMAGED: %s: %s\n", r.GetSubnet(), d.GetWhat(), d.GetError())
		return 1
	case r.GetDone():
		fmt.Fprintf(w, "%s: done: %d records, %d operations, %d contents (%d bytes) read\n",
			r.GetSubnet(), r.GetRecords(), r.GetOperations(), r.GetContents(), r.GetBytes())
	}
	return 0
}
