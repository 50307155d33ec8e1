package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// corpus returns odd messages by name: those beside the repository, where they
// are, and some of our own.
func corpus(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{
		"empty header":     []byte("\r\nonly a body\r\n"),
		"only a header":    []byte("Subject: no body\r\n"),
		"no line end":      []byte("Subject: x\r\n\r\nno line end"),
		"8 bit":            []byte("Subject: caf\xe9\r\n\r\n\xff\xfe\x80 bytes\r\n"),
		"long line":        []byte("Subject: x\r\n\r\n" + strings.Repeat("y", 200000) + "\r\n"),
		"like a literal":   []byte("Subject: {5}\r\n\r\n{12}\r\na1 OK done\r\n)\r\n"),
		"bare carriage":    []byte("Subject: x\r\n\r\na\rb\r\r\nc\r\n"),
		"bare newline":     []byte("Subject: x\n\nunix lines\n"),
		"many headers":     []byte(strings.Repeat("X-H: v\r\n", 5000) + "\r\nbody\r\n"),
		"larger than most": []byte("Subject: large\r\n\r\n" + strings.Repeat("0123456789abcdef0123456789abcdef0123456789abcdef012345678\r\n", 60000)),
	}
	root, err := cluster.Root()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "..", "shared", "corpus", "messages", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Log("SKIPPED in part: ../shared/corpus is not there")
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(f)] = b
		// Mail on the wire has CRLF (RFC 5322 section 2.1).
		wire := bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		if !bytes.Equal(wire, b) {
			found[filepath.Base(f)+" with CRLF"] = wire
		}
	}
	return found
}

// TestCorpus stores odd messages at eu and wants them back byte for byte, at eu
// and at us, with all that FETCH can tell of them.
func TestCorpus(t *testing.T) {
	c := sharedCluster(t)
	eu := dialUser(t, c, c.EU, userCorpus)
	if _, err := eu.Do("CREATE Corpus", nil); err != nil {
		t.Fatal(err)
	}
	do(t, "SELECT", eu.Select("Corpus"))
	uids := map[string]uint32{}
	messages := corpus(t)
	for name, m := range messages {
		u, err := eu.Append("Corpus", "", m, false)
		if err != nil {
			t.Errorf("APPEND of %s: %v", name, err)
			continue
		}
		uids[name] = u.UID
	}
	us := dialUser(t, c, c.US, userCorpus)
	until(t, timeout(t, readyTime), "the corpus at us", func() (bool, error) {
		err := us.Select("Corpus")
		return err == nil && int(us.Exists) == len(uids), err
	})
	for _, conn := range []*imapc.Conn{eu, us} {
		for name, uid := range uids {
			checkReturned(t, conn, name, uid, messages[name])
		}
	}
}

func checkReturned(t *testing.T, conn *imapc.Conn, name string, uid uint32, want []byte) {
	t.Helper()
	answers := 0
	cmd := fmt.Sprintf("UID FETCH %d (UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[])", uid)
	_, err := conn.Do(cmd, func(r *imapc.Response) {
		if r.Name != "FETCH" {
			return
		}
		answers++
		item := func(name string) imapc.Value {
			v, _ := imapc.FetchItem(r.Rest, name)
			return v
		}
		if got := item("BODY[]").Str; !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came back, %d were stored; the first difference is at %d", name, len(got), len(want), difference(got, want))
		}
		if got := append(bytes.Clone(item("BODY[HEADER]").Str), item("BODY[TEXT]").Str...); !bytes.Equal(got, want) {
			t.Errorf("%s: header and text are not the whole", name)
		}
		if n, ok := item("RFC822.SIZE").Uint(); !ok || n != uint64(len(want)) {
			t.Errorf("%s: size %d, want %d", name, n, len(want))
		}
		if n := len(item("ENVELOPE").List); n != 10 {
			t.Errorf("%s: ENVELOPE has %d fields", name, n)
		}
		if len(item("BODYSTRUCTURE").List) == 0 || len(item("BODY").List) == 0 {
			t.Errorf("%s: no structure", name)
		}
	})
	if err != nil || answers != 1 {
		t.Errorf("%s: %d answers, %v", name, answers, err)
	}
}

// difference returns the index of the first byte in which two messages differ.
func difference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
