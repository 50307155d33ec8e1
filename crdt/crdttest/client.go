// Package crdttest models mail clients that a test lets roam between replicas:
// what they keep, what they ask for, and what they make of the answer. It knows
// numbers and texts only, so that tests of every layer can use it: the data type
// over maps, a mail store on a disk, whole systems over IMAP.
package crdttest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Range is a range of UIDs, both ends included.
type Range struct{ First, Last uint32 }

// Report is a server's answer to SELECT with QRESYNC (RFC 7162 section 3.2.5).
type Report struct {
	UIDValidity   uint32
	HighestModSeq uint64
	Vanished      []Range           // VANISHED (EARLIER)
	Fetched       map[uint32]string // FETCH: content and flags, as the test spells them
}

// QResync is a client that caches one mailbox by RFC 7162. The zero value has
// never seen the mailbox. Not safe for concurrent use.
type QResync struct {
	UIDValidity uint32
	ModSeq      uint64 // the HIGHESTMODSEQ that it was told last
	Rows        map[uint32]string
}

// Known returns the UIDs of the cache, for the request.
func (c *QResync) Known() []Range {
	var out []Range
	for _, u := range slices.Sorted(maps.Keys(c.Rows)) {
		if n := len(out); n > 0 && out[n-1].Last+1 == u {
			out[n-1].Last = u
			continue
		}
		out = append(out, Range{u, u})
	}
	return out
}

// Take brings the cache up to date. Another UIDVALIDITY empties it before. The
// order is the protocol's: what vanished first, then what was fetched.
func (c *QResync) Take(r Report) {
	if c.UIDValidity != r.UIDValidity || c.Rows == nil {
		c.UIDValidity, c.Rows = r.UIDValidity, make(map[uint32]string)
	}
	for u := range c.Rows {
		if slices.ContainsFunc(r.Vanished, func(v Range) bool { return v.First <= u && u <= v.Last }) {
			delete(c.Rows, u)
		}
	}
	maps.Copy(c.Rows, r.Fetched)
	c.ModSeq = r.HighestModSeq
}

// Diff compares the cache with what a replica shows (invariant I5 of crdt.md). It
// returns "" if they are equal.
func (c *QResync) Diff(view map[uint32]string) string {
	var out []string
	for _, u := range slices.Sorted(maps.Keys(view)) {
		if have, ok := c.Rows[u]; !ok {
			out = append(out, fmt.Sprintf("lacks %d=%s", u, view[u]))
		} else if have != view[u] {
			out = append(out, fmt.Sprintf("has %d=%s instead of %s", u, have, view[u]))
		}
	}
	for _, u := range slices.Sorted(maps.Keys(c.Rows)) {
		if _, ok := view[u]; !ok {
			out = append(out, fmt.Sprintf("still has %d=%s", u, c.Rows[u]))
		}
	}
	return strings.Join(out, ", ")
}

// Clone returns an independent copy.
func (c *QResync) Clone() *QResync {
	n := *c
	n.Rows = maps.Clone(c.Rows)
	return &n
}

// UIDNext is a client without CONDSTORE: it remembers UIDNEXT and fetches what is
// new from there on, nothing else. Not safe for concurrent use.
type UIDNext struct {
	UIDValidity uint32
	Next        uint32          // UIDNEXT that it was told last; 0: never
	Seen        map[string]bool // contents that it has fetched under this UIDVALIDITY
}

// From returns the UID from which on it fetches, to the end ("n:*").
func (c *UIDNext) From(uidValidity uint32) uint32 {
	if c.UIDValidity != uidValidity {
		return 1
	}
	return max(c.Next, 1)
}

// Take gives it the mailbox's figures and what its FETCH From:* answered:
// contents by UID. "n:*" may bring the last message although its UID is below n.
func (c *UIDNext) Take(uidValidity, uidNext uint32, fetched map[uint32]string) {
	if c.UIDValidity != uidValidity || c.Seen == nil {
		c.UIDValidity, c.Next, c.Seen = uidValidity, 0, make(map[string]bool)
	}
	for u, content := range fetched {
		if u >= c.Next {
			c.Seen[content] = true
		}
	}
	c.Next = max(c.Next, uidNext)
}

// Missing returns those of the contents that it never fetched (invariant I9).
func (c *UIDNext) Missing(contents []string) []string {
	var out []string
	for _, x := range contents {
		if !c.Seen[x] {
			out = append(out, x)
		}
	}
	return out
}

// Clone returns an independent copy.
func (c *UIDNext) Clone() *UIDNext {
	n := *c
	n.Seen = maps.Clone(c.Seen)
	return &n
}
