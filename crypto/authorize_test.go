package crypto

import (
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthServer is a service that was not written for this test.
const healthService = "grpc.health.v1.Health"

func serve(t *testing.T, n *Node, p Policy) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(n.ServerTLS())), grpc.UnaryInterceptor(p.Unary()), grpc.StreamInterceptor(p.Stream()))
	healthpb.RegisterHealthServer(s, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestPolicy(t *testing.T) {
	p := newPKI(t)
	w := p.node(RoleWorker, "w")
	nodes := map[Role]*Node{
		RoleDistributor: p.node(RoleDistributor, "d"),
		RoleStorage:     p.node(RoleStorage, "s"),
		RoleAdmin:       p.node(RoleAdmin, "a"),
	}
	for _, test := range []struct {
		name          string
		policy        Policy
		role          Role
		unary, stream codes.Code
		says          string
	}{
		{"allowed", Policy{healthService: {RoleDistributor}}, RoleDistributor, codes.OK, codes.OK, ""},
		{"one of two", Policy{healthService: {RoleDistributor, RoleAdmin}}, RoleAdmin, codes.OK, codes.OK, ""},
		{"another role", Policy{healthService: {RoleDistributor, RoleAdmin}}, RoleStorage, codes.PermissionDenied, codes.PermissionDenied,
			"/grpc.health.v1.Health/Check: storage s may not do that, it takes a distributor or a plutoctl"},
		{"method before service", Policy{healthService: {RoleStorage}, "/grpc.health.v1.Health/Watch": {RoleAdmin}}, RoleStorage, codes.OK, codes.PermissionDenied, ""},
		{"not in the policy", Policy{"x": {RoleStorage}}, RoleStorage, codes.PermissionDenied, codes.PermissionDenied, "it takes nobody"},
		{"no policy", nil, RoleStorage, codes.PermissionDenied, codes.PermissionDenied, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := serve(t, w, test.policy)
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(nodes[test.role].ClientTLS("w", RoleWorker))))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := healthpb.NewHealthClient(conn)
			_, err = client.Check(t.Context(), &healthpb.HealthCheckRequest{})
			if status.Code(err) != test.unary || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("unary: %v, want %v %s", err, test.unary, test.says)
			}
			stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			if status.Code(err) != test.stream {
				t.Errorf("stream: %v, want %v", err, test.stream)
			}
		})
	}
}

func TestPeerIdentityWithoutTLS(t *testing.T) {
	if _, err := Require(context.Background(), RoleAdmin); status.Code(err) != codes.Unauthenticated {
		t.Errorf("no connection: %v", err)
	}
}
