package crdt

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/go-pluto/pluto/crdt/crdttest"
)

// TestScripts runs the scripts of testdata: one line, one event. Rewrite their
// expectations with -rewrite and review the difference.
//
//	replicas 3 [leaderless]         a new group
//	roaming 1000                    MODSEQs of other replicas are translated from now on;
//	                                nothing is hidden for more ms when one is given
//	0: append BOX a b \Seen         contents are letters, flags follow
//	0: store BOX 17 +\Seen          also - and =, several UIDs separated by commas
//	0: expunge BOX 17,18            also "move BOX 17 DST", "copy BOX 17 DST"
//	0: create NAME                  also delete, rename A B, provision, bind NAME
//	0: renumber BOX                 begin another era
//	0: epoch 1                      raise the epoch after an eviction
//	approach BOX 300                use up the UIDs of its era but for 300
//	0: poll BOX                     the client that knows only UIDNEXT asks for n:*
//	0: unnoticed BOX                the same without the evidence rule
//	0: announce BOX                 a client looks at UIDNEXT
//	0: watch BOX                    a session has it selected
//	0: tick                         what is due now
//	0: restart
//	0: snapshot 1                   takes a snapshot of replica 1
//	0: load [n]                     loads n parts of it, or all
//	0: show BOX                     messages, those hidden, UIDs reported as vanished
//	0: list                         mailboxes, UIDVALIDITY as growing part and identity
//	0: contents                     contents, their instances, the removals that are not settled
//	0: attempt 1 7 append ...       command 7 of a session, for the second time
//	0: collect                      delete the contents that nothing needs any more
//	0~1                             1 hears what 0 has applied, before earlier operations of 0
//	acks                            everybody hears that of everybody
//	0>1                             deliver one operation; 0>>1 all; flow: everything everywhere
//	wait 300                        ms pass
//	client 0 BOX                    the roaming client resynchronises there; in a roaming
//	                                group also: what it was told, and why
//	hear 0>1                        a sign of life of 0, with clock and vector, reaches 1
//	0: note                         a checkpoint of its own
//	0: prune BOX 1                  forget all but the newest vanished UIDs
//	final                           all settles and is checked
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			for line := range strings.Lines(d.Input) {
				if err := s.line(strings.TrimSpace(line)); err != nil {
					fmt.Fprintf(&s.out, "%s: %v\n", strings.TrimSpace(line), err)
				}
			}
			for _, e := range s.w.truth.errs {
				fmt.Fprintf(&s.out, "VIOLATION: %s\n", e)
			}
			s.w.truth.errs = nil
			if s.out.Len() == 0 {
				return "ok\n"
			}
			return s.out.String()
		})
	})
}

type script struct {
	naive uidClient
	w     *world
	out   strings.Builder
}

func (s *script) line(line string) error {
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil
	}
	switch {
	case f[0] == "replicas":
		n, err := strconv.Atoi(f[1])
		if err != nil {
			return err
		}
		s.w, s.naive = newWorld(n), uidClient{next: 1}
		s.w.reps[0].self.Leader = len(f) < 3
		s.w.clients = []*client{{map[MailboxID]*cached{}}}
		return nil
	case f[0] == "roaming":
		return s.roaming(f[1])
	case f[0] == "hear":
		var i, j int
		_, err := fmt.Sscanf(f[1], "%d>%d", &i, &j)
		s.w.hear(j, i)
		return err
	case f[0] == "flow":
		s.w.flow()
		return nil
	case f[0] == "acks":
		s.w.ackAll()
		return nil
	case f[0] == "final":
		before := s.w.truth.ops[kindReissue]
		s.w.final()
		if n := s.w.truth.ops[kindReissue] - before; n > 0 {
			fmt.Fprintf(&s.out, "final: %d re-issue operations\n", n)
		}
		return nil
	case f[0] == "approach":
		n, err := strconv.Atoi(f[2])
		if err != nil {
			return err
		}
		b, err := (&Site{State: s.w.reps[0].mem, Self: s.w.reps[0].self}).Lookup(f[1])
		if b == nil || err != nil {
			return fmt.Errorf("no such mailbox: %w", err)
		}
		s.w.approach(b.ID, UID(n))
		return nil
	case f[0] == "wait":
		ms, err := strconv.ParseInt(f[1], 10, 64)
		s.w.now += ms
		return err
	case f[0] == "client":
		return s.client(f[1:])
	case strings.Contains(f[0], ">"):
		return s.deliver(f[0])
	case strings.Contains(f[0], "~"):
		var i, j int
		_, err := fmt.Sscanf(f[0], "%d~%d", &i, &j)
		if err == nil {
			s.w.ack(i, j)
		}
		return err
	}
	i, err := strconv.Atoi(strings.TrimSuffix(f[0], ":"))
	if err != nil {
		return err
	}
	return s.at(i, f[1], f[2:])
}

