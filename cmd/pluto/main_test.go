package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/log"
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

// TestCheckKnowsWhatIsServed: what a distributor would refuse at its start is
// not valid, and is nobody else's concern.
func TestCheckKnowsWhatIsServed(t *testing.T) {
	l := layout{Dir: t.TempDir(), Port: 4993}
	if _, err := l.setUp(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(l.Dir, "eu.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("AuthAdapter"), []byte("ListenLMTPAddr = \"127.0.0.1:24\"\nAuthAdapter"), 1)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]int{"": exitUsage, "-distributor": exitUsage, "-storage": exitOK, "-worker worker-1": exitOK} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"-config", path, "-check"}, strings.Fields(role)...), &out, &errs)
		if code != want || (want != exitOK) != strings.Contains(errs.String(), "ListenLMTPAddr") {
			t.Errorf("-check %s: code %d, want %d: %s%s", role, code, want, &out, &errs)
		}
	}
}

// TestStopCutsOff: a client that stays in the middle of a command holds a stop
// up until its time is over, and does not make it fail.
func TestStopCutsOff(t *testing.T) {
	l, s := startTestSystem(t)
	halfCommand(t, l)
	over, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for _, n := range slices.Backward(s.nodes) {
		if err := n.Stop(over); err != nil {
			t.Error(err)
		}
	}
}

// startTestSystem runs all that -dev does, on ports that are free.
func startTestSystem(t *testing.T) (layout, *system) {
	t.Helper()
	const tries = 20
	for i := 1; ; i++ {
		l := layout{Dir: t.TempDir(), Port: 12000 + rand.IntN(16000)} // below what systems take for outgoing connections
		configs, err := l.setUp()
		if err != nil {
			t.Fatal(err)
		}
		s, err := startSystem(t.Context(), configs, log.NewNopLogger())
		if err == nil {
			return l, s
		}
		s.stop(t.Context())
		if i == tries || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// halfCommand logs in at eu and begins an APPEND without an end.
func halfCommand(t *testing.T, l layout) {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(l.Dir, "private", "public-distributor-cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	conn, err := tls.Dial("tcp", fmt.Sprintf("localhost:%d", l.Port), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	ask := func(line, prefix string) bool {
		fmt.Fprintf(conn, "%s\r\n", line)
		for {
			got, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if strings.HasPrefix(got, prefix) || strings.HasPrefix(got, "a ") {
				return strings.HasPrefix(got, prefix)
			}
		}
	}
	for !ask("a LOGIN user1 pass1", "a OK") { // until the worker is reached
	}
	if !ask("a APPEND INBOX {1000}", "+") {
		t.Fatal("APPEND is refused")
	}
	io.WriteString(conn, "half")
}
