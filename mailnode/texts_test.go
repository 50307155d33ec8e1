package mailnode

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-kit/log"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/mailstore"
	"github.com/go-pluto/pluto/mailstore/textindex"
)

// library is a replica with a text index, whose keeper works when the test says so.
type library struct {
	t       testing.TB
	r       *rand.Rand
	replica *mailstore.Replica
	db      *textindex.DB
	fs      *vfs.MemFS // of the index
	indexer *indexer
	ended   sync.WaitGroup
	serial  byte
}

func openIndex(t testing.TB, fs vfs.FS) *textindex.DB {
	t.Helper()
	db, err := textindex.Open("index", textindex.Options{FS: fs, Texts: mime.TextsVersion()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newLibrary(t testing.TB, seed uint64) *library {
	l := &library{t: t, r: rand.New(rand.NewPCG(seed, 3)), fs: vfs.NewCrashableMem()}
	l.db = openIndex(t, l.fs)
	l.indexer = l.newIndexer()
	store, err := mailstore.Open("data", mailstore.Options{FS: vfs.NewMem(), MinFree: -1, CacheSize: 4 << 20, MemTableSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	l.replica, err = store.Replica(mailstore.ReplicaOptions{
		Subnet: "s", Slot: 1, Leader: true, Separator: '.', Policy: crdt.DefaultPolicy(), ManualTicks: true,
		Contents: func(account crdt.AccountID, came, went []crdt.Root) { l.indexer.note(account, came, went) },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.indexer.replica = l.replica
	t.Cleanup(l.ended.Wait)
	return l
}

func (l *library) newIndexer() *indexer {
	x := newIndexer(l.db, 1, log.NewNopLogger())
	x.collector, x.replica = textindex.NewCollector(), l.replica
	return x
}

// contents returns what the account's messages refer to.
func (l *library) contents() []crdt.Root {
	l.t.Helper()
	list, err := l.replica.ContentsOf(l.t.Context(), 7)
	if err != nil {
		l.t.Fatal(err)
	}
	return list
}

// update has the keeper do what is due.
func (l *library) update() {
	l.t.Helper()
	if err := l.indexer.updateNoted(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *library) account(indexed bool) account {
	l.t.Helper()
	l.serial++
	a, err := openAccount(l.t.Context(), l.replica, 7, "user7", imap.SessionID{l.serial})
	if err != nil {
		l.t.Fatal(err)
	}
	if indexed {
		a.texts = (&member{replica: l.replica, indexer: l.indexer}).textsOf(7)
	}
	return a
}

// reader is an account that counts the bodies that are read.
type reader struct {
	account
	reads *int
}

func (a reader) Body(ctx context.Context, m *imap.Message) (imap.Body, error) {
	*a.reads++
	return a.account.Body(ctx, m)
}

// dial opens a session, which uses the index or does not; it counts in reads what it reads.
func (l *library) dial(indexed bool, reads *int) *imaptest.Client {
	l.t.Helper()
	client, conn := net.Pipe()
	a := l.account(indexed)
	l.ended.Go(func() {
		defer a.Close()
		defer conn.Close()
		imap.Serve(l.t.Context(), imaptest.NewConn(conn), reader{a, reads}, imap.Options{Separator: '.'}) // its end is the client's
	})
	c := imaptest.NewClient(l.t, client)
	l.t.Cleanup(c.Close)
	return c
}

// command executes a command that must succeed, and returns the responses.
func (l *library) command(c *imaptest.Client, text string) []string {
	l.t.Helper()
	lines := c.Command("t", text)
	if len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "t OK") {
		l.t.Fatalf("%.200s: %q", text, lines)
	}
	return lines
}

func (l *library) append(messages ...string) {
	l.t.Helper()
	a := l.account(false)
	defer a.Close()
	list := make([]imap.NewMessage, len(messages))
	for i, text := range messages {
		s, err := a.Stage(l.t.Context(), int64(len(text)))
		if err != nil {
			l.t.Fatal(err)
		}
		if _, err := s.Write([]byte(text)); err != nil {
			l.t.Fatal(err)
		}
		structure, err := mime.Parse(strings.NewReader(text))
		if err != nil {
			l.t.Fatal(err)
		}
		list[i] = imap.NewMessage{Staging: s, Structure: structure.Encode()}
	}
	if _, err := a.Append(l.t.Context(), "INBOX", list); err != nil {
		l.t.Fatal(err)
	}
}

// The words that messages are made of: short ones, so that they meet by chance, and such
// as are hard to compare.
var libraryWords = []string{
	"an", "ant", "antenna", "tenant", "net", "ten", "Grüße", "GRÜSSE", "straße", "ﬁnance", "Ångström", "σίγμας",
	"ΣΊΓΜΑΣ", "привет", "ПРИВЕТ", "日本語", "日木", "한국어", "naïve", "cafe\u0301", "CAFÉ", "😀smile", "a\u0308b", "İstanbul", "ıssız",
	"x-y_z", "foo@bar.example", "http://a.example/?q=1", "=?utf-8?q?no?=", "\u00a0", "\t", "---", "0123456789", "\u212A",
}

func (l *library) words(n int) string {
	var b strings.Builder
	for range n {
		w := libraryWords[l.r.IntN(len(libraryWords))]
		if l.r.IntN(5) == 0 {
			runes := []rune(w)
			w = string(runes[:l.r.IntN(len(runes)+1)])
		}
		b.WriteString(w)
		b.WriteString([]string{" ", "", "\r\n", ", "}[l.r.IntN(4)])
	}
	return b.String()
}

// charsets are some in which texts are written; nil: as they are, whatever is said.
var charsets = []struct {
	name     string
	encoding encoding.Encoding
}{
	{"utf-8", nil}, {"us-ascii", nil}, {"", nil}, {"x-unknown", nil}, {"iso-8859-1", charmap.ISO8859_1}, {"windows-1251", charmap.Windows1251},
	{"koi8-r", charmap.KOI8R}, {"iso-2022-jp", japanese.ISO2022JP}, {"shift_jis", japanese.ShiftJIS},
	{"utf-16", unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}, {"utf-7", nil}, {"iso-2022-jp", nil},
}

// part makes a part with a header of its own.
func (l *library) part(depth int) string {
	if depth < 3 && l.r.IntN(4) == 0 {
		var b strings.Builder
		boundary := fmt.Sprintf("b%d", l.r.IntN(1000))
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n%s", boundary, l.words(2))
		for range l.r.IntN(4) {
			fmt.Fprintf(&b, "\r\n--%s\r\n%s", boundary, l.part(depth+1))
		}
		if l.r.IntN(3) > 0 {
			fmt.Fprintf(&b, "\r\n--%s--\r\n", boundary)
		}
		return b.String()
	}
	if depth < 3 && l.r.IntN(8) == 0 {
		return "Content-Type: message/rfc822\r\n\r\n" + l.message(depth+1)
	}
	types := []string{"text/plain", "text/html", "application/octet-stream", "message/delivery-status", "text/", ""}
	cs := charsets[l.r.IntN(len(charsets))]
	text := l.words(l.r.IntN(30))
	if cs.encoding != nil {
		if encoded, err := encoding.ReplaceUnsupported(cs.encoding.NewEncoder()).String(text); err == nil {
			text = encoded
		}
	}
	switch l.r.IntN(20) {
	case 0: // garbage
		noise := make([]byte, l.r.IntN(300))
		for i := range noise {
			noise[i] = byte(l.r.Uint32())
		}
		text += string(noise)
	case 1: // over the borders of all buffers
		text = strings.Repeat(l.words(40), 50) + text
	}
	transfer := []string{"7bit", "8bit", "base64", "quoted-printable", "x-unknown"}[l.r.IntN(5)]
	switch transfer {
	case "base64":
		text = base64.StdEncoding.EncodeToString([]byte(text))
	case "quoted-printable":
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		w.Write([]byte(text)) // to memory
		w.Close()
		text = b.String()
	}
	return fmt.Sprintf("Content-Type: %s; charset=\"%s\"\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", types[l.r.IntN(len(types))], cs.name, transfer, text)
}

func (l *library) message(depth int) string {
	var b strings.Builder
	for range l.r.IntN(4) {
		value := strings.ReplaceAll(strings.ReplaceAll(l.words(1+l.r.IntN(5)), "\r\n", "\r\n "), "\t", " ")
		if l.r.IntN(2) == 0 {
			value = fmt.Sprintf("=?utf-8?b?%s?=", base64.StdEncoding.EncodeToString([]byte(value)))
		}
		fmt.Fprintf(&b, "%s: %s\r\n", []string{"Subject", "From", "X-Words", "To"}[l.r.IntN(4)], value)
	}
	return b.String() + l.part(depth)
}

func (l *library) messages(n int) (list []string) {
	for range n {
		list = append(list, l.message(0))
	}
	return list
}

// key makes a search key.
func (l *library) key(depth int) string {
	if depth < 2 {
		switch l.r.IntN(8) {
		case 0:
			return "NOT " + l.key(depth+1)
		case 1:
			return fmt.Sprintf("OR %s %s", l.key(depth+1), l.key(depth+1))
		case 2:
			return fmt.Sprintf("(%s %s)", l.key(depth+1), l.key(depth+1))
		}
	}
	text := libraryWords[l.r.IntN(len(libraryWords))]
	switch l.r.IntN(4) {
	case 0:
		text = strings.ToUpper(text)
	case 1:
		text += libraryWords[l.r.IntN(len(libraryWords))]
	case 2:
		runes := []rune(text)
		from := l.r.IntN(len(runes))
		text = string(runes[from : from+1+l.r.IntN(len(runes)-from)])
	}
	if l.r.IntN(15) == 0 {
		text = strings.ReplaceAll(l.words(30), "\r\n", " ")
	}
	name := []string{"BODY", "TEXT", "BODY", "TEXT", "SUBJECT", "HEADER X-Words"}[l.r.IntN(6)]
	return fmt.Sprintf("%s {%d+}\r\n%s", name, len(text), text)
}

// compare executes random searches with and without the index, which must find the same.
func (l *library) compare(with, without *imaptest.Client, n int) {
	l.t.Helper()
	for _, c := range []*imaptest.Client{with, without} {
		l.command(c, "NOOP")
	}
	for range n {
		command := []string{"SEARCH CHARSET UTF-8 ", "UID SEARCH RETURN (MIN MAX COUNT ALL) CHARSET UTF-8 ",
			"SORT (REVERSE DATE) UTF-8 ", "THREAD REFERENCES UTF-8 ", "UID SEARCH RETURN (PARTIAL -1:-5) CHARSET UTF-8 "}[l.r.IntN(5)] + l.key(0)
		got, want := l.command(with, command), l.command(without, command)
		if !slices.Equal(got[:len(got)-1], want[:len(want)-1]) {
			l.t.Fatalf("%q\nwith the index    %.500q\nwithout the index %.500q", command, got, want)
		}
	}
}

// Whatever the messages and the strings: a SEARCH with the index finds what one without
// it finds, while messages come, are copied and moved, go, and are in the index or not yet.
func TestSearchWithIndex(t *testing.T) {
	const rounds = 6
	for seed := range uint64(2) {
		l := newLibrary(t, seed)
		var reads, allReads int
		with, without := l.dial(true, &reads), l.dial(false, &allReads)
		l.append(l.messages(100)...)
		for _, c := range []*imaptest.Client{with, without} {
			l.command(c, "ENABLE CONDSTORE")
			l.command(c, "SELECT INBOX")
		}
		l.compare(with, without, 3)
		for range rounds {
			switch l.r.IntN(5) {
			case 0, 1:
				l.append(l.messages(1 + l.r.IntN(30))...)
			case 2:
				l.command(without, "COPY 2:9 INBOX")
			case 3:
				l.command(without, `STORE 1:3,20:25 +FLAGS (\Deleted)`)
				l.command(without, "EXPUNGE")
			case 4:
				l.command(without, "COPY 30:40 Archive")
			}
			if l.r.IntN(4) > 0 {
				l.update()
			}
			l.compare(with, without, 15)
		}
		if reads*4 > allReads*3 { // many of the strings are short
			t.Errorf("with the index %d bodies were read, without it %d", reads, allReads)
		}
	}
}

// A context is kept up to date with the index as without it (RFC 5267).
func TestContextWithIndex(t *testing.T) {
	l := newLibrary(t, 9)
	var reads int
	with, without := l.dial(true, &reads), l.dial(false, &reads)
	l.append(l.messages(60)...)
	l.update()
	for _, c := range []*imaptest.Client{with, without} {
		l.command(c, "SELECT INBOX")
		l.command(c, "UID SEARCH RETURN (UPDATE COUNT) OR BODY tenant NOT TEXT antenna")
	}
	for range 5 {
		l.append(l.messages(30)...)
		l.update()
		got, want := l.command(with, "NOOP"), l.command(without, "NOOP")
		if found := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, "* ESEARCH") }); found < 0 || !slices.Contains(want, got[found]) {
			t.Fatalf("with the index %q, without it %q", got, want)
		}
	}
}

// A message that is in several mailboxes is in the index once, and goes with its last
// instance's content.
func TestIndexSharesContents(t *testing.T) {
	l := newLibrary(t, 1)
	var reads int
	c := l.dial(true, &reads)
	l.append(l.messages(20)...)
	l.command(c, "SELECT INBOX")
	l.command(c, "COPY 1:* Archive")
	l.command(c, "COPY 1:5 INBOX")
	l.command(c, "MOVE 6:8 Trash")
	l.update()
	if got := l.db.Contents(); got != 20 {
		t.Errorf("of 20 messages with copies, the index has %d contents", got)
	}
	l.command(c, `STORE 1:* +FLAGS.SILENT (\Deleted)`)
	l.command(c, "EXPUNGE")
	l.command(c, "SELECT Archive")
	l.command(c, `STORE 1:10 +FLAGS.SILENT (\Deleted)`)
	l.command(c, "EXPUNGE")
	l.stable()
	l.update()
	if got := l.db.Contents(); got != 13 { // 10 in Archive and 3 in Trash
		t.Errorf("of 20 contents, of which 13 are left, the index has %d", got)
	}
}

// stable lets everything become stable, so that contents go.
func (l *library) stable() {
	l.t.Helper()
	v := l.replica.Logged()
	l.replica.Stable(v, v)
	l.replica.Tick()
}

// What was there before there was an index is added at the start, what has gone meanwhile is
// taken out, and so is an account that is not there.
func TestIndexCompares(t *testing.T) {
	l := newLibrary(t, 2)
	l.append(l.messages(50)...)
	collector := textindex.NewCollector()
	for _, o := range []textindex.Owner{{Replica: l.replica.Origin(), Account: 7}, {Replica: l.replica.Origin(), Account: 8}} {
		if err := l.db.Add(o, []textindex.Content{collector.Take(crdt.Root{1}), collector.Take(crdt.Root{2})}); err != nil {
			t.Fatal(err)
		}
	}
	l.indexer = l.newIndexer()
	if err := l.indexer.compare(t.Context()); err != nil {
		t.Fatal(err)
	}
	owners, err := l.db.Owners()
	if err != nil || len(owners) != 1 || l.db.Contents() != 50 {
		t.Errorf("of 50 messages of one account, the index has %d of %v, error %v", l.db.Contents(), owners, err)
	}
}

// After a crash that loses any part of the index, it is completed, and searches find the
// same before and after.
func TestIndexCrash(t *testing.T) {
	for seed := range uint64(4) {
		l := newLibrary(t, seed)
		for range 8 {
			l.append(l.messages(20)...)
			l.update()
			if l.r.IntN(3) == 0 {
				if err := l.db.Sync(); err != nil {
					t.Fatal(err)
				}
			}
		}
		l.db = openIndex(t, l.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: l.r.IntN(101), RNG: l.r}))
		l.indexer = l.newIndexer()
		var reads int
		with, without := l.dial(true, &reads), l.dial(false, &reads)
		for _, c := range []*imaptest.Client{with, without} {
			l.command(c, "SELECT INBOX")
		}
		l.compare(with, without, 20)
		if err := l.indexer.compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.db.Contents(); got != 160 {
			t.Errorf("the index has %d contents of 160", got)
		}
		l.compare(with, without, 20)
	}
}

// The keeper, left to itself, makes an index of what is there and what comes, and makes it
// anew when it is damaged.
func TestIndexKeeper(t *testing.T) {
	l := newLibrary(t, 4)
	l.append(l.messages(30)...)
	l.indexer.delay = 0
	l.indexer.settled = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { l.indexer.run(ctx) })
	defer work.Wait()
	defer cancel()
	l.until(30)
	l.append(l.messages(20)...)
	l.until(50)
	l.db.Distrust(fmt.Errorf("something is wrong"))
	l.until(50)
}

// until waits until the index is there and has so many contents.
func (l *library) until(n int64) {
	l.t.Helper()
	owner := textindex.Owner{Replica: l.replica.Origin(), Account: 7}
	patience := time.NewTimer(20 * time.Second) // passes only when the test fails
	defer patience.Stop()
	for {
		select {
		case <-l.indexer.settled:
		case <-patience.C:
			l.t.Fatal("the index is not made")
		}
		list := l.contents()
		if missing, err := l.db.Missing(owner, list); err == nil && len(missing) == 0 && l.db.Contents() == n {
			return
		}
	}
}

// What cannot be read now is not in the index, is read by searches, and is tried again.
func TestIndexLater(t *testing.T) {
	l := newLibrary(t, 5)
	l.append(l.messages(10)...)
	list := l.contents()
	l.indexer.note(7, append(list, crdt.Root{9}), nil) // one of which nothing is known
	l.update()
	if l.db.Contents() != 10 {
		t.Errorf("the index has %d contents of 10", l.db.Contents())
	}
	if p := l.indexer.pending(); p != 0 {
		t.Errorf("%d contents are waited for", p)
	}
}

// What has come and gone, or gone and come, before anybody looks is no work.
func TestIndexLastCounts(t *testing.T) {
	l := newLibrary(t, 7)
	l.append(l.messages(10)...)
	list := l.contents()
	l.indexer.note(7, nil, list[:4])
	if p := l.indexer.pending(); p != 6 {
		t.Errorf("%d contents are waited for, not 6", p)
	}
	l.update()
	if l.db.Contents() != 6 || l.indexer.count != 0 {
		t.Errorf("the index has %d contents of 6, %d are kept", l.db.Contents(), l.indexer.count)
	}
	l.indexer.note(7, nil, list[4:])
	l.indexer.note(7, list, nil)
	l.update()
	if l.db.Contents() != 10 {
		t.Errorf("the index has %d contents of 10", l.db.Contents())
	}
}

// More news than are kept have the account compared as a whole.
func TestIndexOverflow(t *testing.T) {
	l := newLibrary(t, 6)
	l.append(l.messages(10)...)
	for i := range 5 {
		roots := make([]crdt.Root, maxNoted/4)
		for k := range roots {
			binary.BigEndian.PutUint32(roots[k][:], uint32(i*len(roots)+k))
		}
		l.indexer.note(7, roots, nil)
	}
	if l.indexer.count > maxNoted || !l.indexer.noted[7].all {
		t.Errorf("%d contents are kept", l.indexer.count)
	}
	l.update()
	if l.db.Contents() != 10 || l.indexer.count != 0 {
		t.Errorf("the index has %d contents of 10, %d are kept", l.db.Contents(), l.indexer.count)
	}
}
