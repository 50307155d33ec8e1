package crypto

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/go-kit/log"
)

// Node is a node's identity with what proves it.
type Node struct {
	who   Identity
	roots *x509.CertPool
	pair  *KeyPair
}

// LoadNode reads the CA's certificate and a node's own certificate and key, and
// verifies that they are those of the node it is meant to be. The node's pair
// is re-read when its files change. metrics may be nil.
func LoadNode(rootLoc, certLoc, keyLoc string, want Identity, logger log.Logger, metrics *Metrics) (*Node, error) {
	roots, err := LoadRoots(rootLoc)
	if err != nil {
		return nil, err
	}
	accept := func(leaf *x509.Certificate) error { return belongs(leaf, want, roots, rootLoc) }
	pair, err := loadKeyPair(certLoc, keyLoc, "internal", accept, logger, metrics)
	if err != nil {
		return nil, err
	}
	return &Node{who: want, roots: roots, pair: pair}, nil
}

// belongs says why a certificate cannot be that of a node.
func belongs(leaf *x509.Certificate, want Identity, roots *x509.CertPool, rootLoc string) error {
	who, err := IdentityOf(leaf)
	if err != nil {
		return err
	}
	if who != want {
		return fmt.Errorf("it is that of %s, not of %s; is the right section of the configuration used?", who, want)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := verify([]*x509.Certificate{leaf}, roots, usage, time.Now()); err != nil {
			return fmt.Errorf("it is not valid with the CA in %s: %w", rootLoc, err)
		}
	}
	return nil
}

// LoadRoots reads the certificates of CAs from a PEM file.
func LoadRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the CA's certificate: %w", err)
	}
	pool, found := x509.NewCertPool(), false
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("read the CA's certificate: %s contains a %s", path, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read the CA's certificate %s: %w", path, err)
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		return nil, fmt.Errorf("read the CA's certificate: %s is not a PEM file with certificates", path)
	}
	return pool, nil
}

// Identity returns who the node is.
func (n *Node) Identity() Identity { return n.who }

// ServerTLS is for listeners that other nodes connect to. They need a
// certificate of the internal CA that names role and node; what they may do is
// for [Policy] and [Require] to say.
func (n *Node) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  n.roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return n.pair.Get(), nil
		},
		// Connections between nodes last; without tickets each is verified anew.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := verifiedIdentity(s)
			return err
		},
	}
}

// ClientTLS is for connections to the node of that name, in one of the roles.
// Any other node at the address is refused.
func (n *Node) ClientTLS(name string, roles ...Role) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return n.pair.Get(), nil
		},
		// The library's own verification is about host names. VerifyConnection
		// replaces it, and runs for resumed connections too.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if err := verify(s.PeerCertificates, n.roots, x509.ExtKeyUsageServerAuth, time.Now()); err != nil {
				return fmt.Errorf("expected node %s: %w", name, err)
			}
			who, err := IdentityOf(s.PeerCertificates[0])
			if err != nil {
				return fmt.Errorf("expected node %s: %w", name, err)
			}
			if who.Name != name || !slices.Contains(roles, who.Role) {
				return fmt.Errorf("expected node %s, reached %s; is the address in the configuration right?", name, who)
			}
			return nil
		},
	}
}

// verify checks a chain, the peer's own certificate first, against the roots.
func verify(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{usage},
		CurrentTime:   now,
	})
	return err
}

// verifiedIdentity returns whose connection it is at the server's end.
func verifiedIdentity(s tls.ConnectionState) (Identity, error) {
	if len(s.VerifiedChains) == 0 || len(s.VerifiedChains[0]) == 0 {
		return Identity{}, errors.New("no verified certificate")
	}
	return IdentityOf(s.VerifiedChains[0][0])
}

// PublicTLS is for listeners that mail clients connect to. Changed
// certificates are used from the next handshake on.
func PublicTLS(pair *KeyPair) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return pair.Get(), nil
		},
	}
}
