package login

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

// gate is an SSH server that knows passwords, which OpenSSH's can't be taught without touching the machine.
type gate struct {
	addr net.Addr
	key  ssh.PublicKey
}

func startGate(t *testing.T, config *ssh.ServerConfig) gate {
	t.Helper()
	host := newSigner(t)
	config.AddHostKey(host)
	at := peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
		conn, chans, reqs, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { ssh.DiscardRequests(reqs) })
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "no")
		}
		_ = conn.Close()
		wg.Wait()
	})
	return gate{net.TCPAddrFromAddrPort(at), host.PublicKey()}
}

func (g gate) config(t *testing.T) *Config {
	t.Helper()
	cfg := NewConfig("", "alice")
	cfg.Host, cfg.Port = "127.0.0.1", relay.AddrPort(g.addr).Port()
	cfg.GlobalKnownHosts = nil
	cfg.UserKnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	if err := addKnownHost(cfg.UserKnownHosts[0], g.addr.String(), g.key, false); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// answers is a person who gives these answers, and remembers the questions.
type answers struct {
	give  []string
	asked []string
}

func (a *answers) ask(_ context.Context, question string, echo bool) (string, error) {
	a.asked = append(a.asked, question)
	if echo {
		return "", errors.New("a secret would be shown")
	}
	if len(a.give) == 0 {
		return "", errors.New("interrupted")
	}
	answer := a.give[0]
	a.give = a.give[1:]
	return answer, nil
}

// tryConn connects within patience.
func tryConn(t *testing.T, cfg *Config) (*Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Connect(ctx, cfg)
}

func tryConnect(t *testing.T, cfg *Config) error {
	t.Helper()
	c, err := tryConn(t, cfg)
	if err == nil {
		go discard(c)
		_ = c.Close()
	}
	return err
}

func passwordGate(t *testing.T) gate {
	return startGate(t, &ssh.ServerConfig{
		MaxAuthTries: -1,
		PasswordCallback: func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			if string(password) != "right" {
				return nil, errors.New("wrong")
			}
			return nil, nil
		},
	})
}

func TestPasswordIsAskedForUntilItIsRight(t *testing.T) {
	g := passwordGate(t)
	for name, test := range map[string]struct {
		give  []string
		asked int
		err   string
	}{
		"at once":       {give: []string{"right"}, asked: 1},
		"third time":    {give: []string{"a", "", "right"}, asked: 3},
		"never":         {give: []string{"a", "b", "c", "right"}, asked: 3, err: "permission denied for alice@127.0.0.1 (tried: 3 passwords; the server takes: password)"},
		"interrupted":   {give: []string{"a"}, asked: 2, err: "interrupted"},
		"nobody to ask": {asked: 0, err: "tried: nothing; the server takes: password"},
	} {
		t.Run(name, func(t *testing.T) {
			person := &answers{give: test.give}
			cfg := g.config(t)
			if cfg.Ask = person.ask; test.asked == 0 {
				cfg.BatchMode = true
			}
			err := tryConnect(t, cfg)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if len(person.asked) != test.asked || test.asked > 0 && person.asked[0] != "alice@127.0.0.1's password: " {
				t.Errorf("was asked %q, want %d questions for alice@127.0.0.1's password", person.asked, test.asked)
			}
		})
	}
}

func TestPromptsOfTheServerCannotSpeakToTheTerminal(t *testing.T) {
	g := startGate(t, &ssh.ServerConfig{
		KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := challenge("", "", []string{"One-time \x1b[2Jcode: "}, []bool{false})
			if err != nil || !slices.Equal(answers, []string{"123456"}) {
				return nil, errors.New("wrong")
			}
			return nil, nil
		},
	})
	person := &answers{give: []string{"123456"}}
	cfg := g.config(t)
	cfg.Ask = person.ask
	if err := tryConnect(t, cfg); err != nil {
		t.Error(err)
	}
	if want := []string{"(alice@127.0.0.1) One-time ?[2Jcode: "}; !slices.Equal(person.asked, want) {
		t.Errorf("was asked %q, want %q", person.asked, want)
	}
}

