package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestFlagsNameOneThingToDo(t *testing.T) {
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"-distributor", true},
		{"-worker worker-1", true},
		{"-storage -config x.toml", true},
		{"-dev -dir d -port 4000", true},
		{"-check", true},
		{"-check -storage", true},
		{"-check -dev", false},
		{"", false},
		{"-storage -distributor", false},
		{"-worker worker-1 more", false},
		{"-nonsense", false},
	} {
		var stderr bytes.Buffer
		_, err := parseFlags(strings.Fields(c.args), &stderr)
		if (err == nil) != c.ok {
			t.Errorf("%q: error %v, want ok %v", c.args, err, c.ok)
		}
	}
}

func TestRunSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"-worker worker-1 -config does-not-exist.toml", "does-not-exist.toml"},
		{"-storage -loglevel loud", "loud"},
		{"-storage -logformat xml", "xml"},
		{"-dev -port 70000", "70000"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(context.Background(), strings.Fields(c.args), &stdout, &stderr); code != exitUsage {
			t.Errorf("%q: exit code %d, want %d", c.args, code, exitUsage)
		}
		if !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%q: says %q, want something about %q", c.args, stderr.String(), c.says)
		}
	}
}

// The files of -dev load, agree with each other, and are written once.
func TestLayoutIsAConfiguration(t *testing.T) {
	l := layout{Dir: t.TempDir(), Port: 4993}
	configs, err := l.setUp()
	if err != nil {
		t.Fatal(err)
	}
	if len(configs) != 2 {
		t.Fatalf("%d configurations, want 2", len(configs))
	}
	for i, want := range []string{"eu-worker-1 storage us-worker-1", "us-worker-1 storage eu-worker-1"} {
		var names []string
		for _, r := range configs[i].Replicas(7) {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: replicas of user 7 are %s, want %s", configs[i].Path, got, want)
		}
	}
	if _, err := l.setUp(); err != nil {
		t.Errorf("second start: %v", err)
	}
	if text := l.welcome(); !strings.Contains(text, "4993") || !strings.Contains(text, "5993") {
		t.Errorf("welcome names no ports: %s", text)
	}
}
