package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// listEntry is a name that LIST may return: a mailbox, a name that is
// subscribed, or a level above one of them that is no mailbox itself.
type listEntry struct {
	MailboxInfo
	children bool        // there are mailboxes below it
	below    listOptions // what the names below it have, for RECURSIVEMATCH
}

// list: RFC 3501 section 6.3.8, RFC 5258, RFC 5819, RFC 6154.
func (s *session) list(c *wire.Command) error {
	a, err := s.readList(c)
	if err != nil {
		return err
	}
	if !a.extended && a.root {
		s.tellRoot("LIST")
		return nil
	}
	return s.tellEntries(&a)
}

// tellEntries appends the responses of all names that are asked for.
func (s *session) tellEntries(a *listArgs) error {
	entries, err := s.entries()
	if err != nil {
		return err
	}
	patterns := s.compile(a.patterns)
	for i := range entries {
		if e := &entries[i]; a.selects(e) && matchAny(patterns, e.Name) {
			if err := s.tellEntry(a, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) compile(texts []string) []*pattern {
	patterns := make([]*pattern, 0, len(texts))
	for _, text := range texts {
		if len(text) <= 2*maxNameBytes && text != "" { // a longer one matches no name
			patterns = append(patterns, newPattern(text, s.opts.Separator))
		}
	}
	return patterns
}

func matchAny(patterns []*pattern, name string) bool {
	return slices.ContainsFunc(patterns, func(p *pattern) bool { return p.matches(name) })
}

// tellRoot answers the question for the separator. No name here is rooted.
func (s *session) tellRoot(response string) {
	s.appendList(response, `\Noselect`, "")
	s.out.buf = append(s.out.buf, '\r', '\n')
}

// appendList appends a LIST or LSUB response without its end.
func (s *session) appendList(response, attributes, name string) {
	buf := append(s.out.buf, "* "...)
	buf = append(buf, response...)
	buf = append(buf, " ("...)
	buf = append(buf, attributes...)
	buf = append(buf, ") "...)
	buf = s.appendSeparator(buf)
	buf = append(buf, ' ')
	if name == "" {
		buf = append(buf, `""`...)
	} else {
		buf = s.appendMailbox(buf, name)
	}
	s.out.buf = buf
}

// entries returns the names that LIST may return, sorted.
func (s *session) entries() ([]listEntry, error) {
	infos, err := s.account.Mailboxes(s.ctx)
	if err != nil {
		return nil, err
	}
	entries := make([]listEntry, len(infos))
	at := make(map[string]int, len(infos))
	for i, info := range infos {
		entries[i].MailboxInfo = info
		at[info.Name] = i
	}
	for i := range infos {
		entries = s.addLevels(entries, at, i)
	}
	if len(entries) > len(infos) {
		slices.SortFunc(entries, func(a, b listEntry) int { return strings.Compare(a.Name, b.Name) })
	}
	return entries, nil
}

// addLevels tells the levels above entry i of it, making those that are missing.
func (s *session) addLevels(entries []listEntry, at map[string]int, i int) []listEntry {
	name, exists, has := entries[i].Name, entries[i].Exists, entries[i].has()
	for {
		end := strings.LastIndexByte(name, s.opts.Separator)
		if end <= 0 {
			return entries
		}
		name = name[:end]
		k, ok := at[name]
		if !ok {
			k = len(entries)
			at[name] = k
			entries = append(entries, listEntry{MailboxInfo: MailboxInfo{Name: name}})
		}
		e := &entries[k]
		if (e.children || !exists) && e.below&has == has && ok {
			return entries // it and those above it know already
		}
		e.children = e.children || exists
		e.below |= has
	}
}

// has returns the selection options that the name meets.
func (e *listEntry) has() listOptions {
	var has listOptions
	if e.Subscribed {
		has |= listSubscribed
	}
	if e.SpecialUse != "" {
		has |= listSpecialUse
	}
	return has
}

// selects reports whether the selection options let an entry through.
func (a *listArgs) selects(e *listEntry) bool {
	if a.which&(listSubscribed|listSpecialUse) == 0 {
		return e.Exists || e.children
	}
	return a.meets(e) || a.childInfo(e) != 0
}

// meets reports whether an entry has itself what the selection options ask for.
func (a *listArgs) meets(e *listEntry) bool {
	wanted := a.which & (listSubscribed | listSpecialUse)
	return e.has()&wanted == wanted
}

// childInfo returns the options that RECURSIVEMATCH has found below an entry.
func (a *listArgs) childInfo(e *listEntry) listOptions {
	if a.which&listRecursive == 0 {
		return 0
	}
	return a.which & e.below & (listSubscribed | listSpecialUse)
}

// tellEntry appends the LIST response of an entry, and its STATUS if that is
// asked for (RFC 5819).
func (s *session) tellEntry(a *listArgs, e *listEntry) error {
	response := "LIST"
	if a.xlist {
		response = "XLIST"
	}
	s.appendList(response, a.attributes(e), e.Name)
	switch a.childInfo(e) {
	case 0:
	case listSubscribed:
		s.out.buf = append(s.out.buf, ` ("CHILDINFO" ("SUBSCRIBED"))`...)
	case listSpecialUse:
		s.out.buf = append(s.out.buf, ` ("CHILDINFO" ("SPECIAL-USE"))`...)
	default:
		s.out.buf = append(s.out.buf, ` ("CHILDINFO" ("SUBSCRIBED" "SPECIAL-USE"))`...)
	}
	s.out.buf = append(s.out.buf, '\r', '\n')
	if a.told&listStatus != 0 && e.Exists && a.meets(e) { // RFC 5819 section 3: not for the sake of its children
		err := s.tellStatus(e.Name, a.status)
		if errors.Is(err, ErrNonexistent) { // deleted in between
			return nil
		}
		return err
	}
	return s.out.spill()
}

// attributes returns what LIST says of an entry. Whether there are children and
// the special use are always said (RFC 3348, RFC 6154 section 2).
func (a *listArgs) attributes(e *listEntry) string {
	attributes := make([]string, 0, 5)
	switch {
	case e.Exists:
	case a.extended: // RFC 5258 section 3
		attributes = append(attributes, `\NonExistent`)
	default:
		attributes = append(attributes, `\Noselect`)
	}
	if e.children {
		attributes = append(attributes, `\HasChildren`)
	} else {
		attributes = append(attributes, `\HasNoChildren`)
	}
	if e.Subscribed && (a.which|a.told)&listSubscribed != 0 {
		attributes = append(attributes, `\Subscribed`)
	}
	if e.SpecialUse != "" {
		attributes = append(attributes, e.SpecialUse)
	}
	if a.xlist {
		attributes = oldAttributes(attributes, e)
	}
	return strings.Join(attributes, " ")
}

// lsub: RFC 3501 section 6.3.9. Where "%" stops above a subscribed name, the level
// is returned with \Noselect.
func (s *session) lsub(c *wire.Command) error {
	if err := c.SP(); err != nil {
		return err
	}
	var a listArgs
	if err := s.readPatterns(c, &a, false); err != nil {
		return err
	}
	if err := c.End(); err != nil {
		return err
	}
	if a.root {
		s.tellRoot("LSUB")
		return nil
	}
	entries, err := s.entries()
	if err != nil {
		return err
	}
	for _, p := range s.compile(a.patterns) {
		for i := range entries {
			e := &entries[i]
			attributes := ""
			if !e.Subscribed {
				if !p.percent || e.below&listSubscribed == 0 {
					continue
				}
				attributes = `\Noselect`
			}
			if p.matches(e.Name) {
				s.appendList("LSUB", attributes, e.Name)
				s.out.buf = append(s.out.buf, '\r', '\n')
			}
		}
	}
	return s.out.spill()
}
