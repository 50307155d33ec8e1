package figures

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/crdt/measure"
)

// table writes a table in Markdown.
type table struct{ strings.Builder }

func newTable(columns ...string) *table {
	t := new(table)
	t.row(columns...)
	for range columns {
		t.WriteString("|---")
	}
	t.WriteString("|\n")
	return t
}

func (t *table) row(cells ...string) {
	for _, c := range cells {
		if c == "" {
			c = "–"
		}
		t.WriteString("| " + c + " ")
	}
	t.WriteString("|\n")
}

// number formats a spread to three significant digits, the range in brackets.
func (s spread) number() string {
	if s.low == s.high {
		return digits(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

func digits(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.001:
		return strconv.FormatFloat(v, 'f', 4, 64)
	case v < 1:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// deepest formats the most re-issues of one message.
func (o *outcome) deepest() string { return strconv.Itoa(int(o.depth.high)) }

// seconds formats a time: milliseconds below two seconds.
func seconds(v float64) string {
	d := time.Duration(v * float64(time.Second))
	if d < 2*time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func load(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// steadyTable is about messages that arrive all the time, with a client
// everywhere.
func steadyTable(s *study) string {
	design := designSteady()
	t := newTable("λ·RTT", "n", "re-issues per message", "design", "deepest", "design",
		"re-downloads per message and client", "design", "the same, asking every 20 s",
		"UIDs used per message", "all agree after: half, 99 %, all", "design: all")
	for _, x := range loads() {
		for _, n := range groups() {
			o, d := s.of(s.steady(x, n)), design[place{x, n}]
			t.row(load(x), strconv.Itoa(n), o.reissues.number(), d.reissues, o.deepest(), d.depth,
				o.idle.number(), d.again, o.polling.number(), o.span.number(), o.agreement(), d.settled)
		}
	}
	return t.String()
}

func (o *outcome) agreement() string {
	return seconds(o.median.median) + ", " + seconds(o.most.median) + ", " + seconds(o.slowest.high)
}

// cutTable is about replicas that heard nothing of each other.
func cutTable(s *study) string {
	all, one := designCut()
	t := newTable("n", "who reads", "re-issues per message", "design", "deepest",
		"re-downloads per message and client", "design", "the same, asking every 20 s",
		"UIDs used per message", "settled after", "design")
	for _, n := range groups() {
		for _, who := range []struct {
			name    string
			watched []int
			design  promised
		}{{readAll, nil, all[n]}, {readLeader, []int{0}, one[n]}, {readOther, []int{n - 1}, one[n]}} {
			c := s.cut(s.scale.Cut, n)
			c.Watched = who.watched
			o, d := s.of(c), who.design
			t.row(strconv.Itoa(n), who.name, o.reissues.number(), d.reissues, o.deepest(),
				o.idle.number(), d.again, o.polling.number(), o.span.number(), seconds(o.settled.high), d.settled)
		}
	}
	return t.String()
}

// readersTable is about three replicas of which not all have readers.
func readersTable(s *study) string {
	t := newTable("λ·RTT", "who reads", "re-issues per message", "design",
		"re-downloads per message and client", "design", "all agree after: half, 99 %, all")
	for _, x := range []float64{0.1, 1} {
		design := designReaders()[x]
		for _, who := range []struct {
			name    string
			watched []int
		}{{readAll, nil}, {readTwo, []int{0, 1}}, {readLeader, []int{0}}, {readOther, []int{1}}} {
			c := s.steady(x, 3)
			c.Watched = who.watched
			o, d := s.of(c), design[who.name]
			if who.watched == nil {
				d = designSteady()[place{x, 3}]
			}
			t.row(load(x), who.name, o.reissues.number(), d.reissues, o.idle.number(), d.again, o.agreement())
		}
	}
	return t.String()
}

// gapTable is about the UIDs that the leader leaves free before a batch.
func gapTable(s *study) string {
	t := newTable("n", "gap", "re-issues per message", "deepest", "re-downloads per message and client", "UIDs used per message")
	for _, n := range []int{3, 5} {
		for _, gap := range []crdt.UID{0, 128, 256, 1024} {
			c := s.steady(1, n)
			if standard := crdt.DefaultPolicy(); gap != standard.Gap { // else it was run already
				c.Policy = standard
				c.Policy.Gap = gap
			}
			o := s.of(c)
			t.row(strconv.Itoa(n), fmt.Sprint(uint64(gap)), o.reissues.number(), o.deepest(), o.idle.number(), o.span.number())
		}
	}
	return t.String()
}

// leaderlessTable is about groups whose leader is down. Its runs under steady
// load are shorter, because what waits for a quiet moment piles up.
func leaderlessTable(s *study) string {
	steady := func(load float64, n int) measure.Config {
		c := s.steady(load, n)
		c.Load /= 4
		return c
	}
	t := newTable("n", "case", "re-issues per message", "deepest", "re-downloads per message and client",
		"all agree after: half, 99 %, all")
	for _, n := range groups() {
		for _, k := range []struct {
			name   string
			config measure.Config
		}{{"λ·RTT = 0.1", steady(0.1, n)}, {"λ·RTT = 1", steady(1, n)}, {s.cutName(), s.cut(s.scale.Cut, n)}} {
			k.config.Rule = measure.WithoutLeader
			o := s.of(k.config)
			t.row(strconv.Itoa(n), k.name, o.reissues.number(), o.deepest(), o.idle.number(), o.agreement())
		}
	}
	return t.String()
}

func (s *study) cutName() string { return fmt.Sprintf("cut of %.0f s", s.scale.Cut.Seconds()) }

// naiveTable is about the rule that everybody re-issues at once.
func naiveTable(s *study) string {
	t := newTable("n", "delays", "re-issues per message", "by the rule of pluto", "deepest", "largest UID per message", "runs that had not ended")
	for _, n := range groups() {
		for _, k := range []struct {
			name string
			vary bool
		}{{"all equal", false}, {"± 20 %", true}} {
			o := s.of(s.futile(n, measure.ByEverybody, k.vary))
			ours := s.of(s.futile(n, measure.ByLeader, k.vary))
			t.row(strconv.Itoa(n), k.name, o.reissues.number(), ours.reissues.number(), o.deepest(), o.span.number(),
				fmt.Sprintf("%d of %d", o.endless, o.runs))
		}
	}
	return t.String()
}

// trafficTable is about what the replicas tell each other only because of UIDs.
func trafficTable(s *study) string {
	t := newTable("λ·RTT", "n", "operations per message", "bytes per message")
	for _, x := range loads() {
		for _, n := range groups() {
			o := s.of(s.steady(x, n))
			t.row(load(x), strconv.Itoa(n), o.operations.number(), o.bytes.number())
		}
	}
	return t.String()
}

// setting says how the figures were made.
func setting(s *study) string {
	return fmt.Sprintf("Medians of %d runs (seeds 1 to %d); in brackets the lowest and the highest run where they differ. "+
		"About %d messages in a run under steady load. Round trip %v, each delay longer or shorter by up to %.0f %%.\n",
		s.scale.Seeds, s.scale.Seeds, s.scale.Messages, rtt, jitter*100)
}
