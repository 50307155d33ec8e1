package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key   string // as in Workers.worker-1.Slot; empty: the file as a whole
	Value string // as in the file; empty if absent or secret
	Text  string // what is wrong and what to do about it
}

// String returns the problem as one line.
func (p Problem) String() string {
	switch {
	case p.Key == "":
		return p.Text
	case p.Value == "":
		return p.Key + ": " + p.Text
	}
	return p.Key + " = " + p.Value + ": " + p.Text
}

// Error is all that is wrong with a configuration.
type Error struct {
	Path     string
	Problems []Problem
}

// Error returns a line for the file and one for each problem.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Problems) == 1 {
		fmt.Fprintf(&b, "%s: 1 problem:", e.Path)
	} else {
		fmt.Fprintf(&b, "%s: %d problems:", e.Path, len(e.Problems))
	}
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.String())
	}
	return b.String()
}

// problems collects what is wrong with the file at path.
type problems struct {
	path string
	list []Problem
}

// add notes a problem. value is shown as it would be written in TOML; nil
// shows none.
func (p *problems) add(key string, value any, format string, args ...any) {
	p.list = append(p.list, Problem{Key: key, Value: show(value), Text: fmt.Sprintf(format, args...)})
}

// err returns the collected problems as an error, nil if there are none.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	return &Error{Path: p.path, Problems: p.list}
}

// show formats a value for an error, shortened to what a line can bear.
func show(value any) string {
	const most = 120
	var s string
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		s = fmt.Sprintf("%q", v)
	case map[string]any:
		return "(a table)"
	case []any, []map[string]any:
		return "(a list)"
	default:
		s = fmt.Sprint(v)
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// suggest returns the known word that a misspelt one was probably meant to
// be, or "".
func suggest(word string, known []string) string {
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, k := range known {
		w, l := strings.ToLower(word), strings.ToLower(k)
		if w == l {
			return k
		}
		d := distance(w, l)
		if len(w) >= 4 && strings.HasPrefix(l, w) || len(l) >= 4 && strings.HasPrefix(w, l) {
			d = 1 // cut short, or too long
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or change to get from a
// to b (Levenshtein). Long words are cut: they are no slips of the pen.
func distance(a, b string) int {
	const most = 64
	a, b = a[:min(len(a), most)], b[:min(len(b), most)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal = row[j]
			row[j] = min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
