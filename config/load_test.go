package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func dump(c *Config) string {
	b, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// region is a valid configuration; tests change lines of it.
const region = `
RootCertLoc = "pki/root.pem"
[IMAP]
HierarchySeparator = "/"
MaxMessageSize = "1MiB"
QuotaStorage = "2GiB"
[Distributor]
Name = "eu-distributor"
ListenMailAddr = ":993"
ListenLMTPAddr = "unix:run/lmtp"
[Distributor.AuthFile]
File = "users.txt"
[Workers.worker-1]
Name = "eu-worker-1"
PublicMailAddr = "127.0.0.1:20001"
PublicSyncAddr = "127.0.0.1:30001"
UserStart = 1
UserEnd = 1000
Slot = 1
[Workers.worker-1.Peers]
Leader = "us-worker-1"
[Workers.worker-1.Peers.subnet-1]
us-worker-1 = "127.0.0.1:30101"
storage = "127.0.0.1:31000"
[Workers.worker-1.Failover]
us-worker-1 = "127.0.0.1:20101"
[Storage]
Name = "storage"
PublicMailAddr = "127.0.0.1:21000"
ListenMailAddr = ":21000"
[Storage.SyncAddrs.subnet-1]
Public = "127.0.0.1:31000"
Slot = 3
[Storage.SyncAddrs.subnet-2]
Public = "127.0.0.1:31001"
Slot = 4
[Storage.Users.subnet-2]
Start = 1001
End = 2000
[Storage.Peers.subnet-1]
eu-worker-1 = "127.0.0.1:30001"
us-worker-1 = "127.0.0.1:30101"
[Storage.Peers.subnet-2]
us-worker-2 = "127.0.0.1:30102"
`

func TestParse(t *testing.T) {
	c, err := Parse([]byte(region), "/etc/pluto/eu.toml")
	if err != nil {
		t.Fatal(err)
	}
	w := c.Workers[0]
	for _, v := range []struct {
		name      string
		got, want any
	}{
		{"separator", c.IMAP.HierarchySeparator, byte('/')},
		{"size", c.IMAP.MaxMessageSize, MiB},
		{"quota", c.IMAP.QuotaStorage, 2 * GiB},
		{"quota of messages", c.IMAP.QuotaMessages, int64(DefaultQuotaMessages)},
		{"text index", c.IMAP.TextIndex, true},
		{"log", c.Replication.LogMaxSize, 1 * GiB},
		{"age of the log", c.Replication.LogMaxAge, 720 * time.Hour},
		{"rate", c.Replication.SnapshotRate, 64 * MiB},
		{"isolation", c.Replication.EvictAfter, 336 * time.Hour},
		{"contents ahead", c.Replication.AheadTimeout, time.Minute},
		{"greeting", c.IMAP.Greeting, DefaultGreeting},
		{"root", c.RootCertLoc, "/etc/pluto/pki/root.pem"},
		{"lmtp", c.Distributor.ListenLMTPAddr, "unix:/etc/pluto/run/lmtp"},
		{"users file", c.Distributor.AuthFile.File, "/etc/pluto/users.txt"},
		{"login wait", c.Distributor.Limits.LoginWait, DefaultLoginWait},
		{"max auth failures", c.Distributor.Limits.MaxAuthFailures, DefaultMaxAuthFailures},
		{"cert", w.CertLoc, "/etc/pluto/private/internal-eu-worker-1-cert.pem"},
		{"data", w.DataRoot, "/etc/pluto/data/eu-worker-1"},
		{"listen", w.ListenMailAddr, w.PublicMailAddr},
		{"ack timeout", w.AckTimeout, 500 * time.Millisecond},
		{"subnet", w.Subnet().Name, "subnet-1"},
		{"leader", w.Subnet().Leader, "us-worker-1"},
		{"peers", fmt.Sprint(w.Subnet().Peers), "[{us-worker-1 127.0.0.1:30101 0} {storage 127.0.0.1:31000 3}]"},
		{"failover", fmt.Sprint(w.Failover), "[{us-worker-1 127.0.0.1:20101 0}]"},
		{"storage's range from the worker", c.Storage.Subnets[0].Users, UserRange{1, 1000}},
		{"storage's range from the file", c.Storage.Subnets[1].Users, UserRange{1001, 2000}},
		{"storage's leader from the worker", c.Storage.Subnets[0].Leader, "us-worker-1"},
		{"slot of storage's peer", c.Storage.Subnets[0].Peers[0].Slot, uint8(1)},
		{"listen", c.Storage.ListenMailAddr, ":21000"},
		{"sync listen", c.Storage.Subnets[0].ListenSyncAddr, "127.0.0.1:31000"},
	} {
		if v.got != v.want {
			t.Errorf("%s: %v, want %v", v.name, v.got, v.want)
		}
	}
}

// TestProblems changes one line of a valid file and expects what is said.
func TestProblems(t *testing.T) {
	const none = ""
	for _, test := range []struct {
		name, old, new string
		want           []string // each is part of the line of one problem, in order
	}{
		{"unknown key at top", "RootCertLoc =", "RootCertLock =", []string{"RootCertLock: unknown key; did you mean RootCertLoc?"}},
		{"unknown key in node", "Slot = 1\n", "Slot = 1\nUserEnds = 3\n", []string{"Workers.worker-1.UserEnds: unknown key; did you mean UserEnd?"}},
		{"unknown section", "[IMAP]", "[SMTP]\nx = 1\n[IMAP]", []string{"SMTP: unknown key; remove it (known here: Distributor, IMAP, "}},
		{"unknown, nothing like it", "[IMAP]", "[IMAP]\nShoeColour = 1", []string{"IMAP.ShoeColour: unknown key; remove it (known here: Greeting, "}},
		{"wrong case", "UserStart", "userstart", []string{"Workers.worker-1.UserStart: missing", "Workers.worker-1.userstart: unknown key; did you mean UserStart?"}},
		{"string for number", "UserStart = 1", `UserStart = "1"`, []string{`Workers.worker-1.UserStart = "1": not a whole number`}},
		{"value for table", "[Workers.worker-1.Failover]\nus-worker-1 = \"127.0.0.1:20101\"", "[Workers.worker-1.Failover]\nus-worker-1 = 7", []string{"Workers.worker-1.Failover.us-worker-1 = 7: not a string"}},
		{"syntax", "UserEnd = 1000", "UserEnd = ", []string{"line 18: "}},
		{"separator", `HierarchySeparator = "/"`, `HierarchySeparator = "\\"`, []string{`IMAP.HierarchySeparator = "\\": write "." or "/"`}},
		{"greeting", "[IMAP]", "[IMAP]\nGreeting = \"[ALERT] x\"", []string{`IMAP.Greeting = "[ALERT] x": write 1 to 200`}},
		{"greeting injects", "[IMAP]", "[IMAP]\nGreeting = \"x\\r\\n* BAD\"", []string{"IMAP.Greeting = \"x\\r\\n* BAD\": contains a control character"}},
		{"size", `"1MiB"`, `"1 mebibyte"`, []string{`IMAP.MaxMessageSize = "1 mebibyte": not a size; write a number and a unit`}},
		{"small size", `"1MiB"`, `"1KiB"`, []string{`IMAP.MaxMessageSize = "1KiB": not between 64KiB and 1GiB`}},
		{"hidden capability", "[Distributor]", "[IMAP.HideCapabilities]\n\"Old Mail\" = \"QRESYNC\"\n[Distributor]", []string{`IMAP.HideCapabilities."Old Mail" = "QRESYNC": not a list; write [`}},
		{"no capability", "[Distributor]", "[IMAP.HideCapabilities]\nOld = [\"A B\"]\n[Distributor]", []string{`IMAP.HideCapabilities.Old`}},
		{"needed capability", "[Distributor]", "[IMAP.HideCapabilities]\nOld = [\"IMAP4rev1\"]\n[Distributor]", []string{`IMAP.HideCapabilities.Old`}},
		{"quota", `"2GiB"`, `"-2GiB"`, []string{`IMAP.QuotaStorage = "-2GiB": not a size`}},
		{"quota of messages", "[IMAP]", "[IMAP]\nQuotaMessages = -1", []string{`IMAP.QuotaMessages = -1: not between 0 and`}},
		{"text index", "[IMAP]", "[IMAP]\nTextIndex = \"no\"", []string{`IMAP.TextIndex = "no": not a truth value; write true or false`}},
		{"small log", "[Distributor]", "[Replication]\nLogMaxSize = \"1KiB\"\n[Distributor]", []string{`Replication.LogMaxSize = "1KiB": not between 64KiB and`}},
		{"short log", "[Distributor]", "[Replication]\nLogMaxAge = \"1s\"\n[Distributor]", []string{`Replication.LogMaxAge = "1s": not between 1m0s and`}},
		{"early isolation", "[Distributor]", "[Replication]\nEvictAfter = \"5s\"\n[Distributor]", []string{`Replication.EvictAfter = "5s": less than 10s; write "0s" for never`}},
		{"long wait for contents", "[Distributor]", "[Replication]\nAheadTimeout = \"1h\"\n[Distributor]", []string{`Replication.AheadTimeout = "1h": not between 0s and 10m0s`}},
		{"low rate", "[Distributor]", "[Replication]\nSnapshotRate = 1\n[Distributor]", []string{`Replication.SnapshotRate = 1: less than 64KiB a second; write 0 for no bound`}},
		{"range backwards", "UserStart = 1\n", "UserStart = 2000\n", []string{"Workers.worker-1.UserEnd = 1000: smaller than UserStart = 2000"}},
		{"range from 0", "UserStart = 1\n", "UserStart = 0\n", []string{"Workers.worker-1.UserStart = 0: not between 1 and 4294967295"}},
		{"range unlike storage's", "[Storage.Users.subnet-2]", "[Storage.Users.subnet-1]\nStart = 1\nEnd = 999\n[Storage.Users.subnet-2]", []string{"Storage.Users.subnet-1 = 1-999: Workers.worker-1, which is in subnet-1, has users 1-1000"}},
		{"storage's range missing", "[Storage.Users.subnet-2]\nStart = 1001\nEnd = 2000\n", none, []string{"Storage.Users.subnet-2: missing; no worker of this file is in subnet-2: write [Storage.Users.subnet-2]"}},
		{"storage's ranges overlap", "Start = 1001", "Start = 1000", []string{"Storage.Users.subnet-2 = 1000-2000: overlap with users 1-1000 of subnet-1"}},
		{"slot missing", "Slot = 1\n", none, []string{"Workers.worker-1.Slot: missing; write a number from 1 to 15 that no other member of subnet-1 has: 1 is free"}},
		{"slot too large", "Slot = 1\n", "Slot = 16\n", []string{"Workers.worker-1.Slot = 16: not between 1 and 15"}},
		{"slot taken", "Slot = 3", "Slot = 1", []string{"Storage.SyncAddrs.subnet-1.Slot = 1: the slot of eu-worker-1 too; every member of subnet-1 needs its own: 2 is free"}},
		{"old roots", "Slot = 1\n", "Slot = 1\nMaildirRoot = \"private/Maildirs\"\nCRDTLayerRoot = \"private/crdt\"\n", []string{
			`Workers.worker-1.MaildirRoot = "private/Maildirs": DataRoot replaces MaildirRoot and CRDTLayerRoot`,
			`Workers.worker-1.CRDTLayerRoot = "private/crdt": DataRoot replaces`}},
		{"no port", `"127.0.0.1:20001"`, `"127.0.0.1"`, []string{`Workers.worker-1.PublicMailAddr = "127.0.0.1": not an address; write host:port`}},
		{"port 0", `"127.0.0.1:20001"`, `"127.0.0.1:0"`, []string{`port "0" is not a number from 1 to 65535`}},
		{"unreachable", `"127.0.0.1:20001"`, `"0.0.0.0:20001"`, []string{`others cannot connect to 0.0.0.0`}},
		{"no host", `"127.0.0.1:20001"`, `":20001"`, []string{`the host is missing`}},
		{"bad host", `"127.0.0.1:20001"`, `"127.0.0.256:20001"`, []string{`"127.0.0.256" is not an IP address`}},
		{"bad host name", `"127.0.0.1:20001"`, `"mail example:20001"`, []string{`"mail example" is neither an IP address nor a host name`}},
		{"bad listener", `":993"`, `"993"`, []string{`Distributor.ListenMailAddr = "993": not an address`}},
		{"same address", `PublicSyncAddr = "127.0.0.1:30001"`, `PublicSyncAddr = "127.0.0.1:20001"`, []string{
			`Workers.worker-1.ListenSyncAddr = "127.0.0.1:20001": the same address as ListenMailAddr`,
			`Workers.worker-1.PublicSyncAddr = "127.0.0.1:20001": the address of Workers.worker-1.PublicMailAddr too`,
			`Storage.Peers.subnet-1.eu-worker-1 = "127.0.0.1:30001": eu-worker-1 says 127.0.0.1:20001 of itself`}},
		{"peer's port", "storage = \"127.0.0.1:31000\"", "storage = \"127.0.0.1:31001\"", []string{`Workers.worker-1.Peers.subnet-1.storage = "127.0.0.1:31001": storage says 127.0.0.1:31000 of itself`}},
		{"missing peer", "storage = \"127.0.0.1:31000\"\n", none, []string{`Workers.worker-1.Peers.subnet-1.storage: missing; Storage is in subnet-1: write storage = "127.0.0.1:31000"`}},
		{"missing peer at storage", "eu-worker-1 = \"127.0.0.1:30001\"\n", none, []string{`Storage.Peers.subnet-1.eu-worker-1: missing; Workers.worker-1 is in subnet-1: write eu-worker-1 = "127.0.0.1:30001"`}},
		{"itself a peer", "storage = \"127.0.0.1:31000\"\n", "storage = \"127.0.0.1:31000\"\neu-worker-1 = \"127.0.0.1:30009\"\n", []string{`Workers.worker-1.Peers.subnet-1.eu-worker-1 = "127.0.0.1:30009": the node itself`}},
		{"no peers at storage", "us-worker-2 = \"127.0.0.1:30102\"\n", none, []string{"Storage.Peers.subnet-2: no peers; write [Storage.Peers.subnet-2]"}},
		{"storage not in subnet", "[Workers.worker-1.Peers.subnet-1]", "[Workers.worker-1.Peers.subnet-3]", []string{
			"Storage.Users.subnet-1: missing",
			"Workers.worker-1.Peers.subnet-3.storage = \"127.0.0.1:31000\": Storage is not in subnet-3",
			"Storage.Peers.subnet-1.eu-worker-1 = \"127.0.0.1:30001\": Workers.worker-1 is not in subnet-1"}},
		{"peers for no subnet", "[Storage.Peers.subnet-2]", "[Storage.Peers.subnet-3]", []string{"Storage.Peers.subnet-2: no peers", "Storage.Peers.subnet-3: not a subnet of storage; did you mean subnet-1?"}},
		{"second subnet", "[Workers.worker-1.Failover]", "[Workers.worker-1.Peers.subnet-2]\n[Workers.worker-1.Failover]", []string{"Workers.worker-1.Peers.subnet-2: a second subnet"}},
		{"foreign leader", `Leader = "us-worker-1"`, `Leader = "asia-worker-1"`, []string{
			`Workers.worker-1.Peers.Leader = "asia-worker-1": not a member of subnet-1`,
			`Storage.Leaders.subnet-1 = "asia-worker-1": not a member of subnet-1`}},
		{"other leader at storage", "[Storage.Users.subnet-2]", "[Storage.Leaders]\nsubnet-1 = \"storage\"\n[Storage.Users.subnet-2]", []string{`Storage.Leaders.subnet-1 = "storage": Workers.worker-1 says "us-worker-1"`}},
		{"failover to stranger", "us-worker-1 = \"127.0.0.1:20101\"", "asia-worker-1 = \"127.0.0.1:20101\"", []string{"Workers.worker-1.Failover.asia-worker-1 = \"127.0.0.1:20101\": not a peer"}},
		{"failover to storage", "us-worker-1 = \"127.0.0.1:20101\"", "storage = \"127.0.0.1:21000\"", []string{"storage takes over anyway"}},
		{"same name", `Name = "storage"`, `Name = "eu-worker-1"`, []string{`Storage.Name = "eu-worker-1": the name of Workers.worker-1 too`, "Workers.worker-1.Peers.subnet-1.eu-worker-1: missing", "the node itself"}},
		{"bad name", `Name = "eu-distributor"`, `Name = "../x"`, []string{`Distributor.Name = "../x": not a name`}},
		{"no name", "Name = \"eu-distributor\"\n", none, []string{`Distributor.Name: missing; write a name`}},
		{"empty name", `Name = "eu-distributor"`, `Name = ""`, []string{`Distributor.Name = "": empty; write a name`}},
		{"adapter", "[Distributor.AuthFile]", "AuthAdapter = \"LDAP\"\n[Distributor.AuthFile]", []string{`Distributor.AuthAdapter = "LDAP": unknown; write "AuthFile" or "AuthPostgres"`}},
		{"adapter without section", "[Distributor.AuthFile]", "AuthAdapter = \"AuthPostgres\"\n[Distributor.AuthFile]", []string{"Distributor.AuthPostgres: missing; AuthAdapter is"}},
		{"auth separator", `File = "users.txt"`, "File = \"users.txt\"\nSeparator = \"$\"", []string{`Distributor.AuthFile.Separator = "$": write one of ; : |`}},
		{"limits", "[Workers.worker-1]", "[Distributor.Limits]\nMaxConnections = 0\nLoginTimeout = \"1 minute\"\nLoginWait = \"0s\"\n[Workers.worker-1]", []string{
			"Distributor.Limits.MaxConnections = 0: not between 1 and 10000000", "Distributor.Limits.LoginTimeout = \"1 minute\": not a duration",
			"Distributor.Limits.LoginWait = \"0s\": not between 1ms and 1m0s"}},
		{"truth", "Slot = 1\n", "Slot = 1\nAckStrict = \"no\"\n", []string{`Workers.worker-1.AckStrict = "no": not a truth value; write true or false`}},
		{"empty file", region, none, []string{"no node; write at least one of"}},
		{"array of tables", "[Workers.worker-1]\n", "[[Workers.worker-1]]\n", []string{"Workers.worker-1 = (a list): not a table"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(region, test.old) {
				t.Fatalf("the valid file has no %q", test.old)
			}
			_, err := Parse([]byte(strings.Replace(region, test.old, test.new, 1)), "eu.toml")
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want *Error", err)
			}
			if len(e.Problems) < len(test.want) || test.name != "array of tables" && len(e.Problems) != len(test.want) {
				t.Fatalf("got %v", err)
			}
			for i, w := range test.want {
				if !strings.Contains(e.Problems[i].String(), w) {
					t.Errorf("problem %d: got %s\nwant %s", i, e.Problems[i], w)
				}
			}
		})
	}
}

