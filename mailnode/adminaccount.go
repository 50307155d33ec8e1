package mailnode

import (
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// accountService does plutoctl account.
type accountService struct {
	admin.UnimplementedAccountServer
	node *Node
}

// memberOf returns the member that keeps a user, or a gRPC status.
func (n *Node) memberOf(user uint32) (*member, error) {
	for _, m := range n.members {
		if m.subnet.Users.Contains(user) {
			return m, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "user %d is not kept by %s", user, n.opts.Node.Name)
}

// Snapshot implements admin.AccountServer.
func (s *accountService) Snapshot(req *admin.AccountRequest, stream grpc.ServerStreamingServer[admin.AccountPiece]) error {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return err
	}
	snap, err := m.replica.Snapshot(crdt.AccountID(req.GetUser()))
	if err != nil {
		return accountStatus(err)
	}
	for {
		piece, e := snap.Next()
		if errors.Is(e, io.EOF) {
			break
		}
		if e == nil {
			e = stream.Send(&admin.AccountPiece{User: req.GetUser(), Data: piece})
		}
		if e != nil {
			err = e
			break
		}
	}
	if err := errors.Join(err, snap.Close()); err != nil {
		return accountStatus(err)
	}
	return nil
}

// Reload implements admin.AccountServer.
func (s *accountService) Reload(stream grpc.ClientStreamingServer[admin.AccountPiece, admin.ReloadReply]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	m, err := s.node.in(first.GetSubnet(), first.GetUser())
	if err != nil {
		return err
	}
	next := func() ([]byte, error) {
		p, err := stream.Recv()
		return p.GetData(), err
	}
	if err := m.replica.ReloadAccount(stream.Context(), crdt.AccountID(first.GetUser()), next); err != nil {
		return accountStatus(err)
	}
	return stream.SendAndClose(&admin.ReloadReply{})
}

// accountStatus makes of a mailstore's error a gRPC status.
func accountStatus(err error) error {
	code := codes.Internal
	switch {
	case errors.Is(err, mailstore.ErrUnavailable), errors.Is(err, mailstore.ErrWithheld), errors.Is(err, mailstore.ErrLoading):
		code = codes.FailedPrecondition
	case errors.Is(err, mailstore.ErrCannot):
		code = codes.FailedPrecondition
	case errors.Is(err, mailstore.ErrMissingContents): // what came before has to be done again
		code = codes.Aborted
	case errors.Is(err, mailstore.ErrPiece):
		code = codes.InvalidArgument
	}
	return status.Error(code, err.Error())
}
