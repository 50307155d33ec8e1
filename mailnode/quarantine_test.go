package mailnode

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap/tunnel"
)

// A session whose account goes into quarantine ends as if the node were lost: its
// distributor takes it elsewhere. Others go on, and administrators are told.
func TestQuarantineDismissesSessions(t *testing.T) {
	n := startFencedNode(t)
	idle, busy := n.login(), n.login()
	busy.say(n.beat(), "a NOOP")
	busy.hear("a OK")
	m := n.service.members[0]
	op := &crdt.Op{Dot: crdt.Dot{Origin: 99, N: 1}, Time: crdt.TimeAt(crdt.EpochMillis+1000, 2), Account: fenceUser,
		Payload: &crdt.Append{Box: 4711, Messages: []crdt.Added{{UID: 17}}}}
	data, err := crdt.EncodeOp(op)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.replica.Apply(t.Context(), []causal.Entry{{Dot: op.Dot, Time: op.Time, Data: data}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*fencedSession{idle, busy} {
		if down, err := s.stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "quarantine") {
			t.Errorf("a session of the account: %v, %v", down, err)
		}
	}
	if _, refusal := n.service.open(t.Context(), &tunnel.Open{UserId: fenceUser, Login: "user7"}, [16]byte{9}, func() error { return nil }); refusal == nil || refusal.reason != tunnel.Refused_UNAVAILABLE {
		t.Errorf("a new session: %v", refusal)
	}
	if says := strings.Join(m.quarantines(), "\n"); !strings.Contains(says, "1 accounts are in quarantine") {
		t.Errorf("/readyz says %q", says)
	}
	got, err := m.status()
	if err != nil {
		t.Fatal(err)
	}
	if q := got.GetQuarantined(); len(q) != 1 || q[0].GetUser() != fenceUser || q[0].GetReason() == "" {
		t.Errorf("status %v", got)
	}
}
