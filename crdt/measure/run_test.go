package measure

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// busy is a run with as many conflicts as there can be.
func busy(replicas int) Config {
	return Config{
		Seed: 1, Replicas: replicas, Rate: 10, Load: 10 * time.Second,
		RTT: 100 * time.Millisecond, Jitter: 0.2, Poll: time.Second, Limit: time.Minute,
	}
}

func run(t *testing.T, c Config) Result {
	t.Helper()
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	if c.Rule != ByEverybody && !r.Ended {
		t.Errorf("%+v had not ended", c)
	}
	return r
}

func TestDeterministic(t *testing.T) {
	c := busy(3)
	a, b := run(t, c), run(t, c)
	if !reflect.DeepEqual(a, b) {
		t.Errorf("one seed, two results:\n%+v\n%+v", a, b)
	}
	c.Seed++
	if b := run(t, c); reflect.DeepEqual(a, b) {
		t.Error("two seeds, one result")
	}
	if a.Messages == 0 || a.Reissues == 0 || a.Idle == 0 || a.Bytes == 0 || a.Depth == 0 {
		t.Errorf("nothing happened: %+v", a)
	}
	if len(a.Agreed) != a.Messages {
		t.Errorf("agreement on %d of %d messages", len(a.Agreed), a.Messages)
	}
}

// TestReaders: where nobody reads nothing is refused (crdt.md 2.2), and with
// readers at the leader only nobody sees a message change its UID.
func TestReaders(t *testing.T) {
	c := busy(3)
	c.Watched = []int{}
	if r := run(t, c); r.Reissues != 0 || r.Operations != 0 || r.Clients != 0 {
		t.Errorf("nobody reads: %+v", r)
	}
	c.Watched = []int{0}
	if r := run(t, c); r.Reissues == 0 || r.Idle != 0 || r.Polling != 0 || r.Clients != 1 {
		t.Errorf("only clients of the leader: %+v", r)
	}
	c.Watched = nil
	r := run(t, c)
	if r.Clients != 3 {
		t.Errorf("%d clients, want 3", r.Clients)
	}
	if r.Polling >= r.Idle {
		t.Errorf("who asks now and then downloads %d again, who is told at once %d", r.Polling, r.Idle)
	}
}

// TestTiming: with equal delays it is known to the millisecond when a refused
// UID is replaced: after the tick of the replica that refused it, and one more
// trip if that is the leader, two if it must ask.
func TestTiming(t *testing.T) {
	c := busy(2)
	c.Rate, c.Jitter, c.Cut = 5, 0, true
	const trip = 50 * time.Millisecond
	for _, k := range []struct {
		watched []int
		want    time.Duration
	}{
		{[]int{0}, trip + tickDelay*time.Millisecond + trip},
		{[]int{1}, trip + tickDelay*time.Millisecond + 2*trip},
	} {
		c.Watched = k.watched
		r := run(t, c)
		if r.Reissues == 0 || r.Settled < k.want-2*time.Millisecond || r.Settled > k.want+2*time.Millisecond {
			t.Errorf("readers at %v: %d re-issues, settled after %v, want %v", k.watched, r.Reissues, r.Settled, k.want)
		}
	}
}

// TestCut: nothing gets through before the end of the cut.
func TestCut(t *testing.T) {
	c := busy(3)
	c.Cut = true
	n, counts := start(c)
	n.run(c.Load)
	for _, r := range n.replicas {
		if len(r.vector) != 1 {
			t.Errorf("replica %d knows %v", r.index, r.vector)
		}
	}
	if counts.result.Reissues != 0 {
		t.Errorf("%d re-issues during the cut", counts.result.Reissues)
	}
	n.run(c.Load + c.Limit)
	for _, r := range n.replicas {
		if len(r.vector) != 3 {
			t.Errorf("replica %d knows %v", r.index, r.vector)
		}
	}
}

// TestRules: by the product's rule a cut costs a re-issue per message, without
// a leader it ends too, by the naive rule it never does.
func TestRules(t *testing.T) {
	c := busy(2)
	c.Rate, c.Load, c.Cut, c.Limit = 3, 10*time.Second, true, 5*time.Second
	ours := run(t, c)
	if !ours.Ended || ours.Depth > 2 {
		t.Errorf("by the leader: %+v", ours)
	}
	c.Rule, c.Limit = WithoutLeader, time.Minute
	if r := run(t, c); !r.Ended || r.Settled < ours.Settled {
		t.Errorf("without a leader: %+v", r)
	}
	c.Rule, c.Limit = ByEverybody, 5*time.Second
	r := run(t, c)
	trips := int(c.Limit / (c.RTT / 2))
	if r.Ended || r.Depth < trips*8/10 {
		t.Errorf("by everybody: ended %v, deepest %d, want about %d", r.Ended, r.Depth, trips)
	}
}

// TestDisagreement: replicas that differ are an error and no figure.
func TestDisagreement(t *testing.T) {
	for _, k := range []struct {
		name   string
		change func(m *crdt.Message)
		want   string // part of the error; empty: none
	}{
		{"nothing", func(*crdt.Message) {}, ""},
		{"another UID", func(m *crdt.Message) {
			m.Exp--
			m.Reg, m.All = m.Exp, []crdt.UID{m.Exp}
		}, "has UID"},
		{"waiting", func(m *crdt.Message) {
			m.All = append(m.All, m.Reg+256)
			m.Reg += 256
		}, "replica 1"},
	} {
		c := busy(2)
		c.Watched = []int{}
		n, counts := start(c)
		n.run(c.Load + c.Limit)
		r := n.replicas[1]
		tags, _ := r.state.Tags(crdt.Inbox)
		m, _ := r.state.Message(crdt.Inbox, tags[0])
		k.change(m)
		_ = r.state.PutMessage(crdt.Inbox, m)
		err := agree(n.replicas, counts.result.Messages)
		switch {
		case (err == nil) != (k.want == ""):
			t.Errorf("%s: %v", k.name, err)
		case err != nil && !strings.Contains(err.Error(), k.want):
			t.Errorf("%s: %v, want %q", k.name, err, k.want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.Replicas = 1 },
		func(c *Config) { c.Replicas = 16 },
		func(c *Config) { c.Rate = 0 },
		func(c *Config) { c.Load = 0 },
		func(c *Config) { c.Limit = 0 },
	} {
		c := busy(2)
		change(&c)
		if _, err := Run(c); err == nil || !strings.Contains(err.Error(), "measure:") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
