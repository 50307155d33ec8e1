package comm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// ServiceOptions is what a Service is made from.
type ServiceOptions struct {
	// Identify returns the node name in the caller's certificate. An error
	// refuses the call.
	Identify func(ctx context.Context) (name string, err error)
	Logger   log.Logger // nil: silent
}

// Service is the Receiver server of one listener, for the groups that it is
// given. It is safe for concurrent use.
type Service struct {
	UnimplementedReceiverServer
	options ServiceOptions

	mu      sync.Mutex
	groups  map[string]*Group
	refused map[string]string // by caller: what was logged last
}

// NewService makes a service; groups may be added later too.
func NewService(options ServiceOptions, groups ...*Group) (*Service, error) {
	if options.Identify == nil {
		return nil, errors.New("replication service without a way to identify callers")
	}
	if options.Logger == nil {
		options.Logger = log.NewNopLogger()
	}
	s := &Service{options: options, groups: make(map[string]*Group), refused: make(map[string]string)}
	for _, g := range groups {
		s.Add(g)
	}
	return s, nil
}

// Add offers a group. A group of the same subnet that was there before is replaced.
func (s *Service) Add(g *Group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[g.cfg.Subnet] = g
}

// streamWindow is how many bytes of a stream may be under way or wait to be read:
// 50 MB a second at a round trip of 160 ms.
const streamWindow = 8 << 20

// ServerOptions returns what a grpc.Server that carries a Service needs: limits,
// and signs of life on the connection.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxFrame),
		grpc.MaxConcurrentStreams(64),
		// Fixed, so that a stream over a long way has its full rate from the
		// first byte on, and a bound.
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(2 * streamWindow),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 5 * time.Second, Timeout: 5 * time.Second}),
		grpc.MaxHeaderListSize(16 << 10),
	}
}

// Replicate implements ReceiverServer: it takes operations from one peer.
func (s *Service) Replicate(stream grpc.BidiStreamingServer[Up, Down]) error {
	name, err := s.options.Identify(stream.Context())
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "caller not identified: %v", err)
	}
	hello, err := receiveHello(stream)
	if err != nil {
		return err
	}
	g, err := s.find(name, hello.GetSubnet())
	if err == nil {
		err = g.serve(stream, hello, name)
	}
	s.log(name, hello.GetSubnet(), err)
	return err
}

// find returns the group of a subnet that a node wants to talk to, if it may.
func (s *Service) find(name, subnet string) (*Group, error) {
	s.mu.Lock()
	g := s.groups[subnet]
	s.mu.Unlock()
	if g == nil {
		return nil, status.Errorf(codes.FailedPrecondition, "subnet %q is not replicated here", subnet)
	}
	if g.senders[name] == nil {
		return nil, status.Errorf(codes.PermissionDenied, "%q is not a peer of %q in subnet %q", name, g.cfg.Name, subnet)
	}
	return g, nil
}

// log reports how a call ended; what goes on failing in the same way is said once.
func (s *Service) log(name, subnet string, err error) {
	if err == nil {
		return
	}
	lvl := level.Warn
	s.mu.Lock()
	if s.refused[name] == err.Error() || len(s.refused) > 1000 {
		lvl = level.Debug
	} else {
		s.refused[name] = err.Error()
	}
	s.mu.Unlock()
	lvl(s.options.Logger).Log("msg", "stream from peer ended", "peer", name, "subnet", subnet, "err", err)
}

// receiveHello waits for the first message, but not for ever.
func receiveHello(stream grpc.BidiStreamingServer[Up, Down]) (*Hello, error) {
	type result struct {
		up  *Up
		err error
	}
	got := make(chan result, 1)
	go func() {
		up, err := stream.Recv() // ends with the call at the latest
		got <- result{up, err}
	}()
	timer := time.NewTimer(handshakeTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil, status.Errorf(codes.DeadlineExceeded, "no hello within %v", handshakeTimeout)
	case r := <-got:
		if r.err != nil {
			return nil, r.err
		}
		if r.up.GetHello() == nil {
			return nil, status.Error(codes.InvalidArgument, "the first message was no hello")
		}
		if len(r.up.GetHello().GetSubnet()) > 255 || len(r.up.GetHello().GetName()) > 255 {
			return nil, status.Error(codes.InvalidArgument, fmt.Sprintf("name of %d bytes", len(r.up.GetHello().GetName())))
		}
		return r.up.GetHello(), nil
	}
}
