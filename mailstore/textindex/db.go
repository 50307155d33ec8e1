package textindex

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// layout is the version of keys and values.
const layout = 1

// ErrUnavailable is returned while the index is closed, or damaged and not made anew yet.
var ErrUnavailable = errors.New("text index is not available")

// Options configure an index.
type Options struct {
	// FS is the file system; nil is the operating system's.
	FS vfs.FS
	// Texts is the version of how texts are got and folded: an index of another one is
	// thrown away.
	Texts string
	// Logger receives what an operator should know; nil is nothing.
	Logger log.Logger
	// Metrics may be shared; nil is none.
	Metrics *Metrics
	// Fatal is called when the database cannot be continued with (a write of its manifest
	// failed). It must end the process and not return. nil exits with status 1.
	Fatal func(error)
}

// DB is the index of a node, a database in a directory of its own. Safe for concurrent use;
// changes happen one after the other.
type DB struct {
	dir  string
	opts Options

	writing sync.Mutex // held while blocks are written

	mu      sync.Mutex
	db      *pebble.DB // nil: closed, or it could not be made anew
	users   int        // of db
	closed  bool
	damaged bool
	idle    chan struct{} // the mark: there when users is 0 and the database damaged or closed; capacity one
	lost    chan struct{} // closed when the index is damaged

	contents atomic.Int64 // in all blocks, without those that are gone
}

// Open opens the index in dir. What cannot be read, or is of another version, is thrown
// away, so that an error is one of the disk. Nobody else may use dir.
func Open(dir string, opts Options) (*DB, error) {
	if opts.FS == nil {
		opts.FS = vfs.Default
	}
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	if opts.Fatal == nil {
		opts.Fatal = func(error) { os.Exit(1) }
	}
	d := &DB{dir: dir, opts: opts, idle: make(chan struct{}, 1), lost: make(chan struct{})}
	err := d.open()
	if err != nil {
		d.alarm(err)
		err = d.create()
	}
	if err != nil {
		return nil, fmt.Errorf("open text index %s: %w", dir, err)
	}
	return d, nil
}

func (d *DB) version() string { return fmt.Sprintf("%d %s", layout, d.opts.Texts) }

func (d *DB) open() error {
	if err := d.opts.FS.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	db, err := pebble.Open(d.dir, d.pebbleOptions())
	if err != nil {
		return err
	}
	d.db = db
	d.contents.Store(0)
	have, closer, err := db.Get([]byte{spaceVersion})
	if err == nil && string(have) == d.version() {
		return errors.Join(closer.Close(), d.count())
	}
	if err == nil {
		err = closer.Close()
		level.Info(d.opts.Logger).Log("msg", "text index is of another version and is made anew", "dir", d.dir)
	} else if errors.Is(err, pebble.ErrNotFound) {
		err = nil
	}
	if err != nil {
		return err
	}
	return errors.Join(
		db.DeleteRange([]byte{spaceBlocks}, []byte{spaceBlocks + 1}, pebble.NoSync),
		db.Set([]byte{spaceVersion}, []byte(d.version()), pebble.NoSync))
}

// create throws everything away.
func (d *DB) create() error {
	if d.db != nil {
		_ = d.db.Close() // it is damaged: whatever that says
		d.db = nil
	}
	if err := d.opts.FS.RemoveAll(d.dir); err != nil {
		return err
	}
	return d.open()
}

func (d *DB) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          d.opts.FS,
		CacheSize:                   cacheSize,
		MemTableSize:                memTableSize,
		MemTableStopWritesThreshold: 3,
		DisableWAL:                  true, // what a crash loses is made again
		MaxOpenFiles:                200,
		BytesPerSync:                512 << 10,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      pebbleLogger{d},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		EventListener: &pebble.EventListener{
			BackgroundError: d.failed,
			DataCorruption:  func(info pebble.DataCorruptionInfo) { d.failed(fmt.Errorf("%w: %w", errCorrupt, info.Details)) },
		},
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 8 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = noCompression
	}
	return o
}

const (
	cacheSize    = 8 << 20
	memTableSize = 4 << 20
)

// noCompression: the code of lists is dense already.
func noCompression() *sstable.CompressionProfile { return sstable.NoCompression }

// enter begins a use of the database, which leave ends.
func (d *DB) enter() (*pebble.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.damaged || d.db == nil { // whose it is while it is made anew
		return nil, ErrUnavailable
	}
	d.users++
	return d.db, nil
}

func (d *DB) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users == 0 && (d.closed || d.damaged) {
		d.idle <- struct{}{} // once: nobody enters any more
	}
}

