package imap

import (
	"maps"
	"slices"
	"strings"
)

// tellList tells which mailboxes have been created, deleted, renamed, subscribed
// or unsubscribed since (RFC 5465 sections 5.4 and 5.5), and takes note of it. What
// only this session did is not told.
func (s *session) tellList(tell bool) error {
	n := s.notify
	entries, err := s.entries()
	if err != nil {
		return err
	}
	if len(entries) > maxNotifyNames {
		return s.overflow()
	}
	d := listDifference{
		session: s, entries: entries, subscribed: n.names,
		names: make(map[string]events), old: make(map[string]string),
	}
	subscribed := make(map[string]bool)
	there := make(map[string]bool)
	for i := range entries {
		e := &entries[i]
		if e.Subscribed {
			subscribed[e.Name] = true
		}
		if e.Subscribed != n.names[e.Name] {
			d.add(e.Name, eventSubscriptions)
		}
		if !e.Exists {
			continue
		}
		there[e.ID] = true
		if err := d.compare(e); err != nil {
			return err
		}
	}
	for id, w := range n.boxes {
		if !there[id] {
			d.addWithParent(w.Name)
			delete(n.boxes, id)
		}
	}
	for name := range n.names {
		if !subscribed[name] {
			d.add(name, eventSubscriptions)
		}
	}
	n.names = subscribed
	if !tell {
		return nil
	}
	return d.tell()
}

// listDifference collects the names that are affected.
type listDifference struct {
	*session
	entries    []listEntry       // that are there now, sorted
	subscribed map[string]bool   // before
	names      map[string]events // and how they are affected
	old        map[string]string // names that mailboxes had before, by the new ones
}

func (d *listDifference) add(name string, event events) { d.names[name] |= event }

// addWithParent adds a mailbox that was created or deleted: its parent is affected
// too (RFC 5465 section 5.4).
func (d *listDifference) addWithParent(name string) {
	d.add(name, eventNames)
	if end := strings.LastIndexByte(name, d.opts.Separator); end > 0 {
		d.add(name[:end], eventNames)
	}
}

// compare compares a mailbox with what the client knows of it.
func (d *listDifference) compare(e *listEntry) error {
	n := d.notify
	wanted := n.wanted(e.Name, e.Subscribed, d.opts.Separator)
	w := n.boxes[e.ID]
	switch {
	case w == nil:
		d.addWithParent(e.Name)
		// All that is in it is new.
		w = &watchedBox{MailboxInfo: e.MailboxInfo, events: wanted, status: Status{UIDNext: 1}}
		n.boxes[e.ID] = w
		n.suspect(w)
		return nil
	case w.Name != e.Name:
		d.old[e.Name] = w.Name
		d.add(e.Name, eventNames)
	}
	more := wanted &^ w.events
	w.MailboxInfo, w.events = e.MailboxInfo, wanted
	if more&(eventMessages|eventFlags) != 0 {
		return d.lookAt(w)
	}
	return nil
}

// tell appends a LIST response for each name of which that is wanted.
func (d *listDifference) tell() error {
	args := listArgs{extended: true, told: listSubscribed}
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		e := d.entry(name)
		wanted := d.notify.wanted(name, e.Subscribed || d.subscribed[name], d.opts.Separator)
		if wanted&d.names[name] == 0 || d.movedWithParent(name) && d.names[name] == eventNames {
			continue
		}
		d.appendList("LIST", args.attributes(&e), name)
		if old := d.old[name]; old != "" {
			d.out.buf = append(d.out.buf, ` ("OLDNAME" (`...)
			d.out.buf = append(d.appendMailbox(d.out.buf, old), "))"...)
		}
		d.out.buf = append(d.out.buf, '\r', '\n')
		if err := d.out.spill(); err != nil {
			return err
		}
	}
	return nil
}

// entry returns what there is under a name now.
func (d *listDifference) entry(name string) listEntry {
	i, ok := slices.BinarySearchFunc(d.entries, name, func(e listEntry, name string) int {
		return strings.Compare(e.Name, name)
	})
	if ok {
		return d.entries[i]
	}
	return listEntry{MailboxInfo: MailboxInfo{Name: name}}
}

// movedWithParent reports whether a mailbox was renamed because one above it was:
// then nothing is said of it (RFC 5465 section 5.4).
func (d *listDifference) movedWithParent(name string) bool {
	old, end := d.old[name], strings.LastIndexByte(name, d.opts.Separator)
	if old == "" || end <= 0 {
		return false
	}
	above, level := d.old[name[:end]], name[end:]
	return above != "" && above+level == old
}
