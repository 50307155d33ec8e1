package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-pluto/pluto/crypto"
)

// usable says why a certificate that is there cannot be kept.
func (g *generator) usable(p crypto.Pair, who crypto.Identity) error {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return err
	}
	is, err := crypto.IdentityOf(pair.Leaf)
	if err != nil {
		return err
	}
	if is != who {
		return fmt.Errorf("it is the certificate of %s, not of %s", is, who)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.ca.Pair().Cert)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: g.Now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return fmt.Errorf("it is not valid with the CA in %s: %w", g.Dir, err)
	}
	return nil
}

// publicRemarks says what clients will not like about a certificate.
func (g *generator) publicRemarks(p crypto.Pair) string {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return ", but it cannot be used: " + err.Error() + " (-force makes a new one)"
	}
	if g.Now.After(pair.Leaf.NotAfter) {
		return ", but it ended on " + pair.Leaf.NotAfter.Format(time.DateOnly) + " (-force makes a new one)"
	}
	for _, h := range g.Public {
		if err := pair.Leaf.VerifyHostname(h); err != nil {
			return ", but it is not for " + h + " (-force makes a new one)"
		}
	}
	return ""
}

// readPair reads a certificate and its key. It is an error if only one of them
// is there.
func readPair(certLoc, keyLoc string) (p crypto.Pair, found bool, err error) {
	var certErr, keyErr error
	p.Cert, certErr = os.ReadFile(certLoc)
	p.Key, keyErr = os.ReadFile(keyLoc)
	noCert, noKey := errors.Is(certErr, fs.ErrNotExist), errors.Is(keyErr, fs.ErrNotExist)
	switch {
	case noCert && noKey:
		return p, false, nil
	case noCert:
		return p, false, fmt.Errorf("there is a key %s but no certificate %s", keyLoc, certLoc)
	case noKey:
		return p, false, fmt.Errorf("there is a certificate %s but no key %s", certLoc, keyLoc)
	}
	if err := errors.Join(certErr, keyErr); err != nil {
		return p, false, err
	}
	return p, true, nil
}

func writePair(certLoc, keyLoc string, p crypto.Pair) error {
	if err := writeFile(keyLoc, p.Key, 0o600); err != nil {
		return err
	}
	return writeFile(certLoc, p.Cert, 0o644)
}

// writeFile writes a file whole or not at all, and makes its directory.
func writeFile(path string, content []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// absolute makes paths comparable.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// sameFile reports whether two paths lead to the same file.
func sameFile(a, b string) bool {
	if absolute(a) == absolute(b) {
		return true
	}
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}
