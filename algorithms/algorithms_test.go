package algorithms

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// x/crypto/ssh drops a name that it doesn't know without a word.
func TestAlgorithmsAreThere(t *testing.T) {
	good, bad := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	certificates := []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01,
		ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSAv01,
	}
	for name, test := range map[string]struct {
		kind *Kind
		has  []string
	}{
		"Ciphers": {&Ciphers, slices.Concat(good.Ciphers, bad.Ciphers)},
		"MACs":    {&MACs, slices.Concat(good.MACs, bad.MACs)},
		// Its other name isn't listed.
		"KeyExchanges": {&KeyExchanges, append(slices.Concat(good.KeyExchanges, bad.KeyExchanges), "curve25519-sha256@libssh.org")},
		"HostKeys":     {&HostKeys, slices.Concat(good.HostKeys, bad.HostKeys)},
		"UserKeys":     {&UserKeys, slices.Concat(good.PublicKeyAuths, bad.PublicKeyAuths, certificates)},
		"Authorities":  {&Authorities, slices.Concat(good.PublicKeyAuths, bad.PublicKeyAuths)},
	} {
		kind := test.kind
		for _, algo := range slices.Concat(kind.Standard, kind.OnRequest) {
			if !slices.Contains(test.has, algo) {
				t.Errorf("%s: x/crypto/ssh has no %s", name, algo)
			}
		}
		weak := func(algo string) bool {
			return slices.Contains(kind.OnRequest, algo) || algo == "ssh-dss" || strings.HasPrefix(algo, "arcfour") || strings.HasPrefix(algo, "ssh-rsa")
		}
		for _, algo := range test.has {
			if !slices.Contains(kind.Standard, algo) && !weak(algo) && !strings.HasPrefix(algo, "ssh-dss") {
				t.Errorf("%s: x/crypto/ssh has %s, and we don't", name, algo)
			}
		}
		for _, algo := range slices.Concat(bad.Ciphers, bad.MACs, bad.KeyExchanges, bad.HostKeys) {
			if slices.Contains(kind.Standard, algo) {
				t.Errorf("%s: %s is weak, and in the default", name, algo)
			}
		}
	}
}
