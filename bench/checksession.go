package bench

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

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

// checkSteps are what sessions do, and how often out of their sum.
var checkSteps = []struct {
	weight int
	do     func(*checkSession) error
}{
	{12, (*checkSession).fetchFlags},
	{10, (*checkSession).fetchBody},
	{18, (*checkSession).store},
	{8, (*checkSession).append},
	{6, (*checkSession).copyOrMove},
	{4, (*checkSession).expunge},
	{6, (*checkSession).search},
	{10, (*checkSession).noop},
	{4, (*checkSession).idle},
	{2, (*checkSession).reselect},
}

// step sends one command at random.
func (s *checkSession) step(ctx context.Context) error {
	sum := 0
	for _, c := range checkSteps {
		sum += c.weight
	}
	n := s.rng.IntN(sum)
	for _, c := range checkSteps {
		if n -= c.weight; n >= 0 {
			continue
		}
		err := c.do(s)
		if s.rng.IntN(400) == 0 && err == nil {
			err = s.reconnect(ctx)
		}
		return unlessRefused(err)
	}
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

// some returns messages at random: as a set of numbers or, if by is true, of UIDs,
// and how many they are. They are fewer than all that there are, mostly.
func (s *checkSession) some() (uid bool, set string, numbers []int) {
	if len(s.messages) == 0 {
		return false, "", nil
	}
	from := s.rng.IntN(len(s.messages))
	to := min(from+s.rng.IntN(5), len(s.messages)-1)
	if s.rng.IntN(10) == 0 {
		from, to = 0, len(s.messages)-1
	}
	for i := from; i <= to; i++ {
		numbers = append(numbers, i+1)
	}
	first, last := s.messages[from].uid, s.messages[to].uid
	if first != 0 && last != 0 && s.rng.IntN(2) == 0 {
		return true, fmt.Sprintf("%d:%d", first, last), numbers
	}
	return false, fmt.Sprintf("%d:%d", from+1, to+1), numbers
}

// phrase returns a command that is to be one with UIDs or not, and its name.
func phrase(uid bool, verb, rest string) (name, text string) {
	if uid {
		verb = "UID " + verb
	}
	return verb, verb + " " + rest
}

// wantAnswers checks that a FETCH was answered for all messages.
func (s *checkSession) wantAnswers(numbers []int) {
	for _, n := range numbers {
		if !s.answered[n] {
			s.wrong("no answer for message %d", n)
			return
		}
	}
}

func (s *checkSession) fetchFlags() error {
	uid, set, numbers := s.some()
	if numbers == nil {
		return s.noop()
	}
	name, text := phrase(uid, "FETCH", set+" (UID FLAGS)")
	err := s.fetch(name, text, uid, numbers)
	return err
}

// fetch sends a FETCH. A UID FETCH may announce an EXPUNGE, after which the numbers
// of its answers mean others.
func (s *checkSession) fetch(name, text string, uid bool, numbers []int) error {
	got := 0
	err := s.do(name, text, allows{expunge: uid}, func(r *imapc.Response) {
		if r.Name == "FETCH" {
			got++
		}
	})
	if err == nil && !uid {
		s.wantAnswers(numbers)
	} else if err == nil && got < len(numbers) {
		s.wrong("%d answers for %d messages", got, len(numbers))
	}
	return err
}

func (s *checkSession) fetchBody() error {
	uid, set, numbers := s.some()
	if numbers == nil {
		return s.noop()
	}
	item := []string{"BODY.PEEK[]", "BODY[]", "ENVELOPE", "BODYSTRUCTURE"}[s.rng.IntN(4)]
	name, text := phrase(uid, "FETCH", set+" (UID "+item+")")
	return s.fetch(name, text, uid, numbers)
}

func (s *checkSession) store() error {
	uid, set, numbers := s.some()
	if numbers == nil {
		return s.append()
	}
	flag := []string{`\Seen`, `\Flagged`, `\Answered`, `\Deleted`, "$Shared", s.keyword(), s.keyword()}[s.rng.IntN(7)]
	op := []string{"+", "-"}[s.rng.IntN(2)]
	silent := []string{"", ".SILENT"}[s.rng.IntN(2)]
	name, text := phrase(uid, "STORE", set+" "+op+"FLAGS"+silent+" ("+flag+")")
	s.storing = flag == s.keyword()
	var chosen []uint32
	for _, n := range numbers {
		m := &s.messages[n-1]
		chosen = append(chosen, m.uid)
		if m.flags = maps.Clone(m.flags); m.flags == nil {
			continue
		}
		if m.flags[strings.ToLower(flag)] = true; op == "-" { // what the client has to expect
			delete(m.flags, strings.ToLower(flag))
		}
	}
	err := s.do(name, text, allows{expunge: uid}, nil)
	s.stored(chosen, flag, op == "+", err)
	return err
}

// stored takes note of what a STORE has done to messages, and ends it.
func (s *checkSession) stored(uids []uint32, flag string, on bool, err error) {
	mine := s.storing
	s.storing = false
	for i := range s.messages {
		m := &s.messages[i]
		if !slices.Contains(uids, m.uid) {
			continue
		}
		if err != nil {
			m.flags, m.own = nil, ownUnknown
		}
		if !mine || err != nil {
			continue
		}
		switch {
		case m.uid == 0: // it may be another one
			m.own = ownUnknown
		case on:
			m.own = ownSet
		default:
			m.own = ownClear
		}
	}
}

// checkContent returns the message that is known by an identifier.
func checkContent(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	rng := rand.New(rand.NewPCG(h.Sum64(), 0))
	var b strings.Builder
	fmt.Fprintf(&b, "X-Check: %s\r\nFrom: check@example.org\r\nSubject: message %d\r\n\r\n", id, rng.IntN(50))
	for range rng.IntN(30) {
		fmt.Fprintf(&b, "%064x\r\n", rng.Uint64())
	}
	return b.String()
}

func (s *checkSession) append() error {
	if len(s.messages) >= s.o.MaxMessages {
		return s.expunge()
	}
	s.made++
	id := fmt.Sprintf("%d.%d", s.n, s.made)
	box := s.boxes[s.rng.IntN(2)]
	flags := []string{"", `\Seen`, `\Flagged $Shared`}[s.rng.IntN(3)]
	s.trace("C: APPEND " + box + " " + id)
	s.allowed, s.answered = allows{expunge: true}, make(map[int]bool)
	before := s.responses
	u, err := s.conn.Append(box, flags, []byte(checkContent(id)), s.rng.IntN(2) == 0 && s.conn.Caps["LITERAL+"])
	if err := s.done("APPEND", nil, err, before); err != nil {
		return err
	}
	if s.conn.Caps["UIDPLUS"] {
		s.denote(box, u.UIDValidity, u.UID, id)
	}
	return nil
}

func (s *checkSession) copyOrMove() error {
	uid, set, numbers := s.some()
	if numbers == nil || len(s.messages) >= s.o.MaxMessages {
		return s.expunge()
	}
	verb := "COPY"
	s.destination = s.boxes[s.rng.IntN(2)]
	if s.rng.IntN(2) == 0 && s.conn.Caps["MOVE"] {
		verb = "MOVE"
	}
	name, text := phrase(uid, verb, set+" "+s.destination)
	s.sources = nil
	for _, n := range numbers {
		s.sources = append(s.sources, s.messages[n-1].uid)
	}
	err := s.do(name, text, allows{expunge: true}, nil)
	s.destination = ""
	return err
}

func (s *checkSession) expunge() error {
	if uid, set, numbers := s.some(); uid && numbers != nil {
		if err := s.do("UID STORE", "UID STORE "+set+` +FLAGS.SILENT (\Deleted)`, allows{expunge: true}, nil); err != nil {
			return err
		}
		return s.do("UID EXPUNGE", "UID EXPUNGE "+set, allows{expunge: true}, nil)
	}
	return s.do("EXPUNGE", "EXPUNGE", allows{expunge: true}, nil)
}

func (s *checkSession) search() error {
	uid := s.rng.IntN(2) == 0
	key := []string{"ALL", "FLAGGED", "UNSEEN", "DELETED", "KEYWORD $Shared", "SUBJECT 7"}[s.rng.IntN(6)]
	verb, rest := "SEARCH", key
	if s.rng.IntN(3) == 0 && s.conn.Caps["SORT"] {
		verb, rest = "SORT", "(SUBJECT REVERSE DATE) UTF-8 "+key
	}
	n, last := len(s.messages), uint32(0)
	for _, m := range s.messages {
		last = max(last, m.uid)
	}
	name, text := phrase(uid, verb, rest)
	return s.do(name, text, allows{expunge: uid}, func(r *imapc.Response) {
		if r.Name != verb {
			return
		}
		list, _, _ := strings.Cut(string(r.Rest), "(") // a MODSEQ
		found := numbersOf(strings.Join(strings.Fields(list), ","))
		if key == "ALL" && len(found) != n {
			s.wrong("%s ALL finds %d of %d messages", verb, len(found), n)
		}
		for _, f := range found {
			if !uid && (f < 1 || int(f) > n) {
				s.wrong("%s finds message %d of %d", verb, f, n)
			}
			if uid && f <= last && !slices.ContainsFunc(s.messages, func(m modelMessage) bool { return m.uid == f || m.uid == 0 }) {
				s.wrong("%s finds UID %d, which is not there", verb, f)
			}
		}
	})
}

func (s *checkSession) noop() error {
	name := []string{"NOOP", "NOOP", "CHECK"}[s.rng.IntN(3)]
	return s.do(name, name, allows{expunge: true}, nil)
}

func (s *checkSession) idle() error {
	s.trace("C: IDLE")
	s.allowed, s.answered = allows{expunge: true}, make(map[int]bool)
	before := s.responses
	tag, err := s.conn.Idle()
	if err == nil {
		rest(context.Background(), time.Duration(s.rng.IntN(5))*time.Millisecond)
		err = s.conn.Done(tag)
	}
	return s.done("IDLE", nil, err, before)
}

func (s *checkSession) reselect() error {
	if s.rng.IntN(3) == 0 && s.conn.Caps["UNSELECT"] {
		if err := s.do("UNSELECT", "UNSELECT", allows{}, nil); err != nil {
			return err
		}
	}
	return s.selectBox(s.rng.IntN(2))
}

// look asks for all that there is, after NOOP has told all that there was to tell:
// what is asked for must be what was told.
func (s *checkSession) look() error {
	if err := s.do("NOOP", "NOOP", allows{expunge: true}, nil); err != nil {
		return unlessRefused(err)
	}
	known := slices.Clone(s.messages)
	if len(known) == 0 {
		return nil
	}
	if err := s.do("FETCH", "FETCH 1:* (UID FLAGS)", allows{}, nil); err != nil {
		return unlessRefused(err)
	}
	if len(s.messages) != len(known) {
		s.wrong("%d messages after NOOP said %d", len(s.messages), len(known))
		return nil
	}
	for i, m := range known {
		if now := s.messages[i]; m.flags != nil && !sameFlags(m.flags, now.flags) {
			s.wrong("UID %d has %v, the session was told %v", now.uid, sorted(now.flags), sorted(m.flags))
		}
	}
	return nil
}

// examine returns what the mailbox shows, selecting it.
func (s *checkSession) examine(i int) (string, error) {
	if s.box != s.boxes[i] {
		if err := s.selectBox(i); err != nil {
			return "", err
		}
	}
	if err := s.look(); err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprint(&b, s.validity)
	for _, m := range s.messages {
		fmt.Fprint(&b, " ", m.uid, sorted(m.flags))
	}
	return b.String(), nil
}

// checkStatus compares STATUS with the selected mailbox.
func (s *checkSession) checkStatus(box string) error {
	return unlessRefused(s.do("STATUS", "STATUS "+box+" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", allows{expunge: true}, func(r *imapc.Response) {
		if r.Name != "STATUS" {
			return
		}
		values, err := imapc.Parse(r.Rest)
		if err != nil || len(values) != 2 {
			s.wrong("STATUS that cannot be read")
			return
		}
		unseen, last := uint64(0), uint64(0)
		for _, m := range s.messages {
			if !m.flags[`\seen`] {
				unseen++
			}
			last = max(last, uint64(m.uid))
		}
		for i := 0; i+1 < len(values[1].List); i += 2 {
			n, _ := values[1].List[i+1].Uint()
			switch item := values[1].List[i]; {
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
	}))
}
