package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Rule says who gives a refused UID anew.
type Rule int

// The rules.
const (
	// ByLeader is the product's: the leader at its next tick, others when it
	// does not answer (crdt.md 2.1).
	ByLeader Rule = iota
	// WithoutLeader is the same when the leader is one more member, which is
	// down for good: the others do it by rank, after their times of patience.
	WithoutLeader
	// ByEverybody is the naive design: whoever refuses a UID gives another one
	// at once. It is no setting of the product, but a group of leaders.
	ByEverybody
)

// Config describes a run: messages arrive at random at every replica, all for
// one mailbox, for a time; then nothing arrives any more.
type Config struct {
	Seed     uint64
	Replicas int           // 2 to 15
	Rate     float64       // messages per second at each replica (Poisson)
	Load     time.Duration // how long messages arrive
	Cut      bool          // no operation gets through while they do
	RTT      time.Duration // round trip between two replicas, on average
	Jitter   float64       // part of a delay by which it is longer or shorter, 0 to 1
	Watched  []int         // replicas where a client has the mailbox open; nil: all
	Rule     Rule
	Policy   crdt.Policy   // the zero one is the default; ByEverybody has its own
	Poll     time.Duration // average time between two questions of a client that asks
	Limit    time.Duration // a run ends so long after the load, settled or not
}

// Result is what a run cost.
type Result struct {
	Messages   int
	Clients    int           // replicas with an open mailbox, each with a client of either sort
	Reissues   int           // UIDs given to messages that had one
	Depth      int           // most re-issues of one message
	Operations int           // operations that only UIDs made necessary
	Bytes      int           // their encoded length, once each
	Idle       int           // messages that IDLE clients downloaded again because of another UID
	Polling    int           // the same of clients that ask now and then
	Highest    uint64        // the largest UID
	Settled    time.Duration // from the end of the load (or cut) to the last operation applied anywhere
	Timeline   []int         // re-issues by Interval of the run
	Ended      bool          // nothing was left to do at Config.Limit

	// Agreed holds, for each message, the time from its arrival (or from the end
	// of the cut) until the last replica had it under the UID that all show; sorted.
	Agreed []time.Duration
}

// Interval is the resolution of [Result.Timeline].
const Interval = 100 * time.Millisecond

// messageSize is the size of the messages, in bytes. Nothing depends on it.
const messageSize = 20_000

func (c *Config) watched(i int) bool { return c.Watched == nil || slices.Contains(c.Watched, i) }

func (c *Config) leads(i int) bool {
	return c.Rule == ByEverybody || c.Rule == ByLeader && i == 0
}

func (c *Config) rank(i int) int {
	if c.Rule == WithoutLeader {
		return i + 1
	}
	return i
}

func (c *Config) policy() crdt.Policy {
	if c.Rule == ByEverybody {
		return crdt.Policy{Wait: 1} // the zero policy would be the default one
	}
	return c.Policy
}

// Run makes one run. It returns an error if the replicas did not come to agree,
// unless the run had to be ended at the limit: then Result.Ended is false.
func Run(c Config) (Result, error) {
	if c.Replicas < 2 || c.Replicas > int(crdt.MaxSlot) || c.Rate <= 0 || c.Load <= 0 || c.Limit <= 0 {
		return Result{}, fmt.Errorf("measure: %d replicas, %g messages/s, load %v, limit %v", c.Replicas, c.Rate, c.Load, c.Limit)
	}
	n, counts := start(c)
	n.run(c.Load + c.Limit)
	counts.result.Ended = len(n.schedule) == 0
	for _, r := range n.replicas {
		if r.err != nil {
			return Result{}, r.err
		}
		b, err := r.state.Mailbox(crdt.Inbox)
		if err != nil {
			return Result{}, err
		}
		counts.result.Highest = max(counts.result.Highest, uint64(b.N))
		if counts.config.watched(r.index) {
			counts.ask(r)
		}
	}
	if counts.result.Ended {
		if err := agree(n.replicas, counts.result.Messages); err != nil {
			return Result{}, fmt.Errorf("seed %d: %w", c.Seed, err)
		}
	}
	return counts.finish(c.Load), nil
}

// start makes a group whose messages and questions are about to come.
func start(c Config) (*network, *counts) {
	n := &network{config: c, random: rand.New(rand.NewPCG(c.Seed, uint64(c.Replicas)))}
	if c.Cut {
		n.healed = c.Load
	}
	counts := newCounts(c)
	for i := range c.Replicas {
		n.busy = append(n.busy, make([]time.Duration, c.Replicas))
		n.replicas = append(n.replicas, newReplica(n, i, counts))
	}
	for _, r := range n.replicas {
		r.open()
		n.arrivals(r)
		if c.watched(r.index) && c.Poll > 0 {
			n.questions(r, counts)
		}
	}
	return n, counts
}

// arrivals lets messages arrive at a replica until the load ends.
func (n *network) arrivals(r *replica) {
	mean := time.Duration(float64(time.Second) / n.config.Rate)
	count := uint64(0)
	var arrive func()
	arrive = func() {
		count++
		var root crdt.Root
		binary.BigEndian.PutUint64(root[:], uint64(r.self.Origin))
		binary.BigEndian.PutUint64(root[8:], count)
		r.arrive(root)
		n.until(n.now+n.after(mean), arrive)
	}
	n.until(n.after(mean), arrive)
}

// questions lets a client ask until the load ends.
func (n *network) questions(r *replica, c *counts) {
	var ask func()
	ask = func() {
		c.ask(r)
		n.until(n.now+n.after(n.config.Poll), ask)
	}
	n.until(n.after(n.config.Poll), ask)
}

// until makes something happen at a moment of the load.
func (n *network) until(when time.Duration, do func()) {
	if when < n.config.Load {
		n.at(when, do)
	}
}

// agree checks that all replicas show all messages under the same UIDs.
func agree(replicas []*replica, messages int) error {
	var first map[crdt.Tag]crdt.UID
	for _, r := range replicas {
		if err := crdt.Audit(r.state); err != nil {
			return fmt.Errorf("replica %d: %w", r.index, err)
		}
		view, err := r.view()
		if err != nil {
			return fmt.Errorf("replica %d: %w", r.index, err)
		}
		if len(view) != messages {
			return fmt.Errorf("replica %d shows %d of %d messages", r.index, len(view), messages)
		}
		if first == nil {
			first = view
		}
		for tag, uid := range view {
			if first[tag] != uid {
				return fmt.Errorf("message %v has UID %d at replica 0 and %d at %d", tag, first[tag], uid, r.index)
			}
		}
	}
	return nil
}

// view returns what a replica shows.
func (r *replica) view() (map[crdt.Tag]crdt.UID, error) {
	tags, err := r.state.Tags(crdt.Inbox)
	if err != nil {
		return nil, err
	}
	view := make(map[crdt.Tag]crdt.UID, len(tags))
	for _, tag := range tags {
		m, err := r.state.Message(crdt.Inbox, tag)
		if err != nil {
			return nil, err
		}
		if m == nil || m.Exp == 0 || m.Exp != m.Reg {
			return nil, errors.New("a message still awaits its UID")
		}
		view[tag] = m.Exp
	}
	return view, nil
}
