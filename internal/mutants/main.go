package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run checks the faults that the arguments choose. An error says how many of
// them were not caught, or what prevented the check.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	root := flags.String("C", ".", "root `directory` of the module")
	which := flags.String("run", "", "check only the faults whose names match `regexp`")
	list := flags.Bool("list", false, "print the faults, run nothing")
	verbose := flags.Bool("v", false, "print what the failing tests print")
	timeout := flags.Duration("timeout", 5*time.Minute, "longest time of one run of tests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*which)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(*root)
	if err != nil {
		return fmt.Errorf("root of the module: %w", err)
	}
	if *list {
		return printList(out, chosen)
	}
	r := runner{root: dir, timeout: *timeout}
	if *verbose {
		r.log = out
	}
	return check(ctx, &r, chosen, out)
}

func choose(which string) ([]fault, error) {
	re, err := regexp.Compile(which)
	if err != nil {
		return nil, fmt.Errorf("-run: %w", err)
	}
	var chosen []fault
	for _, f := range faults {
		if re.MatchString(f.name) {
			chosen = append(chosen, f)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("-run %s: no such fault", which)
	}
	return chosen, nil
}

func printList(out io.Writer, chosen []fault) error {
	for _, f := range chosen {
		fmt.Fprintf(out, "%s: %s\n", f.name, f.what)
		for _, e := range f.edits {
			fmt.Fprintf(out, "    %s\n", e.file)
		}
		fmt.Fprintf(out, "    to be caught by %s: %s\n", f.pkg, strings.ReplaceAll(f.tests, "|", ", "))
	}
	return nil
}

// check runs all chosen faults and prints the table.
func check(ctx context.Context, r *runner, chosen []fault, out io.Writer) error {
	began := time.Now()
	for _, f := range chosen {
		if _, err := r.mutate(&f); err != nil {
			return err
		}
	}
	if err := r.sound(ctx, chosen); err != nil {
		return err
	}
	wide := len("mutant")
	for _, f := range chosen {
		wide = max(wide, len(f.name))
	}
	fmt.Fprintf(out, "%-*s  seconds  caught by\n", wide, "mutant")
	survivors := 0
	for _, f := range chosen {
		res, err := r.run(ctx, &f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if len(res.failed) == 0 {
			survivors++
		}
		fmt.Fprintf(out, "%-*s  %7.1f  %s\n", wide, f.name, res.took.Seconds(), cmp.Or(res.String(), "NOTHING"))
	}
	fmt.Fprintf(out, "%d of %d mutants caught in %s\n", len(chosen)-survivors, len(chosen), time.Since(began).Round(time.Second))
	if survivors > 0 {
		return fmt.Errorf("%d survived: the tests have a hole", survivors)
	}
	return nil
}
