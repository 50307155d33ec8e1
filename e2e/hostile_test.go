package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// TestHostile has clients do what no client should. Each must get a clear error,
// no process may end, and another user's session must notice nothing.
func TestHostile(t *testing.T) {
	c := sharedCluster(t)
	pids := map[string]int{}
	for _, n := range c.Nodes() {
		pids[n.Name] = n.PID()
	}
	other := watchBystander(t, c)
	t.Run("before login", func(t *testing.T) { hostileBeforeLogin(t, c) })
	t.Run("after login", func(t *testing.T) { hostileAfterLogin(t, c) })
	t.Run("mailbox names", func(t *testing.T) { hostileNames(t, c) })
	t.Run("line without end", func(t *testing.T) { endlessLine(t, c) })
	t.Run("ports", func(t *testing.T) { garbageOnEveryPort(t, c) })
	if n := other.end(); n == 0 {
		t.Error("the other user did nothing")
	}
	for _, n := range c.Nodes() {
		if !n.Running() || n.PID() != pids[n.Name] {
			t.Errorf("%s has ended", n.Name)
		} else if text, err := n.Ready(t.Context()); err != nil {
			t.Errorf("%s: %v: %s", n.Name, err, text)
		}
	}
}

// bystander is a user who works on while others misbehave.
type bystander struct {
	cancel context.CancelFunc
	done   chan struct{}
	rounds int
}

func watchBystander(t *testing.T, c *cluster.Cluster) *bystander {
	t.Helper()
	conn := dialUser(t, c, c.EU, userBystander)
	do(t, "SELECT", conn.Select("INBOX"))
	ctx, cancel := context.WithCancel(t.Context())
	b := &bystander{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(b.done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for _, cmd := range []string{"NOOP", "UID FETCH 1:* (FLAGS)", "STATUS Sent (MESSAGES)"} {
				if _, err := conn.Do(cmd, nil); err != nil {
					t.Errorf("another user's %s: %v", cmd, err)
					return
				}
			}
			if _, err := conn.Append("INBOX", `\Seen`, []byte(firstMail), false); err != nil {
				t.Errorf("another user's APPEND: %v", err)
				return
			}
			b.rounds++
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() { b.end() })
	return b
}

func (b *bystander) end() int {
	b.cancel()
	<-b.done
	return b.rounds
}

// raw is a connection without any client in between.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dialRaw(t *testing.T, c *cluster.Cluster, r *cluster.Region) *raw {
	t.Helper()
	cfg, err := c.TLS()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", r.IMAP, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	x := &raw{t, conn, bufio.NewReaderSize(conn, 1<<20)}
	if line, err := x.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Fatalf("greeting %q, %v", line, err)
	}
	return x
}

// send writes bytes; the server may have closed the connection meanwhile.
func (x *raw) send(s string) error {
	_, err := io.WriteString(x.conn, s)
	return err
}

// noAnswer is what answer returns when the server does nothing at all.
const noAnswer = "(no answer)"

// answer reads up to a line that begins with one of the prefixes; "" when the
// connection ended first.
func (x *raw) answer(prefixes ...string) string {
	for {
		line, err := x.r.ReadString('\n')
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return noAnswer
		}
		if err != nil {
			return ""
		}
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				return strings.TrimRight(line, "\r\n")
			}
		}
	}
}

func (x *raw) login(user int) {
	x.t.Helper()
	name, password := cluster.User(user)
	x.send("login LOGIN " + name + " " + password + "\r\n")
	if a := x.answer("login "); !strings.HasPrefix(a, "login OK") {
		x.t.Fatalf("LOGIN: %q", a)
	}
}

// hostile is one thing to send. The answer must begin with one of the prefixes;
// "" among them allows the server to close the connection.
type hostile struct {
	name, send string
	want       []string
	goesOn     bool // the connection must work afterwards
}

func (h hostile) run(t *testing.T, x *raw) {
	t.Helper()
	sent := x.send(h.send)
	got := x.answer("x ", "+", "* BYE")
	if !slices.ContainsFunc(h.want, func(p string) bool {
		return p == "" && got == "" || p != "" && strings.HasPrefix(got, p)
	}) {
		t.Errorf("the answer is %q (sent: %v), want one of %q", got, sent, h.want)
	}
	if !h.goesOn {
		return
	}
	x.send("after NOOP\r\n")
	if a := x.answer("after "); !strings.HasPrefix(a, "after OK") {
		t.Errorf("the next command is answered by %q", a)
	}
}

