package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// Clients that stumble over what others need are known by the name that they
// give with ID (RFC 2971), before login or after it. What a quirk hides from them
// is only not told: it works all the same.

// meet takes note of what the client said of itself before login.
func (s *session) meet() {
	if s.opts.Client == "" {
		return
	}
	c, err := wire.NewReader(strings.NewReader("a ID "+s.opts.Client+"\r\n"), wire.AfterLogin).Next()
	if err == nil && c.SP() == nil {
		// What cannot be read says nothing of the client.
		s.client, _ = readID(c)
	}
}

// shown returns the options with what is hidden from this client in particular.
func (s *session) shown() Options {
	o := s.opts
	for _, q := range o.Quirks {
		if s.client != "" && strings.Contains(s.client, strings.ToLower(q.Client)) {
			o.Hide = append(o.Hide[:len(o.Hide):len(o.Hide)], q.Hide...)
		}
	}
	return o
}

const stateCompressed = 1 << iota // in the first byte of the state of a connection

// saveConnection saves what does not depend on a selected mailbox.
func (s *session) saveConnection(w *stateWriter) {
	if !s.compressed && s.client == "" {
		return
	}
	flags := byte(0)
	if s.compressed {
		flags |= stateCompressed
	}
	w.byte(flags)
	w.text(s.client)
}

func (s *session) loadConnection(d *stateReader) error {
	flags := d.byte()
	s.client = d.text()
	s.compressed = flags&stateCompressed != 0
	if flags&^stateCompressed != 0 || len(s.client) > maxIDValue || s.compressed && s.turner == nil {
		return errState
	}
	return nil
}
