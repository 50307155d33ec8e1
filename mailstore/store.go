package mailstore

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Errors of Open and of every use of a store that cannot go on.
var (
	// ErrFormat is returned for a database of a newer or foreign format.
	ErrFormat = errors.New("data were written by another version")
	// ErrLocked is returned while another process has the data directory.
	ErrLocked = errors.New("data directory is in use by another process")

	errCorrupt = errors.New("corrupt record")
	errClosed  = fmt.Errorf("%w: store is closed", ErrUnavailable)
)

// Options configure a store. The zero value is good for a worker.
type Options struct {
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// CacheSize is the memory for blocks read from disk, in bytes; 0 is 64 MiB.
	CacheSize int64
	// MemTableSize is the size at which writes move from memory to a table, in
	// bytes; up to four of them exist under load. 0 is 16 MiB.
	MemTableSize uint64
	// MinFree is the free space, in bytes, below which writes are refused
	// before the disk is full; 0 is 256 MiB, negative is no limit.
	MinFree int64
	// IdleAccounts is how many accounts nobody uses are kept in memory; 0 is 64.
	IdleAccounts int
	// Logger receives what an operator should know; nil is nothing.
	Logger log.Logger
	// Metrics may be shared by several stores; nil is none.
	Metrics *Metrics
	// Random is the source of identities: of replicas, starts and contents. nil
	// is crypto/rand; a simulation has a deterministic one. It must be safe for
	// concurrent use if the store is used so.
	Random io.Reader
	// Fatal is called when the database cannot be continued with (a write of
	// its manifest failed). It must end the process and not return. nil exits with status 1.
	Fatal func(error)

	readOnly       bool // there must be a database, which is not changed
	separateBodies bool // keep large values in files of their own (to measure)
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.CacheSize == 0 {
		o.CacheSize = 64 << 20
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = 16 << 20
	}
	if o.MinFree == 0 {
		o.MinFree = 256 << 20
	}
	if o.IdleAccounts == 0 {
		o.IdleAccounts = 64
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Fatal == nil {
		o.Fatal = func(error) { os.Exit(1) }
	}
	return o
}

// Store is the database of one node. It holds the replicas of one or more
// subnets, which share its log and its syncs. Safe for concurrent use.
type Store struct {
	db   *pebble.DB
	dir  string
	opts Options
	boot uint64 // id of this start of the process

	mu       sync.Mutex
	replicas map[string]*Replica
	closed   bool
	users    int           // calls that touch the database at this moment
	idle     chan struct{} // closed when closed and users is 0

	mending sync.Mutex // held while a damaged block is cut out

	failure atomic.Pointer[error] // why nothing is written any more
	space   spaceWatch
}

// Open opens or creates the database in dir and takes its exclusive lock.
// Errors: ErrLocked, ErrFormat, and those of the disk.
func Open(dir string, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	s := &Store{dir: dir, opts: opts, replicas: make(map[string]*Replica), idle: make(chan struct{})}
	if !opts.readOnly {
		if err := opts.FS.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open mail store: %w", err)
		}
	}
	lock, err := pebble.LockDirectory(dir, opts.FS)
	if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (%w)", ErrLocked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open mail store %s: %w", dir, err)
	}
	defer lock.Close() // the database holds it from here on
	s.db, err = pebble.Open(dir, s.pebbleOptions(lock))
	if err != nil {
		return nil, fmt.Errorf("open mail store %s: %w", dir, ofHeads(err))
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open mail store %s: %w", dir, ofHeads(err)), s.db.Close())
	}
	return s, nil
}

func (s *Store) pebbleOptions(lock *pebble.Lock) *pebble.Options {
	o := &pebble.Options{
		FS:                          s.opts.FS,
		Lock:                        lock,
		CacheSize:                   s.opts.CacheSize,
		MemTableSize:                s.opts.MemTableSize,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                1000,
		BytesPerSync:                512 << 10,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      storeLogger{s},
		EventListener:               &pebble.EventListener{BackgroundError: s.backgroundError, DataCorruption: s.corruption},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		ErrorIfNotExists:            s.opts.readOnly,
		ReadOnly:                    s.opts.readOnly,
	}
	o.FlushSplitBytes = 2 << 20
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 16 << 10
	}
	// Bodies stay in the tables. They come in the order of their keys, so that
	// compactions move whole tables: of 705 MB in bodies of 17.5 kB 249 MB were
	// written again, 812 MB with values kept in files of their own, and 4 times
	// as much as came in with random keys.
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled:               s.opts.separateBodies,
			MinimumSize:           2 << 10,
			MaxBlobReferenceDepth: 10,
			RewriteMinimumAge:     15 * time.Minute,
			TargetGarbageRatio:    0.3,
		}
	}
	return o
}

