package bench

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// sumHeader carries the CRC-32 of the message body, so that a FETCH can check
// that the bytes came back whole.
const sumHeader = "X-Load-Sum"

// firstDate is the date of the first generated message; later ones follow.
var firstDate = time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)

// Lines is the shape of a message of the 2017 workload: a header of 250 to 300
// bytes and Min to Max lines of Length random characters.
type Lines struct{ Min, Max, Length int }

// OpodisMessage makes one message of the 2017 workload.
func OpodisMessage(rng *rand.Rand, l Lines) []byte {
	n := l.Min + rng.IntN(l.Max-l.Min+1)
	b := make([]byte, 0, 300+n*(l.Length+2))
	b = opodisHeader(b, rng)
	for range n {
		b = appendRandom(b, rng, l.Length)
		b = append(b, '\r', '\n')
	}
	return b
}

const (
	opodisHeaderMin = 250
	opodisHeaderMax = 300
)

// opodisHeader appends a header whose length, empty line included, is uniform
// between the two limits; the subject takes up what the fixed fields leave.
func opodisHeader(b []byte, rng *rand.Rand) []byte {
	want := opodisHeaderMin + rng.IntN(opodisHeaderMax-opodisHeaderMin+1)
	date := firstDate.Add(time.Duration(rng.IntN(1e6)) * time.Second)
	b = append(b, "Date: "...)
	b = date.AppendFormat(b, time.RFC1123Z)
	b = append(b, "\r\nFrom: writer@load.example\r\nTo: reader@load.example\r\nMessage-ID: <"...)
	b = appendRandom(b, rng, 24)
	b = append(b, "@load.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\nSubject: "...)
	b = appendRandom(b, rng, max(1, want-len(b)-len("\r\n\r\n")))
	return append(b, "\r\n\r\n"...)
}

// appendRandom appends n characters of [a-z0-9], eight from one random number.
func appendRandom(b []byte, rng *rand.Rand, n int) []byte {
	for n > 0 {
		x := rng.Uint64()
		for range min(n, 8) {
			b = append(b, nameAlphabet[x%36])
			x /= 36
		}
		n -= 8
	}
	return b
}

// MessageSize is the distribution of message sizes of the other measurements:
// log-normal about Median bytes, at most Cap. Sigma 0 makes all the same size.
type MessageSize struct {
	Median int
	Sigma  float64
	Cap    int
}

const minMessage = 600

func (m MessageSize) draw(rng *rand.Rand) int {
	if m.Sigma == 0 {
		return m.Median
	}
	n := int(float64(m.Median) * math.Exp(m.Sigma*rng.NormFloat64()))
	return max(minMessage, min(n, m.Cap))
}

var words = [...]string{
	"about", "account", "agenda", "answer", "autumn", "balance", "bridge", "budget", "calendar", "change",
	"coffee", "column", "contract", "copper", "current", "decision", "delivery", "design", "draft", "engine",
	"evening", "export", "figure", "forest", "garden", "harbour", "history", "holiday", "import", "invoice",
	"journey", "kitchen", "ladder", "letter", "library", "market", "meeting", "minute", "morning", "number",
	"office", "orange", "paper", "party", "pencil", "photo", "planet", "project", "proposal", "quarter",
	"question", "railway", "reason", "report", "review", "river", "schedule", "season", "server", "shipment",
	"signal", "status", "summer", "ticket", "travel", "update", "valley", "version", "weather", "window",
}

// messages makes mail that looks like mail. Not for concurrent use.
type messages struct {
	rng  *rand.Rand
	size MessageSize
	id   string
	n    uint64
}

func (o *Options) messages(stream uint64) *messages {
	return &messages{rng: o.rng(stream), size: o.Size, id: strconv.FormatUint(o.Seed, 36) + "." + strconv.FormatUint(stream, 36)}
}

func (g *messages) word() string { return words[g.rng.IntN(len(words))] }

func (g *messages) phrase(n int) string {
	s := g.word()
	for range n - 1 {
		s += " " + g.word()
	}
	return s
}

func (g *messages) text(b *bytes.Buffer, n int) {
	for n > 0 {
		line := 0
		for line < 66 && n > 2 {
			w := g.word()
			b.WriteString(w)
			b.WriteByte(' ')
			line += len(w) + 1
			n -= len(w) + 1
		}
		b.WriteString("\r\n")
		n -= 2
	}
}

