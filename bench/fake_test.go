package bench

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeServer is an IMAP server for one account that is as correct as it is slow:
// one lock, and just the commands that Converge and Lag send. It can be told to
// do wrong.
type fakeServer struct {
	appendFault  func(n int) fault // for the n-th APPEND, from 1
	reuseUIDs    bool              // the UID of the last message is given again after it is gone
	pretendStore bool              // STORE shows the new flags and does not keep them
	hangUp       int               // every so many commands a connection is closed without answer; 0: never

	mu       sync.Mutex
	changed  *sync.Cond // broadcast after every command
	boxes    map[string]*fakeBox
	appends  int
	commands int
	conns    map[net.Conn]bool
	closed   bool
}

type fault int

const (
	noFault fault = iota
	dropIt        // acknowledge and forget
	doubleIt
	damageIt
)

type fakeBox struct {
	validity, next uint32
	messages       []*fakeMessage
}

type fakeMessage struct {
	uid   uint32
	flags []string
	body  string
}

// fakeSession is one connection; told is what its client knows.
type fakeSession struct {
	s    *fakeServer
	r    *bufio.Reader
	w    *bufio.Writer
	box  *fakeBox
	told []fakeTold
}

type fakeTold struct {
	m     *fakeMessage
	flags string
}

func (s *fakeServer) start(t *testing.T) Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.boxes, s.conns = map[string]*fakeBox{"INBOX": {validity: 1000, next: 1}}, map[net.Conn]bool{}
	s.changed = sync.NewCond(&s.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if !s.enter(nc) {
				return
			}
			wg.Go(func() { s.serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.mu.Lock()
		s.closed = true
		for nc := range s.conns {
			nc.Close()
		}
		s.changed.Broadcast()
		s.mu.Unlock()
		wg.Wait()
	})
	return Target{Addr: l.Addr().String(), Timeout: 10 * time.Second}
}

func (s *fakeServer) enter(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		nc.Close()
		return false
	}
	s.conns[nc] = true
	return true
}

func (s *fakeServer) serve(nc net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, nc)
		s.mu.Unlock()
		nc.Close()
	}()
	x := &fakeSession{s: s, r: bufio.NewReader(nc), w: bufio.NewWriter(nc)}
	fmt.Fprint(x.w, "* OK [CAPABILITY IMAP4rev1 UIDPLUS MOVE] hello\r\n")
	for x.w.Flush() == nil {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		tag, command, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		body, ok := x.literal(command)
		if !ok {
			return
		}
		if command == "IDLE" {
			x.idle(tag)
		} else if !x.answer(tag, command, body) {
			return
		}
	}
}

// literal reads the literal announced at the end of a command.
func (x *fakeSession) literal(command string) (string, bool) {
	i := strings.LastIndex(command, "{")
	if i < 0 || !strings.HasSuffix(command, "}") {
		return "", true
	}
	n, err := strconv.Atoi(command[i+1 : len(command)-1])
	if err != nil {
		return "", false
	}
	fmt.Fprint(x.w, "+ go on\r\n")
	b := make([]byte, n+2)
	if x.w.Flush() != nil {
		return "", false
	}
	if _, err := io.ReadFull(x.r, b); err != nil {
		return "", false
	}
	return string(b[:n]), true
}

