package sim

import (
	"time"
)

// group says what an action is: runs differ in how often they do what.
type group string

const (
	command group = "commands" // of clients
	network group = "network"
	passing group = "time"
	fault   group = "faults"
)

// groups lists them.
var groups = []group{command, network, passing, fault}

// action is one row of the table: what may happen in a world. To add one, add a row.
type action struct {
	name   string
	usage  string // of its arguments; R is a replica, S a session, C a roaming client, A an account
	group  group
	weight int // how often, within its group
	// generate returns arguments, nil if it is not possible now.
	generate func(*generator) []string
	// run does it and returns what the trace shall say. errSkip: not possible now.
	run func(*World, *args) (string, error)
}

// table lists all actions.
var table = []action{
	{"open", "S R A", command, 6, (*generator).open, runOpen},
	{"close", "S", command, 2, (*generator).anySession, runClose},
	{"append", "S box label flags", command, 20, (*generator).append, runAppend},
	{"post", "R A box label", command, 8, (*generator).delivery, runPost},
	{"select", "S box", command, 10, (*generator).sessionBox, runSelect},
	{"poll", "S", command, 24, (*generator).anySelected, runPoll},
	{"store", "S labels mode flags", command, 24, (*generator).store, runStore},
	{"expunge", "S labels", command, 5, (*generator).labels, runExpunge},
	{"remove", "S labels", command, 12, (*generator).labels, runRemove},
	{"copy", "S labels box", command, 8, (*generator).labelsBox, runCopy},
	{"move", "S labels box", command, 16, (*generator).labelsBox, runMove},
	{"create", "S box", command, 5, (*generator).sessionBox, runCreate},
	{"delete", "S box", command, 3, (*generator).sessionBox, runDelete},
	{"rename", "S from to", command, 4, (*generator).rename, runRename},
	{"subscribe", "S box on", command, 2, (*generator).subscribe, runSubscribe},
	{"status", "S box", command, 5, (*generator).sessionBox, runStatus},
	{"list", "S", command, 2, (*generator).anySession, runList},
	{"roam", "C R A box", command, 8, (*generator).roam, runRoam},
	{"resync", "C R A box", command, 16, (*generator).roam, runResync},

	{"connect", "R R", network, 30, (*generator).connect, runConnect},
	{"deliver", "R R count", network, 60, (*generator).deliver, runDeliver},
	{"receive", "R R count", network, 8, (*generator).deliver, runReceive},
	{"apply", "R", network, 8, (*generator).running, runApply},
	{"ack", "R R", network, 20, (*generator).ack, runAck},
	{"load", "R R pieces", network, 12, (*generator).load, runLoad},

	{"wait", "ms", passing, 10, (*generator).wait, runWait},

	{"break", "R R", fault, 10, (*generator).openStream, runBreak},
	{"block", "R R", fault, 6, (*generator).pair, runBlock},
	{"unblock", "R R", fault, 8, (*generator).blocked, runUnblock},
	{"isolate", "R", fault, 4, (*generator).running, runIsolate},
	{"rejoin", "R", fault, 8, (*generator).isolated, runRejoin},
	{"crash", "R moment", fault, 8, (*generator).crash, runCrash},
	{"start", "R", fault, 20, (*generator).stopped, runStart},
	{"reboot", "R", fault, 3, (*generator).running, runReboot},
	{"skew", "R ms", fault, 4, (*generator).skew, runSkew},
	{"truncate", "R", fault, 3, (*generator).running, runTruncate},
	{"evict", "R", fault, 2, (*generator).evict, runEvict},
	{"recover", "R number", fault, 20, (*generator).recover, runRecover},
	{"exhaust", "R A box left", fault, 2, (*generator).exhaust, runExhaust},
	{"replay", "S R", fault, 12, (*generator).replay, runReplay},
	{"audit", "R", fault, 2, (*generator).running, runAudit},
}

// actions is the table by name.
var actions = func() map[string]*action {
	m := make(map[string]*action, len(table))
	for i := range table {
		m[table[i].name] = &table[i]
	}
	return m
}()

// stream returns the stream that the next two arguments name.
func (w *World) stream(a *args) *stream {
	from, to := w.node(a.number()), w.node(a.number())
	if a.bad || from == nil || to == nil {
		return nil
	}
	return from.streams[to.id]
}

