package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Row is one line of output: one command of one run. Times are microseconds.
type Row struct {
	Time   string             `json:"time"`
	Label  string             `json:"label,omitempty"`
	Mode   string             `json:"mode"`
	Mix    string             `json:"mix,omitempty"`
	Conns  int                `json:"conns,omitempty"`
	Cmd    string             `json:"cmd"`
	N      int                `json:"n"` // succeeded
	Errors int                `json:"errors"`
	MixPct float64            `json:"mix_pct,omitempty"` // share of all commands
	OpsS   float64            `json:"ops_s,omitempty"`
	MeanUs float64            `json:"mean_us"`
	MinUs  float64            `json:"min_us"`
	P50Us  float64            `json:"p50_us"`
	P95Us  float64            `json:"p95_us"`
	P99Us  float64            `json:"p99_us"`
	MaxUs  float64            `json:"max_us"`
	WallS  float64            `json:"wall_s,omitempty"`
	Noise  float64            `json:"noise_pct"` // other_cpu_pct + steal_pct of the run, where known
	Extra  map[string]float64 `json:"extra,omitempty"`
}

// Result is what a measurement found.
type Result struct {
	Rows   []Row
	Errors map[string]int // how often each error text came
	Notes  []string
}

// Failed returns how many commands failed.
func (r *Result) Failed() (n int) {
	for _, row := range r.Rows {
		if row.Cmd != "TOTAL" {
			n += row.Errors
		}
	}
	return n
}

// Row returns the row of a command, if there is one.
func (r *Result) Row(cmd string) (Row, bool) {
	for _, row := range r.Rows {
		if row.Cmd == cmd {
			return row, true
		}
	}
	return Row{}, false
}

// AppendJSON appends the rows as JSON lines to a file; "-" stands for out.
func (r *Result) AppendJSON(name string, out io.Writer) error {
	if name == "-" {
		return r.writeJSON(out)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(r.writeJSON(f), f.Close())
}

func (r *Result) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	for _, row := range r.Rows {
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

// WriteTable writes the rows for people to read.
func (r *Result) WriteTable(w io.Writer) {
	if len(r.Rows) == 0 {
		return
	}
	h := r.Rows[0]
	fmt.Fprintf(w, "\n%s  mode=%s mix=%s conns=%d wall=%.2fs\n", h.Label, h.Mode, h.Mix, h.Conns, h.WallS)
	fmt.Fprintf(w, "%-22s %8s %6s %6s %10s %9s %9s %9s %9s %9s\n", "command", "n", "errs", "mix %", "ops/s", "mean ms", "p50 ms", "p95 ms", "p99 ms", "max ms")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%-22s %8d %6d %6.1f %10.1f %9.3f %9.3f %9.3f %9.3f %9.3f\n",
			x.Cmd, x.N, x.Errors, x.MixPct, x.OpsS, x.MeanUs/1e3, x.P50Us/1e3, x.P95Us/1e3, x.P99Us/1e3, x.MaxUs/1e3)
	}
	for _, x := range r.Rows {
		if len(x.Extra) > 0 {
			fmt.Fprintf(w, "%s: %s\n", x.Cmd, figures(x.Extra))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(w, "error x%d  %s\n", r.Errors[k], k)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, "note:", n)
	}
}

func figures(m map[string]float64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s=%.4g", k, m[k]))
	}
	return strings.Join(parts, " ")
}
