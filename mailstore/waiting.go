package mailstore

import "github.com/go-pluto/pluto/crdt"

var _ crdt.WaitIndex = (*tx)(nil)

// loadWaiting reads which messages await another UID: once, then install keeps
// the list. Under a.mu.
func (t *tx) loadWaiting() error {
	if t.a.waiting != nil {
		return nil
	}
	waiting := make(map[crdt.Instance]crdt.Wait)
	t.key = t.keys.awaits(t.key[:0], t.a.id)
	if err := t.scan(func(rest, _ []byte) error {
		i, err := parseInstance(rest)
		waiting[i] = crdt.Wait{}
		return err
	}); err != nil {
		return err
	}
	t.a.waiting = waiting
	return nil
}

// installWaiting brings the list up to date with what the transaction changed.
func (t *tx) installWaiting() {
	waiting := t.a.waiting
	if waiting == nil {
		return
	}
	for i, on := range t.awaiting {
		if on {
			waiting[i] = crdt.Wait{}
		} else {
			delete(waiting, i)
		}
	}
	for i, m := range t.messages {
		if _, ok := waiting[i]; ok && m.dirty {
			waiting[i] = crdt.Wait{}
		}
	}
}

// Awaiting implements crdt.State.
func (t *tx) Awaiting() ([]crdt.Instance, error) {
	if err := t.loadWaiting(); err != nil {
		return nil, err
	}
	var out []crdt.Instance
	for i := range t.a.waiting {
		if _, changed := t.awaiting[i]; !changed {
			out = append(out, i)
		}
	}
	for i, on := range t.awaiting {
		if on {
			out = append(out, i)
		}
	}
	return out, nil
}

// Noted implements crdt.WaitIndex.
func (t *tx) Noted(i crdt.Instance) crdt.Wait {
	if m := t.messages[i]; m != nil && m.dirty {
		return crdt.Wait{}
	}
	return t.a.waiting[i]
}

// Note implements crdt.WaitIndex. It is true of the head, whatever becomes of
// the transaction, unless this has changed the message.
func (t *tx) Note(i crdt.Instance, w crdt.Wait) {
	if _, ok := t.a.waiting[i]; !ok {
		return
	}
	if m := t.messages[i]; m == nil || !m.dirty {
		t.a.waiting[i] = w
	}
}
