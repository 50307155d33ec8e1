package mailnode

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-pluto/pluto/crdt"
)

// errQuarantined ends the sessions of an account that is no longer served here.
var errQuarantined = errors.New("the account is in quarantine on this node")

// present knows the sessions of each account that run here. The zero value knows
// none. Safe for concurrent use.
type present struct {
	mu sync.Mutex
	m  map[crdt.AccountID]map[*context.CancelCauseFunc]struct{}
}

// enter notes a session until leave is called. The context that it returns ends
// when the account is dismissed.
func (p *present) enter(ctx context.Context, account crdt.AccountID) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = make(map[crdt.AccountID]map[*context.CancelCauseFunc]struct{})
	}
	if p.m[account] == nil {
		p.m[account] = make(map[*context.CancelCauseFunc]struct{}, 1)
	}
	p.m[account][&cancel] = struct{}{}
	return ctx, func() {
		cancel(nil)
		p.mu.Lock()
		defer p.mu.Unlock()
		if delete(p.m[account], &cancel); len(p.m[account]) == 0 {
			delete(p.m, account)
		}
	}
}

// dismiss ends the sessions of an account. It does not block.
func (p *present) dismiss(account crdt.AccountID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cancel := range p.m[account] {
		(*cancel)(errQuarantined)
	}
}

// quarantines returns a sentence if accounts of the member are in quarantine.
func (m *member) quarantines() []string {
	list, err := m.replica.Quarantined()
	switch {
	case err != nil:
		return []string{fmt.Sprintf("subnet %s: %v", m.subnet.Name, err)}
	case len(list) == 0:
		return nil
	}
	return []string{fmt.Sprintf("subnet %s: %d accounts are in quarantine and not served here: plutoctl status lists them", m.subnet.Name, len(list))}
}