func runConnect(w *World, a *args) (string, error) {
	s := w.stream(a)
	if s == nil || s.open || !s.from.up || !s.to.up || !w.passes(s.from, s.to) || !w.passes(s.to, s.from) {
		return "", errSkip
	}
	return "", s.connect()
}

func runReceive(w *World, a *args) (string, error) {
	s, count := w.stream(a), a.number()
	if a.bad || s == nil || !s.arrives() {
		return "", errSkip
	}
	return "", s.deliver(count)
}

func runDeliver(w *World, a *args) (string, error) {
	s, count := w.stream(a), a.number()
	if a.bad || s == nil || !s.arrives() {
		return "", errSkip
	}
	if err := s.deliver(count); err != nil {
		return "", err
	}
	return "", s.to.apply()
}

func runApply(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !n.up {
		return "", errSkip
	}
	if count, _ := n.machine.Queued(); count == 0 {
		return "", errSkip
	}
	return "", n.apply()
}

func runAck(w *World, a *args) (string, error) {
	s := w.stream(a)
	if s == nil || !s.open || len(s.down) == 0 || !w.passes(s.to, s.from) {
		return "", errSkip
	}
	s.answer()
	return "", nil
}

func runWait(w *World, a *args) (string, error) {
	ms := a.number()
	if a.bad || ms <= 0 {
		return "", errSkip
	}
	return "", w.pass(time.Duration(ms) * time.Millisecond)
}

func runBreak(w *World, a *args) (string, error) {
	s := w.stream(a)
	if s == nil || !s.open && len(s.up) == 0 {
		return "", errSkip
	}
	s.cut()
	return "", nil
}

func runBlock(w *World, a *args) (string, error) {
	s := w.stream(a)
	if s == nil || !w.passes(s.from, s.to) {
		return "", errSkip
	}
	w.blocked[[2]int{s.from.id, s.to.id}] = true
	return "", nil
}

func runUnblock(w *World, a *args) (string, error) {
	s := w.stream(a)
	if s == nil || w.passes(s.from, s.to) {
		return "", errSkip
	}
	delete(w.blocked, [2]int{s.from.id, s.to.id})
	return "", nil
}

// runIsolate cuts a replica off: what is under way from and to it is lost.
func runIsolate(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || w.isolated(n) {
		return "", errSkip
	}
	for _, peer := range w.nodes {
		if peer != n {
			w.blocked[[2]int{n.id, peer.id}], w.blocked[[2]int{peer.id, n.id}] = true, true
			n.streams[peer.id].cut()
			peer.streams[n.id].cut()
		}
	}
	return "", nil
}

// isolated reports whether nothing gets to a replica and nothing from it.
func (w *World) isolated(n *node) bool {
	for _, peer := range w.nodes {
		if peer != n && (w.passes(n, peer) || w.passes(peer, n)) {
			return false
		}
	}
	return true
}

func runRejoin(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !w.isolated(n) {
		return "", errSkip
	}
	for _, peer := range w.nodes {
		delete(w.blocked, [2]int{n.id, peer.id})
		delete(w.blocked, [2]int{peer.id, n.id})
	}
	return "", nil
}

func runCrash(w *World, a *args) (string, error) {
	n, at := w.node(a.number()), crashPoint(a.text())
	if a.bad || n == nil || !n.up {
		return "", errSkip
	}
	n.fuse.arm(at)
	n.fuse.burn(crashNow, n.disk)
	return "", nil
}

func runStart(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || n.up {
		return "", errSkip
	}
	return "", n.start()
}

func runReboot(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !n.up {
		return "", errSkip
	}
	if err := n.stop(); err != nil {
		return "", err
	}
	return "", n.start()
}

// maxSkew bounds how wrong a clock may be, in milliseconds.
const maxSkew = 12 * 3600 * 1000

func runSkew(w *World, a *args) (string, error) {
	n, ms := w.node(a.number()), a.number()
	if a.bad || n == nil || ms < -maxSkew || ms > maxSkew {
		return "", errSkip
	}
	n.skew = int64(ms)
	return "", nil
}

func runAudit(w *World, a *args) (string, error) {
	n := w.node(a.number())
	if n == nil || !n.up {
		return "", errSkip
	}
	return "", n.audit(false)
}
