package mailnode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/imaptest"
)

// mailText makes messages like those of people and programs: headers of 1.3 KiB with what is
// random in them (trace, signature, identities), texts of 1.5 KiB in the middle, some of them
// as HTML too.
type mailText struct {
	r          *rand.Rand
	paragraphs []string
}

// newMailText makes texts out of the files that PLUTO_TEXTS names (patterns, separated
// by commas), or else of invented words of which few are common and most are rare.
func newMailText(t testing.TB) *mailText {
	t.Helper()
	m := &mailText{r: rand.New(rand.NewPCG(1, 1))}
	for pattern := range strings.SplitSeq(os.Getenv("PLUTO_TEXTS"), ",") {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for p := range strings.SplitSeq(string(data), "\n\n") {
				if len(p) > 60 && len(p) < 1500 {
					m.paragraphs = append(m.paragraphs, strings.ReplaceAll(p, "\n", "\r\n"))
				}
			}
		}
	}
	if len(m.paragraphs) == 0 {
		m.invent()
	}
	return m
}

func (m *mailText) invent() {
	words := make([]string, 30000)
	for i := range words {
		for range 1 + m.r.IntN(2) + i/10000 {
			words[i] += string("bcdfghklmnprstvwz"[m.r.IntN(17)]) + string("aeiou"[m.r.IntN(5)]) + []string{"", "", "n", "r", "s", "t"}[m.r.IntN(6)]
		}
	}
	zipf := rand.NewZipf(m.r, 1.1, 3, uint64(len(words)-1))
	for range 20000 {
		var b strings.Builder
		for b.Len() < 60+m.r.IntN(600) {
			b.WriteString(words[zipf.Uint64()])
			b.WriteString([]string{" ", " ", " ", ", ", ".\r\n"}[m.r.IntN(5)])
		}
		m.paragraphs = append(m.paragraphs, b.String())
	}
}

func (m *mailText) random(n int) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[m.r.IntN(len(digits))]
	}
	return string(b)
}

func (m *mailText) word() string {
	words := strings.Fields(m.paragraphs[m.r.IntN(len(m.paragraphs))])
	return strings.Trim(words[m.r.IntN(len(words))], ".,()<>\"@:;[]\\")
}

func (m *mailText) message() string {
	var b, text strings.Builder
	domain := strings.ToLower(m.word()) + ".example"
	for range 3 {
		fmt.Fprintf(&b, "Received: from %s.%s (mail.%s [192.0.2.%d])\r\n\tby mx.example.org (Postfix) with ESMTPS id %s\r\n\tfor <user@example.org>; Mon, %d Nov 2026 %02d:%02d:%02d +0000 (UTC)\r\n",
			m.random(4), domain, domain, m.r.IntN(255), m.random(11), 1+m.r.IntN(28), m.r.IntN(24), m.r.IntN(60), m.r.IntN(60))
	}
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=20230601;\r\n\th=from:to:subject:date:message-id;\r\n\tbh=%s=;\r\n\tb=%s\r\n\t %s==\r\n",
		domain, m.random(43), m.random(70), m.random(270))
	fmt.Fprintf(&b, "From: %s %s <%s@%s>\r\nTo: user@example.org\r\nSubject: %s %s %s\r\nMessage-ID: <%s@%s>\r\nDate: Mon, %d Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n",
		m.word(), m.word(), strings.ToLower(m.word()), domain, m.word(), m.word(), m.word(), m.random(36), domain, 1+m.r.IntN(28))
	for n := int(math.Exp(m.r.NormFloat64()*0.9 + math.Log(1500))); text.Len() < n; {
		text.WriteString(m.paragraphs[m.r.IntN(len(m.paragraphs))])
		text.WriteString("\r\n\r\n")
	}
	if m.r.IntN(10) >= 4 {
		return b.String() + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + text.String()
	}
	html := "<html><body><p>" + strings.ReplaceAll(text.String(), "\r\n\r\n", "</p>\r\n<p class=\"x"+m.random(6)+"\">") + "</body></html>"
	return b.String() + "Content-Type: multipart/alternative; boundary=b1\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
		text.String() + "\r\n--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + "\r\n--b1--\r\n"
}

// BenchmarkSearchBody searches a mailbox of PLUTO_MESSAGES messages (2,000 unless set), with
// and without the index, for words that are rare, common or not there, and tells
// how large the index is, in bytes a byte of messages, and how long it took to make, in
// processor time or with the rests that it makes.
func BenchmarkSearchBody(b *testing.B) {
	n := 2000
	if s := os.Getenv("PLUTO_MESSAGES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	l := newLibrary(b, 1)
	text := newMailText(b)
	size, count := 0, make(map[string]int)
	for left := n; left > 0; left -= 500 {
		var batch []string
		for range min(left, 500) {
			m := text.message()
			size += len(m)
			batch = append(batch, m)
			_, body, _ := strings.Cut(m, "\r\n\r\n")
			seen := make(map[string]bool)
			for _, w := range strings.FieldsFunc(strings.ToLower(body), func(r rune) bool { return r < 'a' || r > 'z' }) {
				if len(w) > 5 && len(w) < 12 && !seen[w] {
					seen[w] = true
					count[w]++
				}
			}
		}
		l.append(batch...)
	}
	began := time.Now()
	if err := l.indexer.compare(b.Context()); err != nil {
		b.Fatal(err)
	}
	made := time.Since(began)
	if err := l.db.Sync(); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d messages of %d bytes: the index has %d bytes, %.1f %% of the messages', made in %v (%.0f messages/s)",
		n, size/n, l.db.Size(), 100*float64(l.db.Size())/float64(size), made, float64(n)/made.Seconds())
	for _, kind := range []struct {
		name     string
		from, to float64 // share of the messages
	}{{"rare", 0, 0.001}, {"some", 0.005, 0.02}, {"common", 0.2, 0.5}} {
		b.Run(kind.name, func(b *testing.B) { l.measure(b, pick(count, kind.from*float64(n), kind.to*float64(n)+2)) })
	}
	b.Run("absent", func(b *testing.B) { l.measure(b, []string{"quovadimus", "blurtastic", "zylophany", "wexelrode"}) })
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.Logf("%d MiB of heap at the end, mailboxes in memory included", m.HeapAlloc>>20)
}

// pick returns some words that so many messages have.
func pick(count map[string]int, from, to float64) (words []string) {
	for w, n := range count {
		if float64(n) >= from && float64(n) <= to {
			if words = append(words, w); len(words) == 8 {
				break
			}
		}
	}
	return words
}

func (l *library) measure(b *testing.B, words []string) {
	for _, indexed := range []bool{false, true} {
		name := "without"
		if indexed {
			name = "with"
		}
		for _, key := range []string{"BODY", "TEXT"} {
			b.Run(key+"/"+name, func(b *testing.B) {
				reads, found, i := 0, 0, 0
				c := l.dial(indexed, &reads)
				l.command(c, "SELECT INBOX")
				for b.Loop() {
					found += l.hits(c, fmt.Sprintf("SEARCH RETURN (COUNT) %s %s", key, words[i%len(words)]))
					i++
				}
				b.ReportMetric(float64(reads)/float64(i), "reads/op")
				b.ReportMetric(float64(found)/float64(i), "found/op")
			})
		}
	}
}

// hits executes a search and returns how much it found.
func (l *library) hits(c *imaptest.Client, command string) (n int) {
	for _, line := range l.command(c, command) {
		if _, after, ok := strings.Cut(line, "COUNT "); ok {
			fmt.Sscan(after, &n) // 0 if it is none
		}
	}
	return n
}
