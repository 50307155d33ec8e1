package config

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"os"
)

// Check looks at what a node needs besides the configuration: its section must
// be there, its certificates, keys and user file must be readable. name is the
// worker's section or Name and ignored for other roles. Like [Load] it reports
// all problems at once. Who a certificate belongs to is checked where it is
// used, by package crypto.
func (c *Config) Check(role Role, name string) error {
	p := &problems{path: c.Path}
	p.readable("RootCertLoc", c.RootCertLoc, pkiRemedy)
	switch role {
	case RoleDistributor:
		if c.Distributor == nil {
			p.add("Distributor", nil, "missing; write the section [Distributor] or start another role")
			break
		}
		checkDistributorFiles(p, c.Distributor)
	case RoleStorage:
		if c.Storage == nil {
			p.add("Storage", nil, "missing; write the section [Storage] or start another role")
			break
		}
		checkNodeFiles(p, c.Storage.section())
	case RoleWorker:
		w, err := c.WorkerNamed(name)
		if err != nil {
			p.add("Workers", nil, "%v", err)
			break
		}
		checkNodeFiles(p, w.section())
	default:
		p.add("", nil, "%q is not a role; the roles are %s, %s and %s", role, RoleDistributor, RoleWorker, RoleStorage)
	}
	return p.err()
}

// CheckAll is [Config.Check] for every node of the file, for a machine that
// runs them all.
func (c *Config) CheckAll() error {
	p := &problems{path: c.Path}
	p.readable("RootCertLoc", c.RootCertLoc, pkiRemedy)
	if c.Distributor != nil {
		checkDistributorFiles(p, c.Distributor)
	}
	for _, s := range c.sections() {
		checkNodeFiles(p, s)
	}
	return p.err()
}

const (
	pkiRemedy    = "`./pluto-pki -config FILE` makes it"
	publicRemedy = "`./pluto-pki -config FILE -public HOST` makes one for tests"
	userRemedy   = "write the path of the user file, one name;password for each line"
)

func checkNodeFiles(p *problems, s section) {
	p.pair(s.key+".CertLoc", s.CertLoc, s.key+".KeyLoc", s.KeyLoc, pkiRemedy)
}

func checkDistributorFiles(p *problems, d *Distributor) {
	p.pair("Distributor.InternalCertLoc", d.InternalCertLoc, "Distributor.InternalKeyLoc", d.InternalKeyLoc, pkiRemedy)
	p.pair("Distributor.PublicCertLoc", d.PublicCertLoc, "Distributor.PublicKeyLoc", d.PublicKeyLoc, publicRemedy)
	switch {
	case d.AuthAdapter == AuthFile:
		p.readable("Distributor.AuthFile.File", d.AuthFile.File, userRemedy)
	case d.AuthPostgres.PasswordFile != "":
		p.readable("Distributor.AuthPostgres.PasswordFile", d.AuthPostgres.PasswordFile, "write the password into it, or use Password")
	}
	if d.AuthAdapter == AuthPostgres && d.AuthPostgres.RootCertLoc != "" {
		p.readable("Distributor.AuthPostgres.RootCertLoc", d.AuthPostgres.RootCertLoc, "write the path of the certificate that signed the database server's")
	}
}

// readable notes a file that cannot be read and reports whether it can.
func (p *problems) readable(key, path, remedy string) bool {
	file, err := os.Open(path)
	if err == nil {
		_, err = file.Read(make([]byte, 1))
		err = errors.Join(err, file.Close())
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, fs.ErrNotExist):
		p.add(key, path, "no such file; %s", remedy)
	case errors.Is(err, fs.ErrPermission):
		p.add(key, path, "no permission to read it; chown or chmod it for the user that runs pluto")
	default:
		p.add(key, path, "cannot be read: %v; %s", err, remedy)
	}
	return false
}

// pair notes a certificate and a key that are not there or do not belong
// together.
func (p *problems) pair(certKey, cert, keyKey, key, remedy string) {
	certOK := p.readable(certKey, cert, remedy)
	if keyOK := p.readable(keyKey, key, remedy); !certOK || !keyOK {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		p.add(certKey, cert, "not a certificate for the key in %s: %v", key, err)
	}
}
