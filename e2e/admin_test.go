package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestStatusByPlutoctl has plutoctl ask all nodes of a region, as an operator does.
func TestStatusByPlutoctl(t *testing.T) {
	c := sharedCluster(t)
	ctx := timeout(t, readyTime)
	var out string
	until(t, ctx, "all nodes connected", func() (bool, error) {
		var err error
		out, err = c.Ctl(ctx, c.EU, "status")
		return err == nil && strings.Count(out, "  connected") == 4, err
	})
	for _, want := range []string{"eu-distributor  ready", "eu-worker-1: worker, ", "storage: storage, ", "users 1-20, slot 1", "us-worker-1  connected"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// TestDamagedDisk changes a byte of a message in a file of a stopped worker. plutoctl
// verify finds it and gets the message from a peer; the account can be loaded anew, too.
func TestDamagedDisk(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	const user = 3
	ctx := timeout(t, 2*readyTime)
	var letters []string
	eu := login(t, c, c.EU, user, nil)
	for i := range 10 {
		letters = append(letters, fmt.Sprintf("Subject: letter %d\r\n\r\n%s\r\n", i, randomText(30<<10)))
		appendMail(t, eu, "INBOX", letters[i], nil)
	}
	do(t, "LOGOUT", eu.Logout().Wait())
	w := c.US.Worker
	for range 2 { // the first start moves what is in the log into tables
		do(t, "stop", w.Stop(ctx))
		do(t, "start", w.Restart(ctx))
	}
	do(t, "stop", w.Stop(ctx))
	flip(t, filepath.Join(c.Dir, "data", w.Name), letters[5][len(letters[5])-20000:][:100])
	do(t, "start", w.Restart(ctx))

	out, err := c.Ctl(ctx, c.US, "verify", w.Name)
	if err == nil || !strings.Contains(out, "DAMAGED: content") || !strings.Contains(out, "text index: done") {
		t.Fatalf("verify: %v\n%s", err, out)
	}
	out, err = c.Ctl(ctx, c.US, "verify", w.Name, "-repair")
	if err != nil || strings.Count(out, "repaired: content") != 1 {
		t.Fatalf("verify -repair: %v\n%s", err, out)
	}
	_, err = c.Ctl(ctx, c.US, "verify", w.Name)
	do(t, "verify again", err)
	out, err = c.Ctl(ctx, c.US, "account", "resync", fmt.Sprint(user), w.Name)
	do(t, "account resync", err)
	if !strings.Contains(out, "was loaded anew from ") {
		t.Errorf("account resync: %s", out)
	}
	us := login(t, c, c.US, user, nil)
	_, err = us.Select("INBOX", nil).Wait()
	do(t, "SELECT", err)
	whole := &imap.FetchItemBodySection{Peek: true}
	msgs, err := us.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	do(t, "FETCH", err)
	if len(msgs) != len(letters) {
		t.Fatalf("%d messages", len(msgs))
	}
	for i, m := range msgs {
		if string(m.FindBodySection(whole)) != letters[i] {
			t.Errorf("message %d has other bytes", i+1)
		}
	}
}

// randomText returns text that does not compress below what can be found in a file.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)[:n] // one long line, as some clients send
}

// flip changes a byte of what a table of a stopped node holds.
func flip(t *testing.T, dir, what string) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	do(t, "list tables", err)
	for _, name := range tables {
		data, err := os.ReadFile(name)
		do(t, "read a table", err)
		if at := bytes.Index(data, []byte(what)); at >= 0 {
			data[at+len(what)/2] ^= 1
			do(t, "write a table", os.WriteFile(name, data, 0o600))
			return
		}
	}
	t.Fatalf("the text is in none of %d tables", len(tables))
}
