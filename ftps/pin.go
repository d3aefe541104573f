package ftps

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strings"
)

// A Pin is the SHA-256 of a public key as it stands in a certificate (SubjectPublicKeyInfo, RFC 7469, section 2.4). A new certificate of
// the same key has the same pin.
type Pin [sha256.Size]byte

const pinPrefix = "SHA256:"

// ParsePin reads SHA256: and base64 after it, with or without its padding.
func ParsePin(s string) (p Pin, err error) {
	text, ok := strings.CutPrefix(s, pinPrefix)
	if !ok {
		return p, fmt.Errorf("pin %q does not begin with %s", s, pinPrefix)
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimSuffix(text, "="))
	if err != nil || len(sum) != len(p) {
		return p, fmt.Errorf("pin %q is not %s and the base64 of 32 bytes", s, pinPrefix)
	}
	return Pin(sum), nil
}

// PinOf returns the pin of the key in cert.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// String returns what ParsePin reads.
func (p Pin) String() string { return pinPrefix + base64.RawStdEncoding.EncodeToString(p[:]) }