func (s *script) deliver(what string) error {
	var i, j int
	if _, err := fmt.Sscanf(what, "%d>>%d", &i, &j); err == nil {
		for s.w.deliver(i, j) {
		}
		return nil
	}
	if _, err := fmt.Sscanf(what, "%d>%d", &i, &j); err != nil {
		return err
	}
	if !s.w.deliver(i, j) {
		return fmt.Errorf("nothing that can be delivered")
	}
	return nil
}

// at does something at replica i.
func (s *script) at(i int, what string, args []string) error {
	w := s.w
	box := func(n int) *Mailbox {
		b, err := (&Site{State: w.reps[i].mem, Self: w.reps[i].self}).Lookup(args[n])
		if err != nil || b == nil {
			return &Mailbox{ID: 0xdead}
		}
		return b
	}
	switch what {
	case "attempt":
		return s.attempt(i, args)
	case "show":
		s.show(i, box(0).ID)
		return nil
	case "list":
		s.list(i)
		return nil
	case "contents":
		s.contents(i)
		return nil
	case "collect":
		s.collect(i)
		return nil
	case "poll", "unnoticed":
		s.poll(i, box(0), what == "poll")
		return nil
	case "announce":
		next, _ := w.announce(i, box(0).ID)
		fmt.Fprintf(&s.out, "%d: UIDNEXT %v\n", i, next)
		return nil
	case "watch":
		w.reps[i].watched[box(0).ID] = true
		w.announce(i, box(0).ID)
		return nil
	case "renumber":
		if !w.renumber(i, box(0).ID) {
			return fmt.Errorf("cannot be renumbered")
		}
		return nil
	case "tick":
		w.tick(i, false)
		return nil
	case "note":
		w.note(i)
		return nil
	case "prune":
		left, err := strconv.Atoi(args[1])
		w.prune(i, box(0).ID, left)
		return err
	case "restart":
		w.restart(i)
		return nil
	case "snapshot", "load":
		return s.load(i, what, args)
	}
	op, err := w.do(i, func(site *Site) (Payload, error) { return s.prepare(site, i, what, args, box) })
	if err == nil && op == nil {
		return fmt.Errorf("nothing to do")
	}
	return err
}

// load takes or loads a snapshot.
func (s *script) load(i int, what string, args []string) error {
	n := -1
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil {
			return err
		}
	}
	if what == "snapshot" {
		if !s.w.snapshot(i, n) {
			return fmt.Errorf("no snapshot can be taken now")
		}
		return nil
	}
	for ; n != 0 && s.w.reps[i].loading != nil; n-- {
		if !s.w.loadStep(i) {
			break
		}
	}
	return nil
}