// answer runs one command; false closes the connection.
func (x *fakeSession) answer(tag, command, body string) bool {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	defer x.s.changed.Broadcast()
	x.s.commands++
	f := strings.Fields(command)
	code, quiet := "", false
	uid := f[0] == "UID"
	if uid {
		f = f[1:]
	}
	switch f[0] {
	case "LOGIN", "NOOP", "LOGOUT":
	case "CAPABILITY":
		fmt.Fprint(x.w, "* CAPABILITY IMAP4rev1 UIDPLUS MOVE IDLE\r\n")
	case "STATUS":
		fmt.Fprintf(x.w, "* STATUS %s (MESSAGES %d)\r\n", f[1], len(x.s.boxes[f[1]].messages))
	case "CREATE":
		x.s.boxes[f[1]] = &fakeBox{validity: uint32(len(x.s.boxes) + 1), next: 1}
	case "DELETE":
		delete(x.s.boxes, f[1])
	case "SELECT":
		if x.box = x.s.boxes[f[1]]; x.box == nil {
			fmt.Fprintf(x.w, "%s NO [NONEXISTENT] no such mailbox\r\n", tag)
			return true
		}
		x.told = nil
		fmt.Fprintf(x.w, "* OK [UIDVALIDITY %d] x\r\n", x.box.validity)
	case "APPEND":
		code = x.s.append(x.s.boxes[f[1]], body)
	case "FETCH":
		quiet = true
		from, _ := strconv.Atoi(strings.TrimSuffix(f[1], ":*"))
		x.fetch(from, strings.Contains(command, "BODY.PEEK[]"))
	case "STORE":
		n := number(f[1])
		if !uid {
			n = x.told[n-1].m.uid
		}
		x.store(n, f[2], strings.Fields(strings.Trim(strings.Join(f[3:], " "), "()")))
	case "EXPUNGE":
		x.box.messages = slices.DeleteFunc(x.box.messages, func(m *fakeMessage) bool {
			return slices.Contains(m.flags, `\Deleted`) && (!uid || m.uid == number(f[1]))
		})
	case "COPY", "MOVE":
		code = x.copy(number(f[1]), x.s.boxes[f[2]], f[0] == "MOVE")
	default:
		fmt.Fprintf(x.w, "%s BAD what?\r\n", tag)
		return true
	}
	if x.s.hangUp > 0 && x.s.commands%x.s.hangUp == 0 {
		return false
	}
	if !quiet {
		x.update()
	}
	fmt.Fprintf(x.w, "%s OK %s done\r\n", tag, code)
	return true
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// add appends a message; s.mu is held.
func (s *fakeServer) add(b *fakeBox, body string, flags []string) uint32 {
	if s.reuseUIDs {
		b.next = 1
		if n := len(b.messages); n > 0 {
			b.next = b.messages[n-1].uid + 1
		}
	}
	m := &fakeMessage{uid: b.next, body: body, flags: slices.Clone(flags)}
	b.next++
	b.messages = append(b.messages, m)
	return m.uid
}

func (s *fakeServer) append(b *fakeBox, body string) (code string) {
	s.appends++
	f := noFault
	if s.appendFault != nil {
		f = s.appendFault(s.appends)
	}
	switch f {
	case dropIt:
		return ""
	case doubleIt:
		s.add(b, body, nil)
	case damageIt:
		body = body[:len(body)-4] + "oops"
	}
	return fmt.Sprintf("[APPENDUID %d %d]", b.validity, s.add(b, body, nil))
}

func (x *fakeSession) find(uid uint32) *fakeMessage {
	if i := slices.IndexFunc(x.box.messages, func(m *fakeMessage) bool { return m.uid == uid }); i >= 0 {
		return x.box.messages[i]
	}
	return nil
}

func (x *fakeSession) store(uid uint32, item string, flags []string) {
	m := x.find(uid)
	if m == nil {
		return
	}
	if before := slices.Clone(m.flags); x.s.pretendStore {
		defer func() { m.flags = before }()
	}
	if item == "FLAGS" {
		m.flags = nil
	}
	m.flags = slices.DeleteFunc(m.flags, func(f string) bool { return slices.Contains(flags, f) })
	if item != "-FLAGS" {
		m.flags = append(m.flags, flags...)
	}
	for i := range x.told {
		if x.told[i].m == m {
			x.tellFlags(i)
		}
	}
}

// tellFlags tells the client the flags of its i-th message.
func (x *fakeSession) tellFlags(i int) {
	k := &x.told[i]
	k.flags = strings.Join(k.m.flags, " ")
	fmt.Fprintf(x.w, "* %d FETCH (UID %d FLAGS (%s))\r\n", i+1, k.m.uid, k.flags)
}

func (x *fakeSession) copy(uid uint32, to *fakeBox, move bool) (code string) {
	m := x.find(uid)
	if m == nil {
		return ""
	}
	code = fmt.Sprintf("[COPYUID %d %d %d]", to.validity, uid, x.s.add(to, m.body, m.flags))
	if !move {
		return code
	}
	fmt.Fprintf(x.w, "* OK %s moved\r\n", code)
	x.box.messages = slices.DeleteFunc(x.box.messages, func(k *fakeMessage) bool { return k == m })
	return ""
}

func (x *fakeSession) fetch(from int, whole bool) {
	for i := range x.told {
		k := &x.told[i]
		m := k.m
		if i+1 < from || !slices.Contains(x.box.messages, m) {
			continue
		}
		k.flags = strings.Join(m.flags, " ")
		name, text := "BODY[]", m.body
		if !whole {
			head, _, _ := strings.Cut(m.body, "\r\n\r\n")
			name = "BODY[HEADER.FIELDS (" + idHeader + ")]"
			text = idHeader + ": " + headerField([]byte(head), idHeader) + "\r\n\r\n"
		}
		fmt.Fprintf(x.w, "* %d FETCH (UID %d FLAGS (%s) %s {%d}\r\n%s)\r\n", i+1, m.uid, k.flags, name, len(text), text)
	}
}

// update tells the client what changed.
func (x *fakeSession) update() {
	if x.box == nil {
		return
	}
	for i := len(x.told) - 1; i >= 0; i-- {
		if !slices.Contains(x.box.messages, x.told[i].m) {
			fmt.Fprintf(x.w, "* %d EXPUNGE\r\n", i+1)
			x.told = slices.Delete(x.told, i, i+1)
		} else if x.told[i].flags != strings.Join(x.told[i].m.flags, " ") {
			x.tellFlags(i)
		}
	}
	if n := len(x.box.messages); n > len(x.told) {
		for _, m := range x.box.messages[len(x.told):] {
			x.told = append(x.told, fakeTold{m, strings.Join(m.flags, " ")})
		}
		fmt.Fprintf(x.w, "* %d EXISTS\r\n", n)
	}
}

// idle tells the client of changes until it sends DONE (RFC 2177).
func (x *fakeSession) idle(tag string) {
	fmt.Fprint(x.w, "+ idling\r\n")
	done := false
	var reading sync.WaitGroup
	reading.Go(func() {
		x.r.ReadString('\n')
		x.s.mu.Lock()
		done = true
		x.s.changed.Broadcast()
		x.s.mu.Unlock()
	})
	x.s.mu.Lock()
	for !done {
		x.update()
		x.w.Flush()
		x.s.changed.Wait()
	}
	x.s.mu.Unlock()
	reading.Wait()
	fmt.Fprintf(x.w, "%s OK done\r\n", tag)
}
