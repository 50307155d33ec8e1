package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestReplicas(t *testing.T) {
	text := region + strings.NewReplacer("UserStart = 1000", "UserStart = 2001", "UserEnd = 2000", "UserEnd = 3000").Replace(secondWorker)
	c, err := Parse([]byte(text), "eu.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		user     uint32
		subnet   string
		replicas string
	}{
		{0, "", "[]"},
		{1, "subnet-1", "[{eu-worker-1 127.0.0.1:20001} {storage 127.0.0.1:21000} {us-worker-1 127.0.0.1:20101}]"},
		{1000, "subnet-1", "[{eu-worker-1 127.0.0.1:20001} {storage 127.0.0.1:21000} {us-worker-1 127.0.0.1:20101}]"},
		{1001, "subnet-2", "[{storage 127.0.0.1:21000}]"},
		{2500, "subnet-9", "[{eu-worker-2 127.0.0.1:20002}]"},
		{3001, "", "[]"},
		{1<<32 - 1, "", "[]"},
	} {
		if got := fmt.Sprint(c.Replicas(test.user)); got != test.replicas {
			t.Errorf("user %d: replicas %s, want %s", test.user, got, test.replicas)
		}
		if got := c.SubnetOf(test.user); got != test.subnet {
			t.Errorf("user %d: subnet %q, want %q", test.user, got, test.subnet)
		}
	}
	want := "[{eu-worker-1 127.0.0.1:20001} {eu-worker-2 127.0.0.1:20002} {storage 127.0.0.1:21000} {us-worker-1 127.0.0.1:20101}]"
	if got := fmt.Sprint(c.AllReplicas()); got != want {
		t.Errorf("all replicas %s, want %s", got, want)
	}
}

func TestWorkerNamed(t *testing.T) {
	c, err := Parse([]byte(region), "eu.toml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"worker-1", "eu-worker-1"} {
		if w, err := c.WorkerNamed(name); err != nil || w != c.Workers[0] {
			t.Errorf("%s: %v, %v", name, w, err)
		}
	}
	if _, err := c.WorkerNamed("worker1"); err == nil || !strings.Contains(err.Error(), "did you mean worker-1?") {
		t.Errorf("worker1: %v", err)
	}
}

// usRegion is the other region of the same system: names, ports and slots of
// the two workers change places.
var usRegion = strings.NewReplacer(
	"eu-", "us-", "us-worker-1", "eu-worker-1", "us-worker-2", "eu-worker-2",
	"127.0.0.1:300", "127.0.0.1:301", "127.0.0.1:301", "127.0.0.1:300",
	"127.0.0.1:200", "127.0.0.1:201", "127.0.0.1:201", "127.0.0.1:200",
	"Slot = 1\n", "Slot = 2\n",
).Replace(region)

func TestCheckTogether(t *testing.T) {
	parse := func(path, text string) *Config {
		t.Helper()
		c, err := Parse([]byte(text), path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	us := strings.Replace(usRegion, `Leader = "eu-worker-1"`, `Leader = "us-worker-1"`, 1)
	eu := parse("eu.toml", region)
	if err := CheckTogether(eu, parse("us.toml", us)); err != nil {
		t.Errorf("two regions that agree: %v", err)
	}
	second := strings.Replace(region, `Name = "eu-distributor"`, `Name = "eu-distributor-2"`, 1)
	if err := CheckTogether(eu, parse("us.toml", us), parse("eu-2.toml", second)); err != nil {
		t.Errorf("two distributors of a region: %v", err)
	}
	elsewhere := strings.ReplaceAll(second, ":20001", ":20002")
	if err := CheckTogether(eu, parse("eu-2.toml", elsewhere)); err == nil || !strings.Contains(err.Error(), "the name of Workers.worker-1 in eu.toml too") {
		t.Errorf("two workers of one name: %v", err)
	}
	for _, test := range []struct{ old, new, want string }{
		{"Slot = 2", "Slot = 1", "us.toml: Workers.worker-1.Slot = 1: the slot of eu.toml: Workers.worker-1 too"},
		{"UserEnd = 1000", "UserEnd = 999", "us.toml: Workers.worker-1 = 1-999: users of subnet-1; eu.toml: Workers.worker-1 has 1-1000: make them equal"},
		{`Separator = "/"`, `Separator = "."`, `us.toml: IMAP.HierarchySeparator = ".": '/' in eu.toml`},
		{`"1MiB"`, `"2MiB"`, `us.toml: IMAP.MaxMessageSize = 2MiB: 1MiB in eu.toml`},
		{`"2GiB"`, `"1GiB"`, `us.toml: IMAP.QuotaStorage = 1GiB: 2GiB in eu.toml`},
		{`[IMAP]`, "[IMAP]\nQuotaMessages = 7", `us.toml: IMAP.QuotaMessages = 7: 0 in eu.toml`},
		{"Name = \"us-distributor\"", "Name = \"eu-distributor\"", `us.toml: Distributor.Name = "eu-distributor": the name of eu.toml's distributor too`},
		{`Leader = "us-worker-1"`, `Leader = "eu-worker-1"`, `us.toml: Workers.worker-1 = "eu-worker-1": leader of subnet-1; eu.toml: Workers.worker-1 has "us-worker-1"`},
		{"Slot = 4", "Slot = 5", "us.toml: Storage.SyncAddrs.subnet-2.Slot = 5: eu.toml: Storage says another of the same node"},
	} {
		if !strings.Contains(us, test.old) {
			t.Fatalf("the us region has no %q", test.old)
		}
		err := CheckTogether(eu, parse("us.toml", strings.ReplaceAll(us, test.old, test.new)))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v\nwant %s", test.new, err, test.want)
		}
	}
}
