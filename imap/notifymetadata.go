package imap

import (
	"github.com/go-pluto/pluto/imap/wire"
)

// A client hears of annotations that somebody else has set or removed if it has
// asked for that by NOTIFY (RFC 5465 sections 5.6 and 5.7), for some mailboxes or for
// the account, or by ENABLE METADATA (RFC 5464 section 4.4), for all. It is told the
// names of the entries, not what is in them.

// noteListener tells a client that has sent ENABLE METADATA.
type noteListener struct {
	watch  Watch
	retell bool // the session came from elsewhere: what changed meanwhile is not known
}

// listenToNotes begins to tell, if the client wants it and is not told yet.
func (s *session) listenToNotes(retell bool) {
	if s.on(modeMetadata) && s.notes == nil {
		s.notes = &noteListener{watch: s.account.Watch(), retell: retell}
	}
}

// stopNotes ends what listenToNotes has begun.
func (s *session) stopNotes() {
	if s.notes != nil {
		s.notes.watch.Close()
	}
	s.notes = nil
}

// tellNotes tells what ENABLE METADATA has asked for.
func (s *session) tellNotes() error {
	n := s.notes
	if n == nil {
		return nil
	}
	changes := n.watch.Take()
	retell := n.retell || changes.Lost
	if !retell && len(changes.Annotations) == 0 {
		return nil
	}
	n.retell = false
	infos, err := s.account.Mailboxes(s.ctx)
	if err != nil {
		return s.missed(n, err)
	}
	names := map[string]string{"": ""}
	for _, info := range infos {
		if info.Exists {
			names[info.ID] = info.Name
		}
	}
	if !retell {
		return s.tellAnnotations(changes.Annotations, func(id string) (string, bool) {
			name, ok := names[id]
			return name, ok
		})
	}
	for _, name := range names {
		if err := s.tellAllAnnotations(name); err != nil {
			return s.missed(n, err)
		}
	}
	return nil
}

// missed makes the listener one that tells all as soon as that is possible.
func (s *session) missed(n *noteListener, err error) error {
	if isMailError(err) {
		n.retell = true
		return nil
	}
	return err
}

// tellAnnotations appends a METADATA response for each mailbox, and the account, of
// whose annotations some have changed (RFC 5464 section 4.4.2). name returns what it is
// called, and false if the client is not to be told.
func (s *session) tellAnnotations(keys []AnnotationKey, name func(id string) (string, bool)) error {
	var entries []string
	for i, key := range keys {
		entries = append(entries, key.Entry)
		if i+1 < len(keys) && keys[i+1].MailboxID == key.MailboxID {
			continue
		}
		if name, ok := name(key.MailboxID); ok {
			if err := s.tellChangedEntries(name, entries); err != nil {
				return err
			}
		}
		entries = entries[:0]
	}
	return nil
}

// tellAllAnnotations names all annotations that a mailbox or, without a name, the
// account has or had: which of them have changed is not known (RFC 5465 section 5.6).
func (s *session) tellAllAnnotations(name string) error {
	entries, err := s.account.AnnotationNames(s.ctx, name)
	if err != nil || len(entries) == 0 {
		return err
	}
	return s.tellChangedEntries(name, entries)
}

func (s *session) tellChangedEntries(name string, entries []string) error {
	s.out.buf = append(s.out.buf, "* METADATA "...)
	if name == "" {
		s.out.buf = append(s.out.buf, `""`...)
	} else {
		s.out.buf = s.appendMailbox(s.out.buf, name)
	}
	for _, e := range entries {
		s.out.buf = wire.AppendAtom(append(s.out.buf, ' '), e)
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	return s.out.spill()
}

// tellWatchedNotes tells of annotations that NOTIFY has asked for.
func (s *session) tellWatchedNotes(keys []AnnotationKey) error {
	n := s.notify
	if s.notes != nil {
		return nil // all are told already
	}
	return s.tellAnnotations(keys, func(id string) (string, bool) {
		if id == "" {
			return "", n.all&eventServerNotes != 0
		}
		w := n.boxes[id]
		if w == nil || w.events&eventMailboxNotes == 0 {
			return "", false
		}
		return w.Name, true
	})
}

// retellWatchedNotes names all annotations of what NOTIFY has asked for.
func (s *session) retellWatchedNotes() error {
	n := s.notify
	if s.notes != nil {
		return nil
	}
	if n.all&eventServerNotes != 0 {
		if err := s.tellAllAnnotations(""); err != nil {
			return err
		}
	}
	for _, w := range n.sorted() {
		if w.events&eventMailboxNotes == 0 {
			continue
		}
		if err := s.tellAllAnnotations(w.Name); err != nil {
			return err
		}
	}
	return nil
}
