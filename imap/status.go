package imap

import (
	"strconv"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// statusItems are what STATUS can ask for, in the order of the answer: RFC 3501
// section 6.3.10, RFC 8438 (SIZE), RFC 9051 (DELETED), RFC 7889 (APPENDLIMIT), RFC
// 7162 (HIGHESTMODSEQ), RFC 8474 (MAILBOXID, which is no number).
var statusItems = [...]struct {
	name  string
	value func(*session, *Status) uint64
}{
	{"MESSAGES", func(_ *session, st *Status) uint64 { return uint64(st.Messages) }},
	{"RECENT", func(_ *session, st *Status) uint64 { return uint64(st.Recent) }},
	{"UIDNEXT", func(_ *session, st *Status) uint64 { return uint64(st.UIDNext) }},
	{"UIDVALIDITY", func(_ *session, st *Status) uint64 { return uint64(st.UIDValidity) }},
	{"UNSEEN", func(_ *session, st *Status) uint64 { return uint64(st.Unseen) }},
	{"DELETED", func(_ *session, st *Status) uint64 { return uint64(st.Deleted) }},
	{"SIZE", func(_ *session, st *Status) uint64 { return st.Size }},
	{"APPENDLIMIT", func(s *session, _ *Status) uint64 { return uint64(s.opts.MaxMessageSize) }},
	{"HIGHESTMODSEQ", func(_ *session, st *Status) uint64 { return uint64(st.HighestModSeq) }},
	{"MAILBOXID", nil},
	{deletedStorage, func(_ *session, st *Status) uint64 { return st.deletedSize }},
}

const deletedStorage = "DELETED-STORAGE" // RFC 9208 section 4.1.5

// statusSet is a set of statusItems.
type statusSet uint16

// status: RFC 3501 section 6.3.10.
func (s *session) status(c *wire.Command) error {
	name, err := s.mailbox(c)
	if err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	items, err := readStatusItems(c)
	if err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if highest, _ := statusItem("HIGHESTMODSEQ"); items&highest != 0 {
		s.switchOn(modeCondStore) // RFC 7162 section 3.1
	}
	if err := s.existing(name); err != nil {
		return err
	}
	return s.tellStatus(name, items)
}

// readStatusItems reads a list of status items in parentheses.
func readStatusItems(c *wire.Command) (statusSet, error) {
	if err := c.Expect('('); err != nil {
		return 0, err
	}
	var set statusSet
	for {
		name, err := c.Atom()
		if err != nil {
			return 0, err
		}
		item, ok := statusItem(name)
		if !ok {
			return 0, badSyntax("Unknown status item")
		}
		if set |= item; c.Byte(')') {
			return set, nil
		}
		if err := c.SP(); err != nil {
			return 0, err
		}
	}
}

// statusOf returns the items of these names.
func statusOf(names ...string) (set statusSet) {
	for _, name := range names {
		item, _ := statusItem(name)
		set |= item
	}
	return set
}

func statusItem(name string) (statusSet, bool) {
	for i := range statusItems {
		if strings.EqualFold(name, statusItems[i].name) {
			return 1 << i, true
		}
	}
	return 0, false
}

// tellStatus appends the STATUS response of a mailbox.
func (s *session) tellStatus(name string, items statusSet) error {
	st, err := s.account.Status(s.ctx, name)
	if err != nil {
		return err
	}
	if b := s.box; b != nil && b.mailbox.MailboxID() == st.MailboxID {
		st.Recent += uint32(b.countRecent()) // those that it has taken from all others
	}
	if item, _ := statusItem(deletedStorage); items&item != 0 && st.Deleted > 0 {
		if st.deletedSize, err = s.deletedStorage(name); err != nil {
			return err
		}
	}
	return s.tellStatusOf(name, items, &st)
}

// tellStatusOf is tellStatus of a status that has been looked up.
func (s *session) tellStatusOf(name string, items statusSet, st *Status) error {
	buf := append(s.out.buf, "* STATUS "...)
	buf = s.appendMailbox(buf, name)
	separator := " ("
	for i := range statusItems {
		if items&(1<<i) == 0 {
			continue
		}
		buf = append(append(buf, separator...), statusItems[i].name...)
		separator = " "
		if value := statusItems[i].value; value != nil {
			buf = strconv.AppendUint(append(buf, ' '), value(s, st), 10)
			continue
		}
		buf = append(append(append(buf, " ("...), st.MailboxID...), ')')
	}
	s.out.buf = append(buf, ")\r\n"...)
	return s.out.spill()
}
