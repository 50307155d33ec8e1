package causal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/go-pluto/pluto/crdt"
)

// TestScripts runs testdata/*.txt. The commands:
//
//	add NAME... [ack=N] [timeout=D] [window=N] [forward=D]   a subnet, all connected
//	append NAME [count=N] [size=N]         own operations, sent at once
//	deliver [FROM>TO...]                   all messages, or the next one of each stream named
//	ack FROM>TO...                         the next acknowledgement of each stream named
//	resend FROM>TO                         the next message is there twice
//	partition A B... | FROM>TO             streams break; what was under way is lost
//	heal A B... | FROM>TO                  and are opened again
//	crash NAME..., restart NAME...         memory is lost, the disk stays
//	wipe NAME...                           the disk is lost too: another incarnation
//	slow NAME, fast NAME                   the disk confirms nothing, and again does
//	tick D                                 time passes
//	wait NAME N                            a wait for own operation N begins
//	waits NAME                             how waits have ended
//	inject NAME ORIGIN:N [deps=(A:N,...)] [size=N]   an operation out of nowhere
//	cut NAME ORIGIN:N...                   its log begins behind these
//	load NAME [begin] [from=PEER]          it loads what its machine says, or ends that
//	fail NAME PEER                         loading from a peer has failed
//	state
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	var s script
	datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
		out, err := s.run(t, d)
		if err == nil && s.world != nil {
			err = s.bounded()
		}
		if err != nil {
			out += "error: " + err.Error() + "\n"
		}
		return out
	})
}

type script struct{ *world }

func (s *script) run(t *testing.T, d *datadriven.TestData) (string, error) {
	switch d.Cmd {
	case "add":
		return s.add(t, d), nil
	case "append":
		count, size := 1, 0
		d.MaybeScanArgs(t, "count", &count)
		d.MaybeScanArgs(t, "size", &size)
		made := s.commit(d.CmdArgs[0].Key, count, size)
		return s.dot(made[0].Dot) + ".." + strconv.FormatUint(made[len(made)-1].Dot.N, 10) + "\n", nil
	case "deliver":
		if len(d.CmdArgs) > 0 {
			return s.each(d, s.deliverDown)
		}
		lines, err := s.deliverAll()
		return strings.Join(append(lines, ""), "\n"), err
	case "ack":
		return s.each(d, s.deliverUp)
	case "resend":
		t := s.wires[split(d.CmdArgs[0].Key)]
		t.down = append(t.down[:1:1], t.down...)
		return "", nil
	case "partition":
		s.pairs(d, s.cut)
	case "heal":
		s.pairs(d, s.connect)
	case "crash":
		for _, a := range d.CmdArgs {
			s.crash(a.Key)
		}
	case "restart":
		for _, a := range d.CmdArgs {
			s.start(a.Key)
		}
	case "wipe":
		for _, a := range d.CmdArgs {
			s.wipe(a.Key)
		}
	case "slow":
		s.nodes[d.CmdArgs[0].Key].slow = true
	case "fast":
		n := s.nodes[d.CmdArgs[0].Key]
		n.slow = false
		return "", s.apply(n)
	case "tick":
		passed, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			return "", err
		}
		s.tick(passed)
	case "wait":
		n := s.nodes[d.CmdArgs[0].Key]
		of := d.CmdArgs[1].Key
		if !strings.Contains(of, ":") {
			of = d.CmdArgs[0].Key + ":" + of
		}
		w := &Waiter{}
		if n.machine.Wait(s.now, w, s.parse(t, of)) {
			return fmt.Sprintf("%d of %d\n", w.Have, w.Need), nil
		}
		n.waits[w] = "pending"
	case "waits":
		return s.waits(s.nodes[d.CmdArgs[0].Key]), nil
	case "inject":
		return s.inject(t, d)
	case "cut":
		var v crdt.VC
		for _, a := range d.CmdArgs[1:] {
			dot := s.parse(t, a.Key)
			v.Set(dot.Origin, dot.N)
		}
		s.cutLog(s.nodes[d.CmdArgs[0].Key], v)
	case "load":
		return s.load(t, d)
	case "fail":
		s.nodes[d.CmdArgs[0].Key].machine.LoadFailed(d.CmdArgs[1].Key)
	case "state":
		return s.state(), nil
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
	return "", nil
}

