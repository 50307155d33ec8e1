package imap_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
)

// testNow is the time in all tests.
var testNow = imaptest.Now

// server runs sessions on one store of mail.
type server struct {
	store *memmail.Store
	opts  imap.Options
	ended sync.WaitGroup
	conns []*imaptest.Conn
	errs  chan error
}

func newServer(t testing.TB, opts imap.Options) *server {
	s := &server{store: memmail.New('/'), opts: opts, errs: make(chan error, 100)}
	if opts.Separator != 0 {
		s.store = memmail.New(opts.Separator)
	}
	s.store.Now = func() time.Time { return testNow }
	t.Cleanup(s.ended.Wait)
	return s
}

// dial opens a session. The session begins with the answer to a login.
func (s *server) dial(t testing.TB, ctx context.Context) net.Conn {
	client, conn := net.Pipe()
	account, err := s.store.Open(ctx, 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	opts := s.opts
	opts.Tag = "login"
	s.ended.Add(1)
	c := imaptest.NewConn(conn)
	s.conns = append(s.conns, c)
	go func() {
		defer s.ended.Done()
		defer account.Close()
		defer conn.Close()
		s.errs <- imap.Serve(ctx, c, account, opts)
	}()
	return client
}

func init() {
	imap.OpenForFuzzing = func(t testing.TB) imap.Account {
		account, err := filled(t).Open(context.Background(), 1, "user1", imap.SessionID{})
		if err != nil {
			t.Fatal(err)
		}
		return account
	}
}

func TestScripts(t *testing.T) { runScripts(t, imaptest.Mode{}) }

// switching are the scripts about switching on what modes have on already, and about
// names in another encoding.
var switching = []string{"condstore", "modified", "qresync", "rev2", "utf7", "utf8"}

// TestScriptsInModes runs the scripts with extensions switched on that change answers.
func TestScriptsInModes(t *testing.T) {
	for _, mode := range imaptest.Modes {
		without := switching
		if strings.Contains(mode.Enable, "QRESYNC") {
			without = append(slices.Clone(without), "notify") // it has other items of STATUS then
		}
		t.Run(mode.Name, func(t *testing.T) { runScripts(t, mode, without...) })
	}
}

func runScripts(t *testing.T, mode imaptest.Mode, without ...string) {
	for _, name := range imaptest.Scripts(t, "testdata") {
		if slices.Contains(without, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := &server{errs: make(chan error, 100)}
			s.store, s.opts = imaptest.Prepare(name)
			t.Cleanup(s.ended.Wait)
			imaptest.Run(t, imaptest.Script("testdata", name), mode, func(t *testing.T, _ string) net.Conn { return s.dial(t, t.Context()) })
		})
	}
}
