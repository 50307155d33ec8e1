package bench

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

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