func hostileBeforeLogin(t *testing.T, c *cluster.Cluster) {
	const refused = "x NO [AUTHENTICATIONFAILED]"
	for _, h := range []hostile{
		{"wrong password", "x LOGIN user1 nonsense\r\n", []string{refused}, true},
		{"unknown user", "x LOGIN nobody pass1\r\n", []string{refused}, true},
		{"empty user", "x LOGIN \"\" \"\"\r\n", []string{"x NO", "x BAD"}, true},
		{"SQL in the user's name", "x LOGIN \"user1'-- x\" pass1\r\n", []string{refused}, true},
		{"SQL in the password", "x LOGIN user1 \"' OR '1'='1\"\r\n", []string{refused}, true},
		{"quotes in the user's name", "x LOGIN \"user1\\\"; x\" pass1\r\n", []string{refused}, true},
		{"separator in the user's name", "x LOGIN \"user1;pass1\" \"\"\r\n", []string{refused}, true},
		{"NUL in the user's name", "x LOGIN {5}\r\nus\x00r1 pass1\r\n", []string{"+", "x BAD", "x NO"}, false},
		{"literal of 4 GiB", "x LOGIN {4294967295}\r\n", []string{"x NO", "x BAD", "* BYE"}, false},
		{"literal of 4 GiB at once", "x LOGIN {4294967295+}\r\n", []string{"x NO", "x BAD", "* BYE"}, false},
		{"literal beyond numbers", "x LOGIN {99999999999999999999}\r\n", []string{"x BAD", "x NO", "* BYE"}, false},
		{"negative literal", "x LOGIN {-1}\r\n", []string{"x BAD"}, true},
		{"line without end", "x LOGIN " + strings.Repeat("a", 4<<20), []string{"x BAD", "* BAD", "* BYE", ""}, false},
		{"command of another state", "x SELECT INBOX\r\n", []string{"x BAD", "x NO"}, true},
		{"no command", "\r\n", []string{"* BAD", "x BAD", "* BYE", ""}, false},
		{"APPEND before login", "x APPEND INBOX {300000000+}\r\n", []string{"x NO", "x BAD", "* BYE"}, false},
	} {
		if h.name == "no command" {
			h.send = "\r\nx NOOP\r\n"
			h.want = append(h.want, "x OK")
		}
		t.Run(h.name, func(t *testing.T) { h.run(t, dialRaw(t, c, c.EU)) })
	}
}

// TestGuessing tries passwords until the connection is closed. It has a system of
// its own: the delays that it earns hold for the address, and so for all tests.
func TestGuessing(t *testing.T) {
	c := ownCluster(t, cluster.Options{})
	x := dialRaw(t, c, c.EU)
	for range 20 {
		if x.send("x LOGIN user1 guess\r\n") != nil {
			return
		}
		if a := x.answer("x ", "* BYE"); a == "" || strings.HasPrefix(a, "* BYE") {
			return
		}
	}
	t.Error("20 wrong passwords on one connection")
}

// endlessLine writes a line without end until the server has had enough.
func endlessLine(t *testing.T, c *cluster.Cluster) {
	const most = 64 << 20
	x := dialRaw(t, c, c.EU)
	x.login(userHostile)
	ended := make(chan string, 1)
	go func() { ended <- x.answer("x ", "* BAD", "* BYE") }()
	chunk := strings.Repeat("ALL ", 16<<10)
	x.send("x SEARCH ")
	for sent := 0; sent < most; sent += len(chunk) {
		if x.send(chunk) != nil {
			break
		}
	}
	if a := <-ended; a == noAnswer {
		t.Errorf("%d bytes without a line end, and no answer", most)
	}
}

