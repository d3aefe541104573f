package hostkeys

import (
	"bytes"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTime bounds everything that is asked of an agent: a client waits for it.
const agentTime = 5 * time.Second

// holder is an agent that holds private keys. Each question has a connection of its own, so that an agent that
// was started anew is found.
type holder struct {
	socket string
	time   time.Duration // agentTime, but for tests
}

// newHolder returns the agent behind a socket, nil if socket is empty.
func newHolder(socket string) (*holder, error) {
	if socket == "SSH_AUTH_SOCK" {
		if socket = os.Getenv("SSH_AUTH_SOCK"); socket == "" {
			return nil, errors.New("HostKeyAgent is SSH_AUTH_SOCK, and the environment has none: start culvertd with it, or name the agent's socket")
		}
	}
	if socket == "" {
		return nil, nil
	}
	return &holder{socket: socket, time: agentTime}, nil
}

// ask calls question with a connection to the agent.
func (h *holder) ask(question func(agent.ExtendedAgent) error) error {
	conn, err := net.DialTimeout("unix", h.socket, h.time)
	if err == nil {
		defer conn.Close()
		if err = conn.SetDeadline(time.Now().Add(h.time)); err == nil {
			err = question(agent.NewClient(conn))
		}
	}
	if err != nil {
		return fmt.Errorf("agent at %q: %w", h.socket, err)
	}
	return nil
}

// signer returns the signer of a key that the agent must have.
func (h *holder) signer(path string, key ssh.PublicKey) (ssh.Signer, error) {
	algorithms, err := algorithmsOf(key)
	if err != nil {
		return nil, fmt.Errorf("host key %q: %w", path, err)
	}
	held := false
	err = h.ask(func(a agent.ExtendedAgent) error {
		keys, err := a.List()
		for _, k := range keys {
			held = held || bytes.Equal(k.Blob, key.Marshal())
		}
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("host key %q: %w", path, err)
	case !held:
		return nil, fmt.Errorf("host key %q: the agent at %q doesn't have %s: add it with ssh-add", path, h.socket, ssh.FingerprintSHA256(key))
	}
	return ssh.NewSignerWithAlgorithms(&heldKey{h, key}, algorithms)
}

// algorithmsOf are the signature algorithms of a public key that serves.
func algorithmsOf(key ssh.PublicKey) ([]string, error) {
	switch typ := key.Type(); typ {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return []string{typ}, nil
	case ssh.KeyAlgoRSA:
		if public, ok := key.(ssh.CryptoPublicKey); ok {
			if key, ok := public.CryptoPublicKey().(*rsa.PublicKey); ok {
				return rsaAlgorithms, longEnough(key)
			}
		}
		return nil, errors.New("no RSA key of a kind known here")
	default:
		return nil, notServed(typ)
	}
}

// heldKey signs through the agent.
type heldKey struct {
	holder *holder
	public ssh.PublicKey
}

func (k *heldKey) PublicKey() ssh.PublicKey { return k.public }

func (k *heldKey) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(rand, data, k.public.Type())
}

// SignWithAlgorithm has the agent sign, and believes it nothing: an old one signs with SHA-1 whatever it is asked for.
func (k *heldKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (signature *ssh.Signature, err error) {
	var flags agent.SignatureFlags
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	case ssh.KeyAlgoRSA:
		return nil, errors.New("an RSA key signs with SHA-2 only")
	}
	err = k.holder.ask(func(a agent.ExtendedAgent) (err error) {
		signature, err = a.SignWithFlags(k.public, data, flags)
		return err
	})
	if err == nil && signature.Format != algorithm {
		err = fmt.Errorf("agent at %q signed with %q instead of %s", k.holder.socket, signature.Format, algorithm)
	}
	if err != nil {
		return nil, fmt.Errorf("sign with host key %s: %w", ssh.FingerprintSHA256(k.public), err)
	}
	return signature, nil
}
