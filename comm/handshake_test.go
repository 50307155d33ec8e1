package comm_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
)

// TestDifferencesAreRefused: both sides say what differs, with both values.
func TestDifferencesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*comm.Config)
		want   string // what both logs must have, in either order
		other  string
	}{
		{"users", func(c *comm.Config) { c.Users[1] = 200 }, "last user ID differs", "200"},
		{"first user", func(c *comm.Config) { c.Users[0] = 7 }, "first user ID differs", "7"},
		{"separator", func(c *comm.Config) { c.Separator = "." }, "hierarchy separator differs", `"."`},
		{"size", func(c *comm.Config) { c.MaxMessageSize = 4711 }, "size limit of messages differs", "4711"},
		{"window", func(c *comm.Config) { c.Window = 4711 }, "replication window differs", "4711"},
		{"name", func(c *comm.Config) { c.Name = "w7" }, "peer's name differs", `"w7"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, "w1", "w2")
			c.start("w1")
			c.start("w2", test.change)
			for _, name := range c.names {
				c.eventually(name+" refuses", func() bool { return refusal(c.nodes[name], test.want) != "" })
				if line := refusal(c.nodes[name], test.want); !strings.Contains(line, test.other) {
					t.Errorf("%s does not name both values: %s", name, line)
				}
				select {
				case <-c.nodes[name].group.Confirmed():
					t.Errorf("%s is confirmed", name)
				default:
				}
			}
		})
	}
}

func refusal(n *node, want string) string {
	n.log.mu.Lock()
	defer n.log.mu.Unlock()
	for _, line := range n.log.lines {
		if strings.Contains(line, want) {
			return line
		}
	}
	return ""
}

func (c *cluster) refused(name, want string) {
	c.t.Helper()
	c.eventually(name+" says: "+want, func() bool { return c.nodes[name].log.has(want) })
}

func TestUnknownSubnetAndStrangers(t *testing.T) {
	c := newCluster(t, "w1", "w2", "xx")
	c.start("w1", func(cfg *comm.Config) { cfg.Peers = cfg.Peers[:1] }) // does not know xx
	c.start("w2", func(cfg *comm.Config) { cfg.Subnet = "subnet-2" })
	c.start("xx")
	c.refused("w1", `subnet "subnet-1" is not replicated here`)
	c.refused("w2", `subnet "subnet-2" is not replicated here`)
	c.refused("xx", `"xx" is not a peer of "w1"`)
}

func TestSlotClash(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.nodes["st"].store = commtest.NewStore(33, 2) // w2's slot
	c.start("w1")
	c.start("w2")
	c.connected("w1", "w2")
	c.start("st")
	c.refused("w2", `slot 2 is claimed by "w2"`)
	c.refused("w1", `slot 2 belongs to "w2" (incarnation 0000000000000002) and is claimed by "st" (incarnation 0000000000000021)`)
	c.refused("st", `slot 2 belongs to "w2"`)
	// The slot of a member that is gone from the configuration is not free.
	w1 := c.nodes["w1"]
	w1.stop()
	c.nodes["w2"].stop()
	w1.log = newLogbook()
	c.start("w1", func(cfg *comm.Config) { cfg.Peers = cfg.Peers[1:] })
	c.refused("w1", `slot 2 belongs to "w2"`)
}

func TestOwnSlotBelongsToAnother(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	c.nodes["w1"].stop()
	moved := commtest.NewStore(1, 2)
	record, err := c.nodes["w1"].store.PeerRecord("slot/2")
	if err != nil || record == nil {
		t.Fatal(record, err)
	}
	if err := moved.SetPeerRecord("slot/2", record); err != nil {
		t.Fatal(err)
	}
	if _, err := comm.NewGroup(moved, c.config("w1")); err == nil || !strings.Contains(err.Error(), `slot 2 of "w1" belongs to "w2"`) {
		t.Error(err)
	}
}

// TestLostDisk: a name that comes back with an empty disk is refused, until the
// operator says which incarnation is lost.
func TestLostDisk(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	c.await(c.nodes["w1"].commit(1), "w2")
	c.nodes["w1"].stop()
	lost := c.nodes["w1"].store
	c.nodes["w1"].store = commtest.NewStore(77, 1)
	c.start("w1")
	c.refused("w1", `"w1" was incarnation 0000000000000001 (slot 1, operations up to 1) and is now 000000000000004d`)
	c.refused("w2", `"w1" was incarnation 0000000000000001`)
	if c.nodes["w1"].group.Status().Ready() {
		t.Error("ready without a confirmed slot")
	}
	c.nodes["w1"].stop()
	forward := func(cfg *comm.Config) { beating(cfg); cfg.ForwardDelay = 1 }
	c.nodes["w2"].stop()
	c.start("w2", forward)
	c.start("w1", func(cfg *comm.Config) { cfg.Replaces = 1 })
	c.await(crdt.Dot{Origin: 1, N: 1}, "w1") // what the old one left
	<-c.nodes["w1"].group.Confirmed()
	c.await(c.nodes["w1"].commit(1), "w2")
	// From now on it needs no declaration, and the old one may not return.
	c.nodes["w1"].stop()
	c.start("w1")
	c.connected("w1", "w2")
	c.nodes["w1"].stop()
	c.nodes["w1"].store = lost
	c.start("w1")
	c.refused("w1", `"w1" was incarnation 000000000000004d`)
}

// TestRestoredBackup: data older than what the peers know are noticed by both
// sides, and the replica gives no OK any more.
func TestRestoredBackup(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	w1 := c.nodes["w1"]
	c.await(w1.commit(1), "w2")
	backup := w1.store.Copy()
	c.await(w1.commit(1), "w2")
	w1.stop()
	w1.store = backup
	fenced := make(chan error, 2)
	c.start("w1", func(cfg *comm.Config) { cfg.Fenced = func(why error) { fenced <- why } })
	c.eventually("w1 fences itself", func() bool { return w1.group.Fault() != nil })
	if why := <-fenced; !errors.Is(why, causal.ErrStale) {
		t.Errorf("the disk is told to refuse because of %v", why)
	}
	s := w1.group.Status()
	if s.Ready() || len(s.Degraded()) == 0 {
		t.Errorf("ready %v, degraded %q", s.Ready(), s.Degraded())
	}
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err == nil {
		t.Error("a fenced replica gives an OK")
	}
	c.refused("w2", "this replica's data are older than what its peers have of it")
}

// TestRestoredAndWrittenTo: as before, but it reached the old number again
// before it met its peer: the operations are others.
func TestRestoredAndWrittenTo(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	w1 := c.nodes["w1"]
	backup := w1.store.Copy()
	c.await(w1.commit(1), "w2")
	w1.stop()
	w1.store = backup
	for range 3 {
		w1.store.Commit([]byte("something else"))
	}
	c.start("w1")
	c.eventually("w1 fences itself", func() bool { return w1.group.Fault() != nil })
	c.refused("w1", "is another one at")
}

// TestCopiedDirectory: two nodes with one incarnation.
func TestCopiedDirectory(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.nodes["w2"].store = commtest.NewStore(1, 2)
	c.startAll()
	c.refused("w1", "have the same incarnation")
	c.refused("w2", "have the same incarnation")
}

// TestHighestIsRemembered: what a peer told of itself counts even if the
// operations never arrived.
func TestHighestIsRemembered(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(beating)
	c.connected("w1", "w2")
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	backup := w1.store.Copy()
	// w2 cannot apply, but hears how far w1 is.
	w2.stop()
	var disk gate
	disk.close()
	w2.store.OnApply = disk.apply
	c.start("w2", beating)
	c.connected("w1", "w2")
	w1.commit(1)
	c.eventually("w2 has heard of it", func() bool { return w2.peer("w1").Missing == 1 })
	w2.stop()
	w1.stop()
	w2.store = w2.store.Copy()
	w1.store = backup
	c.startAll(beating)
	c.refused("w2", "this replica's data are older")
	c.eventually("w1 fences itself", func() bool { return w1.group.Fault() != nil })
}

// TestOvertakenHello: operations that arrive before the hello of their origin,
// which was written before them, make nobody stale.
func TestOvertakenHello(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.nodes["w1"]
	late := goodHello()
	server := grpc.NewServer()
	comm.RegisterReceiverServer(server, &liar{hello: late, before: func() {
		r := c.call(t, "w2", "w1")
		r.hello(func(*comm.Hello) {})
		r.send(&comm.Up{Heartbeat: &comm.Heartbeat{Logged: vector(crdt.Dot{Origin: 2, N: 2})}})
		r.send(&comm.Up{Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: []byte("x")}}})
		c.await(crdt.Dot{Origin: 2, N: 1}, "w1")
	}})
	l := c.net.Listen("w2")
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	defer func() { server.Stop(); <-served }()
	c.start("w1")
	c.refused("w1", "connected to peer")
	if w1.log.has("older") {
		t.Error(w1.log)
	}
	// Called, w1 cannot know; it tells what it knows, for the caller to decide.
	r := c.call(t, "w2", "w1")
	r.send(&comm.Up{Hello: goodHello()})
	down, err := r.stream.Recv()
	if err != nil || down.GetHello().GetTip().GetNumber() != 2 {
		t.Fatalf("%v %v", down, err)
	}
	r.ends(codes.FailedPrecondition, `"w2" has 0 operations of its incarnation 0000000000000002, but "w1" knows of 2`)
}

func TestConfirmation(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.start("w1")
	if s := w1.group.Status(); s.Ready() || s.Confirmed {
		t.Error("a new replica needs no confirmation")
	}
	c.start("w2")
	<-w1.group.Confirmed()
	c.eventually("ready after confirmation", func() bool { return w1.group.Status().Ready() })
	// It is remembered.
	w1.stop()
	c.nodes["w2"].stop()
	if c.start("w1"); !w1.group.Status().Confirmed {
		t.Error("confirmation was forgotten")
	}
	// Without peers, or with -bootstrap, none is needed.
	for _, change := range []func(*comm.Config){
		func(cfg *comm.Config) { cfg.Peers = nil },
		func(cfg *comm.Config) { cfg.Bootstrap = true },
	} {
		cfg := c.config("w2")
		change(&cfg)
		g, err := comm.NewGroup(commtest.NewStore(9, 9), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if g.Start(c.ctx); !g.Status().Ready() {
			t.Error("not ready")
		}
		g.Close()
	}
}

// TestConfirmedByCaller: a peer that calls and goes on after the hellos has
// confirmed the slot, even if it cannot be called itself.
func TestConfirmedByCaller(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.start("w1")
	r := c.call(t, "w2", "w1")
	r.hello(func(*comm.Hello) {})
	r.send(&comm.Up{Heartbeat: &comm.Heartbeat{}})
	select {
	case <-w1.group.Confirmed():
	case <-c.ctx.Done():
		t.Fatal("not confirmed")
	}
}

func TestConfigIsValidated(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	for want, change := range map[string]func(*comm.Config){
		"need names":       func(cfg *comm.Config) { cfg.Subnet = "" },
		"no credentials":   func(cfg *comm.Config) { cfg.Credentials = nil },
		"no address":       func(cfg *comm.Config) { cfg.Peers[0].Addr = "" },
		"named twice":      func(cfg *comm.Config) { cfg.Peers = append(cfg.Peers, cfg.Peers[0]) },
		"node itself":      func(cfg *comm.Config) { cfg.Peers[0].Name = "w1" },
		"empty or has a /": func(cfg *comm.Config) { cfg.Peers[0].Name = "slot/1" },
	} {
		cfg := c.config("w1")
		change(&cfg)
		want = strings.ReplaceAll(want, "a /", "a slash")
		if _, err := comm.NewGroup(commtest.NewStore(1, 1), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := comm.NewGroup(commtest.NewStore(1, 16), c.config("w1")); err == nil {
		t.Error("slot 16 accepted")
	}
	if _, err := comm.NewService(comm.ServiceOptions{}); err == nil {
		t.Error("service without identification accepted")
	}
}

// TestRestoredWithoutOwn: an old copy of a disk that lacks nothing of its own, as of
// a member that nobody writes at: what it had of others, and showed to clients, it
// has told its peers, and it is fenced. Before, they waited for ever for it to ask
// for what it had told to have.
func TestRestoredWithoutOwn(t *testing.T) {
	c := newCluster(t, "w1", "st")
	c.startAll()
	c.connected("w1", "st")
	w1, st := c.nodes["w1"], c.nodes["st"]
	c.await(w1.commit(1), "st")
	backup := st.store.Copy()
	last := w1.commit(1)
	c.await(last, "st")
	c.eventually("w1 knows that st has it", func() bool { return w1.peer("st").Acked.Has(last) })
	st.stop()
	st.store = backup
	c.start("st")
	c.eventually("st fences itself", func() bool { return errors.Is(st.group.Fault(), causal.ErrStale) })
	c.refused("st", `this replica has told "w1" of 2 operations of 0000000000000001, the last one here is 1`)
	st.stop()
	w1.stop()
	c.start("w1") // it is remembered
	st.store = backup.Copy()
	c.start("st")
	c.eventually("st fences itself again", func() bool { return errors.Is(st.group.Fault(), causal.ErrStale) })
}

// TestHelloIsOvertaken: a peer that connects again under load has acknowledged more on
// the other stream than its hello says, which was written before. It is let in, and
// told what it told, to compare with what it has now.
func TestHelloIsOvertaken(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.start("w1")
	last := w1.commit(1)
	first := c.call(t, "w2", "w1")
	first.hello(func(*comm.Hello) {})
	first.send(&comm.Up{Heartbeat: &comm.Heartbeat{Logged: vector(last)}, Question: 1})
	for {
		down, err := first.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if down.GetAck().GetAnswer() == 1 { // it has been heard
			break
		}
	}
	again := c.call(t, "w2", "w1")
	again.send(&comm.Up{Hello: goodHello()})
	down, err := again.stream.Recv()
	if err != nil || !slices.Equal(down.GetHello().GetTold(), vector(last)) {
		t.Fatalf("it is told %v, %v", down, err)
	}
	again.send(&comm.Up{Heartbeat: &comm.Heartbeat{Logged: vector(last)}, Question: 1})
	for {
		down, err := again.stream.Recv()
		if err != nil {
			t.Fatalf("it is not let in: %v", err)
		}
		if down.GetAck().GetAnswer() == 1 {
			return
		}
	}
}