// failed notes an error of the database: if it is damaged nothing of it is believed any
// more, and [DB.Repair] makes it anew.
func (d *DB) failed(err error) {
	if !errors.Is(err, errCorrupt) && !pebble.IsCorruptionError(err) {
		level.Warn(d.opts.Logger).Log("msg", "text index", "dir", d.dir, "err", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.damaged || d.closed {
		return
	}
	d.damaged = true
	if d.users == 0 {
		d.idle <- struct{}{}
	}
	close(d.lost)
	d.alarm(err)
}

// Distrust has the index made anew, because of reason.
func (d *DB) Distrust(reason error) { d.failed(fmt.Errorf("%w: %w", errCorrupt, reason)) }

func (d *DB) alarm(err error) {
	d.opts.Metrics.damages.Inc()
	level.Error(d.opts.Logger).Log("msg", "ALARM: the text index is damaged and is made anew; searches read the messages meanwhile", "dir", d.dir, "err", err)
}

// Lost returns a channel that is closed when the index is damaged: [DB.Repair] is due,
// and everything has to be added again.
func (d *DB) Lost() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

// Repair makes an index anew that is damaged. It waits for searches under way.
func (d *DB) Repair(ctx context.Context) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	d.mu.Lock()
	due := d.damaged && !d.closed
	d.mu.Unlock()
	if !due {
		return nil
	}
	select {
	case <-d.idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Who has the mark has the database: nobody enters, and Close waits for it.
	err := d.create()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || d.closed {
		d.idle <- struct{}{}
	}
	if err != nil {
		return fmt.Errorf("make text index %s anew: %w", d.dir, err)
	}
	d.damaged, d.lost = false, make(chan struct{})
	return nil
}

// Close closes the index. It waits for searches under way.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	if d.users == 0 && !d.damaged {
		d.idle <- struct{}{}
	}
	d.closed = true
	d.mu.Unlock()
	<-d.idle
	if d.db == nil {
		return nil
	}
	var err error
	if !d.damaged {
		err = d.db.Flush()
	}
	if err = errors.Join(err, d.db.Close()); err != nil && !d.damaged {
		return fmt.Errorf("close text index %s: %w", d.dir, err)
	}
	return nil
}

// write calls do with the database, one call at a time, and deals with its errors.
func (d *DB) write(do func(*pebble.DB) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	db, err := d.enter()
	if err != nil {
		return err
	}
	defer d.leave()
	if err := do(db); err != nil {
		d.failed(err)
		return err
	}
	return nil
}

// notFoundIsCorrupt names the error for a key that has to be there.
func notFoundIsCorrupt(err error) error {
	if errors.Is(err, pebble.ErrNotFound) {
		return errCorrupt
	}
	return err
}

// Contents returns how many contents the index has.
func (d *DB) Contents() int64 { return d.contents.Load() }

// Size returns how many bytes the index takes on the disk.
func (d *DB) Size() uint64 {
	db, err := d.enter()
	if err != nil {
		return 0
	}
	defer d.leave()
	return db.Metrics().DiskSpaceUsage()
}

// Sync writes what is in memory to the disk. Nothing needs that: what a crash loses is
// made again.
func (d *DB) Sync() error {
	return d.write(func(db *pebble.DB) error { return db.Flush() })
}

// count counts the contents.
func (d *DB) count() error {
	n := int64(0)
	owners, err := owners(d.db)
	if err != nil {
		return err
	}
	for _, o := range owners {
		headers, err := readHeaders(d.db, o)
		if err != nil {
			return err
		}
		for _, h := range headers {
			n += int64(h.live())
		}
	}
	d.contents.Store(n)
	return nil
}

// Check reads everything that the index has on the disk, with all checksums, and
// returns how many records that are. What is damaged has the index made anew.
func (d *DB) Check(ctx context.Context) (records uint64, err error) {
	db, err := d.enter()
	if err != nil {
		return 0, err
	}
	defer d.leave()
	it, err := db.NewIter(nil)
	if err == nil {
		for ok := it.First(); ok && err == nil; ok = it.Next() {
			records++
			_, err = it.ValueAndErr()
			err = cmp.Or(err, ctx.Err())
		}
		err = cmp.Or(err, it.Close())
	}
	if err != nil && ctx.Err() == nil {
		d.failed(err)
	}
	return records, err
}

// Owners returns all who have contents in the index.
func (d *DB) Owners() ([]Owner, error) {
	db, err := d.enter()
	if err != nil {
		return nil, err
	}
	defer d.leave()
	out, err := owners(db)
	if err != nil {
		d.failed(err)
	}
	return out, err
}

func owners(db pebble.Reader) (out []Owner, err error) {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceBlocks}, UpperBound: []byte{spaceBlocks + 1}})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		o, known := parseOwner(it.Key())
		if !known {
			return nil, errors.Join(errCorrupt, it.Close())
		}
		out = append(out, o)
		ok = it.SeekGE(after(o.key(nil)))
	}
	return out, it.Close()
}

func readHeaders(db pebble.Reader, o Owner) (out []header, err error) {
	prefix := o.records(nil, recHeader)
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	err = eachHeader(it, prefix, func(h header) { out = append(out, h) })
	return out, cmp.Or(err, it.Close())
}

// pebbleLogger passes on what Pebble says, at debug level: errors come by events.
type pebbleLogger struct{ d *DB }

func (l pebbleLogger) Infof(format string, args ...any) {
	level.Debug(l.d.opts.Logger).Log("msg", fmt.Sprintf(format, args...), "from", "text index")
}

func (l pebbleLogger) Errorf(format string, args ...any) { l.Infof(format, args...) }

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("text index: "+format, args...)
	level.Error(l.d.opts.Logger).Log("msg", "the disk failed", "dir", l.d.dir, "err", err)
	l.d.opts.Fatal(err)
}
