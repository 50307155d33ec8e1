package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-pluto/pluto/admin"
)

var resyncCommand = command{
	name: "account resync", args: "USER NODE", about: "loads a user's account on a node anew from another one, which ends its quarantine", run: resync,
}

// resync tries the other nodes that keep the user, one after the other.
func resync(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("account resync", "USER NODE [-from NODE]")
	from := set.String("from", "", "the `node` to load from (default any other one that keeps the user)")
	if err := set.Parse(args); err != nil {
		return err
	}
	user, err := strconv.ParseUint(set.Arg(0), 10, 32)
	if err != nil {
		set.Usage()
		return fmt.Errorf("%q is no user ID", set.Arg(0))
	}
	node, err := e.oneArg(set, set.Args()[1:], "node")
	if err != nil {
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	sources := []string{*from}
	if *from == "" {
		sources = nil
		for _, r := range cfg.Replicas(uint32(user)) {
			if r.Name != node {
				sources = append(sources, r.Name)
			}
		}
	}
	err = fmt.Errorf("%s names no other node that keeps user %d", cfg.Path, user)
	for _, source := range sources {
		if err = e.reload(ctx, uint32(user), source, node); err == nil {
			_, err = fmt.Fprintf(e.stdout, "account %d of %s was loaded anew from %s\n", user, node, source)
			return err
		}
		fmt.Fprintf(e.stderr, "not from %s: %v\n", source, err)
	}
	return err
}

// reload passes a snapshot from one node to another.
func (e *environment) reload(ctx context.Context, user uint32, source, node string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	from, err := e.dial(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := e.dial(node)
	if err != nil {
		return err
	}
	defer to.Close()
	pieces, err := admin.NewAccountClient(from).Snapshot(ctx, &admin.AccountRequest{User: user})
	if err != nil {
		return remote(source, err)
	}
	taker, err := admin.NewAccountClient(to).Reload(ctx)
	if err == nil {
		err = taker.Send(&admin.AccountPiece{User: user})
	}
	for err == nil {
		var p *admin.AccountPiece
		if p, err = pieces.Recv(); errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return remote(source, err)
		}
		err = taker.Send(p)
	}
	// An error of Send is io.EOF; what was wrong comes with the answer.
	if _, err := taker.CloseAndRecv(); err != nil {
		return remote(node, err)
	}
	return nil
}
