package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// command runs a program and returns what it wrote; it fails the test unless the
// program succeeds.
func command(t *testing.T, ctx context.Context, dir, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return out.String()
}

func hostPort(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// TestCurl uses curl as the line that -dev prints does.
func TestCurl(t *testing.T) {
	curl := needs(t, "curl")
	c := sharedCluster(t)
	name, password := cluster.User(userCurl)
	dir := t.TempDir()
	mail := filepath.Join(dir, "mail.eml")
	if err := os.WriteFile(mail, []byte(firstMail), 0o600); err != nil {
		t.Fatal(err)
	}
	both(t, c, func(t *testing.T, r *cluster.Region) {
		_, port := hostPort(t, r.IMAP)
		run := func(path string, more ...string) string {
			args := append([]string{"--silent", "--show-error", "--max-time", "20", "--cacert", c.CACert, "--user", name + ":" + password,
				"--url", "imaps://localhost:" + port + "/" + path}, more...)
			return command(t, timeout(t, 30*time.Second), dir, curl, args...)
		}
		if list := run(""); !strings.Contains(list, "INBOX") {
			t.Errorf("LIST by curl gives %q", list)
		}
		run("Archive", "--upload-file", mail)
		if status := run("", "--request", "STATUS Archive (MESSAGES)"); !strings.Contains(status, "MESSAGES") {
			t.Errorf("STATUS by curl gives %q", status)
		}
		if got := run("Archive;MAILINDEX=1"); got != firstMail {
			t.Errorf("curl got %q", got)
		}
	})
}

const pythonScript = `
import imaplib, ssl, sys
host, port, ca, user, password = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
def ok(r):
    assert r[0] == 'OK', r
    return r[1]
c = imaplib.IMAP4_SSL(host, port, ssl_context=ssl.create_default_context(cafile=ca), timeout=20)
ok(c.login(user, password))
box = 'Python-' + str(port)
ok(c.create(box))
ok(c.subscribe(box))
mail = b'Subject: from Python\r\nFrom: a@example.org\r\n\r\nHello\r\n'
for i in range(3):
    ok(c.append(box, r'(\Seen)', imaplib.Time2Internaldate(1700000000 + i), mail))
assert ok(c.select(box)) == [b'3']
assert ok(c.search(None, 'SUBJECT', '"python"')) == [b'1 2 3']
typ, data = c.fetch('2', '(RFC822 UID INTERNALDATE FLAGS)')
assert data[0][1] == mail, data
ok(c.store('1', '+FLAGS', r'(\Deleted)'))
assert ok(c.expunge()) == [b'1']
ok(c.uid('COPY', '1:*', 'INBOX'))
assert ok(c.status('INBOX', '(MESSAGES)'))[0].endswith(b')')
assert any(box.encode() in l for l in ok(c.lsub()))
ok(c.noop())
ok(c.close())
ok(c.unsubscribe(box))
ok(c.delete(box))
c.logout()
print('done')
`

// TestPython goes through a session with Python's imaplib.
func TestPython(t *testing.T) {
	python := needs(t, "python3")
	c := sharedCluster(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "session.py")
	if err := os.WriteFile(script, []byte(pythonScript), 0o600); err != nil {
		t.Fatal(err)
	}
	name, password := cluster.User(userPython)
	both(t, c, func(t *testing.T, r *cluster.Region) {
		_, port := hostPort(t, r.IMAP)
		out := command(t, timeout(t, time.Minute), dir, python, script, "localhost", port, c.CACert, name, password)
		if !strings.Contains(out, "done") {
			t.Errorf("the script wrote %q", out)
		}
	})
}

// screen is a terminal in which a program runs.
type screen struct {
	t    *testing.T
	tmux string
	sock string
}

func newScreen(t *testing.T, ctx context.Context, program string, args ...string) *screen {
	t.Helper()
	s := &screen{t: t, tmux: needs(t, "tmux"), sock: filepath.Join(t.TempDir(), "tmux")}
	s.run(ctx, append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", program}, args...)...)
	t.Cleanup(func() { exec.Command(s.tmux, "-S", s.sock, "kill-server").Run() })
	return s
}

func (s *screen) run(ctx context.Context, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(ctx, s.tmux, append([]string{"-S", s.sock}, args...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// await waits until the screen shows a text.
func (s *screen) await(ctx context.Context, text string) {
	s.t.Helper()
	var last string
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		if last = s.run(context.WithoutCancel(ctx), "capture-pane", "-p"); strings.Contains(last, text) {
			return
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("the screen does not show %q:\n%s", text, last)
		case <-t.C:
		}
	}
}

func (s *screen) keys(ctx context.Context, keys ...string) {
	s.t.Helper()
	s.run(ctx, append([]string{"send-keys"}, keys...)...)
}

// TestNeomutt reads, flags, saves and deletes mail as a person does.
func TestNeomutt(t *testing.T) {
	neomutt := needs(t, "neomutt")
	needs(t, "tmux")
	c := sharedCluster(t)
	name, password := cluster.User(userNeomutt)
	seed := dialUser(t, c, c.EU, userNeomutt)
	for _, subject := range []string{"alpha", "beta", "gamma"} {
		if _, err := seed.Append("INBOX", "", []byte("Subject: about "+subject+"\r\nFrom: a@example.org\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\nText of "+subject+".\r\n"), false); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	rc := filepath.Join(dir, "rc")
	_, port := hostPort(t, c.EU.IMAP)
	config := fmt.Sprintf(`set folder="imaps://localhost:%s/" spoolfile="+INBOX" imap_user=%s imap_pass=%s
set ssl_ca_certificates_file=%q certificate_file=%q ssl_verify_host=no ssl_force_tls=yes
set header_cache="" sort=subject quit=yes delete=yes confirm_append=no wait_key=no mail_check=1 sleep_time=0 imap_idle=yes
set index_format="%%4C %%Z %%s"
`, port, name, password, c.CACert, c.CACert)
	if err := os.WriteFile(rc, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := timeout(t, time.Minute)
	s := newScreen(t, ctx, "env", "HOME="+dir, neomutt, "-n", "-F", rc)
	s.await(ctx, "about gamma")
	s.keys(ctx, "Home", "Enter")
	s.await(ctx, "Text of alpha.")
	s.keys(ctx, "i")
	s.await(ctx, "about gamma")
	s.keys(ctx, "F", "d") // flag what is under the cursor, delete the next
	s.keys(ctx, "C", "C-u", "=Archive", "Enter")
	s.keys(ctx, "$")
	s.await(ctx, "deleted")
	s.keys(ctx, "q")

	box := func(name string) func() (bool, error) {
		want := map[string]int{"INBOX": 2, "Archive": 1}[name]
		return func() (bool, error) {
			err := seed.Select(name)
			return err == nil && int(seed.Exists) == want, err
		}
	}
	until(t, ctx, "INBOX after neomutt", box("INBOX"))
	until(t, ctx, "Archive after neomutt", box("Archive"))
	us := dialUser(t, c, c.US, userNeomutt)
	until(t, ctx, "INBOX at us", func() (bool, error) {
		err := us.Select("INBOX")
		return us.Exists == 2, err
	})
}
