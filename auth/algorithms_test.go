package auth

import (
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestPubkeyAcceptedAlgorithms(t *testing.T) {
	rsa, authority := rsaKey(t, 2048), newKey(t)
	with := func(algorithm string) ssh.Signer {
		s, err := ssh.NewSignerWithAlgorithms(rsa.(ssh.AlgorithmSigner), []string{algorithm})
		must(t, err)
		return s
	}
	certified := certify(t, authority, newKey(t), nil)
	plain := newKey(t)
	for _, tt := range []struct {
		accepted []string
		signer   ssh.Signer
		reason   string // empty if let in
	}{
		{nil, rsa, ""},
		{[]string{ssh.KeyAlgoRSASHA256}, with(ssh.KeyAlgoRSASHA256), ""},
		{[]string{ssh.KeyAlgoRSASHA256}, with(ssh.KeyAlgoRSASHA512), "PubkeyAcceptedAlgorithms has no rsa-sha2-512"},
		{[]string{ssh.KeyAlgoED25519}, rsa, "ssh-rsa keys are not accepted"},
		{[]string{ssh.KeyAlgoRSA}, sha1Signer(t, rsa), "ssh-rsa"}, // nobody's, whatever is configured
		{[]string{ssh.CertAlgoED25519v01}, certified, ""},
		{[]string{ssh.CertAlgoED25519v01}, plain, "ssh-ed25519 keys are not accepted"},
		{[]string{ssh.KeyAlgoED25519}, certified, "ssh-ed25519-cert-v01@openssh.com keys are not accepted"},
	} {
		b := newBastion(t)
		b.authorize("alice", line(rsa), line(plain), "cert-authority "+line(authority))
		b.settings.PubkeyAcceptedAlgorithms = tt.accepted
		_, err := b.login("alice", ssh.PublicKeys(tt.signer))
		if got := b.lastReason(); (err == nil) != (tt.reason == "") || !strings.Contains(got, tt.reason) {
			t.Errorf("%q: got error %v, reason %q, want %q", tt.accepted, err, got, tt.reason)
		}
	}
}
