package server

import (
	"errors"
	"io"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// minRekey is the least that RekeyBytes may be, in bytes: more than what both sides say before a login ends, which is maxUnknown of the
// client's, our answers to that, and maxBanner. So we never ask for new keys before, which OpenSSH's client takes for an error.
const minRekey = 1 << 20

var errRekeyed = errors.New("new keys before authentication")

// exchanges bounds the key exchanges of a client that isn't authenticated: there is the first, and no other. Each takes up to 80 ms of our CPU (those of
// diffie-hellman-group16), and maxUnknown bytes are enough for a hundred. No client asks for new keys so early, as sshd doesn't take it either.
//
// x/crypto/ssh (v0.58.0) tells nobody that keys are exchanged. It has each exchange signed with a host key, though, when it has done its part.
type exchanges struct {
	known func() bool // the client is authenticated
	begun atomic.Bool
}

// sign is called when an exchange is to be signed. With an error it fails, and its connection ends.
func (e *exchanges) sign() error {
	if e.begun.Swap(true) && !e.known() {
		return errRekeyed
	}
	return nil
}

// signer returns key for the exchanges of e. It can choose its algorithm if key can.
func (e *exchanges) signer(key ssh.Signer) ssh.Signer {
	one := exchangeSigner{key, e}
	chooses, ok := key.(ssh.AlgorithmSigner)
	if !ok {
		return one
	}
	choosing := choosingSigner{one, chooses}
	if multi, ok := key.(ssh.MultiAlgorithmSigner); ok {
		return severalSigner{choosing, multi}
	}
	return choosing
}

type exchangeSigner struct {
	ssh.Signer
	of *exchanges
}

func (s exchangeSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	if err := s.of.sign(); err != nil {
		return nil, err
	}
	return s.Signer.Sign(rand, data)
}

// choosingSigner is an [ssh.AlgorithmSigner].
type choosingSigner struct {
	exchangeSigner
	key ssh.AlgorithmSigner
}

func (s choosingSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if err := s.of.sign(); err != nil {
		return nil, err
	}
	return s.key.SignWithAlgorithm(rand, data, algorithm)
}

// severalSigner is an [ssh.MultiAlgorithmSigner].
type severalSigner struct {
	choosingSigner
	multi ssh.MultiAlgorithmSigner
}

func (s severalSigner) Algorithms() []string { return s.multi.Algorithms() }
