package comm

import (
	"context"

	dto "github.com/prometheus/client_model/go"

	"github.com/go-pluto/pluto/crdt"
)

// Feed takes a message as if the named peer had sent it, and applies what became
// ready, without goroutines. The group must not be started.
func (g *Group) Feed(name string, up *Up) error {
	in := &inbound{
		g: g, name: name, wake: make(chan struct{}, 1), logger: g.logger,
		ops:   g.cfg.Metrics.receivedOps.WithLabelValues(g.cfg.Subnet, name),
		bytes: g.cfg.Metrics.receivedBytes.WithLabelValues(g.cfg.Subnet, name),
	}
	if err := in.take(up); err != nil {
		return err
	}
	for {
		batch := g.core.Batch()
		if len(batch) == 0 {
			return nil
		}
		if err := g.store.Apply(context.Background(), batch); err != nil {
			return err
		}
		g.core.Applied()
	}
}

// Greet checks a hello as if the named peer had sent it.
func (g *Group) Greet(name string, h *Hello) error {
	own, _ := g.hello()
	if _, err := g.greet(own, h, name, g.recall(name)); err != nil {
		return err
	}
	return g.compareTip(name, h.GetTip())
}

// Lost returns of which origins the group says that their stream to it broke.
func (g *Group) Lost() []uint64 { return g.standing().GetLost() }

// OwnHello returns what the group says of itself.
func (g *Group) OwnHello() *Hello {
	h, _ := g.hello()
	return h
}

// NewTail returns the read function of a cache over a store.
func NewTail(store Store, limit int) func(o crdt.Origin, from, to uint64, limit int) ([]Entry, error) {
	return newTail(store, limit).read
}

// EncodeChunk and DecodeChunk are how pieces of contents travel.
var (
	EncodeChunk = encodeChunk
	DecodeChunk = decodeChunk
)

// SentBytes returns what was sent to a peer, on the line.
func (g *Group) SentBytes(peer string) float64 {
	var m dto.Metric
	if err := g.senders[peer].sentBytes.Write(&m); err != nil {
		return -1
	}
	return m.GetCounter().GetValue()
}
