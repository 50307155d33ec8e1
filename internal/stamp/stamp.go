// Package stamp notices that a file was replaced or rewritten, for files that a
// running process re-reads without a restart: certificates, user files.
//
// It polls: [File.Changed] looks at the file's metadata, which costs a
// microsecond, and reads the content only when they say so or cannot be relied
// on yet, because a second write within the file system's clock tick leaves
// them as they were. It starts no goroutine and needs no notification from the
// kernel, so it works on network file systems and through symbolic links.
package stamp

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"time"
)

// settle is how old a modification time has to be to tell a later write apart.
// FAT, the coarsest in use, counts in steps of two seconds.
const settle = 3 * time.Second

// File watches one path. It is not safe for concurrent use.
type File struct {
	path    string
	limit   int64
	info    os.FileInfo // of the last look; nil before it
	settled bool        // info is enough to see a change
	sum     [sha256.Size]byte
	seen    bool // sum is of a content that was returned
}

// New returns a watcher that refuses to read more than limit bytes.
func New(path string, limit int64) *File { return &File{path: path, limit: limit} }

// Path returns the path that is watched.
func (f *File) Path() string { return f.path }

// Changed returns the content if it is not the one returned before, nil and
// false if it is. The first call returns the content. After an error the next
// call tries again.
func (f *File) Changed() (content []byte, changed bool, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		f.info = nil
		return nil, false, err
	}
	if f.info != nil && f.settled && same(f.info, info) {
		return nil, false, nil
	}
	// Whether the metadata can be relied on is decided by the time before the
	// content is read: what is written later has a later modification time.
	settled := time.Since(info.ModTime()) > settle
	content, err = f.read()
	if err != nil {
		f.info = nil
		return nil, false, err
	}
	f.info, f.settled = info, settled
	sum := sha256.Sum256(content)
	if f.seen && sum == f.sum {
		return nil, false, nil
	}
	f.sum, f.seen = sum, true
	return content, true, nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, f.limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > f.limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", f.path, f.limit)
	}
	return content, nil
}
