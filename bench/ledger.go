package bench

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ledger knows what the servers acknowledged and what everybody saw. Safe for
// concurrent use.
type ledger struct {
	mu     sync.Mutex
	report ConvergeReport
	ids    map[uidKey]seen
	fates  map[fateKey]*fate
	marked map[string]bool // messages that somebody tried to set \Deleted on, in any mailbox: copies inherit it
}

type uidKey struct {
	box           int
	validity, uid uint32
}

type seen struct{ id, where string }

// fateKey names a message in a mailbox; there may be several instances of it.
type fateKey struct {
	box int
	id  string
}

// fate is what is known about a message in a mailbox. Attempts are noted before
// a command is sent, certainties after its OK.
type fate struct {
	attempts int  // commands that may have added an instance
	certain  int  // commands that did
	left     bool // somebody tried to MOVE it away
	removed  bool // somebody was told that it is gone
	flags    map[string]*flagFate
}

// flagFate is what is known about one flag of a message.
type flagFate struct {
	set     bool
	session int    // who changed it
	last    string // the last command that did, where and when
	unsure  bool   // several did, or an answer did not come
}

const maxViolations = 50

func newLedger() *ledger {
	return &ledger{
		report: ConvergeReport{Acknowledged: map[string]int{}, Unknown: map[string]int{}, Refused: map[string]int{}},
		ids:    map[uidKey]seen{}, fates: map[fateKey]*fate{}, marked: map[string]bool{},
	}
}

func (l *ledger) violate(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violateLocked(format, args...)
}

func (l *ledger) violateLocked(format string, args ...any) {
	if len(l.report.Violations) >= maxViolations {
		l.report.Dropped++
		return
	}
	l.report.Violations = append(l.report.Violations, fmt.Sprintf(format, args...))
}

func (l *ledger) reconnect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Reconnects++
}

func (l *ledger) acknowledged(cmd string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Acknowledged[cmd]++
}

func (l *ledger) unknown(cmd string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Unknown[cmd]++
}

func (l *ledger) refused(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Refused[text]++
}

// line is the state in short.
func (l *ledger) line() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, k := range l.report.Acknowledged {
		n += k
	}
	return fmt.Sprintf("acknowledged=%d observations=%d reconnects=%d violations=%d", n, l.report.Observations, l.report.Reconnects, len(l.report.Violations))
}

// saw notes that a UID denotes a message.
func (l *ledger) saw(box int, validity, uid uint32, id, where string) {
	if uid == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Observations++
	k := uidKey{box, validity, uid}
	before, ok := l.ids[k]
	switch {
	case !ok:
		l.ids[k] = seen{id, where}
	case before.id != id:
		l.violateLocked("UIDVALIDITY %d, UID %d denotes %s (%s) and %s (%s)", validity, uid, before.id, before.where, id, where)
	}
}

// fate returns what is known about a message; l.mu is held.
func (l *ledger) fate(box int, id string) *fate {
	k := fateKey{box, id}
	f := l.fates[k]
	if f == nil {
		f = &fate{flags: map[string]*flagFate{}}
		l.fates[k] = f
	}
	return f
}

// trying notes that a command that adds the message is about to be sent.
func (l *ledger) trying(box int, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate(box, id).attempts++
}

// added notes that it succeeded.
func (l *ledger) added(box int, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate(box, id).certain++
}

// marking notes that a command that sets \Deleted, so that any EXPUNGE may take
// the message away, is about to be sent.
func (l *ledger) marking(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.marked[id] = true
}

// leaving notes that a MOVE of the message is about to be sent.
func (l *ledger) leaving(box int, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate(box, id).left = true
}

// removed notes that the message is gone for certain.
func (l *ledger) removed(box int, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fate(box, id).removed = true
}

// flagging notes, before it is sent, that a session's command sets and unsets
// flags as change says.
func (l *ledger) flagging(box int, id string, session int, command string, change map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fate(box, id)
	for name, set := range change {
		x := f.flags[name]
		if x == nil {
			x = &flagFate{session: session}
			f.flags[name] = x
		}
		x.unsure = x.unsure || x.session != session
		x.set, x.last = set, command
	}
}

// unflagged notes that it is not known what came of a change.
func (l *ledger) unflagged(box int, id string, change map[string]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fate(box, id)
	for name := range change {
		if x := f.flags[name]; x != nil {
			x.unsure = true
		}
	}
}

// audit compares what both sides show with what was acknowledged.
func (l *ledger) audit(box int, name string, rows []viewRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	there := map[string][]viewRow{}
	for _, r := range rows {
		there[r.id] = append(there[r.id], r)
	}
	l.report.Messages += len(rows)
	keys := slices.SortedFunc(maps.Keys(l.fates), func(a, b fateKey) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, k := range keys {
		if k.box == box {
			l.auditOne(name, k.id, l.fates[k], there[k.id])
			delete(there, k.id)
		}
	}
	for id, rs := range there {
		l.violateLocked("%s: UID %d is %q, which nobody put there", name, rs[0].uid, id)
	}
}

func (l *ledger) auditOne(name, id string, f *fate, there []viewRow) {
	switch n := len(there); {
	case n > f.attempts:
		l.violateLocked("%s: %s is there %d times, added %d times", name, id, n, f.attempts)
	case n == 0 && f.certain > 0 && !f.left && !l.marked[id]:
		l.violateLocked("%s: %s was acknowledged, nobody removed it, and it is missing", name, id)
	case n > 0 && f.attempts == 1 && f.removed:
		l.violateLocked("%s: %s was removed and is there (UID %d)", name, id, there[0].uid)
	case n == 1 && f.attempts == 1 && f.certain == 1:
		l.auditFlags(name, id, f, there[0])
	}
}

func (l *ledger) auditFlags(name, id string, f *fate, row viewRow) {
	for _, flag := range slices.Sorted(maps.Keys(f.flags)) {
		x := f.flags[flag]
		if !x.unsure && hasFlag(row.flags, flag) != x.set {
			l.violateLocked("%s: %s (UID %d): %s should be %v since %s, flags are (%s)", name, id, row.uid, flag, x.set, x.last, row.flags)
		}
	}
}

// settled notes how long both sides took to show the same.
func (l *ledger) settled(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Settled = d
}

func (l *ledger) finish() *ConvergeReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	return &r
}
