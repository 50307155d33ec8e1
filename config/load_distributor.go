package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

func readDistributor(t *table) *Distributor {
	defer t.done()
	d := &Distributor{
		Name:               t.name("Name"),
		PublicMailAddr:     t.str("PublicMailAddr", ""),
		ListenMailAddr:     t.required("ListenMailAddr", `write the address for IMAP over TLS, as in "0.0.0.0:993"`),
		ListenStartTLSAddr: t.listen("ListenStartTLSAddr", ""),
		ListenLMTPAddr:     t.str("ListenLMTPAddr", ""),
		PrometheusAddr:     t.listen("PrometheusAddr", ""),
		PublicCertLoc:      t.location("PublicCertLoc", DefaultPublicCertLoc),
		PublicKeyLoc:       t.location("PublicKeyLoc", DefaultPublicKeyLoc),
		AuthAdapter:        t.str("AuthAdapter", DefaultAuthAdapter),
		Limits:             readLimits(t.sub("Limits")),
	}
	d.InternalCertLoc = t.location("InternalCertLoc", fmt.Sprintf(defaultInternalCertFormat, d.Name))
	d.InternalKeyLoc = t.location("InternalKeyLoc", fmt.Sprintf(defaultInternalKeyFormat, d.Name))
	if d.PublicMailAddr != "" {
		if err := checkAddr(d.PublicMailAddr, true); err != nil {
			t.bad("PublicMailAddr", "%v", err)
		}
	}
	if d.ListenMailAddr != "" {
		if err := checkAddr(d.ListenMailAddr, false); err != nil {
			t.bad("ListenMailAddr", "%v", err)
		}
	}
	readLMTP(t, d)
	readAuth(t, d)
	checkListeners(t, map[string]string{
		"ListenMailAddr":     d.ListenMailAddr,
		"ListenStartTLSAddr": d.ListenStartTLSAddr,
		"ListenLMTPAddr":     d.ListenLMTPAddr,
		"PrometheusAddr":     d.PrometheusAddr,
	})
	return d
}

func readLMTP(t *table, d *Distributor) {
	if d.ListenLMTPAddr == "" {
		return
	}
	if err := checkLMTPAddr(d.ListenLMTPAddr); err != nil {
		t.bad("ListenLMTPAddr", "%v", err)
		return
	}
	if path, ok := strings.CutPrefix(d.ListenLMTPAddr, unixPrefix); ok {
		d.ListenLMTPAddr = unixPrefix + t.file.resolve(path)
	}
}

func readAuth(t *table, d *Distributor) {
	if s := t.sub(AuthFile); s != nil {
		d.AuthFile = readFileAuth(s)
	}
	if s := t.sub(AuthPostgres); s != nil {
		d.AuthPostgres = readPostgresAuth(s)
	}
	switch d.AuthAdapter {
	case AuthFile:
		if d.AuthFile == nil {
			t.bad(AuthFile, `missing; AuthAdapter is "AuthFile": write [Distributor.AuthFile] with File = "users.txt"`)
		}
	case AuthPostgres:
		if d.AuthPostgres == nil {
			t.bad(AuthPostgres, `missing; AuthAdapter is "AuthPostgres": write [Distributor.AuthPostgres] with IP, Database, User and Password`)
		}
	default:
		t.bad("AuthAdapter", `unknown; write "AuthFile" or "AuthPostgres"`)
	}
}

func readFileAuth(t *table) *FileAuth {
	defer t.done()
	a := &FileAuth{File: t.file.resolve(t.required("File", `write the path of the user file, as in "users.txt"`)), Separator: DefaultAuthSeparator[0]}
	s := t.str("Separator", DefaultAuthSeparator)
	// What occurs in names, IDs and hashes cannot separate them.
	if len(s) != 1 || !strings.Contains(`;:|!%^~&*?`, s) {
		t.bad("Separator", `write one of ; : | ! %% ^ ~ & * ?`)
		return a
	}
	a.Separator = s[0]
	return a
}

