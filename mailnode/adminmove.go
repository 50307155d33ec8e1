package mailnode

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// moveService does plutoctl user move.
type moveService struct {
	admin.UnimplementedMoveServer
	node *Node
}

// maxArrival bounds the snapshot of an account that is moved, in bytes: the target
// holds it in memory.
const maxArrival = 1 << 30

// in returns the member of a subnet, or that which keeps a user.
func (n *Node) in(subnet string, user uint32) (*member, error) {
	if subnet == "" {
		return n.memberOf(user)
	}
	return n.memberIn(subnet)
}

// memberIn returns the member in the subnet of that name.
func (n *Node) memberIn(subnet string) (*member, error) {
	for _, m := range n.members {
		if m.subnet.Name == subnet {
			return m, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "%s keeps no subnet %q", n.opts.Node.Name, subnet)
}

// Where implements admin.MoveServer.
func (s *moveService) Where(_ context.Context, req *admin.MoveRequest) (*admin.WhereReply, error) {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return nil, err
	}
	home, target, err := m.replica.Home(crdt.AccountID(req.GetUser()))
	if err != nil {
		return nil, accountStatus(err)
	}
	return &admin.WhereReply{Home: home, Target: target}, nil
}

// Missing implements admin.MoveServer.
func (s *moveService) Missing(stream grpc.BidiStreamingServer[admin.AccountPiece, admin.MissingContent]) error {
	m, _, pieces, err := s.arrival(stream.Recv)
	if err != nil {
		return err
	}
	roots, err := m.replica.MissingOf(stream.Context(), pieces)
	if err != nil {
		return accountStatus(err)
	}
	for _, root := range roots {
		if err := stream.Send(&admin.MissingContent{Root: root[:]}); err != nil {
			return err
		}
	}
	return nil
}

// arrival receives a snapshot: the first message says of whom.
func (s *moveService) arrival(recv func() (*admin.AccountPiece, error)) (m *member, user crdt.AccountID, pieces [][]byte, err error) {
	first, err := recv()
	if err != nil {
		return nil, 0, nil, err
	}
	if m, err = s.node.in(first.GetSubnet(), first.GetUser()); err != nil {
		return nil, 0, nil, err
	}
	for size := 0; ; {
		p, err := recv()
		if errors.Is(err, io.EOF) {
			return m, crdt.AccountID(first.GetUser()), pieces, nil
		}
		if err != nil {
			return nil, 0, nil, err
		}
		if size += len(p.GetData()); size > maxArrival {
			return nil, 0, nil, status.Errorf(codes.ResourceExhausted, "the account has more than %d bytes beside its contents", maxArrival)
		}
		pieces = append(pieces, p.GetData())
	}
}

// Content implements admin.MoveServer.
func (s *moveService) Content(req *admin.ContentRequest, stream grpc.ServerStreamingServer[admin.ContentPiece]) error {
	m, err := s.node.in(req.GetSubnet(), 0)
	if err != nil {
		return err
	}
	if len(req.GetRoot()) != len(crdt.Root{}) {
		return status.Error(codes.InvalidArgument, "no content has that name")
	}
	for i := 0; ; i++ {
		data, last, err := m.replica.BodyChunk(crdt.Root(req.GetRoot()), i)
		if err != nil {
			return accountStatus(err)
		}
		if data == nil && !last {
			return status.Errorf(codes.NotFound, "content %x is not here", req.GetRoot())
		}
		if err := stream.Send(&admin.ContentPiece{Root: req.GetRoot(), Index: uint32(i), Data: data, Last: last}); err != nil || last {
			return err
		}
	}
}

// Take implements admin.MoveServer.
func (s *moveService) Take(stream grpc.ClientStreamingServer[admin.ContentPiece, admin.TakeReply]) error {
	var m *member
	for {
		p, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&admin.TakeReply{})
		}
		if err == nil && m == nil {
			m, err = s.node.in(p.GetSubnet(), 0)
		}
		if err != nil {
			return err
		}
		if len(p.GetRoot()) != len(crdt.Root{}) {
			return status.Error(codes.InvalidArgument, "no content has that name")
		}
		if err := m.replica.PutBodyChunk(crdt.Root(p.GetRoot()), int(p.GetIndex()), p.GetData(), p.GetLast()); err != nil {
			return accountStatus(err)
		}
	}
}

// awayTick is how often it is looked whether something is stable.
const awayTick = 100 * time.Millisecond