func hostileAfterLogin(t *testing.T, c *cluster.Cluster) {
	for _, h := range []hostile{
		{"literal of 4 GiB", "x APPEND INBOX {4294967295}\r\n", []string{"x NO [TOOBIG]", "x NO [LIMIT]", "x BAD"}, true},
		{"literal of 4 GiB at once", "x APPEND INBOX {4294967295+}\r\nx2 DELETE INBOX\r\n", []string{"x NO", "x BAD", "* BYE", ""}, false},
		{"literal beyond numbers", "x APPEND INBOX {99999999999999999999}\r\n", []string{"x BAD", "x NO"}, true},
		{"mailbox name of 1 GiB", "x SELECT {1073741824}\r\n", []string{"x BAD", "x NO"}, true},
		{"line too long", "x SEARCH " + strings.Repeat("ALL ", 2<<20) + "\r\n", []string{"x BAD", "x NO"}, true},
		{"deep nesting", "x SEARCH " + strings.Repeat("(", 5000) + "ALL" + strings.Repeat(")", 5000) + "\r\n", []string{"x BAD", "x NO"}, true},
		{"all UIDs", "x UID FETCH 1:4294967295,4294967295:1,* (FLAGS)\r\n", []string{"x OK", "x NO", "x BAD"}, true},
		{"zero", "x FETCH 0 (FLAGS)\r\n", []string{"x BAD"}, true},
		{"reversed literal", "x APPEND INBOX }5{\r\n", []string{"x BAD"}, true},
		{"unknown command", "x EXPLODE now\r\n", []string{"x BAD"}, true},
		{"bytes that are no text", "x SELECT \"\xff\xfe\x80\"\r\n", []string{"x BAD", "x NO"}, true},
		{"NUL in a line", "x SELECT IN\x00BOX\r\n", []string{"x BAD", "x NO", "* BYE", ""}, false},
	} {
		t.Run(h.name, func(t *testing.T) {
			x := dialRaw(t, c, c.EU)
			x.login(userHostile)
			x.send("sel SELECT INBOX\r\n")
			if a := x.answer("sel "); !strings.HasPrefix(a, "sel OK") {
				t.Fatalf("SELECT: %q", a)
			}
			h.run(t, x)
		})
	}
	t.Run("literal announced and not sent", func(t *testing.T) {
		for range 5 {
			x := dialRaw(t, c, c.EU)
			x.login(userHostile)
			x.send("x APPEND INBOX {100000}\r\n")
			if a := x.answer("+", "x "); !strings.HasPrefix(a, "+") {
				t.Fatalf("APPEND: %q", a)
			}
			x.send("only this") // and the connection stays open until the test ends
		}
		if err := storeAndRead(t.Context(), target(t, c, c.EU), userHostile); err != nil {
			t.Errorf("the same user's next session: %v", err)
		}
	})
}

// hostileNames tries to get out of the account by mailbox names.
func hostileNames(t *testing.T, c *cluster.Cluster) {
	victim := dialUser(t, c, c.EU, userBystander)
	before := listAll(t, victim)
	conn := dialUser(t, c, c.EU, userHostile)
	for _, name := range []string{"../user10/evil", "..", "../..", "../../../../tmp/evil", "/etc/evil", "INBOX/../evil", "a..evil", ".evil", "evil.",
		"user10/evil", "~evil", "evil\\..\\x", "evil%", "evil*", "&AA-evil", "&-evil&", strings.Repeat("evil", 5000)} {
		for _, cmd := range []string{"CREATE ", "SUBSCRIBE ", "SELECT ", "RENAME Archive "} {
			if _, err := conn.Do(cmd+imapc.Quote(name), nil); err != nil && !imapc.IsStatus(err) {
				t.Fatalf("%s%.40q ends the connection: %v", cmd, name, err)
			}
		}
		if _, err := conn.Do("SELECT INBOX", nil); err != nil {
			t.Fatalf("after %.40q: %v", name, err)
		}
		conn.Do("RENAME "+imapc.Quote(name)+" Archive", nil)
	}
	if after := listAll(t, victim); !maps.Equal(before, after) {
		t.Errorf("another user's mailboxes were %v and are %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
	}
	filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "evil") {
			t.Errorf("there is a file %s", path)
		}
		return nil
	})
	if _, err := os.Stat("/tmp/evil"); err == nil {
		t.Error("there is /tmp/evil")
	}
}