func (s *script) prepare(site *Site, i int, what string, args []string, box func(int) *Mailbox) (Payload, error) {
	switch what {
	case "append":
		return site.PrepareAppend(box(0).ID, added(args[1:]), true)
	case "store":
		mode := StoreMode(strings.IndexByte("+-=", args[2][0]))
		return site.PrepareStore(s.uids(i, box(0).ID, args[1]), mode, []string{args[2][1:]})
	case "expunge":
		return site.PrepareExpunge(s.uids(i, box(0).ID, args[1]))
	case "move":
		return site.PrepareMove(s.uids(i, box(0).ID, args[1]), box(2).ID)
	case "copy":
		var list []Added
		for _, at := range s.uids(i, box(0).ID, args[1]) {
			m := s.w.reps[i].mem.messages[at]
			list = append(list, Added{Root: m.Root, Flags: m.FlagNames()})
		}
		return site.PrepareAppend(box(2).ID, list, false)
	case "create":
		return site.PrepareCreate(args[0], "")
	case "epoch":
		n, err := strconv.Atoi(args[0])
		if err != nil {
			return nil, err
		}
		return site.PrepareEpoch(uint32(n))
	case "delete":
		return site.PrepareDelete(args[0])
	case "rename":
		return site.PrepareRename(args[0], args[1])
	case "provision":
		return site.PrepareProvision()
	case "bind":
		return site.PrepareBindLogin(args[0])
	}
	return nil, fmt.Errorf("no such command")
}

func added(words []string) []Added {
	var out []Added
	var flags []string
	for _, x := range words {
		if len(x) > 1 {
			flags = append(flags, x)
			continue
		}
		out = append(out, Added{Root: Root{x[0]}, Size: 100})
	}
	for i := range out {
		out[i].Flags = flags
	}
	return out
}

// uids finds messages by the UIDs that are shown at replica i.
func (s *script) uids(i int, box MailboxID, list string) []Instance {
	var out []Instance
	for _, x := range strings.Split(list, ",") {
		for _, at := range s.w.instances(i, box) {
			if fmt.Sprint(s.w.reps[i].mem.messages[at].Exp) == x {
				out = append(out, at)
			}
		}
	}
	return out
}

func (s *script) show(i int, box MailboxID) {
	mem := s.w.reps[i].mem
	var shown, hidden []string
	list := s.w.instances(i, box)
	slices.SortFunc(list, func(a, b Instance) int { return less(mem.messages[a].Reg < mem.messages[b].Reg) })
	for _, at := range list {
		m := mem.messages[at]
		text := fmt.Sprintf("%v=%s", m.Exp, message(m))
		switch m.Exp {
		case m.Reg:
			shown = append(shown, text)
		case 0:
			hidden = append(hidden, fmt.Sprintf("%s, to be %v", message(m), m.Reg))
		default:
			shown = append(shown, fmt.Sprintf("%s, to be %v", text, m.Reg))
		}
	}
	fmt.Fprintf(&s.out, "%d: shown [%s]", i, strings.Join(shown, " "))
	if len(hidden) > 0 {
		fmt.Fprintf(&s.out, " hidden [%s]", strings.Join(hidden, " "))
	}
	if v := mem.vanished[box]; len(v) > 0 {
		fmt.Fprintf(&s.out, " vanished %v", slices.Sorted(maps.Keys(v)))
	}
	s.out.WriteString("\n")
}

// poll tells what the client that knows only UIDNEXT asks for and what it has then.
func (s *script) poll(i int, b *Mailbox, evidence bool) {
	from := s.naive.next
	s.w.poll(&s.naive, i, b.ID, evidence)
	fmt.Fprintf(&s.out, "%d: client asks for %d:*, has [%s], UIDNEXT %d\n", i, from, strings.Join(s.naive.texts(), " "), s.naive.next)
}

func (c *uidClient) texts() (out []string) {
	for _, u := range slices.Sorted(maps.Keys(c.rows)) {
		out = append(out, fmt.Sprintf("%d=%c", u, c.rows[u][0]))
	}
	return out
}

func message(m *Message) string {
	text := string(m.Root[0])
	if flags := m.FlagNames(); len(flags) > 0 {
		text += "(" + strings.Join(flags, " ") + ")"
	}
	return text
}

func (s *script) list(i int) {
	list, err := (&Site{State: s.w.reps[i].mem, Self: s.w.reps[i].self}).List()
	if err != nil {
		fmt.Fprintln(&s.out, err)
	}
	for _, l := range list {
		fmt.Fprintf(&s.out, "%d: %s %d.%05x, %d messages\n", i, l.Name, l.Box.Validity()>>20, l.Box.Validity()&0xfffff, l.Box.Messages)
	}
}

