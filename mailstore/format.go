package mailstore

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"
)

// formatVersion is the version of the key space and of the values in it that
// this package writes. A database of an older one is brought up to date when it
// is opened (migrations), one of a newer one is refused. Values that are crdt's
// encodings, trailers and pieces begin with versions of their own.
//
// Whoever changes it enters a migration and keeps data of the version before:
// testdata/README.md.
const formatVersion = 3

// migrations are what brings a database from one version to the next: a function
// for each version from 1 on, which puts into b what is to change.
var migrations = [formatVersion - 1]func(s *Store, b *pebble.Batch) error{
	(*Store).migrateQuarantines,
	nothingToMigrate, // 2 to 3: records of mailboxes have two floors, and are read in both versions
}

// nothingToMigrate is for a version that reads what the one before it wrote, while
// that one does not read what this one writes.
func nothingToMigrate(*Store, *pebble.Batch) error { return nil }

// migrate brings a database of an older version up to date, a version in one
// batch: after a crash it goes on where it was.
func (s *Store) migrate(from uint64) error {
	for v := from; v < formatVersion; v++ {
		b := s.db.NewBatch()
		err := migrations[v-1](s, b)
		if err == nil {
			err = b.Set(formatKey(), binary.AppendUvarint(nil, v+1), nil)
		}
		if err == nil {
			err = b.Commit(pebble.Sync)
		}
		if err != nil {
			return fmt.Errorf("bring format %d to %d: %w", v, v+1, err)
		}
		level.Info(s.opts.Logger).Log("msg", "data brought up to date", "dir", s.dir, "from", v, "to", v+1)
	}
	return nil
}

// checkFormat reads the version of a database, 0 for an empty one.
func (s *Store) checkFormat() (uint64, error) {
	have, err := s.get(formatKey())
	if err != nil || have == nil {
		return 0, err
	}
	v, n := binary.Uvarint(have)
	switch {
	case n <= 0 || v == 0:
		return 0, fmt.Errorf("%w: no version that is known", ErrFormat)
	case v > formatVersion:
		return 0, fmt.Errorf("%w: these data have format %d and this pluto knows %d at most: start the pluto that wrote them, or a newer one", ErrFormat, v, formatVersion)
	}
	return v, nil
}

// migrateQuarantines (1 to 2): the record of a quarantine did not say what was
// withheld. Such an account has to be loaded anew.
func (s *Store) migrateQuarantines(b *pebble.Batch) error {
	const oldHead = 8 + 8 + 8
	prefix := []byte{spaceState}
	it, err := s.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return err
	}
	defer it.Close()
	for number := uint16(1); ; number++ {
		k := keyspace(number)
		if ok := it.SeekGE(k.kind(nil, spaceState, 0)); !ok {
			return it.Error()
		}
		number = binary.BigEndian.Uint16(it.Key()[1:])
		k = keyspace(number)
		vector, err := s.get(k.vector(nil))
		if err != nil {
			return err
		}
		kind := k.kind(nil, spaceState, kindQuarantine)
		for ok := it.SeekGE(kind); ok && len(it.Key()) == len(kind)+4 && string(it.Key()[:len(kind)]) == string(kind); ok = it.Next() {
			v := it.Value()
			if len(v) < oldHead || len(vector) < 8 {
				return fmt.Errorf("%w: quarantine record", errCorrupt)
			}
			next := append(append([]byte(nil), v[:oldHead]...), 1)
			next = binary.AppendUvarint(next, uint64(len(vector)-8))
			next = append(next, vector[8:]...)
			next = appendVector(next, nil)
			next = append(next, v[oldHead:]...)
			if err := b.Set(it.Key(), next, nil); err != nil {
				return err
			}
		}
	}
}
