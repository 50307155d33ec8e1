package crdt

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocumentation: the tables of the package documentation name files, scripts
// and tests that exist, and no script of a counterexample is missing in them.
func TestDocumentation(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	table := regexp.MustCompile(`(?m)^//\t(A|C?[0-9][0-9.]*) .*$`).FindAllString(string(doc), -1)
	if len(table) < 30 {
		t.Fatalf("the tables have %d lines", len(table))
	}
	scripts, err := filepath.Glob("testdata/scripts/*")
	if err != nil {
		t.Fatal(err)
	}
	tests := testNames(t, ".", "")
	tests = append(tests, testNames(t, "../mailstore", "mailstore.")...)
	tests = append(tests, testNames(t, "../comm", "comm.")...)
	tests = append(tests, testNames(t, "../mailnode", "mailnode.")...)
	tests = append(tests, testNames(t, "../e2e", "e2e.")...)
	named := map[string]bool{}
	isCounterexample := regexp.MustCompile(`^c[0-9]{2}_`)
	for _, line := range table {
		found := 0
		for _, word := range strings.Fields(line) {
			named[word] = true
			ok := false
			switch {
			case strings.HasSuffix(word, ".go"):
				_, err := os.Stat(word)
				if err != nil {
					t.Errorf("%s: %v", line, err)
				}
				continue
			case strings.Contains(word, "Test"):
				ok = slices.Contains(tests, word)
			case isCounterexample.MatchString(word) || slices.Contains(scripts, "testdata/scripts/"+word):
				ok = slices.Contains(scripts, "testdata/scripts/"+word)
			default:
				continue
			}
			if found++; !ok {
				t.Errorf("%s\nthere is no %s", line, word)
			}
		}
		if found == 0 {
			t.Errorf("%s\nnames no test", line)
		}
	}
	for _, s := range scripts {
		if name := filepath.Base(s); isCounterexample.MatchString(name) && !named[name] {
			t.Errorf("script %s is not in the table", name)
		}
	}
}

// testNames lists the tests of a package.
func testNames(t *testing.T, dir, prefix string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(data), -1) {
			names = append(names, prefix+m[1])
		}
	}
	return names
}
