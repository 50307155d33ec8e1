package mime

import (
	"strings"
	"time"
)

// SentDate returns the time in the message's Date field, in the zone that it
// gives, for SENTBEFORE, SENTON and SENTSINCE (which disregard time and zone)
// and SORT (DATE). ok is false if there is none that can be read.
func (s *Structure) SentDate() (t time.Time, ok bool) {
	raw, ok := s.Root().Raw(FieldDate)
	if !ok {
		return time.Time{}, false
	}
	return ParseDate(raw)
}

// ParseDate reads the value of a Date field (RFC 5322 section 3.3, with the
// obsolete syntax of section 4.3), and many that are not quite right: without
// day of week, zone or time, in another order, with more after it.
func ParseDate(raw []byte) (t time.Time, ok bool) {
	const maxDate = 256
	raw = raw[:min(len(raw), maxDate)]
	var d dateParts
	for _, word := range dateWords(raw) {
		d.take(word)
	}
	return d.time()
}

// dateWords splits at space, commas and comments.
func dateWords(raw []byte) (words []string) {
	l := lexer{in: raw}
	for l.space() && l.more() {
		start := l.pos
		for l.more() && strings.IndexByte(" \t\r\n,(", l.in[l.pos]) < 0 {
			l.pos++
		}
		if l.pos == start {
			l.pos++ // a comma
			continue
		}
		words = append(words, string(l.in[start:l.pos]))
	}
	return words
}

// dateParts collects the parts of a date as they come. Zero means not yet.
type dateParts struct {
	day, year         int
	month             time.Month
	hour, minute, sec int
	hasTime, hasYear  bool
	zone              *time.Location
}

func (d *dateParts) take(word string) {
	switch {
	case strings.IndexByte(word, ':') > 0 && !d.hasTime:
		d.hasTime = d.clock(word)
	case (word[0] == '+' || word[0] == '-') && d.hasTime && d.zone == nil:
		d.zone = numericZone(word)
	case '0' <= word[0] && word[0] <= '9':
		d.number(word)
	case d.month == 0 && monthOf(word) != 0:
		d.month = monthOf(word)
	case d.hasTime && d.zone == nil:
		d.zone = namedZone(word)
	}
}

// number takes the day or the year, or both with the month in between
// ("2-Jan-2006", "2006-01-02").
func (d *dateParts) number(word string) {
	if parts := strings.Split(word, "-"); len(parts) == 3 {
		if m := monthOf(parts[1]); m != 0 {
			d.number(parts[0])
			d.month = m
			d.number(parts[2])
		} else if m, ok := digits(parts[1]); ok && len(parts[0]) == 4 && m >= 1 && m <= 12 {
			d.number(parts[0])
			d.month = time.Month(m)
			d.number(parts[2])
		}
		return
	}
	n, ok := digits(word)
	switch {
	case !ok:
	case d.day == 0 && len(word) <= 2 && n >= 1 && n <= 31:
		d.day = n
	case !d.hasYear && len(word) <= 4 && (len(word) != 1):
		d.year, d.hasYear = fullYear(n, len(word)), true
	}
}

// fullYear completes a short year (RFC 5322 section 4.3).
func fullYear(n, digits int) int {
	switch {
	case digits == 2 && n < 50:
		return n + 2000
	case digits <= 3:
		return n + 1900
	}
	return n
}

// clock takes hours:minutes[:seconds].
func (d *dateParts) clock(word string) bool {
	parts := strings.Split(word, ":")
	if len(parts) > 3 {
		return false
	}
	limits := [...]int{23, 59, 60}
	var v [3]int
	for i, part := range parts {
		part, _, _ = strings.Cut(part, ".")
		n, ok := digits(part)
		if !ok || n > limits[i] {
			return false
		}
		v[i] = n
	}
	d.hour, d.minute, d.sec = v[0], v[1], min(v[2], 59)
	return true
}

func (d *dateParts) time() (time.Time, bool) {
	if d.day == 0 || d.month == 0 || !d.hasYear {
		return time.Time{}, false
	}
	zone := d.zone
	if zone == nil {
		zone = time.UTC
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.minute, d.sec, 0, zone)
	if t.Day() != d.day { // 31 April
		return time.Time{}, false
	}
	return t, true
}

func digits(s string) (n int, ok bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}

// monthOf returns the month that a word starts like, 0 if none.
func monthOf(word string) time.Month {
	if len(word) < 3 {
		return 0
	}
	for m := time.January; m <= time.December; m++ {
		if strings.EqualFold(word[:3], m.String()[:3]) {
			return m
		}
	}
	return 0
}

func numericZone(word string) *time.Location {
	n, ok := digits(strings.Replace(word[1:], ":", "", 1))
	if !ok || len(word) < 5 || n%100 > 59 || n > 2400 {
		return nil
	}
	offset := (n/100*60 + n%100) * 60
	if word[0] == '-' {
		offset = -offset
	}
	return time.FixedZone("", offset)
}

// namedZone returns a zone of RFC 5322 section 4.3; nil for those unknown there.
func namedZone(word string) *time.Location {
	hours, ok := map[string]int{
		"UT": 0, "UTC": 0, "GMT": 0, "Z": 0,
		"EDT": -4, "EST": -5, "CDT": -5, "CST": -6,
		"MDT": -6, "MST": -7, "PDT": -7, "PST": -8,
	}[strings.ToUpper(word)]
	if !ok {
		return nil
	}
	return time.FixedZone("", hours*60*60)
}
