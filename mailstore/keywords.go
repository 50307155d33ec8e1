package mailstore

import (
	"slices"
	"strings"
)

// minKeywordSets is how many keyword sets an open mailbox may keep unused.
const minKeywordSets = 256

// keywordSets interns the keyword sets of an open mailbox: most messages that
// have keywords have one of few sets. Sets that no message has any more are
// dropped when they are as many as the others.
type keywordSets struct {
	sets  map[string]*[]string
	limit int // length of sets at which unused ones are looked for
}

func newKeywordSets() keywordSets {
	return keywordSets{sets: make(map[string]*[]string), limit: minKeywordSets}
}

// of returns the interned set of sorted names.
func (k *keywordSets) of(names []string) *[]string {
	if len(names) == 0 {
		return nil
	}
	id := strings.Join(names, " ") // a keyword is an atom: it has no spaces
	set, ok := k.sets[id]
	if !ok {
		own := slices.Clone(names)
		set = &own
		k.sets[id] = set
	}
	return set
}

// trim drops the sets that no message of v, the newest view, has. It reads the
// view only after as many new sets as the messages had at the last time.
func (k *keywordSets) trim(v *View) {
	if len(k.sets) <= k.limit {
		return
	}
	used := make(map[string]*[]string)
	for _, c := range v.chunks {
		for i := range c.state {
			if set := c.state[i].keywords; set != nil {
				used[strings.Join(*set, " ")] = set
			}
		}
	}
	k.sets = used
	k.limit = max(minKeywordSets, 2*len(used))
}
