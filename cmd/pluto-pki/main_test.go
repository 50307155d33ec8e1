package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/config"
)

// TestExample makes everything that the example configuration names: after it
// a new user can start every role.
func TestExample(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"config.toml.example": "config.toml", "users.example.txt": "users.example.txt"} {
		text, err := os.ReadFile(filepath.Join("..", "..", from))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	var stdout, stderr bytes.Buffer
	if code := run(nil, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if code := run([]string{"-config", "config.toml", "-dir", "private", "-public", "localhost,127.0.0.1"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	c, err := config.Load("config.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckAll(); err != nil {
		t.Errorf("%v\nafter:\n%s", err, &stdout)
	}
}

func TestWrong(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("bad.toml", []byte("Rootcert = 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{nil, 1, "config.toml.example is a file to start from"},
		{[]string{"-config", "bad.toml"}, 1, "Rootcert: unknown key; did you mean RootCertLoc?"},
		{[]string{"bad.toml"}, 2, `unexpected argument "bad.toml"`},
		{[]string{"-farce"}, 2, "flag provided but not defined"},
		{[]string{"-help"}, 0, "-public hosts"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(test.args, &stdout, &stderr); code != test.code || !strings.Contains(stderr.String(), test.says) {
			t.Errorf("%v: exit code %d, %s", test.args, code, &stderr)
		}
	}
	if _, err := os.Stat("private"); err == nil {
		t.Error("files were made in spite of errors")
	}
}
