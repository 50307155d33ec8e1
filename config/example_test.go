package config

import (
	"os"
	"strings"
	"testing"
)

// TestExample: the file that new users copy is valid as it stands.
func TestExample(t *testing.T) {
	c, err := Load("../config.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	if c.Distributor.ListenMailAddr != "127.0.0.1:1993" || len(c.Workers) != 2 || len(c.Storage.Subnets) != 2 {
		t.Errorf("unexpected example: %+v", c)
	}
	if _, err := os.Stat(c.Distributor.AuthFile.File); err != nil {
		t.Errorf("the example's user file: %v", err)
	}
	if got, want := c.Storage.Subnets[1].Users, (UserRange{11, 20}); got != want {
		t.Errorf("users of subnet-2 at storage: %v, want %v", got, want)
	}
}

// TestExampleShowsDefaults: a value in the example that is also a default is
// that default, so that a file without the line means the same.
func TestExampleShowsDefaults(t *testing.T) {
	text, err := os.ReadFile("../config.toml.example")
	if err != nil {
		t.Fatal(err)
	}
	full, err := Parse(text, "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	defaults := []string{"RootCertLoc", "Greeting", "HierarchySeparator", "MaxMessageSize", "QuotaStorage", "QuotaMessages",
		"ListenStartTLSAddr", "ListenLMTPAddr", "PublicCertLoc", "PublicKeyLoc", "InternalCertLoc", "InternalKeyLoc",
		"AuthAdapter", "Separator", "MaxConnections", "MaxConnectionsPerUser", "MaxAuthFailures", "LoginTimeout", "LoginWait", "IdleTimeout", "ResumeWait", "MoveTimeout", "HomeDelay",
		"CertLoc", "KeyLoc", "DataRoot", "AckPeers", "AckTimeout", "AckStrict", "LogMaxSize", "LogMaxAge", "SnapshotRate", "EvictAfter", "AheadTimeout"}
	var short []string
	for line := range strings.Lines(string(text)) {
		key, _, isKey := strings.Cut(strings.TrimSpace(line), " = ")
		drop := false
		for _, d := range defaults {
			drop = drop || isKey && key == d
		}
		if !drop {
			short = append(short, line)
		}
	}
	brief, err := Parse([]byte(strings.Join(short, "")), "x.toml")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := dump(full), dump(brief); a != b {
		t.Errorf("the example's values are not the defaults:\n%s\n%s", a, b)
	}
}