// next returns a message of about the drawn size with the given further header
// lines (each with CRLF).
func (g *messages) next(header string) []byte {
	g.n++
	size := g.size.draw(g.rng)
	var body bytes.Buffer
	body.Grow(size + 512)
	ctype := g.body(&body, size)
	var m bytes.Buffer
	m.Grow(body.Len() + 700)
	date := firstDate.Add(time.Duration(g.n) * 97 * time.Second).Format(time.RFC1123Z)
	fmt.Fprintf(&m, "Received: from mx.%s.example (mx.%s.example [192.0.2.%d])\r\n\tby mail.example.org with ESMTPS id %x;\r\n\t%s\r\n", g.word(), g.word(), g.rng.IntN(250)+1, g.rng.Uint64(), date)
	fmt.Fprintf(&m, "Date: %s\r\nFrom: \"%s %s\" <%s@%s.example>\r\nTo: <%s@example.org>\r\n", date, g.word(), g.word(), g.word(), g.word(), g.word())
	fmt.Fprintf(&m, "Subject: %s %d\r\nMessage-ID: <%s.%d@load.example>\r\n%s: %08x\r\n%s", g.phrase(3+g.rng.IntN(4)), g.n, g.id, g.n, sumHeader, crc32.ChecksumIEEE(body.Bytes()), header)
	fmt.Fprintf(&m, "MIME-Version: 1.0\r\nContent-Type: %s\r\n\r\n", ctype)
	m.Write(body.Bytes())
	return m.Bytes()
}

// body writes a body for a message of about size bytes and returns its type.
// Messages over 12 KiB are multipart/mixed with a base64 attachment; a third of
// the smaller ones are multipart/alternative; the rest is plain text.
func (g *messages) body(b *bytes.Buffer, size int) (contentType string) {
	const headerSize = 520
	n := max(64, size-headerSize)
	boundary := fmt.Sprintf("=_%s_%d", g.id, g.n)
	switch k := g.rng.IntN(3); {
	case size > 12<<10:
		g.mixed(b, boundary, n)
		return fmt.Sprintf("multipart/mixed; boundary=\"%s\"", boundary)
	case k == 0 && n > minMessage:
		g.alternative(b, boundary, n)
		return fmt.Sprintf("multipart/alternative; boundary=\"%s\"", boundary)
	}
	g.text(b, n)
	return "text/plain; charset=utf-8"
}

func (g *messages) mixed(b *bytes.Buffer, boundary string, size int) {
	fmt.Fprintf(b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", boundary)
	g.text(b, 1500)
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: application/octet-stream; name=\"%s.bin\"\r\nContent-Disposition: attachment; filename=\"%s.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, g.word(), g.word())
	raw, enc := make([]byte, 57), make([]byte, 76)
	for b.Len() < size {
		for i := range raw {
			raw[i] = byte(g.rng.Uint32())
		}
		base64.StdEncoding.Encode(enc, raw)
		b.Write(enc)
		b.WriteString("\r\n")
	}
	fmt.Fprintf(b, "--%s--\r\n", boundary)
}

func (g *messages) alternative(b *bytes.Buffer, boundary string, size int) {
	fmt.Fprintf(b, "--%s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", boundary)
	g.text(b, size/2-150)
	fmt.Fprintf(b, "\r\n--%s\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>\r\n", boundary)
	g.text(b, size/2-200)
	fmt.Fprintf(b, "</p></body></html>\r\n--%s--\r\n", boundary)
}

var errDamaged = errors.New("body does not match its checksum")

// checkMessage verifies the checksum of a generated message. A message without
// one is not ours and passes.
func checkMessage(m []byte) error {
	head, body, ok := bytes.Cut(m, []byte("\r\n\r\n"))
	if !ok {
		return fmt.Errorf("message of %d bytes has no end of header", len(m))
	}
	sum := headerField(head, sumHeader)
	if sum == "" {
		return nil
	}
	want, err := strconv.ParseUint(sum, 16, 32)
	if err != nil || uint32(want) != crc32.ChecksumIEEE(body) {
		return fmt.Errorf("%w (%d bytes)", errDamaged, len(m))
	}
	return nil
}

// headerField returns the value of an unfolded header field, or "".
func headerField(head []byte, name string) string {
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		field, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(field, []byte(name)) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
