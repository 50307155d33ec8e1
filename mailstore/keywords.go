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
//
// Keywords that differ only in case are one (RFC 9051 section 2.3.2), and messages
// may come with different spellings of it, by APPEND, by COPY from another mailbox,
// or from another replica. All are shown as the first of them that the mailbox has.
type keywordSets struct {
	sets  map[string]*[]string // by the names as messages have them
	shown map[string]string    // spellings, by keyword in lower case
	limit int                  // length of sets at which unused ones are looked for
}

func newKeywordSets() keywordSets {
	return keywordSets{sets: make(map[string]*[]string), shown: make(map[string]string), limit: minKeywordSets}
}

// of returns the interned set of sorted names, in the spelling of the mailbox.
func (k *keywordSets) of(names []string) *[]string {
	if len(names) == 0 {
		return nil
	}
	id := strings.Join(names, " ") // a keyword is an atom: it has no spaces
	set, ok := k.sets[id]
	if ok {
		return set
	}
	spelt := make([]string, len(names))
	for i, name := range names {
		spelt[i] = k.spell(name)
	}
	slices.Sort(spelt)
	if set = &spelt; !slices.Equal(spelt, names) {
		set = k.of(spelt)
	}
	k.sets[id] = set
	return set
}

// spell returns the spelling of a keyword in the mailbox, which is its own if it is
// the first.
func (k *keywordSets) spell(name string) string {
	folded := strings.ToLower(name)
	if have, ok := k.shown[folded]; ok {
		return have
	}
	k.shown[folded] = name
	return name
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
	clear(k.shown)
	for _, set := range used {
		for _, name := range *set {
			k.shown[strings.ToLower(name)] = name
		}
	}
	k.limit = max(minKeywordSets, 2*len(used))
}
