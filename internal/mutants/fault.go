package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fault is one deliberate mistake.
type fault struct {
	name  string
	what  string // what goes wrong; crdt.md's section or counterexample
	edits []edit
	pkg   string // whose tests must notice
	tests string // which ones: a regular expression as for go test -run
}

// edit replaces a text that is in a file exactly once.
type edit struct{ file, old, new string }

// mutate returns the changed files of a fault, by their path from the root.
func (r *runner) mutate(f *fault) (map[string]string, error) {
	files := make(map[string]string)
	for _, e := range f.edits {
		text, ok := files[e.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join(r.root, e.file))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s does not apply: %s has %d times, not once:\n%s", f.name, e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}
