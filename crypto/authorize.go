package crypto

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// PeerIdentity returns who called an RPC on a server with [Node.ServerTLS]. The
// error is a gRPC status, Unauthenticated.
func PeerIdentity(ctx context.Context) (Identity, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Identity{}, status.Error(codes.Unauthenticated, "not called over the network")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return Identity{}, status.Error(codes.Unauthenticated, "the connection has no TLS")
	}
	who, err := verifiedIdentity(info.State)
	if err != nil {
		return Identity{}, status.Errorf(codes.Unauthenticated, "peer %v: %v", p.Addr, err)
	}
	return who, nil
}

// Require returns the caller of an RPC if it has one of the roles. The error is
// a gRPC status, PermissionDenied or Unauthenticated.
func Require(ctx context.Context, roles ...Role) (Identity, error) {
	who, err := PeerIdentity(ctx)
	if err != nil {
		return Identity{}, err
	}
	if !slices.Contains(roles, who.Role) {
		return Identity{}, status.Errorf(codes.PermissionDenied, "%s may not do that, it takes %s", who, roleList(roles))
	}
	return who, nil
}

func roleList(roles []Role) string {
	if len(roles) == 0 {
		return "nobody"
	}
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = fmt.Sprintf("a %s", r)
	}
	return strings.Join(names, " or ")
}

// Policy says which roles may call which service: the key is the service's full
// name, as in "pluto.tunnel.Node", or one method's, as in
// "/pluto.tunnel.Node/Session", which goes first. Services that are not in it
// may be called by nobody.
type Policy map[string][]Role

// check applies the policy to a call.
func (p Policy) check(ctx context.Context, method string) error {
	roles, ok := p[method]
	if !ok {
		service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		roles = p[service]
	}
	if _, err := Require(ctx, roles...); err != nil {
		return status.Errorf(status.Code(err), "%s: %s", method, status.Convert(err).Message())
	}
	return nil
}

// Unary applies the policy to single calls.
func (p Policy) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if err := p.check(ctx, info.FullMethod); err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// Stream applies the policy to streams, once, when they are opened.
func (p Policy) Stream() grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if err := p.check(stream.Context(), info.FullMethod); err != nil {
			return err
		}
		return handler(srv, stream)
	}
}
