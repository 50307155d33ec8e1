package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/go-pluto/pluto/bench"
)

// moveUser is who moves in TestReadme, one of worker-1.
const moveUser = 2

// moveWhileWorking moves a user of the example configuration to the other worker's
// subnet while a client appends, deletes what is left, and moves the user back while
// the worker there is killed. Nothing that was acknowledged is lost or doubled, and
// UIDs and UIDVALIDITY are what they were. It returns the worker's new process.
func moveWhileWorking(t *testing.T, ctx context.Context, dir string, front bench.Target, worker *process) *process {
	t.Helper()
	m := &mover{t: t, ctx: ctx, dir: dir, front: front, acknowledged: map[string]imap.UID{}}
	c := connect(t, front, moveUser)
	for i := range 5 {
		m.append(c, fmt.Sprint("before ", i))
	}
	was, err := c.Select("INBOX", nil).Wait()
	do(t, "SELECT", err)
	m.validity, m.next = was.UIDValidity, was.UIDNext
	do(t, "LOGOUT", c.Logout().Wait())

	m.working("there", func() {
		m.plutoctl("user move %d subnet-2", "has moved from subnet-1 to subnet-2")
		m.plutoctl("user move %d subnet-2", "lives in subnet-2")
		m.append(connect(t, front, moveUser), "after")
	})
	m.check()
	m.plutoctl("user purge %d subnet-2 2>&1 || true", "it lives in subnet-2")
	m.plutoctl("user purge %d subnet-1", "messages deleted in subnet-1")
	m.plutoctl("user purge %d subnet-1", ": 0 messages deleted in subnet-1")
	m.check()
	m.working("back", func() {
		worker = m.killed(worker, fmt.Sprintf("./plutoctl user move %d subnet-1", moveUser))
		m.plutoctl("user move %d subnet-1", "subnet-1")
		m.append(connect(t, front, moveUser), "after it is back")
	})
	m.check()
	m.plutoctl("user purge %d subnet-2", "messages deleted in subnet-2")
	m.check()
	return worker
}

// mover is a client of a user who is moved, and the administrator.
type mover struct {
	t            *testing.T
	ctx          context.Context
	dir          string
	front        bench.Target
	validity     uint32
	next         imap.UID
	acknowledged map[string]imap.UID // by subject
}

func (m *mover) append(c *imapclient.Client, subject string) {
	m.t.Helper()
	m.acknowledged[subject] = appendSubject(m.t, c, subject)
}

// plutoctl gives a command about the user, whose output must contain something.
func (m *mover) plutoctl(line, want string) {
	m.t.Helper()
	line = fmt.Sprintf("./plutoctl "+line, moveUser)
	if out := shell(m.t, m.ctx, m.dir, line); !strings.Contains(out, want) {
		m.t.Errorf("%s: %s", line, out)
	} else {
		m.t.Logf("%s\n%s", line, out)
	}
}

// working has a client append while f runs.
func (m *mover) working(when string, f func()) {
	m.t.Helper()
	ctx, stop := context.WithCancel(m.ctx)
	defer stop()
	appended := make(chan map[string]imap.UID, 1)
	several := make(chan struct{})
	go func() { appended <- appendUntil(ctx, m.front, moveUser, when, several) }()
	<-several
	f()
	stop()
	maps.Copy(m.acknowledged, <-appended)
}

// killed gives a command, kills a node when that has begun to do it, starts the node
// again and gives the command until it has done what it is for.
func (m *mover) killed(p *process, line string) *process {
	m.t.Helper()
	cmd := exec.CommandContext(m.ctx, "sh", "-c", "exec "+line)
	cmd.Dir = m.dir
	out, err := cmd.StdoutPipe()
	do(m.t, line, err)
	do(m.t, line, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	if !strings.Contains(said, "contents copied") {
		m.t.Fatalf("%s: %s (%v)", line, said, err)
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	m.t.Logf("killed %s: %v", p.line, cmd.Wait())
	p = startProcess(m.t, m.dir, p.line)
	until(m.t, timeout(m.t, readyTime), line, func() (bool, error) {
		cmd := exec.CommandContext(m.ctx, "sh", "-c", line)
		cmd.Dir = m.dir
		said, err := cmd.CombinedOutput()
		return err == nil, fmt.Errorf("%w: %s", err, said)
	})
	return p
}

// check compares the mailbox with what was acknowledged.
func (m *mover) check() {
	m.t.Helper()
	c := connect(m.t, m.front, moveUser)
	is, err := c.Select("INBOX", nil).Wait()
	do(m.t, "SELECT", err)
	if is.UIDValidity != m.validity || is.UIDNext < m.next {
		m.t.Errorf("UIDVALIDITY %d, UIDNEXT %d; were %d, %d", is.UIDValidity, is.UIDNext, m.validity, m.next)
	}
	m.next = is.UIDNext
	msgs, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
		UID: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	do(m.t, "FETCH", err)
	have := map[string][]imap.UID{}
	for _, x := range msgs {
		have[x.Envelope.Subject] = append(have[x.Envelope.Subject], x.UID)
		if text := x.FindBodySection(&imap.FetchItemBodySection{Peek: true}); string(text) != textOf(x.Envelope.Subject) {
			m.t.Errorf("%q has %d bytes", x.Envelope.Subject, len(text))
		}
	}
	for subject, uid := range m.acknowledged {
		if got := have[subject]; !slices.Equal(got, []imap.UID{uid}) {
			m.t.Errorf("%q was acknowledged as UID %d and is there as %v", subject, uid, got)
		}
	}
	m.t.Logf("%d messages acknowledged, %d there", len(m.acknowledged), len(msgs))
	do(m.t, "LOGOUT", c.Logout().Wait())
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

func textOf(subject string) string {
	return fmt.Sprintf("Subject: %s\r\n\r\n%s\r\n", subject, strings.Repeat("x", 5000))
}

func tryAppendSubject(c *imapclient.Client, subject string) (imap.UID, error) {
	text := textOf(subject)
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
func appendUntil(ctx context.Context, front bench.Target, user int, when string, several chan struct{}) map[string]imap.UID {
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
		subject := fmt.Sprint("on the way ", when, " ", n)
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
