package mailnode

import (
	"google.golang.org/grpc"

	"github.com/go-pluto/pluto/admin"
)

// registerAdmin offers what plutoctl may ask of this node. Who may call it is
// for admin.Allow to say.
func (n *Node) registerAdmin(s *grpc.Server) {
	admin.RegisterStatusServer(s, &statusService{node: n})
	admin.RegisterVerifyServer(s, &verifyService{node: n})
	admin.RegisterAccountServer(s, &accountService{node: n})
	admin.RegisterMembersServer(s, &memberService{node: n})
	admin.RegisterMoveServer(s, &moveService{node: n})
	admin.RegisterDrainServer(s, &drainService{node: n})
}
