package bench

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Summary gathers the rows of many runs and gives medians and ranges.
type Summary struct {
	Only     *regexp.Regexp // commands to show; nil: all
	MaxNoise float64        // leave out runs with more noise_pct than this; 0: none
	groups   map[summaryKey][]Row
}

type summaryKey struct {
	mode, mix string
	conns     int
	cmd       string
	label     string
}

func (k summaryKey) compare(o summaryKey) int {
	return cmp.Or(cmp.Compare(k.mode, o.mode), cmp.Compare(k.mix, o.mix), cmp.Compare(k.conns, o.conns),
		cmp.Compare(k.cmd, o.cmd), cmp.Compare(k.label, o.label))
}

const maxRowLine = 1 << 20

// Read adds JSON lines as [Result.AppendJSON] writes them.
func (s *Summary) Read(r io.Reader) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxRowLine)
	for n := 1; sc.Scan(); n++ {
		var row Row
		if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		s.add(row)
	}
	return sc.Err()
}

func (s *Summary) add(row Row) {
	if s.Only != nil && !s.Only.MatchString(row.Cmd) || s.MaxNoise > 0 && row.Noise > s.MaxNoise {
		return
	}
	if s.groups == nil {
		s.groups = map[summaryKey][]Row{}
	}
	k := summaryKey{row.Mode, row.Mix, row.Conns, row.Cmd, row.Label}
	s.groups[k] = append(s.groups[k], row)
}

// WriteMarkdown writes a table of latencies and throughput.
func (s *Summary) WriteMarkdown(w io.Writer) {
	fmt.Fprintln(w, "| mode | mix | conns | command | server | runs | errors | ops/s | p50 ms | p95 ms | p99 ms | max ms |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, k := range slices.SortedFunc(maps.Keys(s.groups), summaryKey.compare) {
		rows := s.groups[k]
		errs := 0
		for _, r := range rows {
			errs += r.Errors
		}
		fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %d | %d | %s | %s | %s | %s | %s |\n", k.mode, k.mix, k.conns, k.cmd, k.label, len(rows), errs,
			spreadOf(rows, func(r Row) float64 { return r.OpsS }), spreadOf(rows, func(r Row) float64 { return r.P50Us / 1e3 }),
			spreadOf(rows, func(r Row) float64 { return r.P95Us / 1e3 }), spreadOf(rows, func(r Row) float64 { return r.P99Us / 1e3 }),
			spreadOf(rows, func(r Row) float64 { return r.MaxUs / 1e3 }))
	}
}

// WriteExtra writes a table of the further figures: CPU, memory.
func (s *Summary) WriteExtra(w io.Writer) {
	fmt.Fprintln(w, "| mode | mix | conns | command | server | runs | figures |\n|---|---|---|---|---|---|---|")
	for _, k := range slices.SortedFunc(maps.Keys(s.groups), summaryKey.compare) {
		values := map[string][]float64{}
		for _, r := range s.groups[k] {
			for name, v := range r.Extra {
				values[name] = append(values[name], v)
			}
		}
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(values)) {
			parts = append(parts, name+" "+newSpread(values[name]).String())
		}
		if len(parts) > 0 {
			fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %d | %s |\n", k.mode, k.mix, k.conns, k.cmd, k.label, len(s.groups[k]), strings.Join(parts, "; "))
		}
	}
}

// spread is the median and the range of a few runs.
type spread struct{ median, lo, hi float64 }

func spreadOf(rows []Row, f func(Row) float64) spread {
	v := make([]float64, len(rows))
	for i, r := range rows {
		v[i] = f(r)
	}
	return newSpread(v)
}

func newSpread(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	m := s[n/2]
	if n%2 == 0 {
		m = (s[n/2-1] + s[n/2]) / 2
	}
	return spread{m, s[0], s[n-1]}
}

// String returns "median (lo–hi)", or one number when there is no range.
func (s spread) String() string {
	f := func(x float64) string {
		switch {
		case x >= 100:
			return fmt.Sprintf("%.0f", x)
		case x >= 10:
			return fmt.Sprintf("%.1f", x)
		}
		return fmt.Sprintf("%.2f", x)
	}
	if s.lo == s.hi {
		return f(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", f(s.median), f(s.lo), f(s.hi))
}
