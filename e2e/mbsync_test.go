package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/e2e/cluster"
)

// mbsyncMessages is how many messages the folders of the first copy hold.
const mbsyncMessages = 200

// mbsyncFolders are nested, and one name is not ASCII: mbsync takes folder names
// as they are on the wire, in modified UTF-7.
var mbsyncFolders = []string{"INBOX", "Work", "Work/Projects", "Work/Projects/Lighthouse", "Family, friends", "H&AOQ-fen"}

// TestMbsync uploads a mail folder tree with mbsync at eu, downloads it at us
// into an empty folder, and goes the way back with changes. The files must be the
// same byte for byte, but for a header field of mbsync's own.
func TestMbsync(t *testing.T) {
	mbsync := needs(t, "mbsync")
	for _, separator := range []string{".", "/"} {
		t.Run("separator "+separator, func(t *testing.T) {
			c := sharedCluster(t)
			if separator != "." {
				c = ownCluster(t, cluster.Options{Separator: separator})
			}
			a, b := newMaildirs(t, c, c.EU), newMaildirs(t, c, c.US)
			a.fill(t)
			a.sync(t, mbsync)
			a.sync(t, mbsync) // must find nothing to do
			// The peer has everything at most this much later.
			us := dialUser(t, c, c.US, userMbsync)
			until(t, timeout(t, 30*time.Second), "all messages at us", func() (bool, error) {
				n, err := countMessages(us.Select, func() int { return int(us.Exists) }, separator)
				return n == mbsyncMessages, err
			})
			b.sync(t, mbsync)
			sameMail(t, a.mail(t), b.mail(t), mbsyncMessages)

			b.add(t, "Work/Projects", "added at us", "S")
			b.add(t, "New at us", "in a new folder", "F")
			b.sync(t, mbsync)
			eu := dialUser(t, c, c.EU, userMbsync)
			until(t, timeout(t, 30*time.Second), "the new folder at eu", func() (bool, error) {
				err := eu.Select(imapName("New at us", separator))
				return err == nil && eu.Exists == 1, err
			})
			a.sync(t, mbsync)
			sameMail(t, a.mail(t), b.mail(t), mbsyncMessages+2)
		})
	}
}

// countMessages adds up the messages of all folders.
func countMessages(sel func(string) error, exists func() int, separator string) (n int, err error) {
	for _, f := range mbsyncFolders {
		if err := sel(imapName(f, separator)); err != nil {
			return n, err
		}
		n += exists()
	}
	return n, nil
}

// imapName writes a folder's name with the server's separator.
func imapName(folder, separator string) string {
	return strings.ReplaceAll(folder, "/", separator)
}

// maildirs is a local copy that mbsync keeps.
type maildirs struct {
	root, config string
	n            int
}

func newMaildirs(t *testing.T, c *cluster.Cluster, r *cluster.Region) *maildirs {
	t.Helper()
	root := t.TempDir()
	m := &maildirs{root: root, config: filepath.Join(root, "mbsyncrc")}
	_, port := hostPort(t, r.IMAP)
	name, password := cluster.User(userMbsync)
	config := fmt.Sprintf(`IMAPAccount pluto
Host localhost
Port %s
User %s
Pass %s
%s
CertificateFile %s
SystemCertificates no
Timeout 60

IMAPStore far
Account pluto

MaildirStore near
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
CopyArrivalDate yes
`, port, name, password, tlsKeyword(t), c.CACert, filepath.Join(root, "mail"), filepath.Join(root, "mail"))
	if err := os.WriteFile(m.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	return m
}

// tlsKeyword returns the line that asks for TLS; the keyword was renamed in
// isync 1.5.
func tlsKeyword(t *testing.T) string {
	t.Helper()
	version := command(t, timeout(t, 10*time.Second), t.TempDir(), needs(t, "mbsync"), "--version")
	for _, old := range []string{" 1.3.", " 1.4."} {
		if strings.Contains(version, old) {
			return "SSLType IMAPS"
		}
	}
	return "TLSType IMAPS"
}

func (m *maildirs) sync(t *testing.T, mbsync string) {
	t.Helper()
	out := command(t, timeout(t, 3*time.Minute), m.root, mbsync, "-c", m.config, "-a")
	if strings.Contains(strings.ToLower(out), "error") || strings.Contains(strings.ToLower(out), "warning") {
		t.Errorf("mbsync says: %s", out)
	}
}

// fill spreads the messages over the folders.
func (m *maildirs) fill(t *testing.T) {
	t.Helper()
	flags := []string{"", "S", "FS", "RS", "D"}
	for i := range mbsyncMessages {
		body := fmt.Sprintf("number %d\n%s", i, strings.Repeat("a line of text that is not too short\n", i%97))
		m.add(t, mbsyncFolders[i%len(mbsyncFolders)], body, flags[i%len(flags)])
	}
}

// add puts a message into a folder as a delivery agent would.
func (m *maildirs) add(t *testing.T, folder, body, flags string) {
	t.Helper()
	dir := filepath.Join(m.root, "mail", filepath.FromSlash(folder))
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	m.n++
	text := fmt.Sprintf("Date: Mon, 2 Mar 2026 10:%02d:00 +0000\nFrom: a@example.org\nSubject: mbsync %d\nX-Odd:\t kept  as it is \n\n%s\n", m.n%60, m.n, body)
	name := fmt.Sprintf("17000000%04d.%d.host:2,%s", m.n, m.n, flags)
	if err := os.WriteFile(filepath.Join(dir, "cur", name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// tuid is the header field that mbsync adds to what it copies, to find it again.
var tuid = regexp.MustCompile(`(?m)^X-TUID: .*\n`)

// mail returns all messages: folder, checksum and flags, and how often.
func (m *maildirs) mail(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	root := filepath.Join(m.root, "mail")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sub := filepath.Base(filepath.Dir(path))
		if sub != "cur" && sub != "new" {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(filepath.Dir(path)))
		_, flags, _ := strings.Cut(d.Name(), ":2,")
		found[fmt.Sprintf("%s %x %s", folder, sha256.Sum256(tuid.ReplaceAll(b, nil)), flags)]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func sameMail(t *testing.T, a, b map[string]int, want int) {
	t.Helper()
	n := 0
	for _, k := range a {
		n += k
	}
	if n != want {
		t.Errorf("%d messages, want %d", n, want)
	}
	if maps.Equal(a, b) {
		return
	}
	const shown = 5
	differing := 0
	for k := range a {
		if a[k] != b[k] {
			if differing++; differing <= shown {
				t.Errorf("%s: %d times in one copy, %d in the other", k, a[k], b[k])
			}
		}
	}
	t.Errorf("the copies differ: %d messages of the first, %d in the second", differing, len(b))
}
