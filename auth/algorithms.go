package auth

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/ssh"
)

// minRSABits is the shortest RSA key that is accepted if nothing else is said (NIST SP 800-131A).
const minRSABits = 2048

// PublicKeyAlgorithms are the signature algorithms that prove a key. ssh-rsa, which is SHA-1,
// and ssh-dss are not among them.
func PublicKeyAlgorithms() []string { return ssh.SupportedAlgorithms().PublicKeyAuths }

// certificateNames are the names of those algorithms whose certificates have another one than the key's with
// -cert-v01 in it (OpenSSH's PROTOCOL.certkeys).
var certificateNames = map[string]string{
	ssh.KeyAlgoRSASHA256:  ssh.CertAlgoRSASHA256v01,
	ssh.KeyAlgoRSASHA512:  ssh.CertAlgoRSASHA512v01,
	ssh.KeyAlgoECDSA256:   ssh.CertAlgoECDSA256v01,
	ssh.KeyAlgoECDSA384:   ssh.CertAlgoECDSA384v01,
	ssh.KeyAlgoECDSA521:   ssh.CertAlgoECDSA521v01,
	ssh.KeyAlgoED25519:    ssh.CertAlgoED25519v01,
	ssh.KeyAlgoSKECDSA256: ssh.CertAlgoSKECDSA256v01,
	ssh.KeyAlgoSKED25519:  ssh.CertAlgoSKED25519v01,
	ssh.KeyAlgoMLDSA44:    ssh.CertAlgoMLDSA44v01Go,
	ssh.KeyAlgoMLDSA65:    ssh.CertAlgoMLDSA65v01Go,
	ssh.KeyAlgoMLDSA87:    ssh.CertAlgoMLDSA87v01Go,
}

// algorithmName is what PubkeyAcceptedAlgorithms calls a signature by this key.
func algorithmName(key ssh.PublicKey, signature string) string {
	if _, ok := key.(*ssh.Certificate); !ok {
		return signature
	}
	return certificateNames[signature]
}

// acceptsKey reports whether PubkeyAcceptedAlgorithms has the algorithm with which key has signed.
func (s *Settings) acceptsKey(key ssh.PublicKey, signature string) bool {
	if !slices.Contains(PublicKeyAlgorithms(), signature) {
		return false
	}
	return len(s.PubkeyAcceptedAlgorithms) == 0 || slices.Contains(s.PubkeyAcceptedAlgorithms, algorithmName(key, signature))
}

// acceptable checks what no keys file can permit.
func (s *Settings) acceptable(key ssh.PublicKey) error {
	plain := bare(key)
	if _, nested := plain.(*ssh.Certificate); nested {
		return errors.New("a certificate is certified")
	}
	signatures := []string{plain.Type()}
	if plain.Type() == ssh.KeyAlgoRSA {
		signatures = []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	if !slices.ContainsFunc(signatures, func(signature string) bool { return s.acceptsKey(key, signature) }) {
		return s.refusedBy("PubkeyAcceptedAlgorithms", key.Type()+" keys are not accepted")
	}
	return s.longEnough(plain)
}

// longEnough checks RequiredRSASize.
func (s *Settings) longEnough(key ssh.PublicKey) error {
	if key.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	bits := s.RequiredRSASize
	if bits == 0 {
		bits = minRSABits
	}
	k, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return errors.New("RSA key of unknown length")
	}
	if pub, ok := k.CryptoPublicKey().(*rsa.PublicKey); !ok || pub.N.BitLen() < bits {
		return s.refusedBy("RequiredRSASize", fmt.Sprintf("RSA keys shorter than %d bits are not accepted", bits))
	}
	return nil
}
