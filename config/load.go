package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFileSize limits what is read as a configuration.
const maxFileSize = 4 << 20

// Load reads and validates the file at path. It reads no other file. The error
// is an [*Error] if the file could be read.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w; config.toml.example is a file to start from", err)
	}
	if info.Size() > maxFileSize {
		return nil, fmt.Errorf("read configuration: %s has %d bytes, which is more than a configuration can have", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(text, path)
}

// Parse is [Load] for a text at hand. Relative paths in it are resolved
// against the directory of path, which need not exist.
func Parse(text []byte, path string) (*Config, error) {
	f := &file{dir: filepath.Dir(path)}
	f.path = path
	vals := map[string]any{}
	md, err := toml.Decode(string(text), &vals)
	if err != nil {
		f.addSyntax(err)
		return nil, f.err()
	}
	f.order = md.Keys()

	c := read(&table{vals: vals, file: f})
	c.Path = path
	check(c, f)
	if err := f.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// quoted matches what an error of the TOML parser cites from the file.
var quoted = regexp.MustCompile(`["'\x60].*["'\x60]`)

// addSyntax notes that the file is not TOML. It names line and key but does
// not cite the line, which may have a secret in it.
func (p *problems) addSyntax(err error) {
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		p.add("", nil, "not TOML: %s", quoted.ReplaceAllString(err.Error(), "..."))
		return
	}
	text := quoted.ReplaceAllString(syntax.Message, "...")
	if syntax.LastKey != "" {
		text += " (the last key was " + syntax.LastKey + ")"
	}
	p.add("", nil, "line %d: %s", syntax.Position.Line, text)
}

// read turns the tables of a file into a Config and notes what is wrong with
// single keys; how they fit together is for [check].
func read(t *table) *Config {
	c := &Config{
		RootCertLoc: t.location("RootCertLoc", DefaultRootCertLoc),
		IMAP:        readIMAP(t.sub("IMAP"), t.file),
		Replication: readReplication(t.sub("Replication"), t.file),
	}
	if s := t.sub("Distributor"); s != nil {
		c.Distributor = readDistributor(s)
	}
	if s := t.sub("Workers"); s != nil {
		c.Workers = readWorkers(s)
	}
	if s := t.sub("Storage"); s != nil {
		c.Storage = readStorage(s)
	}
	t.done()
	return c
}

func readIMAP(t *table, f *file) IMAP {
	if t == nil {
		t = &table{path: toml.Key{"IMAP"}, file: f}
	}
	defer t.done()
	i := IMAP{
		Greeting:           t.str("Greeting", DefaultGreeting),
		HierarchySeparator: DefaultHierarchySeparator[0],
		MaxMessageSize:     t.size("MaxMessageSize", DefaultMaxMessageSize, minMessageSize, maxMessageSize),
		QuotaStorage:       t.size("QuotaStorage", DefaultQuotaStorage, 0, maxQuotaStorage),
		QuotaMessages:      t.int("QuotaMessages", DefaultQuotaMessages, 0, maxQuotaMessages),
		TextIndex:          t.bool("TextIndex", DefaultTextIndex),
	}
	i.HideCapabilities = readHidden(t.sub("HideCapabilities"))
	if !isGreeting(i.Greeting) {
		t.bad("Greeting", "write 1 to %d printable ASCII characters, the first not '['", maxGreetingLen)
	}
	switch s := t.str("HierarchySeparator", DefaultHierarchySeparator); s {
	case ".", "/":
		i.HierarchySeparator = s[0]
	default:
		t.bad("HierarchySeparator", `write "." or "/"`)
	}
	return i
}

func readReplication(t *table, f *file) Replication {
	if t == nil {
		t = &table{path: toml.Key{"Replication"}, file: f}
	}
	defer t.done()
	r := Replication{
		LogMaxSize:   t.size("LogMaxSize", DefaultLogMaxSize, minLogSize, maxLogSize),
		LogMaxAge:    t.duration("LogMaxAge", DefaultLogMaxAge, minLogAge, maxLogAge),
		SnapshotRate: t.size("SnapshotRate", DefaultSnapshotRate, 0, maxLogSize),
		EvictAfter:   t.duration("EvictAfter", DefaultEvictAfter, 0, maxLogAge),
		AheadTimeout: t.duration("AheadTimeout", DefaultAheadTimeout, 0, maxAheadTimeout),
	}
	if r.EvictAfter > 0 && r.EvictAfter < minEvictAfter {
		t.bad("EvictAfter", "less than %v; write \"0s\" for never", minEvictAfter)
	}
	if r.SnapshotRate > 0 && r.SnapshotRate < minRate {
		t.bad("SnapshotRate", "less than %v a second; write 0 for no bound", Size(minRate))
	}
	return r
}

// readHidden reads what is hidden from clients.
func readHidden(t *table) []HiddenFrom {
	if t == nil {
		return nil
	}
	defer t.done()
	var list []HiddenFrom
	for _, client := range t.names() {
		values, ok := get[[]any](t, client, `a list; write ["CAPABILITY", "CAPABILITY"]`)
		if !ok {
			continue
		}
		h := HiddenFrom{Client: client}
		for _, v := range values {
			name, ok := v.(string)
			if !ok || !isCapability(name) {
				t.bad(client, `not names of capabilities; write them as CAPABILITY answers, as in ["QRESYNC", "SORT"]`)
				break
			}
			h.Capabilities = append(h.Capabilities, name)
		}
		list = append(list, h)
	}
	return list
}

// isCapability reports whether s can be a capability (RFC 9051 section 9) that
// clients do without.
func isCapability(s string) bool {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b >= 0x7f || strings.IndexByte(`(){%*"\]`, b) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLen && !strings.EqualFold(s, "IMAP4rev1")
}

// isGreeting reports whether s can be the text of an untagged OK: RFC 9051
// resp-text, where '[' would start a response code.
func isGreeting(s string) bool {
	if s == "" || len(s) > maxGreetingLen || s[0] == '[' {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
