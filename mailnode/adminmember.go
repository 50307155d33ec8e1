package mailnode

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/comm"
)

// memberService does plutoctl member.
type memberService struct {
	admin.UnimplementedMembersServer
	node *Node
}

// List implements admin.MembersServer.
func (s *memberService) List(_ context.Context, req *admin.MembersRequest) (*admin.MembersReply, error) {
	out := &admin.MembersReply{}
	for _, m := range s.node.members {
		if req.GetSubnet() == "" || req.GetSubnet() == m.subnet.Name {
			out.Subnets = append(out.Subnets, subnetMembers(m.group.Status()))
		}
	}
	if len(out.Subnets) == 0 {
		return nil, status.Errorf(codes.NotFound, "subnet %s is not kept by %s", req.GetSubnet(), s.node.opts.Node.Name)
	}
	return out, nil
}

func subnetMembers(s comm.Status) *admin.SubnetMembers {
	own := "this node"
	if err := serves(s); err != nil {
		own += ", not serving: " + err.Error()
	}
	out := &admin.SubnetMembers{Subnet: s.Subnet}
	out.Members = append(out.Members, &admin.Member{Name: s.Name, Slot: uint32(s.Slot), Origin: uint64(s.Origin), State: own})
	gone := make(map[uint64]bool)
	for _, e := range s.Evicted {
		gone[uint64(e.Origin)] = true
		out.Evicted = append(out.Evicted, &admin.Member{Name: e.Name, Slot: uint32(e.Slot), Origin: uint64(e.Origin), State: "evicted"})
	}
	for _, p := range s.Peers {
		m := &admin.Member{Name: p.Name, Slot: uint32(p.Slot), Origin: uint64(p.Origin), State: memberState(p)}
		if gone[m.Origin] {
			m.State = "evicted, and not replaced yet"
		}
		out.Members = append(out.Members, m)
	}
	return out
}

func memberState(p comm.PeerStatus) string {
	switch {
	case p.Beyond:
		return "connected, takes a snapshot"
	case p.Sending && p.Behind:
		return "connected, catches up"
	case p.Sending || p.Receiving:
		return "connected"
	case p.Origin == 0:
		return "never met"
	}
	return "away"
}

// Evict implements admin.MembersServer.
func (s *memberService) Evict(_ context.Context, req *admin.EvictRequest) (*admin.EvictReply, error) {
	m, err := s.node.memberWith(req.GetSubnet(), req.GetName())
	if err != nil {
		return nil, err
	}
	e, err := m.group.Evict(req.GetName(), req.GetForce())
	switch {
	case errors.Is(err, comm.ErrNotMember):
		return nil, status.Errorf(codes.NotFound, "%v: take it out of the configuration files", err)
	case err != nil:
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return &admin.EvictReply{
		Subnet:  m.subnet.Name,
		Evicted: &admin.Member{Name: e.Name, Slot: uint32(e.Slot), Origin: uint64(e.Origin), State: "evicted"},
		Epoch:   uint32(len(m.group.Status().Evicted)),
	}, nil
}

// memberWith returns the node's part in the subnet of that name, or in the only one
// in which it has the peer.
func (n *Node) memberWith(subnet, peer string) (*member, error) {
	var found []*member
	for _, m := range n.members {
		if subnet != "" && subnet != m.subnet.Name {
			continue
		}
		for _, p := range m.subnet.Peers {
			if p.Name == peer {
				found = append(found, m)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, status.Errorf(codes.NotFound, "%s has no peer %s there", n.opts.Node.Name, peer)
	case 1:
		return found[0], nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "%s is in %d subnets of %s: name one", peer, len(found), n.opts.Node.Name)
}
