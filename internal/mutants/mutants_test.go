package main

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFaultsApply: whoever changes the code finds out at once which faults are
// to be written anew, although running them all takes minutes.
func TestFaultsApply(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{root: root}
	names := map[string]bool{}
	for _, f := range faults {
		if names[f.name] || f.what == "" || len(f.edits) == 0 {
			t.Errorf("%s: twice, or without a description or edit", f.name)
		}
		names[f.name] = true
		files, err := r.mutate(&f)
		if err != nil {
			t.Error(err)
			continue
		}
		for file, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), file, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
		}
		if _, err := regexp.Compile(f.tests); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

// TestMutantIsCaught runs one fault through all of it, and one that changes
// nothing, which must survive.
func TestMutantIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	caught := fault{name: "caught", edits: []edit{{"crdt/flag.go", "t < f.Time || t == f.Time", "t == f.Time"}}, pkg: "./crdt", tests: "TestFlagTies|TestVC|TestSameValueLater"}
	survives := fault{name: "survives", edits: []edit{{"crdt/flag.go", "package crdt", "package crdt // the same"}}, pkg: "./crdt", tests: "TestFlagTies"}
	broken := fault{name: "broken", edits: []edit{{"crdt/flag.go", "package crdt", "package crdt; var x string = 1"}}, pkg: "./crdt", tests: "TestFlagTies"}
	r := &runner{root: "../..", timeout: 60e9}
	r.root, _ = filepath.Abs(r.root)
	if res, err := r.run(t.Context(), &survives); err != nil || len(res.failed) > 0 {
		t.Errorf("no fault: %v, %v", res.failed, err)
	}
	if res, err := r.run(t.Context(), &caught); err != nil || len(res.failed) == 0 {
		t.Errorf("fault: %v, %v", res.failed, err)
	}
	if _, err := r.run(t.Context(), &broken); err == nil || !strings.Contains(err.Error(), "does not compile") {
		t.Errorf("fault that does not compile: %v", err)
	}
}

func TestInnermost(t *testing.T) {
	got := innermost([]string{"TestB", "TestA/x", "TestA", "TestAB", "TestA/x/y"})
	if want := []string{"TestA/x/y", "TestAB", "TestB"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