func (s *script) contents(i int) {
	r := s.w.reps[i]
	fmt.Fprintf(&s.out, "%d:", i)
	seen := maps.Clone(r.bodies.here)
	for root := range r.mem.contents {
		seen[root] = true
	}
	if len(seen) == 0 {
		s.out.WriteString(" none")
	}
	for _, root := range slices.SortedFunc(maps.Keys(seen), func(a, b Root) int { return int(a[0]) - int(b[0]) }) {
		fmt.Fprintf(&s.out, " %c in %d", root[0], r.mem.contents[root].Live)
		for _, x := range r.mem.Removals() {
			if x.Root == root {
				fmt.Fprintf(&s.out, ", removed by %d/%d", x.By.Origin-1, x.By.N)
			}
		}
		if !r.bodies.here[root] {
			s.out.WriteString(", MISSING")
		}
	}
	s.out.WriteString("\n")
}

// attempt gives the command in args[2:] the cause that it is that attempt at a
// numbered command of a session.
func (s *script) attempt(i int, args []string) error {
	attempt, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return err
	}
	command, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return err
	}
	s.w.cause = Cause{Session: [16]byte{1}, Command: command, Attempt: uint32(attempt)}
	defer func() { s.w.cause = Cause{} }()
	return s.at(i, args[2], args[3:])
}

// collect deletes contents at replica i, and says which.
func (s *script) collect(i int) {
	for _, root := range s.w.collect(i) {
		fmt.Fprintf(&s.out, "%d: deleted %c\n", i, root[0])
	}
	s.w.lookContents(i)
}

func (s *script) client(args []string) error {
	i, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	b, err := (&Site{State: s.w.reps[i].mem, Self: s.w.reps[i].self}).Lookup(args[1])
	if err != nil || b == nil {
		return fmt.Errorf("no such mailbox: %w", err)
	}
	c := s.w.clients[0]
	told, floor := s.w.sync(c, i, b.ID)
	fmt.Fprintf(&s.out, "client at %d: ", i)
	if s.w.roaming {
		s.told(told, floor)
	}
	fmt.Fprintf(&s.out, "[%s]\n", strings.Join(rowTexts(c.cache[b.ID].Rows), " "))
	return nil
}

// told describes what a client of a roaming group was told.
func (s *script) told(r crdttest.Report, f Floor) {
	switch {
	case f.Own:
		s.out.WriteString("own MODSEQ; ")
	case f.Time == 0:
		s.out.WriteString("everything; ")
	default:
		fmt.Fprintf(&s.out, "changes since %+d ms; ", f.Time.UnixMillis()-simStart)
	}
	if len(r.Vanished) > 0 {
		s.out.WriteString("VANISHED")
		for _, v := range r.Vanished {
			fmt.Fprintf(&s.out, " %d", v.First)
		}
		s.out.WriteString("; ")
	}
	if len(r.Fetched) > 0 {
		fmt.Fprintf(&s.out, "FETCH %s; ", strings.Join(rowTexts(r.Fetched), " "))
	}
}

// rowTexts describes rows of a client, whose contents begin with a letter in hexadecimal.
func rowTexts(rows map[uint32]string) (out []string) {
	for _, u := range slices.Sorted(maps.Keys(rows)) {
		var code byte
		fmt.Sscanf(rows[u], "%2x", &code)
		out = append(out, fmt.Sprintf("%d=%s", u, strings.TrimSuffix(string(rune(code))+rows[u][2:], "()")))
	}
	return out
}

// roaming makes the group one that translates MODSEQs.
func (s *script) roaming(hidden string) error {
	ms, err := strconv.ParseInt(hidden, 10, 64)
	s.w.roaming = true
	for _, r := range s.w.reps {
		r.self.Policy.Hidden = ms
		r.tokens = NewTokens(r.self, 0, Spacing{Keep: 1 << 40})
	}
	return err
}
