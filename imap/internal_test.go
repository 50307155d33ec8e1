package imap

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/wire"
	"pgregory.net/rapid"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true},
		{"*", "a/b", true},
		{"%", "a", true},
		{"%", "a/b", false},
		{"%/%", "a/b", true},
		{"%/%", "a/b/c", false},
		{"*/%", "a/b/c", true},
		{"a%c", "abc", true},
		{"a%c", "a/c", false},
		{"a*c", "a/c", true},
		{"a*c", "a/cd", false},
		{"%*", "a/b", true},
		{"*%", "a/b", true},
		{"%%%", "a/b", false},
		{"%a%", "bab", true},
		{"*b*b", "abab", true},
		{"*b*b", "abba", false},
		{"inbox", "INBOX", true},
		{"InB*", "INBOX", true},
		{"%x", "INBOX", true},
		{"inbox/%", "INBOX/a", true},
		{"inbox/A", "INBOX/a", false},
		{"inboxes", "INBOXes", false},
		{"sent", "Sent", false},
		{"", "", true},
		{"", "a", false},
		{strings.Repeat("ab", 100), strings.Repeat("ab", 100), true},
		{strings.Repeat("%b", 100) + "c", strings.Repeat("ab", 100), false},
	} {
		if got := newPattern(test.pattern, '/').matches(test.name); got != test.want {
			t.Errorf("%.40q matches %.40q: %v", test.pattern, test.name, got)
		}
	}
}

// matchSlowly is the definition.
func matchSlowly(p, name string) bool {
	if p == "" {
		return name == ""
	}
	switch p[0] {
	case '*', '%':
		for i := 0; ; i++ {
			if matchSlowly(p[1:], name[i:]) {
				return true
			}
			if i == len(name) || p[0] == '%' && name[i] == '/' {
				return false
			}
		}
	}
	return name != "" && name[0] == p[0] && matchSlowly(p[1:], name[1:])
}

func TestPatternIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.StringMatching(`[ab/*%]{0,9}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab/]{0,9}`).Draw(t, "name")
		if got, want := newPattern(p, '/').matches(name), matchSlowly(p, name); got != want {
			t.Fatalf("got %v", got)
		}
	})
}

// A pattern made to go astray takes no longer than its length times the name's.
func TestPatternIsNotExponential(t *testing.T) {
	p := newPattern(strings.Repeat("*a", 900)+"b", '/')
	if p.matches(strings.Repeat("a", maxNameBytes)) {
		t.Fatal("matches")
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("INBOX/*%a", "INBOX/x/a")
	f.Add("%", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		newPattern(pattern, '/').matches(name)
	})
}

func TestClientHasToGetOn(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name     string
		since    time.Duration // the command's first byte; 0: between commands
		received int64
		want     time.Duration
	}{
		{"idle", 0, 0, DefaultAutologout},
		{"begun", time.Second, 10, commandStall},
		{"50 MiB at 1 Mbit/s", 400 * time.Second, 50 << 20, commandStall},
		{"a modem", time.Hour, 4 << 20, commandStall},
		{"a byte a minute", 8 * time.Minute, 8, 2 * time.Minute},
		{"a byte a minute for long", 11 * time.Minute, 11, -time.Minute},
	} {
		i := input{session: &session{opts: Options{}.withDefaults()}, received: test.received}
		if test.since > 0 {
			i.started = now.Add(-test.since)
		}
		if got := i.until(now).Sub(now); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// uidView is a View that has only UIDs.
type uidView []UID

func (v uidView) Len() int               { return len(v) }
func (v uidView) At(i int, m *Message)   { *m = Message{UID: v[i]} }
func (v uidView) UIDAt(i int) UID        { return v[i] }
func (v uidView) UIDNext() UID           { return 1 << 20 }
func (v uidView) HighestModSeq() ModSeq  { return 1 }
func (v uidView) Since(old View) Changes { return Changes{} }
func (v uidView) Find(uid UID) (int, bool) {
	return slices.BinarySearch(v, uid)
}

func TestPlaces(t *testing.T) {
	some, none := uidView{3, 4, 9}, uidView{}
	for _, test := range []struct {
		view View
		set  string
		uid  bool
		want []span
		bad  bool // some do not exist
	}{
		{some, "1", false, []span{{0, 1}}, false},
		{some, "*", false, []span{{2, 3}}, false},
		{some, "2:*", false, []span{{1, 3}}, false},
		{some, "*:2", false, []span{{1, 3}}, false},
		{some, "3,1:2,3:2", false, []span{{0, 3}}, false},
		{some, "3,1", false, []span{{0, 1}, {2, 3}}, false},
		{some, "1:4", false, []span{{0, 3}}, true},
		{some, "4", false, nil, true},
		{some, "2:4294967295", false, []span{{1, 3}}, true},
		{some, "4294967295", false, nil, true},
		{some, "4:*", false, []span{{2, 3}}, true},
		{none, "*", false, nil, true},
		{none, "1:*", false, nil, true},
		{some, "4", true, []span{{1, 2}}, false},
		{some, "5:8", true, nil, false},
		{some, "1:4294967295", true, []span{{0, 3}}, false},
		{some, "8:4", true, []span{{1, 2}}, false},
		{some, "*", true, []span{{2, 3}}, false},
		{some, "20:*", true, []span{{2, 3}}, false},
		{some, "*:4", true, []span{{1, 3}}, false},
		{none, "1:*", true, nil, false},
	} {
		c, err := wire.NewReader(strings.NewReader("a X "+test.set+"\r\n"), wire.AfterLogin).Next()
		if err != nil || c.SP() != nil {
			t.Fatal(err)
		}
		set, err := c.SequenceSet()
		if err != nil {
			t.Fatal(err)
		}
		got := (&selection{told: test.view}).appendPlaces(nil, set, test.uid)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s of %v: %v", test.set, test.view, got)
		}
		if !test.uid && allExist(set, test.view.Len()) == test.bad {
			t.Errorf("%s of %v: all exist: %v", test.set, test.view, test.bad)
		}
	}
}

// keywordView is a View that has only keywords.
type keywordView struct {
	uidView
	keywords []string
}

func (v keywordView) Keywords() []string { return v.keywords }

func TestNewKeywords(t *testing.T) {
	b := &selection{latest: keywordView{keywords: []string{"$b"}}}
	step := func(want bool, all ...string) {
		t.Helper()
		if got := b.newKeywords(); got != want || !slices.Equal(b.keywords, all) {
			t.Fatalf("got %t %q, want %t %q", got, b.keywords, want, all)
		}
	}
	step(true, "$b")
	step(false, "$b")
	// What only a message has that is gone, and that the client still sees.
	b.keep(&Message{UID: 1, Keywords: []string{"$a"}})
	step(true, "$a", "$b")
	b.ghosts, b.latest = nil, keywordView{keywords: []string{"$c"}}
	step(true, "$a", "$b", "$c")
	if b.latest = (keywordView{}); !b.newKeywords("$d") {
		t.Fatal("not told what the client makes of a message that is gone")
	}
}
