package sim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Config is what a world is made from. It is the first line of a script.
type Config struct {
	Seed     uint64 // of the identities: replicas, starts, contents
	Replicas int    // 2..5; replica i has slot i
	Accounts int
	Leader   int // the replica that re-issues UIDs first, 0: none
	Idle     int // accounts that a replica keeps in memory while nobody uses them
	Window   int // bytes under way to one peer, for one origin
	Batch    int // operations applied in one go
	Vanished int // UIDs that denote nothing any more that a mailbox remembers, 0: many
	Hold     int // milliseconds for which deliveries stay hidden
}

// fields lists what a configuration line names.
func (c *Config) fields() []struct {
	name  string
	value *int
} {
	return []struct {
		name  string
		value *int
	}{
		{"replicas", &c.Replicas}, {"accounts", &c.Accounts}, {"leader", &c.Leader},
		{"idle", &c.Idle}, {"window", &c.Window}, {"batch", &c.Batch}, {"vanished", &c.Vanished},
		{"hold", &c.Hold},
	}
}

// String returns the first line of a script.
func (c Config) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "world seed=%d", c.Seed)
	for _, f := range c.fields() {
		fmt.Fprintf(&b, " %s=%d", f.name, *f.value)
	}
	return b.String()
}

func parseConfig(line string) (Config, error) {
	var c Config
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != "world" {
		return c, fmt.Errorf("a script begins with a line \"world ...\", not %q", line)
	}
	for _, w := range words[1:] {
		name, text, _ := strings.Cut(w, "=")
		if err := c.set(name, text); err != nil {
			return c, fmt.Errorf("%s: %w", w, err)
		}
	}
	return c, c.check()
}

func (c *Config) set(name, text string) (err error) {
	if name == "seed" {
		c.Seed, err = strconv.ParseUint(text, 10, 64)
		return err
	}
	for _, f := range c.fields() {
		if f.name == name {
			*f.value, err = strconv.Atoi(text)
			return err
		}
	}
	return errors.New("no such setting")
}

func (c *Config) check() error {
	if c.Replicas < 1 || c.Replicas > 15 || c.Accounts < 1 || c.Leader < 0 || c.Leader > c.Replicas || c.Hold < 0 {
		return fmt.Errorf("impossible world: %v", *c)
	}
	return nil
}

// Step is one line of a script: an action of the table and its arguments. It
// needs no random numbers: a step that has become impossible is skipped.
type Step struct {
	Action string
	Args   []string
}

// String returns the step's line.
func (s Step) String() string { return strings.Join(append([]string{s.Action}, s.Args...), " ") }

// Script is a run written down.
type Script struct {
	Config Config
	Steps  []Step
}

// WriteTo writes the script, a line for each step.
func (s *Script) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintln(&b, s.Config)
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// ReadScript reads what [Script.WriteTo] wrote. Empty lines and those that
// begin with # are left out.
func ReadScript(r io.Reader) (*Script, error) {
	s := &Script{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if s.Config.Replicas == 0 {
			c, err := parseConfig(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			s.Config = c
			continue
		}
		words := strings.Fields(line)
		if actions[words[0]] == nil {
			return nil, fmt.Errorf("line %d: no action %q", n, words[0])
		}
		s.Steps = append(s.Steps, Step{words[0], words[1:]})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	if s.Config.Replicas == 0 {
		return nil, errors.New("the script is empty")
	}
	return s, nil
}

// errSkip says that a step is not possible in the present state of the world.
var errSkip = errors.New("not possible now")

// args are the arguments of a step, and what was wrong with them.
type args struct {
	list []string
	bad  bool
}

// text returns the next argument.
func (a *args) text() string {
	if len(a.list) == 0 {
		a.bad = true
		return ""
	}
	s := a.list[0]
	a.list = a.list[1:]
	return s
}

// number returns the next argument as a number.
func (a *args) number() int {
	n, err := strconv.Atoi(a.text())
	a.bad = a.bad || err != nil
	return n
}

// texts returns the next argument as a list, "-" being empty.
func (a *args) texts() []string {
	s := a.text()
	if s == "-" || s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// words formats arguments.
func words(list ...any) []string {
	out := make([]string, len(list))
	for i, x := range list {
		if l, ok := x.([]string); ok {
			if x = strings.Join(l, ","); len(l) == 0 {
				x = "-"
			}
		}
		out[i] = fmt.Sprint(x)
	}
	return out
}
