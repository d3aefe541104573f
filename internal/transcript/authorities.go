package transcript

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// Authorities are what the server of the transcripts speaks TLS by.
type Authorities struct {
	Roots              *x509.CertPool // of the one that the driver is to trust
	Secured, Untrusted *tls.Config
}

// NewAuthorities makes certificates for the server at an address, by an authority that is trusted and by another.
func NewAuthorities(tb testing.TB, addr string) *Authorities {
	tb.Helper()
	identity := func(ca *peers.CA) *tls.Config {
		id := ca.TestIdentity(tb, peers.Certificate{Names: []string{addr}})
		cert, err := tls.LoadX509KeyPair(id.Path, id.Path)
		if err != nil {
			tb.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	ca := peers.TestCA(tb, "ca")
	pem, err := os.ReadFile(ca.Path)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		tb.Fatalf("%s: no certificate in it", ca.Path)
	}
	return &Authorities{Roots: roots, Secured: identity(ca), Untrusted: identity(peers.TestCA(tb, "other"))}
}
