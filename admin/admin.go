package admin

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/go-pluto/pluto/crypto"
)

// services are those of this package.
var services = []*grpc.ServiceDesc{
	&Status_ServiceDesc,
	&Verify_ServiceDesc,
	&Account_ServiceDesc,
	&Members_ServiceDesc,
	&Move_ServiceDesc,
	&Drain_ServiceDesc,
}

// maxMessage is the largest message, in bytes: a piece of a snapshot.
const maxMessage = 5 << 20

// Allow lets plutoctl, and nobody else, call the services of this package.
func Allow(p crypto.Policy) {
	for _, s := range services {
		p[s.ServiceName] = []crypto.Role{crypto.RoleAdmin}
	}
}

// Dial returns a connection to the mail address of the worker or storage node
// of that name, which is made with the first call. The caller closes it.
func Dial(who *crypto.Node, name, addr string) (*grpc.ClientConn, error) {
	tls := who.ClientTLS(name, crypto.RoleWorker, crypto.RoleStorage)
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(tls)), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", name, err)
	}
	return conn, nil
}
