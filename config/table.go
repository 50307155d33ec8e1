package config

import (
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// table is one TOML table that is being read. Asking for a key makes it known;
// [table.done] complains about what nobody asked for.
type table struct {
	path  toml.Key
	vals  map[string]any
	known []string
	file  *file
}

// file is what the tables of one file share.
type file struct {
	problems
	dir   string     // relative paths start here
	order []toml.Key // all keys in the order of the file
}

// key returns the full name of a key in the table.
func (t *table) key(name string) string { return slices.Concat(t.path, toml.Key{name}).String() }

// bad notes a problem with the value of a key.
func (t *table) bad(name string, format string, args ...any) {
	t.file.add(t.key(name), t.vals[name], format, args...)
}

// has makes a key known and reports whether the file gives it.
func (t *table) has(name string) bool {
	if !slices.Contains(t.known, name) {
		t.known = append(t.known, name)
	}
	_, ok := t.vals[name]
	return ok
}

// get returns the value of a key if it is there and of type T; want names the
// type in the complaint if it is not.
func get[T any](t *table, name, want string) (v T, ok bool) {
	if !t.has(name) {
		return v, false
	}
	v, ok = t.vals[name].(T)
	if !ok {
		t.bad(name, "not %s", want)
	}
	return v, ok
}

// str returns a string, def if it is not given.
func (t *table) str(name, def string) string {
	s, ok := get[string](t, name, `a string; write it in quotes`)
	if !ok {
		return def
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.bad(name, "contains a control character; remove it")
		return def
	}
	return s
}

// required returns a string that must be given and not be empty. remedy says
// what to write.
func (t *table) required(name, remedy string) string {
	given := t.has(name)
	s := t.str(name, "")
	switch {
	case !given:
		t.bad(name, "missing; %s", remedy)
	case s == "" && t.vals[name] == "":
		t.bad(name, "empty; %s", remedy)
	}
	return s
}

func (t *table) bool(name string, def bool) bool {
	if v, ok := get[bool](t, name, "a truth value; write true or false, without quotes"); ok {
		return v
	}
	return def
}

// int returns a whole number from least to most.
func (t *table) int(name string, def, least, most int64) int64 {
	v, ok := get[int64](t, name, "a whole number; write it without quotes")
	if !ok {
		return def
	}
	if v < least || v > most {
		t.bad(name, "not between %d and %d", least, most)
		return def
	}
	return v
}

// size returns a number of bytes from least to most.
func (t *table) size(name string, def, least, most Size) Size {
	if !t.has(name) {
		return def
	}
	var v Size
	var err error
	switch x := t.vals[name].(type) {
	case int64:
		v = Size(x)
	case string:
		v, err = ParseSize(x)
	default:
		v, err = ParseSize("")
	}
	if err != nil {
		t.bad(name, "%v", err)
		return def
	}
	if v < least || v > most {
		t.bad(name, "not between %v and %v", least, most)
		return def
	}
	return v
}

// duration returns a duration from least to most.
func (t *table) duration(name string, def, least, most time.Duration) time.Duration {
	s, ok := get[string](t, name, `a duration; write it in quotes with a unit, as in "500ms"`)
	if !ok {
		return def
	}
	d, err := ParseDuration(s)
	if err != nil {
		t.bad(name, "%v", err)
		return def
	}
	if d < least || d > most {
		t.bad(name, "not between %v and %v", least, most)
		return def
	}
	return d
}

// location returns a path, resolved against the file.
func (t *table) location(name, def string) string {
	return t.file.resolve(t.str(name, def))
}

// resolve makes a path absolute or relative to the working directory, as the
// path of the configuration file is.
func (f *file) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.dir, path)
}

// addr returns the address of a place to connect to, required.
func (t *table) addr(name string) string {
	s := t.required(name, `write the host:port where other nodes reach it, as in "192.0.2.1:20001"`)
	if s != "" {
		if err := checkAddr(s, true); err != nil {
			t.bad(name, "%v", err)
		}
	}
	return s
}

// listen returns the address of a listener; def may be that of the place to
// connect to, which is then not given twice.
func (t *table) listen(name, def string) string {
	if !t.has(name) {
		return def
	}
	s := t.str(name, def)
	if s != "" {
		if err := checkAddr(s, false); err != nil {
			t.bad(name, "%v", err)
		}
	}
	return s
}

// name returns the name of a node, required.
func (t *table) name(name string) string {
	s := t.required(name, `write a name that no other node has, as in "eu-worker-1"`)
	if s != "" {
		if err := checkName(s); err != nil {
			t.bad(name, "%v", err)
		}
	}
	return s
}

// sub returns a table inside the table, nil if it is not given.
func (t *table) sub(name string) *table {
	vals, ok := get[map[string]any](t, name, "a table; write it as [Section]")
	if !ok {
		return nil
	}
	return &table{path: slices.Concat(t.path, toml.Key{name}), vals: vals, file: t.file}
}

// names returns the keys of the table in the order of the file. They do not
// become known by it.
func (t *table) names() []string {
	var names []string
	for _, k := range t.file.order {
		if len(k) <= len(t.path) || !slices.Equal(k[:len(t.path)], t.path) {
			continue
		}
		if name := k[len(t.path)]; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// done complains about the keys that are not known.
func (t *table) done() {
	for _, name := range t.names() {
		if slices.Contains(t.known, name) {
			continue
		}
		// The value is not shown: it may be a secret behind a misspelt key.
		key := t.key(name)
		if s := suggest(name, t.known); s != "" {
			t.file.add(key, nil, "unknown key; did you mean %s?", s)
			continue
		}
		known := slices.Sorted(slices.Values(t.known))
		t.file.add(key, nil, "unknown key; remove it (known here: %s)", strings.Join(known, ", "))
	}
}
