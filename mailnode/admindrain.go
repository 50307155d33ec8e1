package mailnode

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
)

// ErrDrained is what [Node.Failed] receives when an administrator has had the
// node's sessions moved away: it is to be stopped, and nothing is wrong.
var ErrDrained = errors.New("sessions were moved away, as an administrator wanted")

// drainService answers plutoctl drain.
type drainService struct {
	admin.UnimplementedDrainServer
	node *Node
}

// Run implements admin.DrainServer.
func (s *drainService) Run(_ *admin.DrainRequest, stream admin.Drain_RunServer) error {
	n, ctx := s.node, stream.Context()
	reply := &admin.DrainReply{Sessions: uint32(n.tunnels.Sessions())}
	n.tunnels.Drain()
	if err := n.tunnels.Emptied(ctx); err != nil {
		return status.Errorf(codes.FailedPrecondition, "%d sessions are left, which no other node has taken yet; they go on leaving, and SIGTERM ends the rest", n.tunnels.Sessions())
	}
	if err := stream.Send(reply); err != nil {
		return err
	}
	// The end of the process would overtake the answer.
	ctx, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	<-ctx.Done()
	select {
	case n.failed <- ErrDrained:
	default: // it ends already
	}
	return nil
}
