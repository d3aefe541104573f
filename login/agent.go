package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTimeout is how long the agent may take; a signature may wait for a person who
// confirms it or touches a token.
const agentTimeout = 2 * time.Minute

// DefaultAgent is where the agent is, unless IdentityAgent says something else.
func DefaultAgent() string { return cmp.Or(os.Getenv("SSH_AUTH_SOCK"), systemAgent) }

// keyAgent is the connection to the agent that holds keys (SSH_AUTH_SOCK).
type keyAgent struct {
	conn  io.ReadWriteCloser
	pause func() (resume func()) // while the agent works, the handshake waits
	agent agent.ExtendedAgent
	stop  func() bool
}

// dialAgent connects to the agent. It returns nil if there is none, which is no error.
func dialAgent(ctx context.Context, cfg *Config, pause func() (resume func())) *keyAgent {
	if cfg.AgentSocket == "" {
		return nil
	}
	defer pause()()
	conn, err := openAgent(ctx, cfg.AgentSocket, cfg.ConnectTimeout)
	if err != nil {
		cfg.Logger().Debug("no agent", "err", err)
		return nil
	}
	// Without Close in sight, the library starts no goroutine of its own.
	a := &keyAgent{conn: conn, pause: pause, agent: agent.NewClient(struct{ io.ReadWriter }{conn})}
	a.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return a
}

func (a *keyAgent) close() {
	if a != nil {
		a.stop()
		_ = a.conn.Close() // nothing was written that could be lost
	}
}

// busy begins something that the agent may take its time for. One that takes too long is hung up on.
func (a *keyAgent) busy() (done func()) {
	resume := a.pause()
	late := time.AfterFunc(agentTimeout, func() { _ = a.conn.Close() })
	return func() {
		late.Stop()
		resume()
	}
}

// keys lists what the agent has.
func (a *keyAgent) keys() ([]*identity, error) {
	if a == nil {
		return nil, nil
	}
	defer a.busy()()
	signers, err := a.agent.Signers()
	if err != nil {
		return nil, err
	}
	var ids []*identity
	for _, s := range signers {
		if as, ok := s.(ssh.AlgorithmSigner); ok {
			ids = append(ids, &identity{name: "agent", public: s.PublicKey(), signer: agentKey{as, a}})
		}
	}
	return ids, nil
}

// agentKey is a key of the agent; while it signs, the handshake waits.
type agentKey struct {
	ssh.AlgorithmSigner
	agent *keyAgent
}

func (k agentKey) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	defer k.agent.busy()()
	sig, err := k.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
	if err != nil {
		return nil, fmt.Errorf("the agent refuses to sign: %w", err)
	}
	return sig, nil
}

// AddKeys is AddKeysToAgent of ssh_config(5): what becomes of a key whose file was read, if there is an agent.
type AddKeys struct {
	Add      bool
	Ask      bool          // the person first
	Confirm  bool          // the agent asks at each use
	Lifetime time.Duration // after which the agent forgets it; if 0, never
}

// add gives the agent the private key of a file.
func (a *keyAgent) add(ctx context.Context, cfg *Config, file string, private any) error {
	if a == nil || !cfg.AddKeys.Add {
		return nil
	}
	if cfg.AddKeys.Ask {
		answer, err := cfg.ask(ctx, fmt.Sprintf("Give the key %q to the agent? (yes or no): ", file), true)
		if err != nil {
			return err
		}
		if answer != "yes" {
			return errors.New("the answer was not yes")
		}
	}
	defer a.busy()()
	return a.agent.Add(agent.AddedKey{
		PrivateKey: private, Comment: file,
		LifetimeSecs: uint32(cfg.AddKeys.Lifetime / time.Second), ConfirmBeforeUse: cfg.AddKeys.Confirm,
	})
}
