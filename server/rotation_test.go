package server

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/hostkeys"
)

// rotating is a bastion that goes from one host key to another of the same type.
type rotating struct {
	*bastion
	old, next, rsa ssh.Signer
}

// newRotating has three keys, in files or in an agent.
func newRotating(t *testing.T, inAgent bool) rotating {
	t.Helper()
	r := rotating{bastion: newBastion(t)}
	dir := t.TempDir()
	cfg := hostkeys.Config{Now: time.Now()}
	for name, args := range map[string][]string{"old": {"-t", "ed25519"}, "next": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "2048"}} {
		run(t, "", "ssh-keygen", append([]string{"-q", "-N", "", "-f", filepath.Join(dir, name)}, args...)...)
	}
	if inAgent {
		cfg.Agent = filepath.Join(dir, "agent")
		agent := exec.Command("ssh-agent", "-D", "-a", cfg.Agent)
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = agent.Process.Kill()
			_ = agent.Wait()
		})
		eventually(t, "the agent answers", func() bool {
			conn, err := net.Dial("unix", cfg.Agent)
			return err == nil && conn.Close() == nil
		})
	}
	for _, name := range []string{"old", "next", "rsa"} {
		path := filepath.Join(dir, name)
		if inAgent {
			run(t, cfg.Agent, "ssh-add", "-q", path)
			path += ".pub"
		}
		cfg.Files = append(cfg.Files, path)
	}
	keys, err := hostkeys.Load(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.old, r.next, r.rsa = keys.All[0], keys.All[1], keys.All[2]
	r.cfg.HostKeys, r.cfg.AnnouncedKeys = []ssh.Signer{r.old}, keys.All
	return r
}

func run(t *testing.T, agent, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+agent)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// eventually waits for what another process does.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(patience); !done(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func TestOpenSSHFollowsARotationOfTheHostKey(t *testing.T) {
	for name, inAgent := range map[string]bool{"files": false, "agent": true} {
		t.Run(name, func(t *testing.T) {
			r := newRotating(t, inAgent)
			_, identity := r.user("alice")
			r.start()
			_, port, err := net.SplitHostPort(r.addr)
			if err != nil {
				t.Fatal(err)
			}
			known := filepath.Join(t.TempDir(), "known_hosts")
			line := func(key ssh.Signer) string {
				return "[127.0.0.1]:" + port + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
			}
			if err := os.WriteFile(known, []byte(line(r.old)), 0o600); err != nil {
				t.Fatal(err)
			}
			r.follow(known, identity, r.old, r.next, r.rsa)
			// The old key retires. The client knows the next one already.
			live := r.cfg.Live
			live.HostKeys, live.AnnouncedKeys = []ssh.Signer{r.next}, []ssh.Signer{r.next}
			if err := r.Update(live); err != nil {
				t.Fatal(err)
			}
			r.follow(known, identity, r.next)
		})
	}
}

// follow logs in with the real ssh, which must not ask or warn, and waits until it knows these keys and no others.
func (r rotating) follow(known, identity string, want ...ssh.Signer) {
	r.t.Helper()
	cmd := r.strictSSH(known, "-l", "alice", "-i", identity, "-N", "-o", "UpdateHostKeys=yes")
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if text := strings.ToLower(said.String()); r.t.Failed() || strings.Contains(text, "warning") || strings.Contains(text, "error") {
			r.t.Errorf("ssh said: %s", said.String())
		}
	}()
	eventually(r.t, "ssh knows the keys that it was told of, and no others", func() bool {
		data, err := os.ReadFile(known)
		if err != nil {
			return false // it is being replaced
		}
		for _, key := range want {
			if !bytes.Contains(data, bytes.TrimSpace(ssh.MarshalAuthorizedKey(key.PublicKey()))) {
				return false
			}
		}
		return bytes.Count(data, []byte("\n")) == len(want)
	})
}

// strictSSH is openSSH that believes the file of known hosts, and nothing else.
func (b *bastion) strictSSH(known string, args ...string) *exec.Cmd {
	b.t.Helper()
	cmd := b.openSSH(args...)
	for i, arg := range cmd.Args {
		switch arg {
		case "UserKnownHostsFile=/dev/null":
			cmd.Args[i] = "UserKnownHostsFile=" + known
		case "StrictHostKeyChecking=no":
			cmd.Args[i] = "StrictHostKeyChecking=yes"
		}
	}
	return cmd
}

