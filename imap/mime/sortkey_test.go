package mime_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap/mime"
)

func TestBaseSubject(t *testing.T) {
	for subject, want := range map[string]struct {
		base  string
		reply bool
	}{
		"":                                {"", false},
		"plain":                           {"plain", false},
		"  many \t spaces\r\n here ":      {"many spaces here", false},
		"Re: plain":                       {"plain", true},
		"RE : plain":                      {"plain", true},
		"re[2]: plain":                    {"plain", true},
		"Fwd: plain":                      {"plain", true},
		"FW: Re: Fw: plain":               {"plain", true},
		"[list] plain":                    {"plain", false},
		"[list] Re: [other] plain":        {"plain", true},
		"[a][b] re [c] : plain":           {"plain", true},
		"plain (fwd)":                     {"plain", true},
		"plain (FWD) (fwd) ":              {"plain", true},
		"[fwd: plain]":                    {"plain", true},
		"[Fwd: Re: [list] plain (fwd)]":   {"plain", true},
		"[fwd: [fwd: plain]]":             {"plain", true},
		"[only blob]":                     {"[only blob]", false},
		"[a] [b]":                         {"[b]", false},
		"Re: [b]":                         {"[b]", true},
		"Re:":                             {"", true},
		"(fwd)":                           {"", true},
		"[fwd:]":                          {"", true},
		"[un[closed] x":                   {"[un[closed] x", false},
		"Re plain":                        {"Re plain", false},
		"Reply: plain":                    {"Reply: plain", false},
		"Antw: plain":                     {"Antw: plain", false},
		"Re: Grüße (fwd)":                 {"Grüße", true},
		"[fwd: open":                      {"[fwd: open", false},
		"Re: [x] Re: [y]":                 {"[y]", true},
		strings.Repeat("Re: ", 200) + "x": {"x", true},
	} {
		base, reply := mime.BaseSubject(subject)
		if base != want.base || reply != want.reply {
			t.Errorf("%q: got %q %v, want %q %v", subject, base, reply, want.base, want.reply)
		}
	}
}

func TestBaseSubjectOfBaseSubjectIsItself(t *testing.T) {
	for _, s := range []string{"[a] [b] c", "Re: [fwd: Re: x]", "x (fwd)(fwd)", "[fwd: [x]]", "[] re:[]"} {
		base, _ := mime.BaseSubject(s)
		if again, _ := mime.BaseSubject(base); again != base {
			t.Errorf("%q: %q, then %q", s, base, again)
		}
	}
}

func TestCollation(t *testing.T) {
	// RFC 5051 section 2: "_" is after the letters, which are in title case.
	sorted := []string{"", "A1", "a2", "B", "é", "Fz", "ß", "_", "Ω"}
	key := func(s string) string { return string(mime.AppendCollation(nil, s)) }
	for i, s := range sorted {
		for k, other := range sorted[i+1:] {
			if key(s) >= key(other) && !(s == "ß" || other == "ß") {
				t.Errorf("%q is not before %q (%d, %d)", s, other, i, i+1+k)
			}
		}
	}
	for _, same := range [][2]string{{"É", "e\u0301"}, {"Straße", "STRAßE"}, {"가", "\u1100\u1161"}, {"ﬁ", "ﬁ"}} {
		if !bytes.Equal(mime.AppendCollation(nil, same[0]), mime.AppendCollation(nil, same[1])) {
			t.Errorf("%q and %q differ", same[0], same[1])
		}
	}
}

// header parses a message that is only a header.
func header(t *testing.T, text string) *mime.Structure {
	t.Helper()
	s, err := mime.Parse(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSortAddresses(t *testing.T) {
	for text, want := range map[string][2]string{ // FROM, DISPLAYFROM
		"From: =?utf-8?q?=C3=89va?= <zed@example.org>": {"zed", "Éva"},
		"From: zed@example.org":                        {"zed", "zed@example.org"},
		"From: \"\" <zed@example.org>":                 {"zed", "zed@example.org"},
		"From: zed@example.org (Zed)":                  {"zed", "Zed"},
		"From: Group: a@b.c;":                          {"Group", "Group"},
		"To: zed@example.org":                          {"", ""},
		"From: A <a@example.org>, B <b@example.org>":   {"a", "A"},
	} {
		s := header(t, text)
		if got := s.FirstMailbox(mime.FieldFrom); got != want[0] {
			t.Errorf("%q: mailbox %q, want %q", text, got, want[0])
		}
		if got := s.FirstDisplay(mime.FieldFrom); got != want[1] {
			t.Errorf("%q: display %q, want %q", text, got, want[1])
		}
	}
}

func TestReferences(t *testing.T) {
	for text, want := range map[string][]string{
		"References: <a@x> <b@x>\n <c@x>\nIn-Reply-To: <d@x>": {"a@x", "b@x", "c@x"},
		"References: junk\nIn-Reply-To: <d@x> <e@x>":          {"d@x"},
		"In-Reply-To: Your message <\"q q\"@x> of today":      {"qq@x"},
		"References: <a@x><b@x>":                              {"a@x", "b@x"},
		"References: <no-at> <@x> <x@> <a@x>":                 {"a@x"},
		"References: <broken <a@x>":                           {"a@x"},
		"References: <open@x":                                 nil,
		"Subject: none":                                       nil,
	} {
		if got := header(t, text).References(); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	// RFC 5256 section 3: quoting makes no other Message ID.
	a := header(t, `Message-ID: <"01KF8JCEOCBS0045PS"@xxx.yyy.com>`).MessageID()
	if b := header(t, `Message-ID: <01KF8JCEOCBS0045PS@xxx.yyy.com>`).MessageID(); a != b || a == "" {
		t.Errorf("%q is not %q", a, b)
	}
}
