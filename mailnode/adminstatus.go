package mailnode

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// statusService answers plutoctl status.
type statusService struct {
	admin.UnimplementedStatusServer
	node *Node
}

// Node implements admin.StatusServer.
func (s *statusService) Node(context.Context, *admin.StatusRequest) (*admin.NodeStatus, error) {
	n := s.node
	state := n.State()
	out := &admin.NodeStatus{
		Name: n.opts.Node.Name, Role: string(n.opts.Node.Role),
		NotReady: state.NotReady, Degraded: state.Degraded,
		Sessions: uint32(n.tunnels.Sessions()),
	}
	for _, m := range n.members {
		subnet, err := m.status()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "subnet %s: %v", m.subnet.Name, err)
		}
		out.Subnets = append(out.Subnets, subnet)
	}
	return out, nil
}

func (m *member) status() (*admin.SubnetStatus, error) {
	s := m.group.Status()
	out := &admin.SubnetStatus{
		Name: s.Subnet, FirstUser: m.subnet.Users.Start, LastUser: m.subnet.Users.End,
		Slot: uint32(s.Slot), Origin: uint64(s.Origin),
		Operations: operations(s.Logged), Stable: operations(s.Stable),
		Queued: uint64(s.QueuedOperations), QueuedBytes: uint64(s.QueuedBytes),
	}
	for _, p := range s.Peers {
		out.Members = append(out.Members, memberStatus(p))
	}
	list, err := m.replica.Quarantined()
	if err != nil {
		return nil, err
	}
	for _, q := range list {
		out.Quarantined = append(out.Quarantined, &admin.Quarantined{
			User: uint32(q.Account), SinceMilliseconds: q.Time.UnixMilli(), Reason: q.Reason,
		})
	}
	return out, nil
}

func memberStatus(p comm.PeerStatus) *admin.MemberStatus {
	return &admin.MemberStatus{
		Name: p.Name, Address: p.Addr, Origin: uint64(p.Origin),
		Sending: p.Sending, Receiving: p.Receiving, Error: p.Error,
		Operations: operations(p.Acked), Lacks: p.LagOperations, LagMilliseconds: p.Lag.Milliseconds(),
		Owes: p.Missing, Behind: p.Behind, ClockSkewMilliseconds: p.ClockSkew.Milliseconds(),
	}
}

// operations returns how many operations a vector stands for.
func operations(v crdt.VC) (n uint64) {
	for _, upTo := range v.All() {
		n += upTo
	}
	return n
}