// TestKeyThenPassword goes through a server that wants both (partial success, RFC 4252, section 5.1).
// TestSecretIsToldToNobodyWhoShowsIt has a secret in place of a person, who may be asked for the rest.
func TestSecretIsToldToNobodyWhoShowsIt(t *testing.T) {
	secret := "secret"
	cfg := NewConfig("", "me")
	cfg.Secret, cfg.BatchMode = &secret, true
	a := newAuthenticator(t.Context(), cfg, func() func() { return func() {} }, nil)
	if !a.canAsk() {
		t.Error("the secret isn't used where nobody may be asked")
	}
	if got, err := a.password(); got != secret || err != nil {
		t.Errorf("got password %q, %v", got, err)
	}
	if got, err := a.challenge("", "", []string{"Password: "}, []bool{false}); err != nil || got[0] != secret {
		t.Errorf("got answers %q, %v", got, err)
	}
	if got, err := a.challenge("", "", []string{"Name: "}, []bool{true}); err == nil {
		t.Errorf("got answers %q, want nobody to say who it is", got)
	}
}

func TestKeyThenPassword(t *testing.T) {
	key := peers.TestKey(t, "id")
	g := startGate(t, &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
				PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, nil },
			}}
		},
	})
	person := &answers{give: []string{"anything"}}
	cfg := g.config(t)
	cfg.Ask, cfg.Identities = person.ask, []string{key.Path}
	if err := tryConnect(t, cfg); err != nil {
		t.Error(err)
	}
	if len(person.asked) != 1 {
		t.Errorf("was asked %q, want one password", person.asked)
	}
}

// keyGate accepts public keys, and tells which were offered.
func keyGate(t *testing.T, accept ssh.PublicKey, offered *[]string) gate {
	return startGate(t, &ssh.ServerConfig{
		MaxAuthTries:            -1,
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths, // no SHA-1
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			*offered = append(*offered, ssh.FingerprintSHA256(key))
			if string(key.Marshal()) != string(accept.Marshal()) {
				return nil, errors.New("foreign")
			}
			return nil, nil
		},
	})
}

// encryptedKey makes an RSA key whose passphrase is fast to check.
func encryptedKey(t *testing.T, path, passphrase string) ssh.PublicKey {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-a", "1", "-N", passphrase, "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return readPublicKey(path + ".pub")
}

func TestPassphraseIsAskedForOnlyWhenTheServerWantsTheKey(t *testing.T) {
	folder := t.TempDir()
	wanted := encryptedKey(t, filepath.Join(folder, "wanted"), "open sesame")
	encryptedKey(t, filepath.Join(folder, "unwanted"), "open sesame")
	var offered []string
	g := keyGate(t, wanted, &offered)
	for name, test := range map[string]struct {
		give  []string
		asked int
		err   string
	}{
		"right":    {give: []string{"open sesame"}, asked: 1},
		"left out": {give: []string{"wrong", ""}, asked: 2, err: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			person := &answers{give: test.give}
			cfg := g.config(t)
			cfg.Ask = person.ask
			cfg.Identities = []string{filepath.Join(folder, "unwanted"), filepath.Join(folder, "wanted")}
			err := tryConnect(t, cfg)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if len(person.asked) != test.asked || !strings.Contains(person.asked[0], "wanted\"") {
				t.Errorf("was asked %q, want %d questions for the key that the server wants", person.asked, test.asked)
			}
		})
	}
}

