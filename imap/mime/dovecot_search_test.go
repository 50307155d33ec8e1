package mime

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestSearchAsDovecot compares what SEARCH finds among the samples.
func TestSearchAsDovecot(t *testing.T) {
	addr := os.Getenv("DOVECOT")
	if addr == "" {
		t.Skip("DOVECOT is not set")
	}
	c := dial(t, addr)
	defer c.conn.Close()
	var all []sample
	for _, s := range samples(t) {
		if len(s.data) > 0 && s.name != "many-parts" {
			all = append(all, s)
			c.append(s.data)
		}
	}
	for _, key := range []string{"BODY", "TEXT", "HEADER SUBJECT", "HEADER FROM", "HEADER CONTENT-TYPE", "HEADER X-HEADER"} {
		for _, needle := range []string{"x", "one", "inner", "GRÜSSE", "grüße", "jörg", "körper", "日本", "the", "boundary", "b@c", "mixed", "epi", "value", "a b"} {
			found := c.search(key, needle)
			for i, s := range all {
				theirs, ours := found[strconv.Itoa(i+1)], searchSample(t, s, key, needle)
				if theirs != ours && (theirs || !findsMore(s.name)) {
					t.Errorf("%s %q in %s: dovecot %v, ours %v", key, needle, s.name, theirs, ours)
				}
			}
		}
	}
}

// search returns the numbers of the messages found.
func (c *imapClient) search(key, needle string) map[string]bool {
	c.t.Helper()
	found := map[string]bool{}
	for _, line := range c.command(fmt.Sprintf("SEARCH CHARSET UTF-8 %s {%d+}\r\n%s", key, len(needle), needle)) {
		nums, _ := strings.CutPrefix(line, "* SEARCH")
		for _, num := range strings.Fields(nums) {
			found[num] = true
		}
	}
	return found
}

// findsMore reports whether DIFFERENCES.md says that we find more in a sample.
func findsMore(name string) bool {
	switch name {
	case "cte-quoted", "cte-empty", "cte-two-words", "cte-mime-version2", "eight-bit":
		return true
	}
	return differs(name)
}

func searchSample(t *testing.T, s sample, key, needle string) bool {
	m := NewMatcher(needle)
	ours := parse(t, s.data)
	if field, ok := strings.CutPrefix(key, "HEADER "); ok {
		header, _ := ours.Locate(Section{Specifier: Header})
		return MatchHeader(s.data[:header.Length], field, m)
	}
	found, err := ours.MatchBody(bytes.NewReader(s.data), []*Matcher{m}, key == "TEXT")
	if err != nil {
		t.Fatal(err)
	}
	return found[0]
}