func readPostgresAuth(t *table) *PostgresAuth {
	defer t.done()
	a := &PostgresAuth{
		IP:             t.required("IP", `write the server's address or name, as in "127.0.0.1"`),
		Port:           uint16(t.int("Port", DefaultPostgresPort, 1, math.MaxUint16)),
		Database:       t.required("Database", `write the name of the database, as in "pluto"`),
		User:           t.required("User", `write the database user, as in "pluto"`),
		PasswordFile:   t.location("PasswordFile", ""),
		UseTLS:         t.bool("UseTLS", DefaultPostgresUseTLS),
		RootCertLoc:    t.location("RootCertLoc", ""),
		MaxConnections: int(t.int("MaxConnections", DefaultPostgresConns, 1, 1000)),
		Timeout:        t.duration("Timeout", DefaultPostgresTimeout, 100*time.Millisecond, time.Minute),
	}
	if t.has("Password") {
		s, ok := t.vals["Password"].(string)
		if !ok {
			t.file.add(t.key("Password"), nil, "not a string; write it in quotes")
		}
		a.Password = s
	}
	if t.has("Password") && t.has("PasswordFile") {
		t.file.add(t.key("PasswordFile"), t.vals["PasswordFile"], "there is a Password too; remove one of them")
	}
	if t.has("RootCertLoc") && !a.UseTLS {
		t.bad("RootCertLoc", "without effect because UseTLS is false; remove it or set UseTLS = true")
	}
	if strings.HasPrefix(a.IP, "/") {
		if a.UseTLS {
			t.bad("IP", "the directory of a Unix socket, where there is no TLS; write UseTLS = false or an address")
		}
		return a
	}
	if a.IP != "" && !strings.Contains(a.IP, ":") {
		// A name, or IPv4: the same rules as in host:port.
		if err := checkAddr(a.IP+":1", true); err != nil {
			t.bad("IP", "%v", err)
		}
	} else if a.IP != "" {
		if err := checkAddr("["+a.IP+"]:1", true); err != nil {
			t.bad("IP", "neither an IP address nor a host name; the port belongs into Port")
		}
	}
	return a
}

func readLimits(t *table) Limits {
	l := Limits{
		MaxConnections:        DefaultMaxConnections,
		MaxConnectionsPerUser: DefaultMaxConnsPerUser,
		MaxAuthFailures:       DefaultMaxAuthFailures,
		LoginTimeout:          DefaultLoginTimeout,
		LoginWait:             DefaultLoginWait,
		IdleTimeout:           DefaultIdleTimeout,
		ResumeWait:            DefaultResumeWait,
		MoveTimeout:           DefaultMoveTimeout,
		HomeDelay:             DefaultHomeDelay,
	}
	if t == nil {
		return l
	}
	defer t.done()
	l.MaxConnections = int(t.int("MaxConnections", DefaultMaxConnections, 1, 10_000_000))
	l.MaxConnectionsPerUser = int(t.int("MaxConnectionsPerUser", DefaultMaxConnsPerUser, 1, 1_000_000))
	l.MaxAuthFailures = int(t.int("MaxAuthFailures", DefaultMaxAuthFailures, 1, 1000))
	l.LoginTimeout = t.duration("LoginTimeout", DefaultLoginTimeout, time.Second, time.Hour)
	l.LoginWait = t.duration("LoginWait", DefaultLoginWait, time.Millisecond, time.Minute)
	l.ResumeWait = t.duration("ResumeWait", DefaultResumeWait, time.Millisecond, time.Minute)
	l.MoveTimeout = t.duration("MoveTimeout", DefaultMoveTimeout, time.Millisecond, time.Hour)
	l.HomeDelay = t.duration("HomeDelay", DefaultHomeDelay, time.Millisecond, time.Hour)
	l.IdleTimeout = t.duration("IdleTimeout", DefaultIdleTimeout, time.Minute, 7*24*time.Hour)
	return l
}