// SendAway implements admin.MoveServer. When the caller goes away in the middle the
// account stays on its way: the command can be given again, or taken back.
func (s *moveService) SendAway(req *admin.MoveRequest, stream grpc.ServerStreamingServer[admin.AwayProgress]) error {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return err
	}
	if home, _, err := m.replica.Home(crdt.AccountID(req.GetUser())); err == nil && home == "" && !m.subnet.Users.Contains(req.GetUser()) {
		return status.Errorf(codes.FailedPrecondition, "account %d does not live in %s", req.GetUser(), m.subnet.Name)
	}
	for _, p := range m.group.Status().Peers {
		if !p.Sending || !p.Receiving {
			return status.Errorf(codes.FailedPrecondition, "member %s of %s cannot be reached: what it has of the account would be left behind", p.Name, m.subnet.Name)
		}
	}
	dot, err := m.replica.SetHome(stream.Context(), crdt.AccountID(req.GetUser()), req.GetTo(), req.GetTarget())
	if err != nil {
		return accountStatus(err)
	}
	err = m.awaitStable(stream.Context(), crdt.VC{}.With(dot.Origin, dot.N), func(waiting []string) error {
		return stream.Send(&admin.AwayProgress{Waiting: waiting})
	})
	if err != nil {
		return err
	}
	return stream.Send(&admin.AwayProgress{Final: true})
}

// awaitStable returns when every member has applied what is in v, and meanwhile tells
// every second who has not.
func (m *member) awaitStable(ctx context.Context, v crdt.VC, tell func(waiting []string) error) error {
	tick := time.NewTicker(awayTick)
	defer tick.Stop()
	for told := time.Now(); ; {
		now := m.group.Status()
		if len(now.Peers) == 0 || v.LessEqual(now.Stable) {
			return nil
		}
		if time.Since(told) >= time.Second {
			told = time.Now()
			if err := tell(waiting(now, v)); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// waiting returns the peers that have not logged all that is in v.
func waiting(s comm.Status, v crdt.VC) []string {
	var names []string
	for _, p := range s.Peers {
		if !v.LessEqual(p.Acked) {
			names = append(names, p.Name)
		}
	}
	return names
}

// Import implements admin.MoveServer.
func (s *moveService) Import(stream grpc.ClientStreamingServer[admin.AccountPiece, admin.ImportReply]) error {
	m, user, pieces, err := s.arrival(stream.Recv)
	if err != nil {
		return err
	}
	err = m.replica.Import(stream.Context(), user, s.node.opts.Node.Name, pieces)
	if err != nil && !errors.Is(err, mailstore.ErrNotEmpty) {
		return accountStatus(err)
	}
	return stream.SendAndClose(&admin.ImportReply{})
}

// Settle implements admin.MoveServer.
func (s *moveService) Settle(ctx context.Context, req *admin.MoveRequest) (*admin.SettleReply, error) {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return nil, err
	}
	if _, err := m.replica.SetHome(ctx, crdt.AccountID(req.GetUser()), req.GetTo(), ""); err != nil {
		return nil, accountStatus(err)
	}
	return &admin.SettleReply{}, nil
}

// Whole implements admin.MoveServer.
func (s *moveService) Whole(req *admin.MoveRequest, stream grpc.ServerStreamingServer[admin.WholeProgress]) error {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return err
	}
	home, refused := m.home(req.GetUser())
	if refused != nil {
		return status.Error(codes.FailedPrecondition, refused.err.Error())
	}
	if home != m.subnet.Name {
		return status.Errorf(codes.FailedPrecondition, "account %d lives in %s", req.GetUser(), home)
	}
	err = m.awaitStable(stream.Context(), m.replica.Logged(), func(waiting []string) error {
		return stream.Send(&admin.WholeProgress{Waiting: waiting})
	})
	if err != nil {
		return err
	}
	n, err := m.replica.ReadContents(stream.Context(), crdt.AccountID(req.GetUser()))
	if err != nil {
		return accountStatus(err)
	}
	return stream.Send(&admin.WholeProgress{Whole: true, Contents: uint64(n)})
}

// Purge implements admin.MoveServer.
func (s *moveService) Purge(ctx context.Context, req *admin.MoveRequest) (*admin.PurgeReply, error) {
	m, err := s.node.in(req.GetSubnet(), req.GetUser())
	if err != nil {
		return nil, err
	}
	n, err := m.replica.Purge(ctx, crdt.AccountID(req.GetUser()))
	if err != nil {
		return nil, accountStatus(err)
	}
	return &admin.PurgeReply{Messages: uint64(n)}, nil
}
