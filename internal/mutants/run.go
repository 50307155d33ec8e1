package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// runner runs the module's tests with faults.
type runner struct {
	root    string // of the module, absolute
	timeout time.Duration
	log     io.Writer // what failing tests print, may be nil
}

// result is what became of a run.
type result struct {
	failed []string // tests, the innermost only
	took   time.Duration
}

// usesRapid names the packages whose tests take rapid's flags.
var usesRapid = []string{"./crdt", "./comm/causal"}

// Random tests choose the same every time, and as often as without -short.
const seed, checks = "1", "500"

// sound makes sure that no test fails without a fault: else it proves nothing.
func (r *runner) sound(ctx context.Context, chosen []fault) error {
	tests := make(map[string][]string)
	var packages []string
	for _, f := range chosen {
		if !slices.Contains(packages, f.pkg) {
			packages = append(packages, f.pkg)
		}
		tests[f.pkg] = append(tests[f.pkg], f.tests)
	}
	for _, pkg := range packages {
		res, err := r.test(ctx, "", pkg, strings.Join(tests[pkg], "|"))
		if err != nil {
			return fmt.Errorf("without faults: %w", err)
		}
		if len(res.failed) > 0 {
			return fmt.Errorf("%s fails without any fault", strings.Join(res.failed, ", "))
		}
	}
	return nil
}

// run runs a fault's tests with the fault.
func (r *runner) run(ctx context.Context, f *fault) (result, error) {
	files, err := r.mutate(f)
	if err != nil {
		return result{}, err
	}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	overlay, err := r.overlay(dir, files)
	if err != nil {
		return result{}, fmt.Errorf("overlay: %w", err)
	}
	return r.test(ctx, overlay, f.pkg, f.tests)
}

// overlay writes changed files to dir and returns the path of the list by which
// the go command finds them.
func (r *runner) overlay(dir string, files map[string]string) (string, error) {
	replace := make(map[string]string)
	for file, text := range files {
		path := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(r.root, file)] = path
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
}

// test runs tests of one package. An error says that they could not be run.
func (r *runner) test(ctx context.Context, overlay, pkg, tests string) (result, error) {
	args := []string{"test", "-json", "-short", "-count=1", "-vet=off", "-timeout=" + r.timeout.String(), "-run=^(" + tests + ")$"}
	if overlay != "" {
		args = append(args, "-overlay="+overlay)
	}
	args = append(args, pkg)
	if slices.Contains(usesRapid, pkg) {
		args = append(args, "-rapid.nofailfile", "-rapid.shrinktime=0s", "-rapid.seed="+seed, "-rapid.checks="+checks)
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	res := result{took: time.Since(began)}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return res, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	ran, text := 0, new(strings.Builder)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var e event
		if d.Decode(&e) != nil {
			break // the end, or what a killed process left
		}
		switch {
		case e.Action == "output" || e.Action == "build-output":
			text.WriteString(e.Output)
		case e.Action == "build-fail":
			return res, fmt.Errorf("%s does not compile:\n%s%s", pkg, text, &stderr)
		case e.Test != "" && e.Action == "run":
			ran++
		case e.Test != "" && e.Action == "fail":
			res.failed = append(res.failed, e.Test)
		}
	}
	switch {
	case ctx.Err() != nil:
		return res, ctx.Err()
	case ran == 0:
		return res, fmt.Errorf("no test of %s is named %s:\n%s%s", pkg, tests, text, &stderr)
	case err != nil && len(res.failed) == 0:
		return res, fmt.Errorf("tests of %s end without a failing one:\n%s%s", pkg, text, &stderr)
	}
	if r.log != nil && len(res.failed) > 0 {
		fmt.Fprintln(r.log, text)
	}
	res.failed = innermost(res.failed)
	return res, nil
}

// maxNamed is how many subtests of one test the table names.
const maxNamed = 2

// String lists the failed tests, a word each.
func (r result) String() string {
	var words []string
	for i, n := 0, 0; i < len(r.failed); i, n = i+n, 0 {
		top, _, _ := strings.Cut(r.failed[i], "/")
		for i+n < len(r.failed) && (r.failed[i+n] == top || strings.HasPrefix(r.failed[i+n], top+"/")) {
			n++
		}
		words = append(words, r.failed[i:i+min(n, maxNamed)]...)
		if n > maxNamed {
			words[len(words)-1] += fmt.Sprintf(" (and %d more)", n-maxNamed)
		}
	}
	return strings.Join(words, ", ")
}

// innermost leaves out tests of which a subtest is listed, and sorts.
func innermost(list []string) []string {
	slices.Sort(list)
	return slices.DeleteFunc(slices.Clone(list), func(t string) bool {
		return slices.ContainsFunc(list, func(u string) bool { return strings.HasPrefix(u, t+"/") })
	})
}
