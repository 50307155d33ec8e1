package distributor

import (
	"crypto/tls"
	"encoding/base64"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/prometheus/client_golang/prometheus"
)

// A client that says what it is is told no more of what it stumbles over, until TLS or
// another ID makes it another one.
func TestCapabilitiesHiddenBeforeLogin(t *testing.T) {
	s := startServer(t, func(o *Options) {
		o.Quirks = clientid.Quirks{{Client: "Some Mail", Hide: []string{"imap4REV2", "LITERAL+"}}, {Client: "mail", Hide: []string{"ENABLE"}}}
	}, startNode(t, fakeSession("w")).replica("w"))
	s.connect().script(`
		C: a CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN
		S: a OK
		C: b ID ("version" "some mail" "NAME" "The some MAIL app")
		S: * ID
		S: b OK
		C: c CAPABILITY
		S: * CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN
		S: c OK
		C: d ID ("name" "mailer")
		S: * ID
		S: d OK
		C: e CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID AUTH=PLAIN
		S: e OK
		C: f ID NIL
		S: * ID
		S: f OK
		C: g CAPABILITY
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN
		S: g OK`)
	c := s.connectRaw(s.clear)
	c.script("S: * OK\nC: a ID (\"name\" \"mail\")\nS: * ID\nS: a OK\nC: b CAPABILITY\n" +
		"S: * CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID STARTTLS LOGINDISABLED\nS: b OK\nC: c STARTTLS\nS: c OK")
	c.startTLS()
	c.script("C: d CAPABILITY\nS: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN\nS: d OK")
}

func TestBeforeLogin(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	plain := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, test := range []struct{ name, script string }{
		{"capability", `
			C: a capability
			S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN
			S: a OK
			C: b noop
			S: b OK
			C: c logout
			S: * BYE
			S: c OK
			END`},
		{"id", `
			C: a id nil
			S: * ID ("name" "pluto")
			S: a OK
			C: b id ("name" "x" "version" NIL)
			S: * ID
			S: b OK
			C: c id ("name")
			S: c BAD
			C: d id x
			S: d BAD`},
		{"login", `
			C: a login user7 "pass7"
			S: a OK [CAPABILITY IMAP4rev1] w serves user7 (7)
			C: b noop
			S: b OK NOOP
			C: c logout
			S: * BYE
			S: c OK
			END`},
		{"login with literals", `
			C: a login {5}
			S: + OK
			C: user7 {5+}
			C: pass7
			S: a OK [CAPABILITY IMAP4rev1] w serves user7 (7)`},
		{"quotes in the name", `
			C: a login "us\"er7" pass7
			S: a NO [AUTHENTICATIONFAILED]`},
		{"plain", `
			C: a authenticate plain
			S: +
			C: ` + plain("\x00user3\x00pass3") + `
			S: a OK [CAPABILITY IMAP4rev1] w serves user3 (3)
			C: b noop
			S: b OK`},
		{"plain with initial response", `
			C: a AUTHENTICATE PLAIN ` + plain("user3\x00user3\x00pass3") + `
			S: a OK`},
		{"plain, wrong", `
			C: a authenticate plain
			S: +
			C: *
			S: a BAD
			C: b authenticate plain x!
			S: b BAD
			C: c authenticate plain ` + plain("user3\x00pass3") + `
			S: c BAD
			C: d authenticate plain ` + plain("admin\x00user3\x00pass3") + `
			S: d NO [AUTHORIZATIONFAILED]
			C: e authenticate cram-md5
			S: e NO
			C: f authenticate plain =
			S: f BAD`},
		{"wrong passwords", `
			C: a login user7 pass8
			S: a NO [AUTHENTICATIONFAILED]
			C: b authenticate plain ` + plain("\x00user3\x00pass4") + `
			S: b NO [AUTHENTICATIONFAILED]
			C: c login nobody pass7
			S: c NO [AUTHENTICATIONFAILED]
			S: * BYE
			END`},
		{"not before login", `
			C: a select inbox
			S: a BAD
			C: b starttls
			S: b BAD
			C: c login user1
			S: c BAD
			C: d append x {5+}
			C: e noop
			S: d BAD
			S: * BYE
			END`},
		{"literal that is refused", `
			C: a login {4294967295}
			S: a BAD
			C: b login user1 {99999999999999999999}
			S: b BAD
			C: c login user1 {5000+}
			C: ` + strings.Repeat("x", 2500) + `
			C: ` + strings.Repeat("y", 2496) + `
			C:
			S: c BAD
			C: d noop
			S: d OK`},
		{"literal of 4 GiB that is sent", `
			C: a login {4294967295+}
			S: a BAD
			S: * BYE
			END`},
		{"long line", `
			C: a login ` + strings.Repeat("x", 9000) + `
			S: a BAD
			C: b noop
			S: b OK`},
		{"line without end", `
			C: a login ` + strings.Repeat("x", 70000) + `
			S: * BYE
			END`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.t = t
			s.connect().script(test.script)
		})
	}
}

