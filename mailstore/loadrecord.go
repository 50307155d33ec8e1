package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// Kinds of staged records, and of the entries of pieces.
const (
	stagedHead         = 'a'
	stagedMailbox      = 'b'
	stagedUsed         = 'u'
	stagedSubscription = 's'
	stagedNote         = 'i'
	stagedMessage      = 'm'
	stagedTag          = 't'
	stagedVanished     = 'v'
	stagedReplay       = 'c'
	stagedEnd          = 'e'
)

// loadPhase is how far the load of an account has come.
type loadPhase byte

const (
	loadStaging loadPhase = iota // pieces are missing
	loadStaged                   // all are there
	// From here on the account's vector says that the snapshot is here.
	loadReplays  // what is remembered of replays is taken over
	loadMessages // staged messages are merged
	loadArrived  // of a damaged account: those that were not here before
	loadAbsent   // what the snapshot does not have is removed, if it was there
	loadVanished // what vanished there is taken over
	loadDone
)

// accountLoad is what must survive a crash of the load of one account.
type accountLoad struct {
	phase    loadPhase
	snapshot uint64
	next     uint32    // number of the piece that is missing
	clock    crdt.Time // of the source
	vector   crdt.VC   // of the source, all accounts
	load     crdt.Load // once it is merged
	broken   bool      // an earlier snapshot was merged in part: load.Ours is from before
	cursor   []byte    // of the phase: the last key that was dealt with
}

// merging reports whether a part of the snapshot is in the account and a part is not.
func (l *accountLoad) merging() bool {
	return l != nil && l.phase > loadStaged && l.phase < loadDone
}

func (l *accountLoad) append(b []byte) []byte {
	phase := byte(l.phase) << 1
	if l.broken {
		phase |= 1
	}
	b = binary.BigEndian.AppendUint64(append(b, phase), l.snapshot)
	b = binary.BigEndian.AppendUint32(b, l.next)
	b = binary.BigEndian.AppendUint64(b, uint64(l.clock))
	b = appendVector(appendVector(appendVector(b, l.vector), l.load.Ours), l.load.Theirs)
	return append(b, l.cursor...)
}

func parseAccountLoad(b []byte) (*accountLoad, error) {
	if len(b) < 1+8+4+8 || b[0]>>1 > byte(loadDone) {
		return nil, fmt.Errorf("%w: load of an account", errCorrupt)
	}
	l := &accountLoad{
		phase: loadPhase(b[0] >> 1), broken: b[0]&1 == 1, snapshot: binary.BigEndian.Uint64(b[1:]), next: binary.BigEndian.Uint32(b[9:]),
		clock: crdt.Time(binary.BigEndian.Uint64(b[13:])),
	}
	b = b[21:]
	var err error
	for _, v := range []*crdt.VC{&l.vector, &l.load.Ours, &l.load.Theirs} {
		if *v, b, err = cutVector(b); err != nil {
			return nil, fmt.Errorf("%w: load of an account: %w", errCorrupt, err)
		}
	}
	l.cursor = append([]byte(nil), b...)
	return l, nil
}

// loadRecordIn reads how far the load of an account has come, nil if none is under way.
func (r *Replica) loadRecordIn(db pebble.Reader, user crdt.AccountID) (*accountLoad, error) {
	b, err := getFrom(db, r.keys.accountLoad(nil, user))
	if err != nil || b == nil {
		return nil, err
	}
	return parseAccountLoad(b)
}

// eachLoad calls f for each account of the load that is under way.
func (r *Replica) eachLoad(f func(crdt.AccountID, *accountLoad) error) error {
	prefix := r.keys.accountLoads(nil)
	it, err := r.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		id, err := parseAccount(it.Key()[len(prefix):])
		if err != nil {
			return errors.Join(err, it.Close())
		}
		l, err := parseAccountLoad(it.Value())
		if err == nil {
			err = f(id, l)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// Keys of loads: see the table in keys.go.

func (k keyspace) load(b []byte) []byte {
	return append(k.kind(b, spaceState, kindLoad), 'w')
}

func (k keyspace) accountLoads(b []byte) []byte {
	return append(k.kind(b, spaceState, kindLoad), 'a')
}

func (k keyspace) accountLoad(b []byte, a crdt.AccountID) []byte {
	return binary.BigEndian.AppendUint32(k.accountLoads(b), uint32(a))
}

func (k keyspace) staged(b []byte, a crdt.AccountID) []byte {
	return binary.BigEndian.AppendUint32(append(k.kind(b, spaceState, kindLoad), 'd'), uint32(a))
}
