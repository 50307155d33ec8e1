package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/admin"
)

var purgeCommand = command{
	name: "user purge", args: "USER[-USER] SUBNET", about: "deletes what is left of moved users in a subnet where they do not live any more", run: purgeUsers,
}

// purgeUsers purges one user after the other.
func purgeUsers(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("user purge", "USER[-USER] SUBNET")
	return e.eachUser(set, args, func(user uint32, subnet string) error { return e.purge(ctx, user, subnet) })
}

// purge first has every node of this file that keeps the account where it lives make
// sure that all of it is there.
func (e *environment) purge(ctx context.Context, user uint32, subnet string) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	home, err := e.livesIn(ctx, user)
	if err != nil {
		return err
	}
	if home == subnet {
		return fmt.Errorf("it lives in %s", subnet)
	}
	nodes := cfg.ReplicasIn(home)
	if len(nodes) == 0 {
		return fmt.Errorf("%s names no node of %s, where it lives", cfg.Path, home)
	}
	for _, r := range nodes {
		n, err := e.whole(ctx, user, home, r.Name)
		if err != nil {
			return fmt.Errorf("it is not certain that all of it is in %s: %w", home, err)
		}
		fmt.Fprintf(e.stdout, "user %d is whole in %s: %s has read %d contents\n", user, home, r.Name, n)
	}
	old, err := e.side(subnet, "")
	if err != nil {
		return err
	}
	defer old.conn.Close()
	reply, err := old.move.Purge(ctx, &admin.MoveRequest{Subnet: subnet, User: user})
	if err != nil {
		return remote(old.node, err)
	}
	_, err = fmt.Fprintf(e.stdout, "user %d: %d messages deleted in %s\n", user, reply.GetMessages(), subnet)
	return err
}

// whole returns when all members of a subnet have all that a node of it has of the
// account, and that node has read all contents.
func (e *environment) whole(ctx context.Context, user uint32, subnet, node string) (contents uint64, err error) {
	s, err := e.side(subnet, node)
	if err != nil {
		return 0, err
	}
	defer s.conn.Close()
	stream, err := s.move.Whole(ctx, &admin.MoveRequest{Subnet: subnet, User: user})
	for err == nil {
		var p *admin.WholeProgress
		if p, err = stream.Recv(); err == nil && p.GetWhole() {
			return p.GetContents(), nil
		}
		if len(p.GetWaiting()) > 0 {
			fmt.Fprintf(e.stdout, "user %d waits for %s\n", user, strings.Join(p.GetWaiting(), ", "))
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the answer ends early")
	}
	return 0, remote(node, err)
}

// livesIn returns the subnet where an account is served, or was last if it is on its
// way: what the one whose range it is in says, and those that it has gone on from.
func (e *environment) livesIn(ctx context.Context, user uint32) (string, error) {
	cfg, err := e.config()
	if err != nil {
		return "", err
	}
	subnet := cfg.SubnetOf(user)
	if subnet == "" {
		return "", fmt.Errorf("%s names no subnet whose users it is among", cfg.Path)
	}
	for been := []string(nil); !slices.Contains(been, subnet); {
		been = append(been, subnet)
		p, err := e.where(ctx, user, subnet)
		switch {
		case err != nil:
			return "", err
		case p.home == subnet && p.target != "":
			return e.leaves(ctx, user, subnet)
		case p.home == "" || p.home == subnet || p.target != "":
			return subnet, nil
		}
		subnet = p.home
	}
	return "", fmt.Errorf("nobody says that it lives there: it has come to %s and gone on", subnet)
}

// leaves returns the subnet from which an account is on its way to one.
func (e *environment) leaves(ctx context.Context, user uint32, to string) (string, error) {
	cfg, err := e.config()
	if err != nil {
		return "", err
	}
	for _, subnet := range cfg.SubnetNames() {
		if subnet == to {
			continue
		}
		if p, err := e.where(ctx, user, subnet); err == nil && p.home == to && p.target != "" {
			return subnet, nil
		}
	}
	return "", fmt.Errorf("it is on its way to %s: say with -from where it comes from", to)
}

// where asks a node of a subnet.
func (e *environment) where(ctx context.Context, user uint32, subnet string) (place, error) {
	s, err := e.side(subnet, "")
	if err != nil {
		return place{}, err
	}
	defer s.conn.Close()
	return s.where(ctx, user)
}
