package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
)

var memberListCommand = command{
	name: "member list", args: "[SUBNET]", about: "who belongs to the subnets of the file's nodes, and who was evicted", run: listMembers,
}

var memberEvictCommand = command{
	name: "member evict", args: "NODE [-subnet NAME] [-force]", about: "declares a member lost for ever, to all others", run: evictMember,
}

// listMembers asks every node of the file, for the subnets of which none was asked yet.
func listMembers(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("member list", "[SUBNET]")
	if err := set.Parse(args); err != nil {
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	shown := make(map[string]bool)
	var failed error
	for _, r := range cfg.AllReplicas() {
		reply, err := e.members(ctx, r.Name, set.Arg(0))
		if status.Code(err) == codes.NotFound {
			continue
		}
		if err != nil {
			failed = errors.Join(failed, remote(r.Name, err))
			continue
		}
		for _, s := range reply.GetSubnets() {
			if !shown[s.GetSubnet()] {
				shown[s.GetSubnet()] = true
				printSubnetMembers(e.stdout, s)
			}
		}
	}
	switch {
	case len(shown) == 0 && failed == nil:
		return fmt.Errorf("%s has no node that keeps subnet %s", cfg.Path, set.Arg(0))
	case len(shown) == 0:
		return failed
	}
	return nil
}

func (e *environment) members(ctx context.Context, node, subnet string) (*admin.MembersReply, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	conn, err := e.dial(node)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return admin.NewMembersClient(conn).List(ctx, &admin.MembersRequest{Subnet: subnet})
}

func printSubnetMembers(w io.Writer, s *admin.SubnetMembers) {
	fmt.Fprintf(w, "%s, epoch %d\n", s.GetSubnet(), len(s.GetEvicted()))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range append(s.GetMembers(), s.GetEvicted()...) {
		slot, origin := "?", "?"
		if m.GetOrigin() != 0 {
			slot, origin = fmt.Sprint(m.GetSlot()), crdt.Origin(m.GetOrigin()).String()
		}
		fmt.Fprintf(t, "  %s\tslot %s\tincarnation %s\t%s\n", m.GetName(), slot, origin, m.GetState())
	}
	t.Flush()
}

// evictMember asks the first node of the file that can do it.
func evictMember(ctx context.Context, e *environment, args []string) error {
	set := e.newFlags("member evict", "NODE [-subnet NAME] [-force]")
	subnet := set.String("subnet", "", "the `subnet`, where NODE is in several")
	force := set.Bool("force", false, "also if NODE is connected: it stops to serve at once")
	name, err := e.oneArg(set, args, "node")
	if err != nil {
		return err
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	var failed error
	for _, r := range cfg.AllReplicas() {
		if r.Name == name {
			continue
		}
		reply, err := e.evict(ctx, r, &admin.EvictRequest{Subnet: *subnet, Name: name, Force: *force})
		switch status.Code(err) {
		case codes.OK:
			m := reply.GetEvicted()
			fmt.Fprintf(e.stdout, "%s: %s (slot %d, incarnation %v) is evicted; epoch %d\n", reply.GetSubnet(), m.GetName(), m.GetSlot(), crdt.Origin(m.GetOrigin()), reply.GetEpoch())
			return nil
		case codes.FailedPrecondition, codes.InvalidArgument:
			return remote(r.Name, err)
		}
		failed = errors.Join(failed, remote(r.Name, err))
	}
	return errors.Join(fmt.Errorf("no node of %s could evict %s", cfg.Path, name), failed)
}

func (e *environment) evict(ctx context.Context, r config.Replica, req *admin.EvictRequest) (*admin.EvictReply, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	conn, err := e.dial(r.Name)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return admin.NewMembersClient(conn).Evict(ctx, req)
}
