package ftps

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// otherKeyError is a key that isn't pinned.
type otherKeyError struct{ has Pin }

func (e *otherKeyError) Error() string {
	return fmt.Sprintf("the server's key is %v, which FTPUpstreamTLSPin does not name: if the server has a new key, compare it there and name it", e.has)
}

// explain says what is wrong with the server, and what to do about it.
func (s *Session) explain(err error) error {
	var (
		bad    *tls.CertificateVerificationError
		pin    *otherKeyError
		header tls.RecordHeaderError
		alert  tls.AlertError
		text   string
	)
	switch {
	case errors.As(err, &bad):
		return s.mistrust(bad)
	case errors.As(err, &pin):
		text = err.Error()
	case errors.As(err, &header):
		text = "the server's answer is not TLS: is it the right port?"
	case errors.As(err, &alert):
		text = fmt.Sprintf("the server ended the handshake with %q", alert.Error())
		if s.cfg.MaxVersion == 0 {
			text += ": if it is an old one, FTPUpstreamTLSMaxVersion 1.2 may help"
		}
	case errors.Is(err, errCut):
		text = "the server ended the connection in the handshake"
	default:
		text = err.Error()
	}
	return &handshakeError{text, err}
}

// handshakeError has chosen words, and the cause for those who ask for it.
type handshakeError struct {
	text  string
	cause error
}

func (e *handshakeError) Error() string { return "TLS with the FTP server: " + e.text }
func (e *handshakeError) Unwrap() error { return e.cause }

// mistrust says why a certificate doesn't serve.
func (s *Session) mistrust(bad *tls.CertificateVerificationError) error {
	var (
		name    x509.HostnameError
		unknown x509.UnknownAuthorityError
		invalid x509.CertificateInvalidError
		leaf    *x509.Certificate
		why     string
	)
	if len(bad.UnverifiedCertificates) > 0 {
		leaf = bad.UnverifiedCertificates[0]
	}
	switch {
	case leaf == nil:
		return &handshakeError{"the server has no certificate", bad}
	case errors.As(bad.Err, &name):
		why = fmt.Sprintf("its certificate is for %s, not for %q: ask for the server by a name in it", names(leaf), s.name)
	case errors.As(bad.Err, &unknown) && s.cfg.Roots == nil:
		why = fmt.Sprintf("its certificate comes from %q, which this system does not trust: name the authority's file by FTPUpstreamTLSCAFile", issuer(leaf))
	case errors.As(bad.Err, &unknown):
		why = fmt.Sprintf("its certificate comes from %q, which is not in FTPUpstreamTLSCAFile: add it there", issuer(leaf))
	case errors.As(bad.Err, &invalid) && invalid.Reason == x509.Expired:
		why = fmt.Sprintf("its certificate is valid from %s to %s, and not now: the server needs a new one",
			leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
	default:
		why = fmt.Sprintf("its certificate does not serve: %v", bad.Err)
	}
	if s.cfg.Roots == nil { // with them, a pin is one condition more
		why += fmt.Sprintf("; or, if its key is %v when you look at the server, name that by FTPUpstreamTLSPin", PinOf(leaf))
	}
	return &handshakeError{why, bad}
}

// names returns the names in a certificate, but not very many.
func names(cert *x509.Certificate) string {
	const enough = 6
	var all []string
	for _, name := range cert.DNSNames {
		all = append(all, fmt.Sprintf("%.64q", name))
	}
	for _, addr := range cert.IPAddresses {
		all = append(all, addr.String())
	}
	switch n := len(all); {
	case n == 0:
		return fmt.Sprintf("no name (its subject, %.64q, counts for none)", cert.Subject.CommonName)
	case n > enough:
		return fmt.Sprintf("%s and %d more", strings.Join(all[:enough], ", "), n-enough)
	}
	return strings.Join(all, ", ")
}

func issuer(cert *x509.Certificate) string {
	const enough = 128
	text := cert.Issuer.String()
	return text[:min(len(text), enough)]
}

var _ relay.Stream = (*Stream)(nil)
