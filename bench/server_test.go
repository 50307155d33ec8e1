package bench

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapserver"
	"github.com/emersion/go-imap/v2/imapserver/imapmemserver"
)

const testUsers = 4

// startServer runs an in-memory IMAP server with the accounts user1/pass1 and so
// on. It is not safe with several sessions in one mailbox: see fakeServer.
func startServer(t *testing.T) Target {
	t.Helper()
	mem := imapmemserver.New()
	for i := 1; i <= testUsers; i++ {
		n := strconv.Itoa(i)
		u := imapmemserver.NewUser("user"+n, "pass"+n)
		if err := u.Create("INBOX", nil); err != nil {
			t.Fatal(err)
		}
		mem.AddUser(u)
	}
	srv := imapserver.New(&imapserver.Options{
		InsecureAuth: true,
		Caps:         imap.CapSet{imap.CapIMAP4rev1: {}, imap.CapIdle: {}, imap.CapUIDPlus: {}, imap.CapMove: {}, imap.CapLiteralPlus: {}},
		NewSession: func(*imapserver.Conn) (imapserver.Session, *imapserver.GreetingData, error) {
			return mem.NewSession(), nil, nil
		},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	return Target{Addr: l.Addr().String(), Timeout: 20 * time.Second}
}

func testOptions(target Target) Options {
	return Options{Target: target, Users: Users{Name: "user%d", Password: "pass%d", First: 1, Last: testUsers}, Seed: 7,
		Size: MessageSize{Median: 1500, Sigma: 1, Cap: 20000}}
}
