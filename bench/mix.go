package bench

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Mix gives the weights of commands in a closed loop. Their names are those of
// [MixCommands].
type Mix map[string]float64

// mixes are the named mixes. The mix "write" is not here: it is the [Session]
// model.
var mixes = map[string]Mix{
	// A webmail front end: lists and flags most of the time, some reading, a
	// little filing.
	"mixed": {"APPEND": 5, "STORE": 12, "EXPUNGE": 1, "FETCHBODY": 15, "FETCHENV": 18, "FETCHFLAGS": 10, "SEARCH": 7,
		"SELECT": 9, "STATUS": 10, "NOOP": 8, "LIST": 4, "CREATE": 0.5, "DELETE": 0.5},
	"read":       {"FETCHBODY": 30, "FETCHENV": 20, "FETCHFLAGS": 15, "SEARCH": 10, "SELECT": 10, "STATUS": 7, "NOOP": 5, "LIST": 3},
	"append":     {"APPEND": 1},
	"store":      {"STORE": 1},
	"fetchbody":  {"FETCHBODY": 1},
	"fetchenv":   {"FETCHENV": 1},
	"fetchflags": {"FETCHFLAGS": 1},
	"search":     {"SEARCH": 1},
	"select":     {"SELECT": 1},
	"status":     {"STATUS": 1},
	"noop":       {"NOOP": 1},
	"list":       {"LIST": 1},
	"create":     {"CREATE": 1, "DELETE": 1},
	"expunge":    {"APPEND": 2, "STOREDEL": 1, "EXPUNGE": 1},
}

// WriteMix is the mix that runs the sessions of the 2017 workload, with STORE in
// its three forms.
const WriteMix = "write"

// MixNames returns the named mixes.
func MixNames() []string {
	return append([]string{WriteMix}, slices.Sorted(maps.Keys(mixes))...)
}

// MixCommands returns the commands that a mix may be made of.
func MixCommands() []string { return slices.Sorted(maps.Keys(operations)) }

// ParseMix returns a named mix or reads NAME=WEIGHT,...
func ParseMix(s string) (Mix, error) {
	if m, ok := mixes[s]; ok {
		return m, nil
	}
	m := Mix{}
	for f := range strings.SplitSeq(s, ",") {
		name, weight, ok := strings.Cut(f, "=")
		w, err := strconv.ParseFloat(weight, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("bad mix %q: neither NAME=WEIGHT,... nor one of %s", s, strings.Join(MixNames(), " "))
		}
		m[strings.ToUpper(name)] = w
	}
	return m, nil
}

// picker draws commands by weight.
type picker struct {
	names []string
	cum   []float64
}

func newPicker(m Mix) (*picker, error) {
	p := &picker{}
	sum := 0.0
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if operations[name] == nil {
			return nil, fmt.Errorf("unknown command %q in mix; there are %s", name, strings.Join(MixCommands(), " "))
		}
		if !(m[name] >= 0) {
			return nil, fmt.Errorf("weight %v of %s in mix is no weight", m[name], name)
		}
		sum += m[name]
		p.names = append(p.names, name)
		p.cum = append(p.cum, sum)
	}
	if sum <= 0 {
		return nil, errors.New("empty mix")
	}
	return p, nil
}

// needsMessages tells whether a command of the mix works on messages by UID.
// Other mixes need no FETCH, so they run on servers that have none.
func (p *picker) needsMessages() bool {
	return slices.ContainsFunc(p.names, func(n string) bool {
		return n == "STORE" || n == "STOREDEL" || strings.HasPrefix(n, "FETCH")
	})
}

func (p *picker) pick(r *rand.Rand) string {
	x := r.Float64() * p.cum[len(p.cum)-1]
	i, _ := slices.BinarySearch(p.cum, x)
	return p.names[min(i, len(p.names)-1)]
}
