package admin

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-kit/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crypto"
	"github.com/go-pluto/pluto/crypto/pki"
)

// A service that is not in the list could not be called by anybody.
func TestAllServicesAreListed(t *testing.T) {
	found := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("pluto.admin", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			found++
			name := string(f.Services().Get(i).FullName())
			if !slices.ContainsFunc(services, func(s *grpc.ServiceDesc) bool { return s.ServiceName == name }) {
				t.Errorf("%s is not in services", name)
			}
		}
		return true
	})
	if found != len(services) {
		t.Errorf("%d services are defined, %d listed", found, len(services))
	}
}

// Plutoctl with the certificate that pluto-pki makes may call; nodes may not.
func TestPlutoctlAlone(t *testing.T) {
	dir := t.TempDir()
	private := func(name string) string { return filepath.Join(dir, name) }
	cfg := &config.Config{
		RootCertLoc: private(pki.RootCert),
		Distributor: &config.Distributor{Name: "edge", InternalCertLoc: private("d-cert.pem"), InternalKeyLoc: private("d-key.pem")},
		Storage:     &config.Storage{Node: config.Node{Name: "storage", CertLoc: private("s-cert.pem"), KeyLoc: private("s-key.pem")}},
	}
	if err := pki.Generate(pki.Options{Configs: []*config.Config{cfg}, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	load := func(role crypto.Role, name, cert, key string) *crypto.Node {
		t.Helper()
		n, err := crypto.LoadNode(cfg.RootCertLoc, private(cert), private(key), crypto.Identity{Role: role, Name: name}, log.NewNopLogger(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	storage := load(crypto.RoleStorage, "storage", "s-cert.pem", "s-key.pem")
	addr := serve(t, storage)
	for _, c := range []struct {
		caller *crypto.Node
		server string
		want   codes.Code
	}{
		{load(crypto.RoleAdmin, pki.AdminName, pki.AdminCert, pki.AdminKey), "storage", codes.OK},
		{load(crypto.RoleAdmin, pki.AdminName, pki.AdminCert, pki.AdminKey), "another", codes.Unavailable},
		{load(crypto.RoleDistributor, "edge", "d-cert.pem", "d-key.pem"), "storage", codes.PermissionDenied},
		{storage, "storage", codes.PermissionDenied},
	} {
		conn, err := Dial(c.caller, c.server, addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err = NewStatusClient(conn).Node(ctx, &StatusRequest{})
		cancel()
		if status.Code(err) != c.want {
			t.Errorf("%v asks %s: %v, want %v", c.caller.Identity(), c.server, err, c.want)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

type answering struct{ UnimplementedStatusServer }

func (answering) Node(context.Context, *StatusRequest) (*NodeStatus, error) {
	return &NodeStatus{}, nil
}

// serve runs a node's administration alone and returns where.
func serve(t *testing.T, who *crypto.Node) string {
	t.Helper()
	policy := crypto.Policy{}
	Allow(policy)
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(who.ServerTLS())), grpc.UnaryInterceptor(policy.Unary()), grpc.StreamInterceptor(policy.Stream()))
	RegisterStatusServer(s, answering{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
