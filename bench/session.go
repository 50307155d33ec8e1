package bench

import (
	"math/rand/v2"
	"strings"
)

// Op is a command of the session model.
type Op uint8

// The commands of the session model, in the order of the published tables.
const (
	OpCreate Op = iota
	OpDelete
	OpAppend
	OpStore
	OpSelect
	OpExpunge
	numOps
)

var opNames = [numOps]string{"CREATE", "DELETE", "APPEND", "STORE", "SELECT", "EXPUNGE"}

// String returns the command's IMAP name.
func (o Op) String() string { return opNames[o] }

// ModelState is what the draw of the next command depends on.
type ModelState uint8

// The states of the session model.
const (
	NoFolder     ModelState = iota
	NoneSelected            // folders, none selected
	LoneEmpty               // one folder, selected, empty
	LoneFilled              // one folder, selected, has messages
	AmongEmpty              // several folders, the selected one is empty
	AmongFilled             // several folders, the selected one has messages
	numModelState
)

// draws holds the probabilities of the commands, in percent, by state.
var draws = [numModelState][numOps]int{
	//             CREATE DELETE APPEND STORE SELECT EXPUNGE
	NoFolder:     {100, 0, 0, 0, 0, 0},
	NoneSelected: {25, 25, 25, 0, 25, 0},
	LoneEmpty:    {30, 0, 60, 0, 0, 10},
	LoneFilled:   {25, 0, 25, 25, 0, 25},
	AmongEmpty:   {15, 15, 30, 0, 30, 10},
	AmongFilled:  {15, 15, 20, 25, 15, 10},
}

// StoreForms says how STORE changes flags.
type StoreForms uint8

const (
	// ReplaceOnly sends FLAGS, as the 2017 workload did.
	ReplaceOnly StoreForms = iota
	// AllForms sends FLAGS in half of the cases, +FLAGS and -FLAGS in a quarter each.
	AllForms
)

var systemFlags = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

// Step is one command drawn by a [Session].
type Step struct {
	Op      Op
	Mailbox string // of CREATE, DELETE, APPEND, SELECT
	Seq     int    // of STORE
	Store   string // what STORE does: `FLAGS (\Seen)`
}

// Session is the model of one client session of the 2017 evaluation: it starts
// without folders, with nothing selected, and draws one command after another by
// its state. It believes that every command succeeds and that nobody else
// touches its folders. Not for concurrent use.
type Session struct {
	rng      *rand.Rand
	prefix   string
	forms    StoreForms
	folders  []*modelFolder
	selected *modelFolder
}

type modelFolder struct {
	name     string
	messages []bool // \Deleted or not, by sequence number
}

// NewSession returns the model of a new session. Folder names are prefix and
// eight random characters.
func NewSession(rng *rand.Rand, prefix string, forms StoreForms) *Session {
	return &Session{rng: rng, prefix: prefix, forms: forms}
}

// Length draws the number of commands of a session: base + U{0..spread}.
func Length(rng *rand.Rand, base, spread int) int { return base + rng.IntN(spread+1) }

// State returns the row of the table that the next draw uses.
func (s *Session) State() ModelState {
	switch {
	case len(s.folders) == 0:
		return NoFolder
	case s.selected == nil:
		return NoneSelected
	}
	st := LoneEmpty
	if len(s.folders) > 1 {
		st = AmongEmpty
	}
	if len(s.selected.messages) > 0 {
		st++
	}
	return st
}

// Folders returns the names of the folders that exist.
func (s *Session) Folders() []string {
	names := make([]string, len(s.folders))
	for i, f := range s.folders {
		names[i] = f.name
	}
	return names
}

// Messages returns how many messages each folder has.
func (s *Session) Messages() map[string]int {
	n := make(map[string]int, len(s.folders))
	for _, f := range s.folders {
		n[f.name] = len(f.messages)
	}
	return n
}

func (s *Session) draw() Op {
	x := s.rng.IntN(100)
	for op, p := range draws[s.State()] {
		if x -= p; x < 0 {
			return Op(op)
		}
	}
	return OpCreate // not reached: every row sums up to 100
}

// Next draws the next command and changes the model as if it had succeeded.
func (s *Session) Next() Step {
	st := Step{Op: s.draw()}
	switch st.Op {
	case OpCreate:
		st.Mailbox = s.prefix + randomName(s.rng, 8)
		s.folders = append(s.folders, &modelFolder{name: st.Mailbox})
	case OpDelete:
		st.Mailbox = s.remove()
	case OpAppend:
		f := s.folders[s.rng.IntN(len(s.folders))]
		f.messages = append(f.messages, false)
		st.Mailbox = f.name
	case OpSelect:
		s.selected = s.folders[s.rng.IntN(len(s.folders))]
		st.Mailbox = s.selected.name
	case OpStore:
		i := s.rng.IntN(len(s.selected.messages))
		st.Seq = i + 1
		st.Store = s.store(&s.selected.messages[i])
	case OpExpunge:
		s.selected.expunge()
	}
	return st
}

// remove takes away a folder that is not selected. The table draws DELETE only
// where there is one.
func (s *Session) remove() string {
	i := s.rng.IntN(len(s.folders))
	for s.folders[i] == s.selected {
		i = s.rng.IntN(len(s.folders))
	}
	name := s.folders[i].name
	s.folders = append(s.folders[:i], s.folders[i+1:]...)
	return name
}

// store draws one to five distinct system flags and the form of the change.
func (s *Session) store(deleted *bool) string {
	var names []string
	has := false
	for _, i := range s.rng.Perm(len(systemFlags))[:1+s.rng.IntN(len(systemFlags))] {
		names = append(names, systemFlags[i])
		has = has || systemFlags[i] == `\Deleted`
	}
	item := "FLAGS (" + strings.Join(names, " ") + ")"
	if s.forms == AllForms {
		switch s.rng.IntN(4) {
		case 0:
			*deleted = *deleted || has
			return "+" + item
		case 1:
			*deleted = *deleted && !has
			return "-" + item
		}
	}
	*deleted = has
	return item
}

func (f *modelFolder) expunge() {
	keep := f.messages[:0]
	for _, deleted := range f.messages {
		if !deleted {
			keep = append(keep, deleted)
		}
	}
	f.messages = keep
}

const nameAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

func randomName(rng *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = nameAlphabet[rng.IntN(len(nameAlphabet))]
	}
	return string(b)
}