func TestOpenSSHBelievesAHostCertificate(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{"ca": {"-t", "ed25519"}, "ed": {"-t", "ed25519"}, "rsa": {"-t", "rsa", "-b", "2048"}} {
		run(t, "", "ssh-keygen", append([]string{"-q", "-N", "", "-f", at(name)}, args...)...)
	}
	run(t, "", "ssh-keygen", "-q", "-s", at("ca"), "-I", "bastion", "-h", "-n", "127.0.0.1", at("ed.pub"), at("rsa.pub"))
	keys, err := hostkeys.Load(hostkeys.Config{
		Files: []string{at("ed"), at("rsa")}, Certificates: []string{at("ed-cert.pub"), at("rsa-cert.pub")}, Now: time.Now(),
	})
	if err != nil || len(keys.Warnings) > 0 {
		t.Fatalf("got warnings %q, error %v", keys.Warnings, err)
	}
	b := newBastion(t)
	_, identity := b.user("alice")
	b.cfg.HostKeys, b.cfg.AnnouncedKeys = keys.Handshake, keys.All
	b.start()
	authority, err := os.ReadFile(at("ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, append([]byte("@cert-authority * "), authority...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, algorithm := range []string{"ssh-ed25519-cert-v01@openssh.com", "rsa-sha2-256-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com"} {
		out, err := b.strictSSH(known, "-v", "-l", "alice", "-i", identity, "-o", "HostKeyAlgorithms="+algorithm, "-W", "192.0.2.1:1").CombinedOutput()
		for _, want := range []string{"kex: host key algorithm: " + algorithm, "is known and matches the ", "Authenticated to"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: want %q in %v: %s", algorithm, want, err, out)
			}
		}
	}
}

// TestProofsAreForTheKeysThatAreAskedFor looks at each answer as OpenSSH's client does.
func TestProofsAreForTheKeysThatAreAskedFor(t *testing.T) {
	for negotiated, want := range map[string]string{"ssh-ed25519": "rsa-sha2-512", "rsa-sha2-256": "rsa-sha2-256", "rsa-sha2-512": "rsa-sha2-512"} {
		r := newRotating(t, false)
		signer, _ := r.user("alice")
		r.cfg.HostKeys = append(r.cfg.HostKeys, r.rsa)
		r.start()
		conn, announced := r.connect(negotiated, signer)
		if len(announced) != 3 || !bytes.Equal(announced[1], r.next.PublicKey().Marshal()) {
			t.Errorf("%s: %d keys were announced, want three in their order", negotiated, len(announced))
		}
		asked := []ssh.Signer{r.rsa, r.next}
		ok, answer, err := conn.SendRequest(proveRequest, true, blobs(asked...))
		if err != nil || !ok {
			t.Fatalf("%s: got %t, %v", negotiated, ok, err)
		}
		signatures := split(t, answer)
		if len(signatures) != len(asked) {
			t.Fatalf("%s: %d signatures, want %d", negotiated, len(signatures), len(asked))
		}
		for i, key := range asked {
			var signature ssh.Signature
			if err := ssh.Unmarshal(signatures[i], &signature); err != nil {
				t.Fatal(err)
			}
			signed := appendString(nil, []byte("hostkeys-prove-00@openssh.com"))
			signed = appendString(signed, conn.SessionID())
			signed = appendString(signed, key.PublicKey().Marshal())
			if err := key.PublicKey().Verify(signed, &signature); err != nil {
				t.Errorf("%s: key %d: %v", negotiated, i, err)
			}
			if key == r.rsa && signature.Format != want {
				t.Errorf("%s: RSA signature: got %s, want %s", negotiated, signature.Format, want)
			}
		}
	}
}

// proofsLog counts how often the log says that proofs were asked for too often.
type proofsLog struct {
	testLog
	said atomic.Int64
}

func (l *proofsLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("asked too often")) {
		l.said.Add(1)
	}
	return l.testLog.Write(p)
}

