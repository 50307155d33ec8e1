package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// Twins implements crdt.State.
func (t *tx) Twins(key crdt.TwinKey) ([]crdt.Instance, error) {
	var out []crdt.Instance
	changed := t.twins[key]
	t.key = t.keys.twins(t.key[:0], t.a.id, key)
	err := t.scan(func(rest, _ []byte) error {
		i, err := parseInstance(rest)
		if _, ok := changed[i]; !ok {
			out = append(out, i)
		}
		return err
	})
	for i, there := range changed {
		if there {
			out = append(out, i)
		}
	}
	return out, err
}

// AddTwin implements crdt.State.
func (t *tx) AddTwin(key crdt.TwinKey, i crdt.Instance) error {
	if err := t.markFiled(); err != nil {
		return err
	}
	t.setTwin(key, i, true)
	t.key = t.keys.twin(t.key[:0], t.a.id, key, i)
	return t.set(nil)
}

// RemoveTwin implements crdt.State.
func (t *tx) RemoveTwin(key crdt.TwinKey, i crdt.Instance) error {
	t.setTwin(key, i, false)
	t.key = t.keys.twin(t.key[:0], t.a.id, key, i)
	return t.del()
}

func (t *tx) setTwin(key crdt.TwinKey, i crdt.Instance, there bool) {
	if t.twins == nil {
		t.twins = make(map[crdt.TwinKey]map[crdt.Instance]bool)
	}
	if t.twins[key] == nil {
		t.twins[key] = make(map[crdt.Instance]bool)
	}
	t.twins[key][i] = there
}

// markFiled makes the account one of those that [Replica.forget] visits.
func (t *tx) markFiled() error {
	if t.filed || t.a.filed {
		return nil
	}
	t.filed = true
	t.key = t.keys.filed(t.key[:0], t.a.id)
	return t.set(nil)
}

// Filed implements crdt.State. It does not see what the transaction has changed.
func (t *tx) Filed(behind crdt.Filing, n int) ([]crdt.Filing, error) {
	var from []byte
	if behind != (crdt.Filing{}) {
		from = append(t.keys.twin(nil, t.a.id, behind.Key, behind.At), 0)
	}
	var out []crdt.Filing
	err := t.page(t.keys.record(nil, t.a.id, recTwin), from, n, func(rest, _ []byte) error {
		key, rest, err := parseTwinKey(rest)
		if err != nil {
			return err
		}
		at, err := parseInstance(rest)
		out = append(out, crdt.Filing{Key: key, At: at})
		return err
	})
	return out, err
}

// ReplaysOf implements crdt.State.
func (t *tx) ReplaysOf(key crdt.TwinKey) ([]crdt.Replay, error) {
	var out []crdt.Replay
	t.key = t.keys.replays(t.key[:0], t.a.id, key)
	err := t.scan(func(rest, v []byte) error {
		r, err := parseReplay(key, rest, v)
		if _, changed := t.replays[r]; !changed {
			out = append(out, r)
		}
		return err
	})
	for r, there := range t.replays {
		if there && r.Key == key {
			out = append(out, r)
		}
	}
	return out, err
}

func parseReplay(key crdt.TwinKey, rest, v []byte) (crdt.Replay, error) {
	if len(v) != 4 {
		return crdt.Replay{}, fmt.Errorf("%w: replay", errCorrupt)
	}
	tag, err := parseTag(rest)
	return crdt.Replay{Key: key, Tag: tag, Attempt: binary.BigEndian.Uint32(v)}, err
}

// AddReplay implements crdt.State.
func (t *tx) AddReplay(r crdt.Replay) error {
	if err := t.markFiled(); err != nil {
		return err
	}
	t.setReplay(r, true)
	t.key = t.keys.replay(t.key[:0], t.a.id, r)
	t.val = binary.BigEndian.AppendUint32(t.val[:0], r.Attempt)
	return t.set(t.val)
}

// RemoveReplay implements crdt.State.
func (t *tx) RemoveReplay(r crdt.Replay) error {
	t.setReplay(r, false)
	t.key = t.keys.replay(t.key[:0], t.a.id, r)
	return t.del()
}

func (t *tx) setReplay(r crdt.Replay, there bool) {
	if t.replays == nil {
		t.replays = make(map[crdt.Replay]bool)
	}
	t.replays[r] = there
}

// Replays implements crdt.State. It does not see what the transaction has changed.
func (t *tx) Replays(behind crdt.Replay, n int) ([]crdt.Replay, error) {
	var from []byte
	if behind != (crdt.Replay{}) {
		from = append(t.keys.replay(nil, t.a.id, behind), 0)
	}
	var out []crdt.Replay
	err := t.page(t.keys.record(nil, t.a.id, recReplay), from, n, func(rest, v []byte) error {
		key, rest, err := parseTwinKey(rest)
		if err != nil {
			return err
		}
		r, err := parseReplay(key, rest, v)
		out = append(out, r)
		return err
	})
	return out, err
}

// page calls f for up to n keys that begin with prefix, from one on.
func (t *tx) page(prefix, from []byte, n int, f func(rest, v []byte) error) error {
	if from == nil {
		from = prefix
	}
	it, err := t.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return t.fail(err)
	}
	for ok := it.First(); ok && n > 0; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = f(it.Key()[len(prefix):], v)
		}
		if err != nil {
			return t.fail(errors.Join(fmt.Errorf("read %x: %w", it.Key(), err), it.Close()))
		}
		n--
	}
	if err := it.Close(); err != nil {
		return t.fail(fmt.Errorf("read a page: %w", err))
	}
	return nil
}
