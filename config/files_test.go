package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck: each role is told about its own files, all of them, and nothing
// of the others'.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	c, err := Parse([]byte(region), filepath.Join(dir, "eu.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		role Role
		name string
		keys []string
	}{
		{RoleDistributor, "", []string{"RootCertLoc", "Distributor.InternalCertLoc", "Distributor.InternalKeyLoc", "Distributor.PublicCertLoc", "Distributor.PublicKeyLoc", "Distributor.AuthFile.File"}},
		{RoleWorker, "worker-1", []string{"RootCertLoc", "Workers.worker-1.CertLoc", "Workers.worker-1.KeyLoc"}},
		{RoleStorage, "", []string{"RootCertLoc", "Storage.CertLoc", "Storage.KeyLoc"}},
		{RoleWorker, "worker-7", []string{"RootCertLoc", "Workers: " + c.Path + ` has no worker "worker-7"; did you mean worker-1?`}},
		{"plutoctl", "", []string{"RootCertLoc", `"plutoctl" is not a role`}},
	} {
		err := c.Check(test.role, test.name)
		e, ok := err.(*Error)
		if !ok || len(e.Problems) != len(test.keys) {
			t.Errorf("%s: got %v, want problems with %v", test.role, err, test.keys)
			continue
		}
		for i, k := range test.keys {
			if !strings.HasPrefix(e.Problems[i].String(), k) {
				t.Errorf("%s: got %v, want %v", test.role, e.Problems[i], k)
			}
		}
	}
	if e, ok := c.CheckAll().(*Error); !ok || len(e.Problems) != 10 {
		t.Errorf("all: got %v, want 10 problems", e)
	}
}

func TestCheckBrokenPair(t *testing.T) {
	dir := t.TempDir()
	c, err := Parse([]byte(region), filepath.Join(dir, "eu.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{c.RootCertLoc, c.Storage.CertLoc, c.Storage.KeyLoc} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = c.Check(RoleStorage, "")
	if err == nil || !strings.Contains(err.Error(), "Storage.CertLoc") || !strings.Contains(err.Error(), "not a certificate for the key in "+c.Storage.KeyLoc) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutStorage(t *testing.T) {
	c, err := Parse([]byte("[Distributor]\nName=\"d\"\nListenMailAddr=\":993\"\n[Distributor.AuthFile]\nFile=\"u\"\n"), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(RoleStorage, ""); err == nil || !strings.Contains(err.Error(), "Storage: missing; write the section [Storage]") {
		t.Errorf("got %v", err)
	}
}

func TestValues(t *testing.T) {
	for s, want := range map[string]Size{"0": 0, "1": 1, "7B": 7, "64MiB": 64 * MiB, "64 MiB": 64 * MiB, "1GB": 1e9, "1TiB": 1024 * GiB} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1.5GiB", "1M", "999999999999999999TiB", "1e3", "0x10"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, got)
		}
	}
	for want, s := range map[string]Size{"64MiB": 64 * MiB, "1025": KiB + 1, "0": 0, "2GiB": 2 * GiB} {
		if got := s.String(); got != want {
			t.Errorf("%d: %q, want %q", int64(s), got, want)
		}
	}
	if d, err := ParseDuration("30d"); err != nil || d.Hours() != 720 {
		t.Errorf("30d: %v, %v", d, err)
	}
	for _, s := range []string{"", "d", "-1d", "3", "99999d"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", s, d)
		}
	}
}
