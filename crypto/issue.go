package crypto

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"slices"
	"time"
)

// Validities of what pluto makes. The internal ones are long because their
// end is an outage and renewing them is a matter of running pluto-pki again;
// the self-signed one is as long as Apple's clients accept.
const (
	ValidityCA     = 20 * 365 * 24 * time.Hour
	ValidityNode   = 10 * 365 * 24 * time.Hour
	ValidityPublic = 397 * 24 * time.Hour
)

// skew is how far clocks may be behind when a new certificate is used.
const skew = time.Hour

// Pair is a certificate and its private key in PEM: CERTIFICATE (the node's
// first) and PRIVATE KEY (PKCS #8).
type Pair struct {
	Cert []byte
	Key  []byte
}

// CA is a certificate authority for nodes.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  Pair
}

// NewCA makes a certificate authority with a key of its own, valid from an hour
// before now.
func NewCA(now time.Time) (*CA, error) {
	tmpl, err := template(now, ValidityCA, "pluto internal CA")
	if err != nil {
		return nil, err
	}
	tmpl.IsCA = true
	tmpl.MaxPathLenZero = true // it signs nodes, not other CAs
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	p, err := sign(tmpl, nil)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return ParseCA(p)
}

// ParseCA reads a certificate authority that [NewCA] made.
func ParseCA(p Pair) (*CA, error) {
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("read the CA: not a certificate authority with an ECDSA key")
	}
	return &CA{cert: pair.Leaf, key: key, pem: p}, nil
}

// Pair returns the CA's certificate, which every node needs, and its key,
// which none does.
func (ca *CA) Pair() Pair { return ca.pem }

// NotAfter returns when the CA ends.
func (ca *CA) NotAfter() time.Time { return ca.cert.NotAfter }

// Issue makes a certificate for a node. hosts are the names and addresses under
// which it is reached, for tools that look at them; pluto does not.
func (ca *CA) Issue(now time.Time, who Identity, hosts []string) (Pair, error) {
	if _, err := ParseIdentity(who.URI()); err != nil {
		return Pair{}, fmt.Errorf("make a certificate for %q: %w", who, err)
	}
	tmpl, err := template(now, ValidityNode, who.Name)
	if err != nil {
		return Pair{}, err
	}
	if tmpl.NotAfter.After(ca.cert.NotAfter) {
		tmpl.NotAfter = ca.cert.NotAfter
	}
	tmpl.Subject.OrganizationalUnit = []string{string(who.Role)}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tmpl.URIs = []*url.URL{who.URI()}
	setHosts(tmpl, hosts)
	p, err := sign(tmpl, ca)
	if err != nil {
		return Pair{}, fmt.Errorf("make a certificate for %s: %w", who, err)
	}
	return p, nil
}

// SelfSigned makes a certificate that a mail client can be told to trust, for
// tests. hosts are the names and addresses that clients connect to.
func SelfSigned(now time.Time, hosts []string) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("make a public certificate: no host to make it for")
	}
	tmpl, err := template(now, ValidityPublic, hosts[0])
	if err != nil {
		return Pair{}, err
	}
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	setHosts(tmpl, hosts)
	p, err := sign(tmpl, nil)
	if err != nil {
		return Pair{}, fmt.Errorf("make a public certificate: %w", err)
	}
	return p, nil
}

func template(now time.Time, validity time.Duration, name string) (*x509.Certificate, error) {
	// RFC 5280 section 4.1.2.2: a positive number of at most 20 octets.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	if len(name) > 64 { // RFC 5280 ub-common-name; the names that count are elsewhere
		name = ""
	}
	return &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               pkix.Name{Organization: []string{"pluto"}, CommonName: name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(validity),
		BasicConstraintsValid: true,
	}, nil
}

// setHosts writes each host once, as an address or a name.
func setHosts(tmpl *x509.Certificate, hosts []string) {
	for _, h := range hosts {
		ip := net.ParseIP(h)
		switch {
		case h == "":
		case ip == nil && !slices.Contains(tmpl.DNSNames, h):
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		case ip != nil && !slices.ContainsFunc(tmpl.IPAddresses, ip.Equal):
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		}
	}
}

// sign makes a key and has its certificate signed by the CA, or by itself.
func sign(tmpl *x509.Certificate, ca *CA) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	if tmpl.SubjectKeyId, err = keyID(key); err != nil {
		return Pair{}, err
	}
	parent, signer := tmpl, key
	if ca != nil {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		return Pair{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// keyID is RFC 7093 section 2, method 1.
func keyID(key *ecdsa.PrivateKey) ([]byte, error) {
	pub, err := key.PublicKey.ECDH()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(pub.Bytes())
	return sum[:20], nil
}
