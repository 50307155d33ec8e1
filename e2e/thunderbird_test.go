package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestThunderbird drives Thunderbird, without a window, through its remote control. No
// command of it may be answered BAD or NO. CI does not install Thunderbird.
func TestThunderbird(t *testing.T) {
	program := needs(t, "thunderbird")
	c := sharedCluster(t)
	name, password := cluster.User(userThunderbird)
	server := dialUser(t, c, c.EU, userThunderbird)
	for n := range 3 {
		mail := fmt.Sprintf("From: a@example.org\r\nSubject: bird %d\r\nMessage-ID: <bird%d@example.org>\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\nText %d\r\n", n, n, n)
		if _, err := server.Append("INBOX", "", []byte(mail), false); err != nil {
			t.Fatal(err)
		}
	}
	script, err := os.ReadFile(filepath.Join("testdata", "thunderbird.js"))
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := os.ReadFile(c.CACert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certificate)
	_, port := hostPort(t, c.EU.IMAP)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}

	m := startThunderbird(t, timeout(t, 3*time.Minute), program)
	m.command("WebDriver:NewSession", map[string]any{"capabilities": map[string]any{}}, nil)
	m.command("Marionette:SetContext", map[string]any{"value": "chrome"}, nil)
	var result struct {
		Value struct {
			Error string
			Seen  struct {
				Sent, Text string
				Archived   int
			}
		}
	}
	m.command("WebDriver:ExecuteAsyncScript", map[string]any{
		"script": string(script), "scriptTimeout": 120000,
		"args": []any{number, name, password, base64.StdEncoding.EncodeToString(block.Bytes)},
	}, &result)
	seen := result.Value.Seen
	if result.Value.Error != "" || seen.Sent != "Sent" || seen.Archived != 1 || !strings.Contains(seen.Text, "Text 0") {
		t.Errorf("Thunderbird saw %+v", result.Value)
	}
	m.checkLog()

	there := dialUser(t, c, c.US, userThunderbird)
	until(t, timeout(t, 20*time.Second), "the changes at us", func() (bool, error) {
		for box, want := range map[string]uint32{"Archive": 1, "Trash": 1, "Made by Thunderb&AO8-rd": 0, "INBOX": 2} {
			if err := there.Select(box); err != nil || there.Exists != want {
				return false, err
			}
		}
		if err := there.Select("INBOX"); err != nil {
			return false, err
		}
		read, err := countFound(there, "SEEN KEYWORD $label1")
		return read == 1, err
	})
}

// marionette is Thunderbird's remote control: messages in JSON, each behind its length.
type marionette struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	log  string
	n    int
}

func startThunderbird(t *testing.T, ctx context.Context, program string) *marionette {
	t.Helper()
	dir := t.TempDir()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	_, port := hostPort(t, addr)
	prefs := `user_pref("marionette.port", ` + port + `);
user_pref("app.update.enabled", false);
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mailnews.start_page.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("mail.shell.checkDefaultClient", false);
`
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &marionette{t: t, log: filepath.Join(dir, "imap.log")}
	cmd := exec.CommandContext(ctx, program, "--profile", dir, "--no-remote", "--headless", "--marionette", "--remote-allow-system-access")
	cmd.Env = append(os.Environ(), "HOME="+dir, "MOZ_HEADLESS=1", "MOZ_LOG=IMAP:4", "MOZ_LOG_FILE="+m.log)
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	until(t, ctx, "Thunderbird", func() (ok bool, err error) {
		m.conn, err = net.Dial("tcp", addr)
		return err == nil, err
	})
	t.Cleanup(func() { m.conn.Close() })
	if deadline, ok := ctx.Deadline(); ok {
		m.conn.SetDeadline(deadline)
	}
	m.r = bufio.NewReader(m.conn)
	m.receive() // what it is
	return m
}

func (m *marionette) receive() []byte {
	m.t.Helper()
	length, err := m.r.ReadString(':')
	if err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(m.r, data); err != nil {
		m.t.Fatalf("Thunderbird: %v", err)
	}
	return data
}

// command sends a command and takes its answer.
func (m *marionette) command(name string, parameters, result any) {
	m.t.Helper()
	m.n++
	data, err := json.Marshal([]any{0, m.n, name, parameters})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(data), data); err != nil {
		m.t.Fatal(err)
	}
	var answer [4]json.RawMessage
	if err := json.Unmarshal(m.receive(), &answer); err != nil {
		m.t.Fatal(err)
	}
	if string(answer[2]) != "null" {
		m.t.Fatalf("%s: %s", name, answer[2])
	}
	if result != nil {
		if err := json.Unmarshal(answer[3], result); err != nil {
			m.t.Fatalf("%s: %v", name, err)
		}
	}
}

var refused = regexp.MustCompile(`CreateNewLineFromSocket: \S+ (BAD|NO)\b`)

// checkLog reads what Thunderbird has written down of the protocol.
func (m *marionette) checkLog() {
	m.t.Helper()
	files, err := filepath.Glob(m.log + "*")
	if err != nil || len(files) == 0 {
		m.t.Fatal("Thunderbird has written no log", err)
	}
	answers := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			m.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if refused.MatchString(line) {
				m.t.Error(line)
			}
			if strings.Contains(line, "CreateNewLineFromSocket: ") && strings.Contains(line, " OK ") {
				answers++
			}
		}
	}
	if answers < 10 {
		m.t.Errorf("%d answers in Thunderbird's log", answers)
	}
}
