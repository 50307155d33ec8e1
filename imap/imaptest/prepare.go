package imaptest

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/memmail"
)

// Now is the time in all scripts.
var Now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Scripts returns the names of the session scripts in a folder: their paths are
// [Script] of them.
func Scripts(t testing.TB, folder string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(Script(folder, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	return names
}

// Script returns the path of a script.
func Script(folder, name string) string { return filepath.Join(folder, name+".txt") }

// Prepare returns the mail that a script finds, and the options of its sessions.
func Prepare(name string) (*memmail.Store, imap.Options) {
	o := imap.Options{
		MaxMessageSize: 1 << 20,
		Version:        "test",
		Now:            func() time.Time { return Now },
		Separator:      '/',
	}
	switch name {
	case "separator":
		o.Separator = '.'
	case "hide":
		o.Hide = []string{"MOVE", "appendlimit"}
	}
	store := memmail.New(o.Separator)
	store.Now = o.Now
	switch name {
	case "fault":
		store.Fail = faults()
	case "quota":
		store.Limits.Storage.Limit, store.Limits.Messages.Limit = 4096, 3
	}
	return store, o
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
