package comm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// handshakeTimeout is the longest wait for the other side's hello.
const handshakeTimeout = 10 * time.Second

// hello is what this replica says of itself, and the vector in it.
func (g *Group) hello() (*Hello, crdt.VC) {
	logged := g.logged()
	return &Hello{
		Protocol:       Protocol,
		Subnet:         g.cfg.Subnet,
		Name:           g.cfg.Name,
		Origin:         uint64(g.origin),
		Slot:           uint32(g.slot),
		FirstUser:      g.cfg.Users[0],
		LastUser:       g.cfg.Users[1],
		Separator:      g.cfg.Separator,
		MaxMessageSize: g.cfg.MaxMessageSize,
		Window:         int64(g.cfg.Window),
		Epoch:          uint64(len(g.roster.evictions())),
		Evicted:        g.roster.evictions(),
		Logged:         logged.AppendBinary(nil),
		Replaces:       uint64(g.cfg.Replaces),
	}, logged
}

// agree compares what both sides must have the same. The error names both values.
func agree(own, theirs *Hello, expected string) error {
	for _, c := range []struct {
		what         string
		here, there  any
		disagreement bool
	}{
		{"protocol version", own.Protocol, theirs.GetProtocol(), own.Protocol != theirs.GetProtocol()},
		{"subnet", own.Subnet, theirs.GetSubnet(), own.Subnet != theirs.GetSubnet()},
		{"peer's name", expected, theirs.GetName(), expected != theirs.GetName()},
		{"first user ID", own.FirstUser, theirs.GetFirstUser(), own.FirstUser != theirs.GetFirstUser()},
		{"last user ID", own.LastUser, theirs.GetLastUser(), own.LastUser != theirs.GetLastUser()},
		{"hierarchy separator", own.Separator, theirs.GetSeparator(), own.Separator != theirs.GetSeparator()},
		{"size limit of messages", own.MaxMessageSize, theirs.GetMaxMessageSize(), own.MaxMessageSize != theirs.GetMaxMessageSize()},
		{"replication window", own.Window, theirs.GetWindow(), own.Window != theirs.GetWindow()},
	} {
		if c.disagreement {
			return fmt.Errorf("%w: %s differs: %s at %q, %s at %q", errRefused, c.what, show(c.here), own.Name, show(c.there), theirs.GetName())
		}
	}
	return nil
}

func show(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// recall returns what is known of a peer now.
func (g *Group) recall(name string) memory {
	g.mu.Lock()
	teller, told := g.core.Told(name)
	here := g.core.Logged()
	g.mu.Unlock()
	return memory{here: here, record: g.roster.record(name), told: told, teller: teller}
}

// greet checks the hello of the member with the given name and remembers it. It
// returns what that peer has logged. For known see [roster.admit].
func (g *Group) greet(own, theirs *Hello, name string, known memory) (crdt.VC, error) {
	if err := agree(own, theirs, name); err != nil {
		return nil, err
	}
	logged, err := decodeVC(theirs.GetLogged())
	if err != nil {
		return nil, err
	}
	if err := g.learn(name, theirs.GetEvicted()); err != nil {
		if last := g.logged().Get(g.origin); errors.Is(err, errEvictedHere) && last > logged.Get(g.origin) {
			err = fmt.Errorf("%w, which lacks the last %d operations of it", err, last-logged.Get(g.origin))
		}
		return nil, err
	}
	if err := g.compareNumber(name, max(logged.Get(g.origin), theirs.GetTip().GetNumber())); err != nil {
		return nil, err
	}
	if err := g.compareTold(name, theirs.GetTold()); err != nil {
		return nil, err
	}
	return logged, g.roster.admit(theirs, logged, known)
}

// compareNumber finds out whether this replica's data are older than what a peer
// has, or knows, of it. No peer can have an operation that is not durable here.
func (g *Group) compareNumber(name string, n uint64) error {
	if last := g.logged().Get(g.origin); n > last {
		return &staleHere{fmt.Errorf("%w: %q knows of operation %d of incarnation %s, the last one here is %d", causal.ErrStale, name, n, g.origin, last)}
	}
	return nil
}

// compareTold finds out whether something is not here any more that this replica
// has told a peer to have: of the operations of others, of which no number says so.
func (g *Group) compareTold(name string, told []byte) error {
	v, err := decodeVC(told)
	if err != nil {
		return err
	}
	logged := g.logged()
	if o, n := firstLost(v, logged); n > 0 {
		return &staleHere{fmt.Errorf("%w: this replica has told %q of %d operations of %s, the last one here is %d", causal.ErrStale, name, n, o, logged.Get(o))}
	}
	return nil
}

// staleHere marks a finding that concerns this replica, not the peer.
type staleHere struct{ error }

func (e *staleHere) Unwrap() error { return e.error }

// stale marks an error of the state machine that says that this replica is stale.
func stale(err error) error {
	if errors.Is(err, causal.ErrStale) {
		return &staleHere{err}
	}
	return err
}

// tipOf returns the last operation that is here of a peer's incarnation.
func (g *Group) tipOf(origin crdt.Origin, logged crdt.VC) *Tip {
	n := logged.Get(origin)
	if n == 0 {
		return nil
	}
	return &Tip{Number: n, Hash: g.hashOf(crdt.Dot{Origin: origin, N: n})}
}

// hashOf returns the hash of an operation in the log; nil if it cannot be read,
// as when the log was cut behind it. Peers can then not be compared, which is
// no reason to part from them.
func (g *Group) hashOf(d crdt.Dot) []byte {
	if g.store.Cut().Has(d) {
		return nil
	}
	list, err := g.store.Read(d.Origin, d.N, 1)
	if err != nil {
		level.Warn(g.logger).Log("msg", "logs cannot be compared", "origin", d.Origin, "operation", d.N, "err", err)
		return nil
	}
	if len(list) == 0 || list[0].Dot != d {
		return nil
	}
	sum := sha256.Sum256(list[0].Data)
	return sum[:]
}

// compareTip finds out whether the operations that a peer has of this replica
// are those that this replica made: a directory that was copied, or restored
// and written to again, has others under the same numbers.
func (g *Group) compareTip(name string, tip *Tip) error {
	if tip.GetNumber() == 0 || len(tip.GetHash()) == 0 {
		return nil
	}
	hash := g.hashOf(crdt.Dot{Origin: g.origin, N: tip.GetNumber()})
	if hash != nil && !bytes.Equal(hash, tip.GetHash()) {
		return &staleHere{fmt.Errorf("%w: operation %d of incarnation %s is another one at %q than here", causal.ErrStale, tip.GetNumber(), g.origin, name)}
	}
	return nil
}

// confirmedBy notes that a peer accepted this replica's hello.
func (g *Group) confirmedBy(name string) error {
	if err := g.roster.confirm(name); err != nil {
		return err
	}
	g.confirm.Do(func() {
		level.Info(g.logger).Log("msg", "slot confirmed", "slot", g.slot, "peer", name)
		close(g.confirmed)
	})
	return nil
}

// statusOf turns a finding about a caller into what it is told.
func statusOf(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, causal.ErrStale), errors.Is(err, errRefused), errors.Is(err, ErrEvicted):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, causal.ErrProtocol):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, errClosed):
		return status.Error(codes.Unavailable, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}