func TestProofsAreRefused(t *testing.T) {
	r := newRotating(t, false)
	log := &proofsLog{testLog: testLog{t}}
	r.cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	signer, _ := r.user("alice")
	r.start()
	_, foreign := newKey(t)
	for name, payload := range map[string][]byte{
		"another's key":             blobs(r.old, foreign),
		"more keys than there are":  blobs(r.old, r.next, r.rsa, r.old),
		"cut short":                 blobs(r.old)[:20],
		"a length that is too long": {0xff, 0xff, 0xff, 0xff},
		"a rest":                    append(blobs(r.old), 0, 0),
	} {
		conn, _ := r.connect("ssh-ed25519", signer)
		if ok, answer, err := conn.SendRequest(proveRequest, true, payload); err != nil || ok || len(answer) > 0 {
			t.Errorf("%s: got %t with %d bytes, %v, want a refusal", name, ok, len(answer), err)
		}
	}
	conn, _ := r.connect("ssh-ed25519", signer)
	for i := range maxProofs + 20 {
		if ok, _, err := conn.SendRequest(proveRequest, true, blobs(r.old)); err != nil || ok != (i < maxProofs) {
			t.Errorf("question %d: got %t, %v, want %t", i+1, ok, err, i < maxProofs)
		}
	}
	if ok, _, err := conn.SendRequest("keepalive@openssh.com", true, nil); err != nil || ok {
		t.Errorf("after that: got %t, %v, want the connection to live", ok, err)
	}
	if n := log.said.Load(); n != 1 {
		t.Errorf("the log says %d times that it was too often, want 1", n)
	}
}

// slowSigner is a key that takes its time, as an agent may.
type slowSigner struct {
	ssh.Signer
	began, leave chan struct{}
}

func (s slowSigner) Sign(from io.Reader, data []byte) (*ssh.Signature, error) {
	close(s.began)
	<-s.leave
	return s.Signer.Sign(from, data)
}

func TestChannelsOpenWhileAProofIsSlow(t *testing.T) {
	r := newRotating(t, false)
	signer, _ := r.user("alice")
	slow := slowSigner{r.next, make(chan struct{}), make(chan struct{})}
	r.cfg.AnnouncedKeys = []ssh.Signer{slow}
	r.start()
	conn, _ := r.connect("ssh-ed25519", signer)
	proven := make(chan bool)
	go func() {
		ok, _, err := conn.SendRequest(proveRequest, true, blobs(r.next))
		proven <- ok && err == nil
	}()
	<-slow.began
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		t.Fatalf("while a proof is being made: %v", err)
	}
	go ssh.DiscardRequests(requests)
	_ = channel.Close()
	close(slow.leave)
	if !<-proven {
		t.Error("the slow key is not proven")
	}
}

// connect logs in as alice with this host key algorithm and returns the keys that are announced.
func (r rotating) connect(algorithm string, signer ssh.Signer) (conn ssh.Conn, announced [][]byte) {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	cfg := r.clientConfig("alice", ssh.PublicKeys(signer))
	cfg.HostKeyAlgorithms, cfg.HostKeyCallback = []string{algorithm}, ssh.InsecureIgnoreHostKey()
	conn, chans, requests, err := ssh.NewClientConn(nc, r.addr, cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	go func() {
		for c := range chans {
			_ = c.Reject(ssh.Prohibited, "")
		}
	}()
	select {
	case request := <-requests:
		if request.Type != announceRequest || request.WantReply {
			r.t.Errorf("got request %q, want reply %t", request.Type, request.WantReply)
		}
		announced = split(r.t, request.Payload)
	case <-time.After(patience):
		r.t.Fatal("no host keys are announced")
	}
	go ssh.DiscardRequests(requests)
	return conn, announced
}

func blobs(keys ...ssh.Signer) (payload []byte) {
	for _, key := range keys {
		payload = appendString(payload, key.PublicKey().Marshal())
	}
	return payload
}

func split(t testing.TB, b []byte) (all [][]byte) {
	t.Helper()
	for len(b) > 0 {
		s, rest, err := cutString(b)
		if err != nil {
			t.Fatal(err)
		}
		all, b = append(all, s), rest
	}
	return all
}
