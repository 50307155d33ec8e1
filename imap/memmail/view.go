package memmail

import (
	"sort"

	"github.com/go-pluto/pluto/imap"
)

// view is an immutable picture of a mailbox.
type view struct {
	messages []imap.Message // by rising UID, never changed
	uidNext  imap.UID
	high     imap.ModSeq
}

// Len implements [imap.View].
func (v *view) Len() int { return len(v.messages) }

// At implements [imap.View].
func (v *view) At(i int, m *imap.Message) { *m = v.messages[i] }

// UIDAt implements [imap.View].
func (v *view) UIDAt(i int) imap.UID { return v.messages[i].UID }

// Find implements [imap.View].
func (v *view) Find(uid imap.UID) (int, bool) {
	i := sort.Search(len(v.messages), func(i int) bool { return v.messages[i].UID >= uid })
	return i, i < len(v.messages) && v.messages[i].UID == uid
}

// UIDNext implements [imap.View].
func (v *view) UIDNext() imap.UID { return v.uidNext }

// HighestModSeq implements [imap.View].
func (v *view) HighestModSeq() imap.ModSeq { return v.high }

// Since implements [imap.View] by merging the two lists.
func (v *view) Since(older imap.View) imap.Changes {
	var c imap.Changes
	old := older.(*view).messages
	for _, m := range v.messages {
		for len(old) > 0 && old[0].UID < m.UID {
			c.Expunged = append(c.Expunged, old[0].UID)
			old = old[1:]
		}
		if len(old) == 0 || old[0].UID != m.UID {
			c.Added = append(c.Added, m.UID)
			continue
		}
		if old[0].ModSeq != m.ModSeq {
			c.Changed = append(c.Changed, m.UID)
		}
		old = old[1:]
	}
	for _, m := range old {
		c.Expunged = append(c.Expunged, m.UID)
	}
	return c
}
