package imap_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
)

// testNow is the time in all scripts.
var testNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

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
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if slices.Contains(without, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := newServer(t, scriptOptions(name))
			if name == "fault" {
				s.store.Fail = faults()
			}
			if name == "quota" {
				s.store.Limits.Storage.Limit, s.store.Limits.Messages.Limit = 4096, 3
			}
			imaptest.Run(t, file, mode, func(t *testing.T, _ string) net.Conn { return s.dial(t, t.Context()) })
		})
	}
}

// scriptOptions are those under which a script runs.
func scriptOptions(name string) imap.Options {
	o := imap.Options{
		MaxMessageSize: 1 << 20,
		Version:        "test",
		Now:            func() time.Time { return testNow },
	}
	if name == "separator" {
		o.Separator = '.'
	}
	if name == "hide" {
		o.Hide = []string{"MOVE", "appendlimit"}
	}
	return o
}

// faults makes every operation fail in a different way, the first time: with an
// error of its own, then with one that the client is told of.
func faults() func(string) error {
	var mu sync.Mutex
	calls := map[string]int{}
	return func(operation string) error {
		mu.Lock()
		defer mu.Unlock()
		calls[operation]++
		switch {
		case operation == "open" || operation == "select" || operation == "mailboxes":
			return nil
		case calls[operation] == 1:
			return errors.New("disk on fire")
		case calls[operation] == 2:
			return imap.ErrUnavailable
		case calls[operation] == 3:
			return imap.ErrOverQuota
		}
		return nil
	}
}
