package comm

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/crdt"
)

// An account may be in quarantine at every member in reach, and then nobody gives
// it. A replica that loads does not wait for it: it loads all others, is there, and
// asks for the one that is left out again and again.

const (
	// maxRefusals is how often all in reach are asked for an account before the
	// load ends without it: they may be loading it themselves at the moment.
	maxRefusals = 3
	// leftRetry is when those that were left out are asked for again.
	leftRetry = time.Minute
)

// giveUp notes that nobody gave some accounts. Its error says that they are to be
// asked for once more; without one they are remembered and left out.
func (g *Group) giveUp(refused []crdt.AccountID, why error) error {
	if len(refused) == 0 {
		return nil
	}
	if g.load.refusals == nil {
		g.load.refusals = make(map[crdt.AccountID]int)
	}
	again := false
	for _, id := range refused {
		g.load.refusals[id]++
		again = again || g.load.refusals[id] < maxRefusals
	}
	if again {
		return fmt.Errorf("%d accounts are not given by anybody: %w", len(refused), why)
	}
	g.load.refusals = nil
	left, err := g.leftOut()
	if err != nil {
		return err
	}
	for _, id := range refused {
		if !slices.Contains(left, id) {
			left = append(left, id)
		}
	}
	level.Error(g.logger).Log("msg", "ALARM: accounts are left out, because no member in reach gives them; they are not served here, and asked for again", "accounts", len(refused), "err", why)
	return g.setLeftOut(left)
}

// leftOut returns the accounts that are to be asked for again.
func (g *Group) leftOut() ([]crdt.AccountID, error) {
	b, err := g.store.PeerRecord(leftKey)
	if err != nil {
		return nil, fmt.Errorf("read which accounts were left out: %w", err)
	}
	list := &LeftOut{}
	if err := proto.Unmarshal(b, list); err != nil {
		return nil, fmt.Errorf("decode which accounts were left out: %w", err)
	}
	out := make([]crdt.AccountID, len(list.GetAccounts()))
	for i, id := range list.GetAccounts() {
		out[i] = crdt.AccountID(id)
	}
	g.load.update(func(l *LoadStatus) { l.LeftOut = len(out) })
	return out, nil
}

func (g *Group) setLeftOut(accounts []crdt.AccountID) error {
	list := &LeftOut{}
	for _, id := range accounts {
		list.Accounts = append(list.Accounts, uint32(id))
	}
	b, err := proto.Marshal(list)
	if err == nil {
		err = g.store.SetPeerRecord(leftKey, b)
	}
	if err != nil {
		return fmt.Errorf("remember which accounts were left out: %w", err)
	}
	g.load.update(func(l *LoadStatus) { l.LeftOut = len(accounts) })
	return nil
}

// loadLeft asks for accounts that were left out. It reports whether one came, whose
// contents may be missing.
func (g *Group) loadLeft() bool {
	if g.load.snapshots == nil || g.load.asked == g.met.Load() && time.Now().Before(g.load.retry) {
		return false
	}
	g.load.asked, g.load.retry = g.met.Load(), time.Now().Add(leftRetry)
	accounts, err := g.leftOut()
	if err != nil || len(accounts) == 0 {
		if err != nil {
			level.Warn(g.logger).Log("msg", "load accounts that were left out", "err", err)
		}
		return false
	}
	var left []crdt.AccountID
	for _, id := range accounts {
		if err = g.reload(id); err != nil {
			left = append(left, id)
			level.Warn(g.logger).Log("msg", "an account that was left out is still not given", "account", id, "err", err)
			continue
		}
		level.Info(g.logger).Log("msg", "an account that was left out is loaded", "account", id)
	}
	if len(left) == len(accounts) || g.ctx.Err() != nil {
		return false
	}
	if err := errors.Join(g.roster.note(fillKey, true), g.setLeftOut(left)); err != nil {
		level.Warn(g.logger).Log("msg", "load accounts that were left out", "err", err)
		return false
	}
	g.filling = fillState{}
	return true
}

// Reload loads an account anew from the nearest member that gives it, which ends its
// quarantine here. Contents that are missing then are got when they are read.
func (g *Group) Reload(user crdt.AccountID) error {
	if g.load.snapshots == nil {
		return errors.New("accounts are not loaded here")
	}
	if err := g.reload(user); err != nil {
		return fmt.Errorf("load account %d anew: %w", user, err)
	}
	return nil
}

// reload gets one account from whoever gives it.
func (g *Group) reload(id crdt.AccountID) error {
	err := errors.New("no member is in reach")
	for _, s := range g.byNearness() {
		if s.conn.Load() == nil {
			break
		}
		if err = s.reload(id); err == nil {
			return nil
		}
	}
	return err
}

func (s *sender) reload(id crdt.AccountID) error {
	ctx, c, done, err := s.call()
	if err != nil {
		return err
	}
	defer done()
	next, err := s.pieces(ctx, c, id)
	if err != nil {
		return err
	}
	first, err := next() // before anything begins here: it may not be given
	if err != nil {
		return err
	}
	return s.g.load.snapshots.Reload(ctx, id, func() ([]byte, error) {
		if first != nil {
			piece := first
			first = nil
			return piece, nil
		}
		return next()
	})
}
