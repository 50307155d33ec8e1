package mailnode

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// verifyService does plutoctl verify.
type verifyService struct {
	admin.UnimplementedVerifyServer
	node *Node
}

// Run implements admin.VerifyServer.
func (s *verifyService) Run(req *admin.VerifyRequest, stream grpc.ServerStreamingServer[admin.VerifyReport]) error {
	found := false
	for _, m := range s.node.members {
		if req.GetSubnet() != "" && req.GetSubnet() != m.subnet.Name {
			continue
		}
		found = true
		if err := m.verify(req.GetRepair(), stream); err != nil {
			return status.Errorf(codes.Internal, "subnet %s: %v", m.subnet.Name, err)
		}
	}
	if !found {
		return status.Errorf(codes.NotFound, "%s keeps no subnet %q", s.node.opts.Node.Name, req.GetSubnet())
	}
	if s.node.texts.db == nil || req.GetSubnet() != "" {
		return nil
	}
	return s.texts(stream)
}

// texts checks the node's text index. It is made anew by itself when it is damaged.
func (s *verifyService) texts(stream grpc.ServerStreamingServer[admin.VerifyReport]) error {
	const what = "text index"
	n, err := s.node.texts.db.Check(stream.Context())
	if ctx := stream.Context().Err(); ctx != nil {
		return status.FromContextError(ctx).Err()
	}
	if err != nil {
		report := &admin.VerifyReport{Subnet: what, Damage: &admin.Damage{What: what, Repaired: true, Error: err.Error() + "; it is made anew from the messages"}}
		if err := stream.Send(report); err != nil {
			return err
		}
	}
	return stream.Send(&admin.VerifyReport{Subnet: what, Records: n, Done: true})
}

// verify checks the replica and tells the administrator. If that one is gone it ends.
func (m *member) verify(repair bool, stream grpc.ServerStreamingServer[admin.VerifyReport]) error {
	send := func(v mailstore.Verified, r *admin.VerifyReport) error {
		r.Subnet, r.Records, r.Operations, r.Contents, r.Bytes = m.subnet.Name, v.Records, v.Operations, v.Contents, v.Bytes
		return stream.Send(r)
	}
	var sum mailstore.Verified
	v := mailstore.Verification{
		Repair: repair,
		Resync: func(_ context.Context, user crdt.AccountID) error { return m.group.Reload(user) },
		// An administrator who is gone is found out by the context.
		Progress: func(v mailstore.Verified) { sum = v; _ = send(sum, &admin.VerifyReport{}) },
		Report: func(d mailstore.Damage) {
			_ = send(sum, &admin.VerifyReport{Damage: &admin.Damage{
				What: d.What, User: uint32(d.Account), Repaired: d.Repaired, Error: d.Err.Error(),
			}})
		},
	}
	sum, err := m.replica.Verify(stream.Context(), v)
	if err != nil {
		return err
	}
	return send(sum, &admin.VerifyReport{Done: true})
}