func TestKeyThatOthersMayReadIsNotUsed(t *testing.T) {
	key := peers.TestKey(t, "id")
	if err := os.Chmod(key.Path, 0o644); err != nil {
		t.Fatal(err)
	}
	var offered []string
	g := keyGate(t, key.Signer.PublicKey(), &offered)
	cfg := g.config(t)
	cfg.Identities, cfg.BatchMode = []string{key.Path}, true
	if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), "tried: nothing") {
		t.Errorf("got %v, want that nothing was tried", err)
	}
	// Nor is it passed over in silence where its public half is beside it, as the agent might have had the private one.
	public, log := key.Path+".pub", new(strings.Builder)
	if err := os.WriteFile(public, key.Authorized(), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	if err := tryConnect(t, cfg); err == nil || !strings.Contains(log.String(), "chmod 600") {
		t.Errorf("got %v, and the log %q; want that the key is left out", err, log)
	}
	_, err := newAuthenticator(t.Context(), cfg, nil, nil).loadIdentity(key.Path)
	if want := "may be read by others (mode 0644), so it is not used: chmod 600"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// startAgent serves keys on a socket.
func startAgent(t *testing.T, keys ...peers.Key) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		text, err := os.ReadFile(k.Path)
		if err != nil {
			t.Fatal(err)
		}
		private, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
	}
	return serveAgent(t, ring)
}

// serveAgent serves an agent on a socket.
func serveAgent(t *testing.T, ring agent.Agent) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { _ = agent.ServeAgent(ring, c); _ = c.Close() })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return path
}

func TestOrderOfKeys(t *testing.T) {
	a, b, c, d := peers.TestKey(t, "a"), peers.TestKey(t, "b"), peers.TestKey(t, "c"), peers.TestKey(t, "d")
	names := make(map[string]string)
	for name, k := range map[string]peers.Key{"a": a, "b": b, "c": c, "d": d} {
		names[ssh.FingerprintSHA256(k.Signer.PublicKey())] = name
	}
	socket := startAgent(t, a, b, d)
	if err := os.Remove(d.Path); err != nil { // only its public half is left, and the agent has the other
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		only bool
		want []string
	}{
		// Those of the agent that have a file, the agent's others, the rest of the files.
		"all":            {false, []string{"b", "d", "a", "c"}},
		"IdentitiesOnly": {true, []string{"b", "d", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			var offered, got []string
			g := keyGate(t, c.Signer.PublicKey(), &offered)
			cfg := g.config(t)
			cfg.AgentSocket, cfg.IdentitiesOnly = socket, test.only
			cfg.Identities = []string{c.Path, b.Path, d.Path}
			if err := tryConnect(t, cfg); err != nil {
				t.Error(err)
			}
			for _, fingerprint := range offered {
				got = append(got, names[fingerprint])
			}
			if got = slices.Compact(got); !slices.Equal(got, test.want) {
				t.Errorf("got %q offered, want %q", got, test.want)
			}
		})
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	at := peers.TestTCPServer(t, patience, func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) })
	cfg := NewConfig("", "alice")
	cfg.Host, cfg.Port, cfg.GlobalKnownHosts = at.Addr().String(), at.Port(), nil
	cfg.ConnectTimeout = 2 * time.Second // in which a busy machine connects
	if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), "was silent for 2s during the SSH handshake: is that an SSH server?") {
		t.Errorf("got %v, want that the server was silent", err)
	}
}

func TestPersonMayTakeLongerThanTheServer(t *testing.T) {
	t.Parallel()
	g := passwordGate(t)
	cfg := g.config(t)
	cfg.ConnectTimeout = 3 * time.Second // in which a busy machine does the rest
	cfg.Ask = func(ctx context.Context, _ string, _ bool) (string, error) {
		slow := time.NewTimer(cfg.ConnectTimeout + time.Second)
		defer slow.Stop()
		<-slow.C
		return "right", nil
	}
	if err := tryConnect(t, cfg); err != nil {
		t.Error(err)
	}
}

func TestUnreachableBastionSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		host string
		port uint16
		want string
	}{
		"refused": {"127.0.0.1", peers.TestPort(t), "connection refused: is the SSH server running, and is that its port (-p)?"},
		"no name": {"no-such-host.invalid", 22, `find host "no-such-host.invalid": `},
	} {
		cfg := NewConfig("", "alice")
		cfg.Host, cfg.Port, cfg.GlobalKnownHosts = test.host, test.port, nil
		if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