func TestSTARTTLS(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	c := s.connectRaw(s.clear)
	c.script(`
		S: * OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE STARTTLS LOGINDISABLED]
		C: a capability
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID ENABLE STARTTLS LOGINDISABLED
		S: a OK
		C: b login user1 pass1
		S: b NO [PRIVACYREQUIRED]
		C: c login {5}
		S: c NO [PRIVACYREQUIRED]
		C: d authenticate plain AHVzZXIxAHBhc3Mx
		S: d NO [PRIVACYREQUIRED]
		C: e starttls
		S: e OK`)
	c.startTLS()
	c.script(`
		C: a capability
		S: * CAPABILITY IMAP4rev1 IMAP4rev2 SASL-IR LITERAL+ ID ENABLE AUTH=PLAIN
		S: a OK
		C: b starttls
		S: b BAD
		C: c login user1 pass1
		S: c OK`)
}

// Commands that an attacker puts after STARTTLS must not be answered inside TLS.
func TestSTARTTLSInjection(t *testing.T) {
	s := startServer(t, nil)
	c := s.connectRaw(s.clear)
	c.expect("* OK")
	c.send("a starttls\r\nb noop\r\n")
	c.script(`
		S: a BAD
		S: * BYE
		END`)
}

func TestGarbageInsteadOfTLS(t *testing.T) {
	s := startServer(t, nil, startNode(t, fakeSession("w")).replica("w"))
	for _, text := range []string{"a login user1 pass1\r\n", "GET / HTTP/1.1\r\n\r\n", strings.Repeat("\x00", 5000), "\x16\x03\x01\xff\xff" + strings.Repeat("\xff", 70000), ""} {
		c := s.connectRaw(s.tls)
		c.conn.Write([]byte(text)) // fails when the server has closed already
		c.raw.(*net.TCPConn).CloseWrite()
		answer := make([]byte, 100)
		for {
			n, err := c.raw.Read(answer)
			if strings.Contains(string(answer[:n]), "OK") {
				t.Errorf("%.20q: got %q", text, answer[:n])
			}
			if err != nil {
				break
			}
		}
	}
	s.login().script("C: b noop\nS: b OK")

	c := s.connectRaw(s.clear)
	c.expect("* OK")
	c.send("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: z\r\n\r\n")
	for range 4 {
		c.expect("")
	}
	c.expect("* BYE")
	c.expectEnd()
}

func TestTimeouts(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startServer(t, func(o *Options) {
		o.Limits.LoginTimeout, o.Limits.HandshakeTimeout = time.Second, time.Second/2
		o.Metrics = NewMetrics(reg)
	}, startNode(t, fakeSession("w")).replica("w"))
	silent := s.connectRaw(s.tls)
	slow := s.connect()
	slow.send("a log")
	slow.script("S: * BYE\nEND")
	if _, err := silent.r.ReadByte(); err == nil {
		t.Error("got a byte without TLS")
	}
	idle := s.connectRaw(s.clear)
	idle.script("S: * OK\nS: * BYE\nEND")
	if got := value(t, s.metrics.rejected.WithLabelValues("timeout")); got != 2 {
		t.Errorf("%v timeouts", got)
	}

	c := s.login() // is not subject to the timeout
	time.AfterFunc(1200*time.Millisecond, func() { c.conn.Write([]byte("b noop\r\n")) })
	c.expect("b OK")
}

func TestLimits(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Limits.MaxConnections, o.Limits.MaxConnectionsPerUser = 4, 2 },
		startNode(t, fakeSession("w")).replica("w"))
	first, second := s.login(), s.login()
	third := s.connect()
	third.script("C: a login user1 pass1\nS: a NO [LIMIT]\nC: b login user2 pass2\nS: b OK")
	s.connect()
	if _, err := s.connectRaw(s.tls).r.ReadByte(); err == nil {
		t.Error("more connections than the limit")
	}
	first.script("C: b logout\nS: * BYE\nS: b OK\nEND")
	first.conn.Close()
	second.script("C: b noop\nS: b OK")
	await(t, "a free place", func() bool {
		c := s.connectRaw(s.tls)
		defer c.raw.Close()
		return tls.Client(c.raw, tlsConfig(t)).Handshake() == nil
	})
}

func TestAuthUnavailable(t *testing.T) {
	s := startServer(t, func(o *Options) { o.Auth = fakeAuth{down: true} })
	s.connect().script(`
		C: a login user1 pass1
		S: a NO [UNAVAILABLE]
		C: b noop
		S: b OK`)
}
