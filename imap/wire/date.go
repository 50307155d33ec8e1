package wire

import (
	"strings"
	"time"
)

// Date reads a date, "1-Feb-1994" with or without quotes, as midnight UTC of that
// day (RFC 9051 section 9, date).
func (c *Command) Date() (time.Time, error) {
	quoted := c.Byte('"')
	day, err := c.number(1, 2)
	if err != nil {
		return time.Time{}, err
	}
	month, year, err := c.monthYear()
	if err != nil {
		return time.Time{}, err
	}
	if quoted && !c.Byte('"') {
		return time.Time{}, c.wrong("Expected a date")
	}
	return c.date(year, month, day, 0, 0, 0, time.UTC)
}

// DateTime reads a date-time, " 1-Feb-1994 21:52:25 -0800" in quotes, in its own
// zone (RFC 9051 section 9, date-time). A day of one digit without the space is accepted.
func (c *Command) DateTime() (time.Time, error) {
	if !c.Byte('"') {
		return time.Time{}, c.wrong("Expected a date and time")
	}
	c.Byte(' ')
	day, err := c.number(1, 2)
	if err != nil {
		return time.Time{}, err
	}
	month, year, err := c.monthYear()
	if err != nil {
		return time.Time{}, err
	}
	hour, minute, second, err := c.clock()
	if err != nil {
		return time.Time{}, err
	}
	zone, err := c.zone()
	if err != nil {
		return time.Time{}, err
	}
	if !c.Byte('"') {
		return time.Time{}, c.wrong("Expected a date and time")
	}
	return c.date(year, month, day, hour, minute, second, zone)
}

// date makes a time of its parts, which must be real ones. A leap second is
// the first of the next minute.
func (c *Command) date(year int, month time.Month, day, hour, minute, second int, zone *time.Location) (time.Time, error) {
	t := time.Date(year, month, day, hour, minute, second, 0, zone)
	if lastDay := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day(); day < 1 || day > lastDay ||
		hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, c.SyntaxError("There is no such date")
	}
	return t, nil
}

// number reads a number of so many digits.
func (c *Command) number(least, most int) (int, error) {
	n, digits := 0, 0
	for ; digits < most; digits++ {
		b := c.Peek()
		if b < '0' || b > '9' {
			break
		}
		c.reader.pos++
		n = 10*n + int(b-'0')
	}
	if digits < least {
		return 0, c.wrong("Expected a date")
	}
	return n, nil
}

const months = "janfebmaraprmayjunjulaugsepoctnovdec"

// monthYear reads "-Feb-1994".
func (c *Command) monthYear() (time.Month, int, error) {
	if !c.Byte('-') {
		return 0, 0, c.wrong("Expected a date")
	}
	name := strings.ToLower(c.While(func(b byte) bool { return upper(b) >= 'A' && upper(b) <= 'Z' }))
	i := strings.Index(months, name)
	if len(name) != 3 || i < 0 || i%3 != 0 || !c.Byte('-') {
		return 0, 0, c.wrong("Expected a date")
	}
	year, err := c.number(4, 4)
	return time.Month(i/3 + 1), year, err
}

// clock reads " 21:52:25".
func (c *Command) clock() (hour, minute, second int, err error) {
	for i, part := range []*int{&hour, &minute, &second} {
		if !c.Byte(" ::"[i]) {
			return 0, 0, 0, c.wrong("Expected a time")
		}
		if *part, err = c.number(2, 2); err != nil {
			return 0, 0, 0, err
		}
	}
	return hour, minute, second, nil
}

// zone reads " -0800".
func (c *Command) zone() (*time.Location, error) {
	if !c.Byte(' ') {
		return nil, c.wrong("Expected a time zone")
	}
	sign := 1
	if c.Byte('-') {
		sign = -1
	} else if !c.Byte('+') {
		return nil, c.wrong("Expected a time zone")
	}
	n, err := c.number(4, 4)
	if err != nil {
		return nil, err
	}
	hours, minutes := n/100, n%100
	if hours > 23 || minutes > 59 {
		return nil, c.SyntaxError("There is no such time zone")
	}
	return time.FixedZone("", sign*(hours*60+minutes)*60), nil
}
