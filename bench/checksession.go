package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/bench/imapc"
)

// checkMode is how a session speaks.
type checkMode struct{ name, enable string }

var checkModes = []checkMode{{"rev1", ""}, {"condstore", "CONDSTORE"}, {"qresync", "QRESYNC"}, {"rev2", "IMAP4rev2"}}

// checkSession is a session of [Check] with its model of the mailbox.
type checkSession struct {
	*checking
	target Target
	front  int
	n      int
	mode   checkMode
	rng    *rand.Rand
	conn   *imapc.Conn

	checkModel
	opened      string   // the mailbox that was selected before, whose UIDNEXT is known
	destination string   // of the COPY or MOVE under way,
	sources     []uint32 // and what it is made from, 0 for UIDs that the session was not told
	allowed     allows
	storing     bool         // the session's own keyword is being changed
	answered    map[int]bool // messages that FETCH was sent for, in this command
	responses   int
	made        int      // messages
	lines       []string // the last ones, for reports
}

// keyword is the flag that only this session changes.
func (s *checkSession) keyword() string { return fmt.Sprintf("$check%d", s.n) }

func (s *checkSession) trace(line string) {
	if len(s.lines) == 12 {
		s.lines = slices.Delete(s.lines, 0, 1)
	}
	s.lines = append(s.lines, line)
}

// wrong reports a violation with what went before it.
func (s *checkSession) wrong(format string, args ...any) {
	s.violation("session %d (%s) in %s: %s\n\t%s", s.n, s.mode.name, s.box, fmt.Sprintf(format, args...), strings.Join(s.lines, "\n\t"))
}

func (s *checkSession) connect(ctx context.Context) (err error) {
	if s.conn, err = s.target.Dial(ctx); err != nil {
		return fmt.Errorf("session %d: %w", s.n, err)
	}
	if err := s.conn.Login(s.o.User, s.o.Password); err != nil {
		return fmt.Errorf("session %d: LOGIN: %w", s.n, err)
	}
	s.checkModel = checkModel{}
	s.conn.Unsolicited = s.take
	if s.mode.enable != "" && s.conn.Caps["ENABLE"] && s.conn.Caps[strings.ToUpper(s.mode.enable)] {
		return s.do("ENABLE", "ENABLE "+s.mode.enable, allows{}, nil)
	}
	s.mode = checkModes[0]
	return nil
}

// do sends a command. A NO with a code that another session's doings explain is
// none of the errors, and neither is one that was reported as a violation.
func (s *checkSession) do(name, command string, allowed allows, on func(*imapc.Response)) error {
	s.trace("C: " + command)
	s.allowed, s.answered = allowed, make(map[int]bool)
	before := s.responses
	r, err := s.conn.Do(command, on)
	return s.done(name, r, err, before)
}

// explained are the codes of NO that other sessions can be the reason of.
var explained = []string{"EXPUNGEISSUED", "UNAVAILABLE"}

func (s *checkSession) done(name string, r *imapc.Response, err error, before int) error {
	var refused *imapc.StatusError
	s.mu.Lock()
	s.report.Responses += s.responses - before
	switch {
	case err == nil:
		s.report.Commands[name]++
	case errors.As(err, &refused):
		s.report.Refused[name+" "+refused.Code()]++
	}
	s.mu.Unlock()
	if err == nil {
		if r != nil {
			s.trace("S: " + r.Text())
			if code, args := r.Code(); code == "COPYUID" {
				s.copied(args)
			}
		}
		return nil
	}
	if refused == nil {
		return fmt.Errorf("session %d: %s: %w\n\t%s", s.n, name, err, strings.Join(s.lines, "\n\t"))
	}
	s.trace("S: " + err.Error())
	if refused.Status == "BAD" || !slices.Contains(explained, refused.Code()) {
		s.wrong("%s is refused", name)
	}
	return errRefused
}

// errRefused says that a command was answered NO or BAD.
var errRefused = errors.New("refused")

func (s *checkSession) selectBox(i int) error {
	if s.box != "" {
		s.opened = s.box
	}
	before := s.checkModel
	s.checkModel = checkModel{box: s.boxes[i]}
	if before.box == s.box { // what must not change
		s.validity, s.uidNext = before.validity, before.uidNext
	}
	s.opened = before.box
	s.conn.Exists = 0
	if err := s.do("SELECT", "SELECT "+s.box, allows{opening: true, expunge: true}, nil); err != nil {
		s.box = ""
		return err
	}
	s.opened = s.box
	return nil
}

