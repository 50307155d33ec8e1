package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/bench"
)

// moveWhileWorking moves a user of the example configuration to the other worker's
// subnet while a client appends, and checks that nothing that was acknowledged is
// lost or doubled, and that UIDs and UIDVALIDITY are what they were.
func moveWhileWorking(t *testing.T, ctx context.Context, dir string, front bench.Target) {
	t.Helper()
	const user = 2
	before := connect(t, front, user)
	acknowledged := map[string]imap.UID{}
	for i := range 5 {
		subject := fmt.Sprint("before ", i)
		acknowledged[subject] = appendSubject(t, before, subject)
	}
	was, err := before.Select("INBOX", nil).Wait()
	do(t, "SELECT", err)
	do(t, "LOGOUT", before.Logout().Wait())

	working, stop := context.WithCancel(ctx)
	appended := make(chan map[string]imap.UID, 1)
	several := make(chan struct{})
	go func() { appended <- appendUntil(working, front, user, several) }()
	<-several
	out := shell(t, ctx, dir, fmt.Sprintf("./plutoctl user move %d subnet-2", user))
	if !strings.Contains(out, "has moved from subnet-1 to subnet-2") {
		t.Errorf("plutoctl: %s", out)
	}
	again := shell(t, ctx, dir, fmt.Sprintf("./plutoctl user move %d subnet-2", user))
	if !strings.Contains(again, "lives in subnet-2") {
		t.Errorf("plutoctl once more: %s", again)
	}
	after := connect(t, front, user)
	acknowledged["after"] = appendSubject(t, after, "after")
	stop()
	for subject, uid := range <-appended {
		acknowledged[subject] = uid
	}
	is, err := after.Select("INBOX", nil).Wait()
	do(t, "SELECT", err)
	if is.UIDValidity != was.UIDValidity || is.UIDNext <= was.UIDNext {
		t.Errorf("UIDVALIDITY %d, UIDNEXT %d; were %d, %d", is.UIDValidity, is.UIDNext, was.UIDValidity, was.UIDNext)
	}
	msgs, err := after.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Envelope: true}).Collect()
	do(t, "FETCH", err)
	have := map[string][]imap.UID{}
	for _, m := range msgs {
		have[m.Envelope.Subject] = append(have[m.Envelope.Subject], m.UID)
	}
	for subject, uid := range acknowledged {
		if got := have[subject]; !slices.Equal(got, []imap.UID{uid}) {
			t.Errorf("%q was acknowledged as UID %d and is there as %v", subject, uid, got)
		}
	}
	log := shell(t, ctx, dir, "./plutoctl status")
	if !strings.Contains(log, "subnet-2") {
		t.Errorf("status: %s", log)
	}
	t.Logf("%d messages acknowledged\n%s", len(acknowledged), out)
}

func connect(t *testing.T, front bench.Target, user int) *imapclient.Client {
	t.Helper()
	c, err := tryConnect(front, user)
	do(t, "log in", err)
	t.Cleanup(func() { c.Close() })
	return c
}

func tryConnect(front bench.Target, user int) (*imapclient.Client, error) {
	cfg := front.TLS.Clone()
	cfg.ServerName, cfg.MinVersion = "localhost", tls.VersionTLS12
	c, err := imapclient.DialTLS(front.Addr, &imapclient.Options{TLSConfig: cfg})
	if err != nil {
		return nil, err
	}
	if err := c.Login(fmt.Sprint("user", user), fmt.Sprint("pass", user)).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func tryAppendSubject(c *imapclient.Client, subject string) (imap.UID, error) {
	text := fmt.Sprintf("Subject: %s\r\n\r\n%s\r\n", subject, strings.Repeat("x", 5000))
	cmd := c.Append("INBOX", int64(len(text)), nil)
	if _, err := cmd.Write([]byte(text)); err != nil {
		return 0, err
	}
	if err := cmd.Close(); err != nil {
		return 0, err
	}
	data, err := cmd.Wait()
	if err != nil {
		return 0, err
	}
	return data.UID, nil
}

func appendSubject(t *testing.T, c *imapclient.Client, subject string) imap.UID {
	t.Helper()
	uid, err := tryAppendSubject(c, subject)
	do(t, "APPEND", err)
	return uid
}

// appendUntil appends until ctx ends, as a client does that logs in again when it
// is disconnected, and returns what was acknowledged. several is closed when it
// has begun.
func appendUntil(ctx context.Context, front bench.Target, user int, several chan struct{}) map[string]imap.UID {
	out := map[string]imap.UID{}
	var c *imapclient.Client
	for n := 0; ctx.Err() == nil; n++ {
		if n == 20 {
			close(several)
		}
		if c == nil {
			if c, _ = tryConnect(front, user); c == nil {
				continue
			}
		}
		subject := fmt.Sprint("meanwhile ", n)
		uid, err := tryAppendSubject(c, subject)
		if err != nil {
			c.Close()
			c = nil
			continue
		}
		out[subject] = uid
	}
	if c != nil {
		c.Close()
	}
	return out
}
