package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// usage is what the server's processes use, from /proc. On systems without it
// everything is zero.
type usage struct {
	procs    int
	rss, pss int64   // bytes; PSS splits shared pages among their users
	cpu      float64 // seconds, ended children that were waited for included
}

// clockTick is USER_HZ, 100 on every Linux port that Go supports.
const clockTick = 100

func statFields(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')') // the name may hold anything
	if i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}

// descendants returns the roots and all processes below them.
func descendants(roots []int) []int {
	children := map[int][]int{}
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, e := range entries {
		pid, _ := strconv.Atoi(filepath.Base(e))
		if f := statFields(pid); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], pid)
		}
	}
	seen := map[int]bool{}
	var out []int
	var walk func(int)
	walk = func(p int) {
		if seen[p] {
			return
		}
		seen[p] = true
		out = append(out, p)
		for _, k := range children[p] {
			walk(k)
		}
	}
	for _, r := range roots {
		walk(r)
	}
	return out
}

// measure adds up what roots and their descendants use; memory is read only on
// demand, because the kernel walks all page tables for it.
func measure(roots []int, memory bool) usage {
	var u usage
	if len(roots) == 0 {
		return u
	}
	for _, pid := range descendants(roots) {
		f := statFields(pid)
		if len(f) < 15 {
			continue
		}
		u.procs++
		u.cpu += ticks(f[11:15]) // utime stime cutime cstime
		if memory {
			u.addMemory(pid)
		}
	}
	return u
}

func ticks(fields []string) (seconds float64) {
	for _, x := range fields {
		n, _ := strconv.ParseFloat(x, 64)
		seconds += n / clockTick
	}
	return seconds
}

func (u *usage) addMemory(pid int) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		k, v, _ := strings.Cut(sc.Text(), ":")
		n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(v, "kB")), 10, 64)
		switch k {
		case "Rss":
			u.rss += n << 10
		case "Pss":
			u.pss += n << 10
		}
	}
}

// ParsePIDs reads process IDs, "12,34", or "@file" with one a line.
func ParsePIDs(s string) ([]int, error) {
	if name, ok := strings.CutPrefix(s, "@"); ok {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s = strings.Join(strings.Fields(string(b)), ",")
	}
	var out []int
	for f := range strings.SplitSeq(s, ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("bad process ID %q", f)
		}
		out = append(out, n)
	}
	return out, nil
}

func cgroupMemory(dir string) int64 {
	if dir == "" {
		return 0
	}
	b, err := os.ReadFile(filepath.Join(dir, "memory.current"))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}

// machine is CPU time spent so far by the whole machine and by us, in seconds.
type machine struct{ busy, steal, self float64 }

func readMachine() machine {
	var m machine
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal
	if len(f) > 8 {
		m.busy = ticks(f[1:4]) + ticks(f[6:8])
		m.steal = ticks(f[8:9])
	}
	if s := statFields(os.Getpid()); len(s) > 12 {
		m.self = ticks(s[11:13])
	}
	return m
}

// run brackets the measured part of a benchmark.
type run struct {
	roots  []int
	start  time.Time
	before usage
	mach   machine
}

func (o *Options) begin() *run {
	r := &run{roots: o.PIDs, before: measure(o.PIDs, false), mach: readMachine()}
	r.start = time.Now()
	return r
}

// end returns the wall-clock time and what else went on meanwhile: the server's
// CPU time, ours, the share of the machine's CPU time that neither used (kernel
// threads that write for the server are in it), and the share that the
// hypervisor took. Runs with much of the last two are best thrown away.
func (r *run) end() (wall time.Duration, extra map[string]float64) {
	wall, extra = time.Since(r.start), map[string]float64{}
	server := measure(r.roots, false).cpu - r.before.cpu
	to := readMachine()
	total := wall.Seconds() * float64(runtime.NumCPU())
	if total <= 0 || to.busy == 0 {
		return wall, extra
	}
	self := to.self - r.mach.self
	extra["other_cpu_pct"] = max(0, 100*(to.busy-r.mach.busy-self-server)/total)
	extra["steal_pct"] = 100 * (to.steal - r.mach.steal) / total
	extra["client_cpu_s"] = self
	if len(r.roots) > 0 {
		extra["server_cpu_s"] = server
	}
	return wall, extra
}