func (s *script) add(t *testing.T, d *datadriven.TestData) string {
	cfg := Config{ForwardDelay: -1}
	for key, v := range map[string]*time.Duration{"timeout": &cfg.AckTimeout, "forward": &cfg.ForwardDelay} {
		var text string
		d.MaybeScanArgs(t, key, &text)
		if text != "" {
			*v, _ = time.ParseDuration(text)
		}
	}
	d.MaybeScanArgs(t, "ack", &cfg.AckPeers)
	d.MaybeScanArgs(t, "window", &cfg.Window)
	var names []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			names = append(names, a.Key)
		}
	}
	s.world = newWorld(cfg, names...)
	return ""
}

// load begins to load, or ends that; with neither word it does both.
func (s *script) load(t *testing.T, d *datadriven.TestData) (string, error) {
	n := s.nodes[d.CmdArgs[0].Key]
	from, text := "", ""
	d.MaybeScanArgs(t, "from", &from)
	if from == "" {
		var ok bool
		if from, ok = s.beginLoad(n); !ok {
			return "nothing to load\n", nil
		}
		text = "from " + from + "\n"
	}
	if !d.HasArg("begin") {
		s.endLoad(n, from)
	}
	return text, s.apply(n)
}

func (s *script) each(d *datadriven.TestData, step func(from, to string) (string, error)) (string, error) {
	var b strings.Builder
	for _, a := range d.CmdArgs {
		w := split(a.Key)
		line, err := step(w.from, w.to)
		if err != nil {
			return b.String(), err
		}
		if line == "" {
			line = a.Key + ": nothing"
		}
		fmt.Fprintln(&b, line)
	}
	return b.String(), nil
}

// pairs does something to both streams of every pair, or to the one named.
func (s *script) pairs(d *datadriven.TestData, do func(from, to string)) {
	for i, a := range d.CmdArgs {
		if strings.Contains(a.Key, ">") {
			w := split(a.Key)
			do(w.from, w.to)
			continue
		}
		for _, b := range d.CmdArgs[i+1:] {
			do(a.Key, b.Key)
			do(b.Key, a.Key)
		}
	}
}

func (s *script) waits(n *node) string {
	count := map[string]int{}
	for _, how := range n.waits {
		count[how]++
	}
	var b strings.Builder
	for _, how := range []string{"pending", "0 of 1", "1 of 1", "0 of 2", "1 of 2", "2 of 2"} {
		if count[how] > 0 {
			fmt.Fprintf(&b, "%s: %d\n", how, count[how])
		}
	}
	return b.String()
}

func (s *script) inject(t *testing.T, d *datadriven.TestData) (string, error) {
	var e Entry
	e.Dot = s.parse(t, d.CmdArgs[1].Key)
	for _, a := range d.CmdArgs[2:] {
		switch a.Key {
		case "deps":
			for _, v := range a.Vals {
				dot := s.parse(t, v)
				e.Deps.Set(dot.Origin, dot.N)
			}
		case "size":
			n, _ := strconv.Atoi(a.Vals[0])
			e.Data = make([]byte, n)
		}
	}
	n := s.nodes[d.CmdArgs[0].Key]
	fresh, err := n.machine.Receive(e)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("new: %v\n", fresh), s.apply(n)
}

// parse reads NAME:N, where NAME may be a hexadecimal number.
func (s *script) parse(t *testing.T, text string) crdt.Dot {
	name, number, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if node := s.nodes[name]; node != nil {
		return crdt.Dot{Origin: node.origin, N: n}
	}
	o, err := strconv.ParseUint(name, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return crdt.Dot{Origin: crdt.Origin(o), N: n}
}

func split(text string) wire {
	from, to, _ := strings.Cut(text, ">")
	return wire{from, to}
}
