package imap

import "github.com/go-pluto/pluto/imap/clientid"

// meet takes note of what the client said of itself before login.
func (s *session) meet() {
	s.client = clientid.Parse(s.opts.Client).Name
}

// shown returns the options with what is hidden from this client in particular.
func (s *session) shown() Options {
	o := s.opts
	o.Hide = append(o.Hide[:len(o.Hide):len(o.Hide)], o.Quirks.Hidden(s.client)...)
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
	if flags&^stateCompressed != 0 || len(s.client) > clientid.MaxValue || s.compressed && s.turner == nil {
		return errState
	}
	return nil
}
