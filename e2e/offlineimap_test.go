package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestOfflineimap copies mail with offlineimap, one region after the other, with
// changes at both ends in between. No command of it may be answered BAD or NO.
func TestOfflineimap(t *testing.T) {
	program := needs(t, "offlineimap")
	c := sharedCluster(t)
	server := dialUser(t, c, c.EU, userOfflineimap)
	mail := func(n int) string {
		return fmt.Sprintf("From: a@example.org\r\nSubject: offline %d\r\nMessage-ID: <offline%d@example.org>\r\n\r\nText %d\r\n", n, n, n)
	}
	do := func(command string) {
		t.Helper()
		if _, err := server.Do(command, nil); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE Work.Projects")
	for n, box := range []string{"INBOX", "INBOX", "INBOX", "Work.Projects"} {
		if _, err := server.Append(box, "", []byte(mail(n)), false); err != nil {
			t.Fatal(err)
		}
	}

	eu := newOffline(t, c, c.EU)
	eu.sync(t, program)
	eu.has(t, "INBOX", "offline 0", "offline 1", "offline 2")
	eu.has(t, "Work.Projects", "offline 3")

	// Read, answer, delete and write something here; flag and delete something there.
	eu.rename(t, "INBOX", "offline 0", "S")
	if err := os.Remove(eu.find(t, "INBOX", "offline 1")); err != nil {
		t.Fatal(err)
	}
	draft := filepath.Join(eu.mail, "Drafts", "cur", "1700000000.1.here:2,DS")
	if err := os.WriteFile(draft, []byte(strings.ReplaceAll(mail(4), "\r\n", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := server.Select("INBOX"); err != nil {
		t.Fatal(err)
	}
	do(`STORE 3 +FLAGS (\Flagged)`)
	eu.sync(t, program)
	eu.has(t, "INBOX", "offline 0", "offline 2")
	if name := eu.find(t, "INBOX", "offline 2"); !strings.Contains(filepath.Base(name), "F") {
		t.Errorf("the flagged message is %q", name)
	}
	for _, key := range []string{`SUBJECT "offline 0" SEEN`, `SUBJECT "offline 2" FLAGGED`} {
		if n, err := countFound(server, key); n != 1 || err != nil {
			t.Errorf("%s finds %d messages, %v", key, n, err)
		}
	}

	// All of that is in the other region too.
	there := dialUser(t, c, c.US, userOfflineimap)
	until(t, timeout(t, 20*time.Second), "the changes at us", func() (bool, error) {
		if err := there.Select("Drafts"); err != nil || there.Exists != 1 {
			return false, err
		}
		if err := there.Select("INBOX"); err != nil || there.Exists != 2 {
			return false, err
		}
		n, err := countFound(there, "FLAGGED")
		return n == 1, err
	})
	us := newOffline(t, c, c.US)
	us.sync(t, program)
	us.has(t, "INBOX", "offline 0", "offline 2")
	us.has(t, "Drafts", "offline 4")
	us.sync(t, program) // finds nothing to do
	us.has(t, "INBOX", "offline 0", "offline 2")
}

// countFound returns how many messages of the selected mailbox a search finds.
func countFound(conn *imapc.Conn, key string) (n int, err error) {
	_, err = conn.Do("UID SEARCH "+key, func(r *imapc.Response) {
		if r.Name == "SEARCH" {
			n = len(strings.Fields(string(r.Rest)))
		}
	})
	return n, err
}

// offline is a copy that offlineimap keeps.
type offline struct{ root, config, mail string }

func newOffline(t *testing.T, c *cluster.Cluster, r *cluster.Region) *offline {
	t.Helper()
	root := t.TempDir()
	o := &offline{root: root, config: filepath.Join(root, "rc"), mail: filepath.Join(root, "mail")}
	_, port := hostPort(t, r.IMAP)
	name, password := cluster.User(userOfflineimap)
	config := fmt.Sprintf(`[general]
accounts = A
ui = basic
metadata = %s/state
socktimeout = 60
[Account A]
localrepository = Near
remoterepository = Far
[Repository Near]
type = Maildir
localfolders = %s
[Repository Far]
type = IMAP
remotehost = localhost
remoteport = %s
ssl = yes
sslcacertfile = %s
remoteuser = %s
remotepass = %s
usecompression = yes
`, root, o.mail, port, c.CACert, name, password)
	if err := os.WriteFile(o.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// sync runs the program, which shows what it says to the server and hears.
func (o *offline) sync(t *testing.T, program string) {
	t.Helper()
	out := command(t, timeout(t, 3*time.Minute), o.root, program, "-o", "-c", o.config, "-d", "imap")
	for line := range strings.Lines(out) {
		if strings.Contains(line, " < b'") && (strings.Contains(line, " BAD ") || strings.Contains(line, " NO ")) || strings.Contains(line, "ERROR") {
			t.Errorf("offlineimap: %s", line)
		}
	}
	if !strings.Contains(out, " SELECT ") {
		t.Errorf("offlineimap does not say what it does:\n%.2000s", out)
	}
}

// files returns the messages of a folder, by their content.
func (o *offline) files(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, sub := range []string{"cur", "new"} {
		names, err := filepath.Glob(filepath.Join(o.mail, folder, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(data)
		}
	}
	return files
}

// has checks which messages a folder has, by words of their subjects.
func (o *offline) has(t *testing.T, folder string, subjects ...string) {
	t.Helper()
	files := o.files(t, folder)
	for _, s := range subjects {
		o.find(t, folder, s)
	}
	if len(files) != len(subjects) {
		t.Errorf("%s has %d messages, want %q", folder, len(files), subjects)
	}
}

// find returns the file of a message.
func (o *offline) find(t *testing.T, folder, subject string) string {
	t.Helper()
	for name, data := range o.files(t, folder) {
		if slices.Contains(strings.Split(strings.ReplaceAll(data, "\r\n", "\n"), "\n"), "Subject: "+subject) {
			return name
		}
	}
	t.Errorf("%s lacks %q", folder, subject)
	return ""
}

// rename gives a message flags, as a mail program does that works on the files.
func (o *offline) rename(t *testing.T, folder, subject, flags string) {
	t.Helper()
	name := o.find(t, folder, subject)
	base, _, _ := strings.Cut(filepath.Base(name), ":2,")
	if err := os.Rename(name, filepath.Join(o.mail, folder, "cur", base+":2,"+flags)); err != nil {
		t.Fatal(err)
	}
}
