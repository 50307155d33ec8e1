package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	rows := filepath.Join(dir, "rows.jsonl")
	noCert := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(rows, []byte(`{"label":"x","mode":"closed","cmd":"TOTAL","n":3,"ops_s":5}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(noCert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		out  string // part of either stream
	}{
		{"nothing", nil, exitUsage, "usage:"},
		{"unknown", []string{"explode"}, exitUsage, "usage:"},
		{"help", []string{"opodis", "-h"}, exitOK, "-sessions"},
		{"unknown flag", []string{"closed", "-fast"}, exitUsage, "-fast"},
		{"argument", []string{"conns", "now"}, exitUsage, `unexpected argument "now"`},
		{"bad mix", []string{"closed", "-plain", "-mix", "EXPLODE=1"}, exitError, "EXPLODE"},
		{"bad process", []string{"conns", "-pids", "x"}, exitError, `bad process ID "x"`},
		{"no second server", []string{"lag", "-plain"}, exitError, "no second server"},
		{"no server", []string{"closed", "-plain", "-addr", "127.0.0.1:1"}, exitError, "refused"},
		{"no CA file", []string{"closed", "-cacert", filepath.Join(dir, "none")}, exitError, "-cacert"},
		{"empty CA file", []string{"closed", "-cacert", noCert}, exitUsage, "holds no certificate"},
		{"converge without servers", []string{"converge"}, exitError, "two server addresses"},
		{"summary", []string{"summary", rows}, exitOK, "| TOTAL | x |"},
		{"summary of nothing", []string{"summary", filepath.Join(dir, "none")}, exitError, "none"},
		{"summary with a bad expression", []string{"summary", "-cmd", "(", rows}, exitUsage, "-cmd"},
		{"wan with a bad delay", []string{"wan", "-delay", "far"}, exitUsage, "-delay"},
		{"wan with a delay of nothing", []string{"wan", "-delay", "-1s"}, exitError, "out of range"},
		{"wan of nothing", []string{"wan", "-what", "weather"}, exitError, "weather"},
		{"figures without runs", []string{"figures", "-seeds", "0"}, exitUsage, "at least 1"},
		{"figures without a document", []string{"figures", "-doc", filepath.Join(dir, "none")}, exitError, "read the document"},
		{"all commands fail", []string{"opodis", "-plain", "-addr", "127.0.0.1:1", "-sessions", "2", "-threads", "1"}, exitFailed, "refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := realMain(t.Context(), test.args, streams{&out, &out}); code != test.code {
				t.Errorf("exit code %d, want %d:\n%s", code, test.code, out.String())
			}
			if !strings.Contains(out.String(), test.out) {
				t.Errorf("no %q in\n%s", test.out, out.String())
			}
		})
	}
}
