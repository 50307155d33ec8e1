package mailstore

import (
	"context"
	"sync"

	"github.com/go-pluto/pluto/crdt"
)

// publisher shows the changes of one account to its sessions: in the order in
// which they were applied, each when its OK may be given, hence never before
// all earlier ones.
type publisher struct {
	pub     sync.Mutex // taken under account.mu or alone
	queue   []*commit  // applied, not yet shown, oldest first
	watches map[*Watch]struct{}
	shown   crdt.VC       // operations of the account that sessions can see
	news    chan struct{} // closed when shown grows; nil: nobody waits for that
}

// exposure is what a commit changes in the eyes of those who have a mailbox open.
type exposure struct {
	box  *openBox
	view *View
	dead bool // the mailbox does not exist any more

	validity crdt.Validity // it rises when the mailbox is renumbered, or renamed to where a larger one was shown
}

func (p *publisher) init(vector crdt.VC) { p.shown = vector.Clone() }

// enqueue puts a commit behind those before it. Under account.mu.
func (p *publisher) enqueue(c *commit) {
	p.pub.Lock()
	defer p.pub.Unlock()
	p.queue = append(p.queue, c)
}

// settle says that a commit may be shown, or that it never may (err), and shows
// what has its turn.
func (p *publisher) settle(c *commit, err error) {
	p.pub.Lock()
	defer p.pub.Unlock()
	for b := c; b != nil; b = b.before {
		b.settled, b.err = true, err
	}
	n := 0
	for ; n < len(p.queue) && p.queue[n].settled; n++ {
		p.show(p.queue[n])
		p.queue[n] = nil
	}
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil
	}
}

func (p *publisher) show(c *commit) {
	if c.err == nil {
		p.shown = c.shown
		for _, e := range c.exposures {
			e.box.show(e)
		}
		for w := range p.watches {
			w.tell(c)
		}
		if p.news != nil {
			close(p.news)
			p.news = nil
		}
	}
	close(c.done)
}

// wait returns when c (which may be nil), and so all before it, are shown.
func (c *commit) wait(ctx context.Context) error {
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return c.err
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openBox is a mailbox that sessions have selected.
type openBox struct {
	id       crdt.MailboxID
	keywords keywordSets // under account.mu
	head     *View       // newest picture, under account.mu

	// Under publisher.pub:
	shown   *View // newest picture that may be shown
	handles map[*Mailbox]struct{}
}

// show makes a picture the one that sessions see. Under publisher.pub.
func (b *openBox) show(e exposure) {
	for h := range b.handles {
		h.gone = h.gone || e.dead
		if e.validity > h.validity && h.last == nil {
			h.gone, h.last = true, b.shown // UIDs of another era would be taken for those of this
		}
		h.notify()
	}
	if e.view != nil {
		b.shown = e.view
	}
}