const secondWorker = `
[Workers.worker-2]
Name = "eu-worker-2"
PublicMailAddr = "127.0.0.1:20002"
PublicSyncAddr = "127.0.0.1:30002"
UserStart = 1000
UserEnd = 2000
Slot = 1
[Workers.worker-2.Peers.subnet-9]
`

func TestTwoWorkers(t *testing.T) {
	wantError(t, region+secondWorker, "Workers.worker-2.UserStart = 1000: users 1000-2000 overlap with users 1-1000 of Workers.worker-1")
	s := strings.Replace(secondWorker, "1000", "1001", 1)
	wantError(t, region+strings.Replace(s, "eu-worker-2", "worker-1", 1), "the section of another worker; `-worker worker-1` would mean either")
	wantError(t, region+strings.Replace(s, "subnet-9", "subnet-1", 1), "the subnet of Workers.worker-1 too")
	if _, err := Parse([]byte(region+s), "eu.toml"); err != nil {
		t.Errorf("two workers without overlap: %v", err)
	}
}

func wantError(t *testing.T, text, want string) {
	t.Helper()
	if _, err := Parse([]byte(text), "eu.toml"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestAllAtOnce: problems in different places are all reported, after the
// name of the file.
func TestAllAtOnce(t *testing.T) {
	text := strings.NewReplacer("Slot = 3", "Slot = 99", ":993", ":port", "UserEnd = 1000", "UserEnd = -1").Replace(region)
	_, err := Parse([]byte(text), "eu.toml")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"eu.toml: 3 problems:\n", "Storage.SyncAddrs.subnet-1.Slot = 99", "Distributor.ListenMailAddr", "Workers.worker-1.UserEnd = -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}

const postgres = `
[Distributor]
Name = "d"
ListenMailAddr = ":993"
AuthAdapter = "AuthPostgres"
[Distributor.AuthPostgres]
IP = "db.example.org"
Database = "pluto"
User = "pluto"
Password = "geheim"
`

// TestSecrets: no error shows the database password, wherever the slip is.
func TestSecrets(t *testing.T) {
	if _, err := Parse([]byte(postgres), "x.toml"); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`Password =`, `Pasword =`},
		{`Password = "geheim"`, `Password = "geheim`},
		{`Password = "geheim"`, `Password = geheim`},
		{`Password = "geheim"`, `Password = ["geheim"]`},
		{`Password = "geheim"`, "Password = \"geheim\"\nPasswordFile = \"x\""},
		{`Password = "geheim"`, "Password = \"geheim\"\nPassword = \"geheim\""},
		{`Password = "geheim"`, "Password = \"geheim\\x\""},
	} {
		_, err := Parse([]byte(strings.Replace(postgres, change[0], change[1], 1)), "x.toml")
		if err == nil {
			t.Errorf("%s: accepted", change[1])
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error shows the password: %v", change[1], err)
		}
	}
}

func TestPostgresAddresses(t *testing.T) {
	for ip, want := range map[string]string{
		"127.0.0.1":      "",
		"::1":            "",
		"localhost":      "",
		"127.0.0.1:5432": "the port belongs into Port",
		"a b":            "neither an IP address nor a host name",
		"/run/postgres":  "the directory of a Unix socket, where there is no TLS",
	} {
		_, err := Parse([]byte(strings.Replace(postgres, "db.example.org", ip, 1)), "x.toml")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", ip, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", ip, err, want)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "config.toml.example") {
		t.Errorf("got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(region)
	f.Add(region + secondWorker)
	f.Add(postgres)
	f.Add("Workers = 1\n[Storage.Peers]\nx=1")
	f.Add("[Workers.a.Peers.b.c]\n[Storage.SyncAddrs]\nx = []\n[[IMAP]]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse([]byte(text), "x.toml")
		if (c == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", c, err)
		}
		if c != nil {
			c.Replicas(1)
			c.SubnetOf(1001)
			if err := CheckTogether(c); err != nil {
				t.Fatal(err)
			}
		}
	})
}
