package hostkeys

import (
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// startAgent runs OpenSSH's ssh-agent on a socket with these keys, and returns what ends it.
func startAgent(t *testing.T, socket string, keys ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(socket)
	})
	t.Cleanup(stop)
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	for _, key := range keys {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v\n%s", err, out)
		}
	}
	return stop
}

// checkSigns has a signer sign with each of its algorithms.
func checkSigns(t *testing.T, s ssh.Signer, want string) {
	t.Helper()
	multi, ok := s.(ssh.MultiAlgorithmSigner)
	if !ok {
		t.Fatalf("%s can't choose its algorithm", s.PublicKey().Type())
	}
	if got := strings.Join(multi.Algorithms(), " "); got != want {
		t.Errorf("algorithms: got %q, want %q", got, want)
	}
	for _, algorithm := range multi.Algorithms() {
		sig, err := multi.SignWithAlgorithm(rand.Reader, []byte("data"), algorithm)
		if err != nil || sig.Format != algorithm || s.PublicKey().Verify([]byte("data"), sig) != nil {
			t.Errorf("%s: got %v, %v", algorithm, sig, err)
		}
	}
}

func TestAgentSignsForAPublicKey(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent")
	ed, ec, rsa := newKey(t, dir, "ed", "-t", "ed25519"), newKey(t, dir, "ec", "-t", "ecdsa"), newKey(t, dir, "rsa", "-t", "rsa", "-b", "2048")
	newKey(t, dir, "ca", "-t", "ed25519")
	keygen(t, dir, "-s", "ca", "-I", "ed", "-h", "-n", "bastion.example", "ed.pub")
	stop := startAgent(t, socket, ed, ec, rsa)
	file := newKey(t, dir, "file", "-t", "ed25519")
	cfg := Config{Files: []string{ed + ".pub", ec + ".pub", rsa + ".pub", file}, Certificates: []string{ed + "-cert.pub"}, Agent: socket, Now: time.Now()}
	keys, err := Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512 rsa-sha2-256"} {
		checkSigns(t, keys.All[i], want)
	}
	if sig, err := keys.Handshake[0].Sign(rand.Reader, []byte("data")); err != nil || keys.All[0].PublicKey().Verify([]byte("data"), sig) != nil {
		t.Errorf("with a certificate: got %v, %v", sig, err)
	}
	rsaKey := keys.All[2].(ssh.MultiAlgorithmSigner)
	if sig, err := rsaKey.SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSA); err == nil {
		t.Errorf("signed with %s", sig.Format)
	}

	stop()
	if sig, err := keys.All[0].Sign(rand.Reader, []byte("data")); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("without an agent: got %v, %v, want an error", sig, err)
	}
	if _, err := Load(cfg); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("load without an agent: got error %v", err)
	}
	startAgent(t, socket, ed)
	checkSigns(t, keys.All[0], "ssh-ed25519")
	if _, err := Load(cfg); err == nil || !strings.Contains(err.Error(), "ssh-add") || !strings.Contains(err.Error(), "ec.pub") {
		t.Errorf("load of a key that the agent doesn't have: got error %v, want one that says ssh-add", err)
	}
	cfg.Agent = ""
	if _, err := Load(cfg); err == nil || !strings.Contains(err.Error(), "HostKeyAgent") {
		t.Errorf("load of a public key without HostKeyAgent: got error %v", err)
	}
}

func TestAgentOfTheEnvironment(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "/agent")
	if h, err := newHolder("SSH_AUTH_SOCK"); err != nil || h.socket != "/agent" {
		t.Errorf("got %+v, %v", h, err)
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	if h, err := newHolder("SSH_AUTH_SOCK"); err == nil {
		t.Errorf("got %+v, want an error", h)
	}
}

// falseAgent signs with SHA-1, whatever it is asked for.
type falseAgent struct{ agent.ExtendedAgent }

func (a falseAgent) SignWithFlags(key ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	return a.Sign(key, data)
}

// serve answers on a socket until the test ends.
func serve(t *testing.T, socket string, answer func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				answer(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
}

func TestAgentThatSignsWithSHA1IsNotBelieved(t *testing.T) {
	dir := t.TempDir()
	path, socket := filepath.Join(dir, "rsa"), filepath.Join(dir, "agent")
	key := rsaKey(t, 2048)
	writeKey(t, path, key, nil)
	keygen(t, dir, "-y", "-f", path)
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()))
	ring := agent.NewKeyring().(agent.ExtendedAgent)
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	serve(t, socket, func(conn net.Conn) { _ = agent.ServeAgent(falseAgent{ring}, conn) })
	keys, err := Load(Config{Files: []string{path + ".pub"}, Agent: socket})
	if err != nil {
		t.Fatal(err)
	}
	sig, err := keys.All[0].(ssh.MultiAlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte("x"), ssh.KeyAlgoRSASHA512)
	if err == nil || !strings.Contains(err.Error(), `"ssh-rsa" instead of rsa-sha2-512`) {
		t.Errorf("got %v, %v, want an error", sig, err)
	}
}

func TestAgentThatDoesNotAnswerIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent")
	serve(t, socket, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1<<10)); _, _ = conn.Read(make([]byte, 1)) })
	ed := newKey(t, dir, "ed", "-t", "ed25519")
	public, err := readPublic(ed + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	key := &heldKey{&holder{socket, 50 * time.Millisecond}, public}
	if sig, err := key.Sign(rand.Reader, []byte("x")); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v, %v, want a timeout", sig, err)
	}
}
