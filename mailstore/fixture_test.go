package mailstore

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// makeFixture has TestUpgrade write data of the present version: see testdata/README.md.
var makeFixture = flag.String("make-fixture", "", "write data of this version to a `folder` under testdata")

const fixturePicture = "picture.txt"

// TestUpgrade opens what earlier versions have left, and finds everything there.
func TestUpgrade(t *testing.T) {
	if *makeFixture != "" {
		writeFixture(t, filepath.Join("testdata", *makeFixture))
		return
	}
	dirs, err := filepath.Glob("testdata/format-*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no data of earlier versions: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { upgrade(t, dir) })
	}
}

// writeFixture fills a store and describes what is in it.
func writeFixture(t *testing.T, dir string) {
	data := filepath.Join(dir, testDir)
	n := &node{t: t, fs: vfs.NewCrashableMem(), slot: 1}
	n.set = func(o *ReplicaOptions) { o.VanishedMax = -1 } // nothing that vanished is remembered
	n.open()
	s := n.session()
	n.expungeSecond(s, "Doubtful")
	if err := n.RaiseEpoch(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	n.expungeSecond(s, "Forgotten")
	mustAppend(t, s, "INBOX", "one", `\Seen`, "$Label")
	mustAppend(t, s, "INBOX", "two", `\Flagged`)
	mustAppend(t, s, "INBOX", "three is gone")
	mustAppend(t, s, "INBOX", strings.Repeat("a long one\r\n", 1000))
	m := mustSelect(t, s, "INBOX")
	list := tags(m.View())
	if _, err := m.Copy(ctxOf(t), list[:1], "Archive"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Move(ctxOf(t), list[1:2], "Sent"); err != nil {
		t.Fatal(err)
	}
	mustExpunge(t, m, list[2:3])
	for _, err := range []error{s.Create(ctxOf(t), "A.B", ""), s.Rename(ctxOf(t), "A.B", "A.Ä"), s.Create(ctxOf(t), "gone", ""), s.Delete(ctxOf(t), "gone"), s.Subscribe(ctxOf(t), "A.Ä", true)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	p := &peer{t: t, origin: 99}
	bad := p.op(testUser+1, &crdt.Append{Box: 4711, Messages: []crdt.Added{{UID: 18}}})
	if err := n.Apply(ctxOf(t), []causal.Entry{bad, p.op(testUser, &crdt.Subscribe{Name: "INBOX", On: true})}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetPeerRecord("somebody", []byte("a record")); err != nil {
		t.Fatal(err)
	}
	picture := n.fixturePicture()
	s.Close()
	n.close()
	if err := os.MkdirAll(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(n.fs, vfs.Default, testDir, data); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := os.WriteFile(filepath.Join(dir, fixturePicture), []byte(picture), 0o644); err != nil {
		t.Fatal(err)
	}
}

// expungeSecond makes a mailbox of three messages, of which the second is gone and forgotten.
func (n *node) expungeSecond(s *Account, box string) {
	n.t.Helper()
	if err := s.Create(ctxOf(n.t), box, ""); err != nil {
		n.t.Fatal(err)
	}
	for i := range 3 {
		mustAppend(n.t, s, box, fmt.Sprint("message ", i))
	}
	m := mustSelect(n.t, s, box)
	defer m.Close()
	mustExpunge(n.t, m, tags(m.View())[1:2])
	n.Upkeep()
}

// sinceFirst describes what a client is told that has the MODSEQ of a mailbox's first message.
func (n *node) sinceFirst(m *Mailbox) string {
	n.t.Helper()
	var first Message
	m.View().At(0, &first)
	got, err := m.Resync(ctxOf(n.t), Known{UIDValidity: m.UIDValidity(), ModSeq: first.ModSeq, UIDs: []UIDRange{{1, first.UID.Number() + 5}}})
	if err != nil {
		n.t.Fatal(err)
	}
	return fmt.Sprintf("exact %v, %d changed, vanished %v", got.Own, len(got.Changed), got.Vanished)
}

// fixturePicture describes everything that a client, a peer and an operator see.
func (n *node) fixturePicture() string {
	n.t.Helper()
	var b strings.Builder
	s := n.sessionOf(testUser)
	defer s.Close()
	boxes, err := s.Mailboxes(ctxOf(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, x := range boxes {
		fmt.Fprintf(&b, "%q %v subscribed %v use %q\n", x.Name, x.Exists, x.Subscribed, x.SpecialUse)
		if !x.Exists {
			continue
		}
		m, err := s.Select(ctxOf(n.t), x.Name, true)
		if err != nil {
			n.t.Fatal(err)
		}
		fmt.Fprintf(&b, "  validity %d\n", m.UIDValidity())
		for _, line := range lines(n.t, s, m.View()) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		if x.Name == "Doubtful" || x.Name == "Forgotten" {
			fmt.Fprintf(&b, "  since its first message: %s\n", n.sinceFirst(m))
		}
		m.Close()
	}
	record, err := n.PeerRecord("somebody")
	if err != nil {
		n.t.Fatal(err)
	}
	fmt.Fprintf(&b, "origin %v, of 99 up to %d, of somebody %q\n", n.Origin(), n.Logged().Get(99), record)
	q, err := n.Quarantined()
	if err != nil {
		n.t.Fatal(err)
	}
	for _, x := range q {
		fmt.Fprintf(&b, "quarantined %d since %v: %s\n", x.Account, x.Since, x.Reason)
	}
	return b.String()
}

// upgrade opens a copy of the data, as they are changed by that.
func upgrade(t *testing.T, dir string) {
	want, err := os.ReadFile(filepath.Join(dir, fixturePicture))
	if err != nil {
		t.Fatal(err)
	}
	mem := vfs.NewCrashableMem()
	if ok, err := vfs.Clone(vfs.Default, mem, filepath.Join(dir, testDir), testDir); !ok || err != nil {
		t.Fatal(ok, err)
	}
	n := &node{t: t, fs: mem, slot: 1}
	n.open()
	defer n.close()
	for _, when := range []string{"at once", "after another start"} {
		if got := n.fixturePicture(); got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", when, got, want)
		}
		n.audit(testUser)
		n.reopen()
	}
	mustAppend(t, n.sessionOf(testUser), "INBOX", "life goes on")
	other := newNode(t, 2)
	settle(t, n, other) // the whole log is there, and can be read
	sameMail(t, testUser, "INBOX", n, other)
	sameMail(t, testUser, "Archive", n, other)
	other.audit(testUser)
}

// TestFixtureIsKept: a version whose data nobody keeps cannot be upgraded from
// with confidence.
func TestFixtureIsKept(t *testing.T) {
	dir := fmt.Sprintf("testdata/format-%d", formatVersion)
	if _, err := os.Stat(dir); err == nil || !os.IsNotExist(err) {
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if info, e := e.Info(); e == nil {
				size += info.Size()
			}
			return err
		})
		if err != nil || size > 256<<10 {
			t.Errorf("%s has %d bytes (%v); keep it small", dir, size, err)
		}
		return
	}
	t.Errorf("no data of format %d in %s: see testdata/README.md", formatVersion, dir)
}
