package peers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is an authority for the certificates of servers. Nobody trusts it who isn't told to.
type CA struct {
	Path string // PEM file of its certificate
	cert *x509.Certificate
	key  crypto.Signer
}

// Certificate says what is in a certificate.
type Certificate struct {
	Names     []string // host names and IP addresses
	NotBefore time.Time
	NotAfter  time.Time // if zero, both are around now
}

// Identity is a certificate with its key.
type Identity struct {
	Path string // PEM file with both
	Cert *x509.Certificate
}

// NewCA makes an authority, whose certificate is in folder.
func NewCA(folder, name string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	ca := &CA{Path: filepath.Join(folder, name+".pem"), key: key}
	ca.cert, err = sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, Certificate{}, nil, key, key)
	if err == nil {
		err = os.WriteFile(ca.Path, certPEM(ca.cert), 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("make a CA: %w", err)
	}
	return ca, nil
}

// Issue makes a server's identity, in a file of folder.
func (ca *CA) Issue(folder, file string, c Certificate) (Identity, error) {
	id := Identity{Path: filepath.Join(folder, file+".pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return id, fmt.Errorf("issue a certificate: %w", err)
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "server of a test"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range c.Names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	if id.Cert, err = sign(t, c, ca.cert, key, ca.key); err != nil {
		return id, fmt.Errorf("issue a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return id, fmt.Errorf("issue a certificate: %w", err)
	}
	both := append(certPEM(id.Cert), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return id, os.WriteFile(id.Path, both, 0o600)
}

// sign makes a certificate of t for key, by parent or, if that is nil, by itself.
func sign(t *x509.Certificate, c Certificate, parent *x509.Certificate, key, by crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	t.NotBefore, t.NotAfter = c.NotBefore, c.NotAfter
	if t.NotAfter.IsZero() {
		t.NotBefore, t.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	if parent == nil {
		parent = t
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func certPEM(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
