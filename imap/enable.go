package imap

import (
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// modes are what the client has switched on. It stays so until the session ends.
type modes uint8

const (
	modeCondStore modes = 1 << iota // RFC 7162: MODSEQ in all that is told of flags
	modeQResync                     // RFC 7162: VANISHED instead of EXPUNGE
	modeUTF8                        // RFC 6855: names and quoted strings in UTF-8
	modeRev2                        // RFC 9051
	modeMetadata                    // RFC 5464: names of annotations that have changed
)

// enableable are the extensions that ENABLE switches on.
var enableable = [...]struct {
	name  string
	modes modes
}{
	{"CONDSTORE", modeCondStore},
	{"QRESYNC", modeQResync | modeCondStore},
	{"UTF8=ACCEPT", modeUTF8},
	{"IMAP4rev2", modeRev2},
	{"METADATA", modeMetadata},
}

func (s *session) on(m modes) bool { return s.modes&m != 0 }

// enable: RFC 5161. What is unknown is ignored.
func (s *session) enable(c *wire.Command) error {
	answer := []byte("ENABLED")
	var wanted modes
	for first := true; first || !c.EOL(); first = false {
		if err := c.SP(); err != nil {
			return err
		}
		name, err := c.Atom()
		if err != nil {
			return err
		}
		for _, e := range enableable {
			if strings.EqualFold(name, e.name) && !s.opts.hidden(e.name) {
				wanted |= e.modes
				answer = append(append(answer, ' '), e.name...)
			}
		}
	}
	s.out.line(string(answer))
	s.switchOn(wanted)
	return nil
}

// switchOn makes the session one with these modes too.
func (s *session) switchOn(wanted modes) {
	fresh := wanted &^ s.modes
	if fresh == 0 {
		return
	}
	s.modes |= fresh
	s.stateDirty = stateChanged
	s.reader.SetUTF8(s.utf8())
	s.listenToNotes(false)
	if fresh&modeRev2 != 0 && s.box != nil {
		s.box.disclaim()
	}
	if fresh&modeCondStore != 0 && s.box != nil { // RFC 7162 section 3.1
		s.tellHighest(s.box.told.HighestModSeq())
	}
}

func (s *session) saveModes(w *stateWriter) {
	if s.modes != 0 {
		w.number(uint64(s.modes))
	}
}

func (s *session) loadModes(d *stateReader) error {
	s.modes = modes(d.number(1<<8 - 1))
	s.reader.SetUTF8(s.utf8())
	s.listenToNotes(true)
	return nil
}