// start checks or writes the format version and draws the boot id.
func (s *Store) start() error {
	have, err := s.checkFormat()
	switch {
	case err != nil:
		return err
	case s.opts.readOnly && have == 0:
		return fmt.Errorf("%w: the directory holds a database that is not pluto's", ErrFormat)
	case s.opts.readOnly:
		return nil
	case have == 0:
		err = s.create()
	default:
		err = s.migrate(have)
	}
	if err != nil {
		return err
	}
	s.boot, err = s.random64()
	return err
}

func (s *Store) create() error {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	foreign := it.First()
	if err := it.Close(); err != nil {
		return err
	}
	if foreign {
		return fmt.Errorf("%w: the directory holds a database that is not pluto's", ErrFormat)
	}
	return s.db.Set(formatKey(), binary.AppendUvarint(nil, formatVersion), pebble.Sync)
}

// get returns a copy of a value, nil if there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", unreadableBlock(err))
	}
	defer closer.Close()
	return append(make([]byte, 0, len(v)), v...), nil
}

// enter begins a call that touches the database, which Close waits for.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.users++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.closed && s.users == 0 {
		close(s.idle)
	}
}

// Close ends all replicas and closes the database. It waits for calls under
// way; later ones return ErrUnavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.users == 0 {
		close(s.idle)
	}
	replicas := s.replicas
	s.mu.Unlock()
	for _, r := range replicas {
		r.stop()
	}
	<-s.idle
	var err error
	for _, r := range replicas {
		r.tasks.Wait()
		err = errors.Join(err, r.accounts.writeAll())
	}
	if err := errors.Join(err, s.db.Close()); err != nil {
		return fmt.Errorf("close mail store %s: %w", s.dir, err)
	}
	return nil
}

// Err returns why the store takes no writes any more, nil while it does.
func (s *Store) Err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops all writing: after a failed sync nobody knows what is on the disk,
// and only a restart, which reads it again, can tell (the kernel may have
// dropped the pages that it could not write).
func (s *Store) fail(err error) error {
	err = fmt.Errorf("%w: the disk failed, restart needed: %w", ErrUnavailable, err)
	if s.failure.CompareAndSwap(nil, &err) {
		s.opts.Metrics.failed.Set(1)
		level.Error(s.opts.Logger).Log("msg", "the disk failed: no writes are taken any more, restart needed", "dir", s.dir, "err", err)
	}
	return *s.failure.Load()
}

func (s *Store) backgroundError(err error) {
	s.opts.Metrics.backgroundErrors.Inc()
	level.Error(s.opts.Logger).Log("msg", "database background error", "dir", s.dir, "err", err)
}

// corruption notes a damaged block. Whoever reads there deals with it; without
// this the database would end the process.
func (s *Store) corruption(info pebble.DataCorruptionInfo) {
	s.opts.Metrics.corruptions.Inc()
	level.Error(s.opts.Logger).Log("msg", "ALARM: the disk holds other bytes than were written: see plutoctl verify", "file", info.Path, "err", info.Details)
}

// storeLogger passes on what Pebble says: its chatter at debug level.
type storeLogger struct{ s *Store }

func (l storeLogger) Infof(format string, args ...any) {
	level.Debug(l.s.opts.Logger).Log("msg", fmt.Sprintf(format, args...), "from", "pebble")
}

func (l storeLogger) Errorf(format string, args ...any) {
	level.Error(l.s.opts.Logger).Log("msg", fmt.Sprintf(format, args...), "from", "pebble")
}

func (l storeLogger) Fatalf(format string, args ...any) {
	l.s.opts.Fatal(l.s.fail(fmt.Errorf(format, args...)))
}