func listAll(t *testing.T, conn *imapc.Conn) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, cmd := range []string{`LIST "" "*"`, `LSUB "" "*"`} {
		if _, err := conn.Do(cmd, func(r *imapc.Response) { names[r.Name+" "+string(r.Rest)] = true }); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// garbageOnEveryPort talks nonsense to everything that listens.
func garbageOnEveryPort(t *testing.T, c *cluster.Cluster) {
	noise := make([]byte, 256<<10)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	talk := map[string][]byte{
		"noise": noise, "zeros": make([]byte, 64<<10), "HTTP/2 in the clear": []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
		"IMAP in the clear": []byte("a LOGIN user1 pass1\r\n"), "half a TLS record": {22, 3, 1, 255, 255, 1}, "nothing": nil,
	}
	for service, addr := range c.Addresses() {
		for what, bytes := range talk {
			t.Run(service+" "+what, func(t *testing.T) {
				conn, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(5 * time.Second))
				conn.Write(bytes) // the other side may hang up at any byte
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
			})
		}
		if strings.HasSuffix(service, "-mail") || strings.HasSuffix(service, "-sync") {
			t.Run(service+" without a certificate", func(t *testing.T) { strangerIsRefused(t, c, addr) })
		}
	}
}

// strangerIsRefused connects to an internal port without a certificate and with
// one of another authority.
func strangerIsRefused(t *testing.T, c *cluster.Cluster, addr string) {
	private := filepath.Join(c.Dir, "private")
	own, err := tls.LoadX509KeyPair(filepath.Join(private, "public-distributor-cert.pem"), filepath.Join(private, "public-distributor-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, certs := range [][]tls.Certificate{nil, {own}} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs, NextProtos: []string{"h2"}})
		if err != nil {
			continue
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		// In TLS 1.3 the refusal arrives after the handshake.
		if n, err := conn.Read(make([]byte, 1)); err == nil && n > 0 {
			t.Errorf("a stranger with %d certificates is talked to", len(certs))
		}
		conn.Close()
	}
}

// TestBadConfiguration wants an error that names the key, and exit code 2.
func TestBadConfiguration(t *testing.T) {
	c := newCluster(t, cluster.Options{})
	bin, err := cluster.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(c.EU.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, from, to, want string }{
		{"unknown key", "Greeting =", "Greetng =", "Greetng"},
		{"unknown section", "[IMAP]", "[IMAPP]", "IMAPP"},
		{"bad separator", `HierarchySeparator = "."`, `HierarchySeparator = "#"`, "HierarchySeparator"},
		{"bad address", `ListenMailAddr = "127.0.0.1:`, `ListenMailAddr = "127.0.0.1;`, "ListenMailAddr"},
		{"bad slot", "Slot = 1", "Slot = 16", "Slot"},
		{"empty range", "UserStart = 1", "UserStart = 100", "UserEnd"},
		{"no such file", "internal-eu-worker-1-cert.pem", "missing.pem", "missing.pem"},
		{"key of the prototype", "DataRoot =", "MaildirRoot =", "MaildirRoot"},
		{"no TOML", "[IMAP]", "[IMAP", "eu-bad.toml"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := filepath.Join(c.Dir, "eu-bad.toml")
			text := strings.Replace(string(good), test.from, test.to, 1)
			if text == string(good) {
				t.Fatalf("%q is not in the configuration", test.from)
			}
			if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"-check"}, {"-worker", "worker-1"}} {
				cmd := exec.CommandContext(timeout(t, 20*time.Second), bin.Pluto, append([]string{"-config", bad}, args...)...)
				out, err := cmd.CombinedOutput()
				if err == nil || cmd.ProcessState.ExitCode() != 2 {
					t.Errorf("%v: exit code %d, want 2", args, cmd.ProcessState.ExitCode())
				}
				if !strings.Contains(string(out), test.want) || strings.Contains(string(out), "goroutine ") {
					t.Errorf("%v: no %q in the error:\n%s", args, test.want, out)
				}
			}
		})
	}
	t.Run("good", func(t *testing.T) {
		out := command(t, timeout(t, 20*time.Second), c.Dir, bin.Pluto, "-config", c.EU.Config, "-check")
		if !strings.Contains(out, "valid") {
			t.Error(fmt.Sprint(out))
		}
	})
}
