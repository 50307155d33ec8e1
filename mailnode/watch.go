package mailnode

import (
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/mailstore"
)

// watch is a mailstore watch as the protocol engine wants it.
type watch struct{ *mailstore.Watch }

var _ imap.Watch = watch{}

func (w watch) Take() imap.WatchedChanges {
	c := w.Watch.Take()
	var notes []imap.AnnotationKey
	for _, of := range c.Annotations {
		key := imap.AnnotationKey{Entry: of.Entry}
		if !of.Server {
			key.MailboxID = mailboxID(of.Box)
		}
		notes = append(notes, key)
	}
	return imap.WatchedChanges{
		Mailboxes: mailboxIDs(c.Mailboxes), Own: mailboxIDs(c.Own),
		List: c.List, OwnList: c.OwnList, Lost: c.Lost,
		Annotations: notes,
	}
}

func mailboxIDs(ids []crdt.MailboxID) []string {
	var out []string
	for _, id := range ids {
		out = append(out, mailboxID(id))
	}
	return out
}
