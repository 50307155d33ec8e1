package mailnode

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-kit/log"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/mailstore"
)

// fenceUser is the user whose sessions are fenced.
const fenceUser = 7

// openTestService returns a service with one member, which has no peers.
func openTestService(t *testing.T) *service {
	t.Helper()
	store, err := mailstore.Open("data", mailstore.Options{FS: vfs.NewMem(), MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	subnet := config.Subnet{Name: "s", Slot: 1, Users: config.UserRange{Start: 1, End: 10}}
	m := &member{subnet: subnet, primary: true}
	replica, err := store.Replica(mailstore.ReplicaOptions{Subnet: "s", Slot: 1, Leader: true, Separator: '.',
		Policy: crdt.DefaultPolicy(), Dismissed: m.present.dismiss})
	if err != nil {
		t.Fatal(err)
	}
	group, err := comm.NewGroup(replica, comm.Config{Subnet: "s", Name: "w"})
	if err != nil {
		t.Fatal(err)
	}
	replica.SetReplicator(group)
	group.Start(t.Context())
	t.Cleanup(group.Close)
	m.replica, m.group = replica, group
	return &service{members: []*member{m}, options: imap.Options{Separator: '.'}, logger: log.NewNopLogger()}
}

// A message has been taken when the lease lapses, and is not committed; nor is
// anything after it.
func TestLeaseLapsesBeforeCommit(t *testing.T) {
	s, lapsed := openTestService(t), error(nil)
	a, refusal := s.open(t.Context(), &tunnel.Open{UserId: fenceUser, Login: "user7"}, imap.SessionID{1}, func() error { return lapsed })
	if refusal != nil {
		t.Fatal(refusal.err)
	}
	defer a.Close()
	staged, err := a.Stage(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(staged, "a\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := staged.Finish(); err != nil {
		t.Fatal(err)
	}
	lapsed = tunnel.ErrLapsed
	if _, err := a.Append(t.Context(), "INBOX", []imap.NewMessage{{Staging: staged, Date: time.Unix(0, 0)}}); !errors.Is(err, imap.ErrUnavailable) || !errors.Is(err, lapsed) {
		t.Errorf("APPEND: %v", err)
	}
	if err := a.Create(t.Context(), "A", ""); !errors.Is(err, lapsed) {
		t.Errorf("CREATE: %v", err)
	}
	if st, err := a.Status(t.Context(), "INBOX"); err != nil || st.Messages != 0 {
		t.Errorf("%d messages, %v", st.Messages, err)
	}
	if _, refusal := s.open(t.Context(), &tunnel.Open{UserId: fenceUser, Login: "user7"}, imap.SessionID{2}, func() error { return lapsed }); refusal == nil || refusal.reason != tunnel.Refused_UNAVAILABLE {
		t.Errorf("opened late: %v", refusal)
	}
}

// C22: a command that lay in the node's socket while it hung is not executed, and
// its session ends. The session of a client that said nothing meanwhile goes on.
func TestLateCommandIsNotExecuted(t *testing.T) {
	n := startFencedNode(t)
	late, idle := n.login(), n.login()
	beat := n.beat()
	late.say(beat, "a CREATE early")
	late.hear("a OK")
	n.passed.Add(int64(tunnel.LeaseTime + 1))
	late.say(beat, "b CREATE late")
	if down, err := late.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the late command: %v, %v", down, err)
	}
	idle.say(n.beat(), `c LIST "" *`)
	if list := idle.hear("c OK"); !strings.Contains(list, "early") || strings.Contains(list, "late") {
		t.Errorf("mailboxes: %s", list)
	}
}

// fencedNode is a service whose clock a test moves, behind a tunnel whose
// distributor it plays.
type fencedNode struct {
	t       *testing.T
	passed  atomic.Int64
	client  tunnel.NodeClient
	service *service
}

func startFencedNode(t *testing.T) *fencedNode {
	t.Helper()
	n := &fencedNode{t: t, service: openTestService(t)}
	start := time.Unix(1700000000, 0)
	tunnels := tunnel.NewServerAt(n.service.run, func() time.Time { return start.Add(time.Duration(n.passed.Load())) })
	server := grpc.NewServer(tunnel.ServerOptions()...)
	tunnel.RegisterNodeServer(server, tunnels)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), append(tunnel.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	n.client = tunnel.NewNodeClient(conn)
	t.Cleanup(func() {
		conn.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := tunnels.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

// beat returns the node's beat of this moment.
func (n *fencedNode) beat() uint64 {
	n.t.Helper()
	stream, err := n.client.Beats(n.t.Context(), &tunnel.BeatsRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	b, err := stream.Recv()
	if err != nil {
		n.t.Fatal(err)
	}
	return b.GetTime()
}

// fencedSession is a client's session, by hand.
type fencedSession struct {
	t      *testing.T
	stream tunnel.Node_SessionClient
}

func (n *fencedNode) login() *fencedSession {
	n.t.Helper()
	stream, err := n.client.Session(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	s := &fencedSession{n.t, stream}
	s.send(&tunnel.Up{Beat: n.beat(), Message: &tunnel.Up_Open{Open: &tunnel.Open{
		UserId: fenceUser, Login: "user7", Session: make([]byte, 16), Tag: "l"}}})
	s.hear("l OK")
	return s
}

func (s *fencedSession) send(m *tunnel.Up) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// say sends a line as of a beat.
func (s *fencedSession) say(beat uint64, line string) {
	s.t.Helper()
	s.send(&tunnel.Up{Beat: beat, Message: &tunnel.Up_Data{Data: []byte(line + "\r\n")}})
}

// hear returns an answer with a line that begins so.
func (s *fencedSession) hear(prefix string) string {
	s.t.Helper()
	down, err := s.stream.Recv()
	if err != nil {
		s.t.Fatal(err)
	}
	text := string(down.GetAnswer().GetData())
	if !strings.Contains("\n"+text, "\n"+prefix) {
		s.t.Fatalf("answer %q, want %q", text, prefix)
	}
	return text
}
