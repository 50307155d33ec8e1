package crdt

import "fmt"

// Content is what keeps the content of a message, which all copies share, from
// being deleted at one replica.
//
// The instances there are one reason. A removal whose operation is not causally
// stable is another: a replica that has not applied it may still copy or move
// the instance that it removed, and that operation refers to the content (C10).
// Every removal counts, not only the last or the first one (C20).
type Content struct {
	Live    uint32 // instances here, hidden ones too
	Removed uint32 // operations that removed some and are not known to be stable
}

// Garbage reports whether the content may be deleted: nothing refers to it, and
// no operation that still may arrive does.
func (c Content) Garbage() bool { return c == Content{} }

// Retain counts one more instance.
func (c *Content) Retain() { c.Live++ }

// Release counts one instance less. recorded tells that its operation has
// removed another instance of the same content before.
func (c *Content) Release(recorded bool) {
	if c.Live > 0 {
		c.Live--
	}
	if !recorded {
		c.Removed++
	}
}

// Removal is a content of which an operation removed instances.
type Removal struct {
	Root Root
	By   Dot
}

// Contents is the part of an account's state that [Collect] changes. Like a
// [State] it belongs to one transaction. An implementation may decline to give
// up a content for a while, by not passing its removals to Collect.
type Contents interface {
	// Content returns what refers to a content; the zero value if nothing does.
	Content(Root) (Content, error)
	PutContent(Root, Content) error
	// DropRemoval forgets what Release recorded, and reports whether it had.
	DropRemoval(Removal) (bool, error)
	// DeleteContent deletes a content with everything that was kept about it.
	DeleteContent(Root) error
}

// Collect is told of recorded removals, and which operations are causally stable
// (comm/causal): it forgets those that are, and deletes the contents that nothing
// needs any more (crdt.md 6.2). What stable says must have been applied here.
// Removals that are not stable stay as they are. It touches a constant number of
// records for each removal and never reads others. It returns what it deleted.
func Collect(s Contents, removals []Removal, stable VC) ([]Root, error) {
	var deleted []Root
	for _, r := range removals {
		if !stable.Has(r.By) {
			continue
		}
		garbage, err := settleRemoval(s, r)
		if err != nil {
			return nil, fmt.Errorf("collect content %x: %w", r.Root, err)
		}
		if garbage {
			deleted = append(deleted, r.Root)
		}
	}
	return deleted, nil
}

func settleRemoval(s Contents, r Removal) (garbage bool, err error) {
	recorded, err := s.DropRemoval(r)
	if err != nil || !recorded {
		return false, err
	}
	c, err := s.Content(r.Root)
	if err != nil {
		return false, err
	}
	if c.Removed > 0 {
		c.Removed--
	}
	if !c.Garbage() {
		return false, s.PutContent(r.Root, c)
	}
	return true, s.DeleteContent(r.Root)
}