// unlessRefused returns nil for a refusal, which was counted or reported.
func unlessRefused(err error) error {
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

func (s *checkSession) reconnect(ctx context.Context) error {
	i := slices.Index(s.boxes[:], s.box)
	s.allowed = allows{expunge: true}
	s.conn.Unsolicited = nil
	s.conn.Logout()
	if err := s.connect(ctx); err != nil {
		return err
	}
	return s.selectBox(i)
}

// look asks for all that there is, after NOOP has told all that there was to tell:
// what is asked for must be what was told. With two fronts, settled is what both of
// them show: if there is something else by now, something was still on its way, and
// nothing is judged but that this is so. Without, nobody changes anything.
func (s *checkSession) look(settled string) (still bool, err error) {
	known, err := s.glance()
	if err != nil {
		return true, unlessRefused(err)
	}
	if settled != "" && s.shown() != settled {
		return false, nil
	}
	if len(s.messages) != len(known) {
		s.wrong("%d messages after NOOP said %d", len(s.messages), len(known))
		return true, nil
	}
	for i, m := range known {
		if now := s.messages[i]; m.flags != nil && !sameFlags(m.flags, now.flags) {
			s.wrong("UID %d has %v, the session was told %v", now.uid, sorted(now.flags), sorted(m.flags))
		}
	}
	return true, nil
}

// glance asks for all that there is, and returns what the session was told before.
func (s *checkSession) glance() (told []modelMessage, err error) {
	if err := s.do("NOOP", "NOOP", allows{expunge: true}, nil); err != nil {
		return nil, err
	}
	told = slices.Clone(s.messages)
	if len(told) == 0 {
		return nil, nil
	}
	return told, s.do("FETCH", "FETCH 1:* (UID FLAGS)", allows{}, nil)
}

// shown returns what the session was told of the mailbox.
func (s *checkSession) shown() string {
	var b strings.Builder
	fmt.Fprint(&b, s.validity)
	for _, m := range s.messages {
		fmt.Fprint(&b, " ", m.uid, sorted(m.flags))
	}
	return b.String()
}

// examine returns what a mailbox shows, selecting it. Changes may arrive meanwhile.
func (s *checkSession) examine(i int) (string, error) {
	if s.box != s.boxes[i] {
		if err := s.selectBox(i); err != nil {
			return "", err
		}
	}
	_, err := s.glance()
	return s.shown(), unlessRefused(err)
}

// checkStatus compares STATUS with the selected mailbox. settled and the result are
// those of look.
func (s *checkSession) checkStatus(settled string) (still bool, err error) {
	var status []imapc.Value
	err = s.do("STATUS", "STATUS "+s.box+" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", allows{expunge: true}, func(r *imapc.Response) {
		if r.Name != "STATUS" {
			return
		}
		values, err := imapc.Parse(r.Rest)
		if err != nil || len(values) != 2 {
			s.wrong("STATUS that cannot be read")
			return
		}
		status = values[1].List
	})
	if err == nil && settled != "" {
		_, err = s.glance()
	}
	if err != nil {
		return true, unlessRefused(err)
	}
	if settled != "" && s.shown() != settled {
		return false, nil
	}
	s.judgeStatus(status)
	return true, nil
}

func (s *checkSession) judgeStatus(items []imapc.Value) {
	unseen, last := uint64(0), uint64(0)
	for _, m := range s.messages {
		if !m.flags[`\seen`] {
			unseen++
		}
		last = max(last, uint64(m.uid))
	}
	for i := 0; i+1 < len(items); i += 2 {
		n, _ := items[i+1].Uint()
		switch item := items[i]; {
		case item.Is("MESSAGES") && n != uint64(len(s.messages)):
			s.wrong("STATUS: %d messages, not %d", n, len(s.messages))
		case item.Is("UNSEEN") && n != unseen:
			s.wrong("STATUS: %d unseen, not %d", n, unseen)
		case item.Is("UIDNEXT") && n <= last:
			s.wrong("STATUS: UIDNEXT %d with UID %d", n, last)
		case item.Is("UIDVALIDITY") && n != uint64(s.validity):
			s.wrong("STATUS: UIDVALIDITY %d, not %d", n, s.validity)
		}
	}
}
