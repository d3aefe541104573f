package server

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
)

// asked lets a command answer what it asks for: passwords with password, one-time codes with code.
func (b *bastion) asked(cmd *exec.Cmd, password, code string) *exec.Cmd {
	b.t.Helper()
	askpass := filepath.Join(b.dir, "askpass")
	script := "#!/bin/sh\ncase \"$1\" in *code*) echo '" + code + "';; *) echo '" + password + "';; esac\n"
	if err := os.WriteFile(askpass, []byte(script), 0o700); err != nil {
		b.t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "SSH_ASKPASS="+askpass, "SSH_ASKPASS_REQUIRE=force")
	return cmd
}

// logsIn reports whether ssh gets in. It asks for a channel, which the policy refuses to who is in.
func (b *bastion) logsIn(cmd *exec.Cmd) (in bool, out string) {
	b.t.Helper()
	text, err := cmd.CombinedOutput()
	out = string(text)
	in = strings.Contains(out, "administratively prohibited")
	if err == nil || !in && !strings.Contains(out, "Permission denied") {
		b.t.Fatalf("ssh: got %v and %q, want to get in and be refused the channel, or permission denied", err, out)
	}
	return in, out
}

// login is ssh for alice with what every login needs.
func (b *bastion) login(args ...string) *exec.Cmd {
	return b.openSSH(append([]string{"-l", "alice", "-o", "NumberOfPasswordPrompts=1", "-W", "192.0.2.1:1"}, args...)...)
}

// keygen runs ssh-keygen.
func keygen(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %q: %v: %s", args, err, out)
	}
}

func TestOpenSSHGoesThroughAChain(t *testing.T) {
	const password = "open sesame"
	for name, tt := range map[string]struct {
		methods [][]string
		keys    int // how many of alice's keys ssh has
		good    bool
	}{
		"key and password":             {[][]string{{"publickey", "password"}}, 1, true},
		"key, password and code":       {[][]string{{"publickey", "keyboard-interactive"}}, 1, true},
		"key and code":                 {[][]string{{"publickey", "keyboard-interactive:totp"}}, 1, true},
		"two keys":                     {[][]string{{"publickey", "publickey"}}, 2, true},
		"two keys, and there is one":   {[][]string{{"publickey", "publickey"}}, 1, false},
		"no key":                       {[][]string{{"publickey", "password"}}, 0, false},
		"one of two chains":            {[][]string{{"publickey", "publickey"}, {"publickey", "keyboard-interactive"}}, 1, true},
		"password first, then the key": {[][]string{{"password", "publickey"}}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			_, first := b.user("alice")
			one, err := os.ReadFile(filepath.Join(b.dir, "alice.keys"))
			if err != nil {
				t.Fatal(err)
			}
			_, second := b.user("alice")
			two, err := os.ReadFile(filepath.Join(b.dir, "alice.keys"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(b.dir, "alice.keys"), append(one, two...), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := auth.SetPassword(b.auth.PasswordFile, "alice", password); err != nil {
				t.Fatal(err)
			}
			code := ""
			if strings.Contains(name, "code") {
				secret, err := auth.NewSecret("bastion", "alice")
				if err != nil {
					t.Fatal(err)
				}
				if err := auth.SetSecret(b.auth.PasswordFile, "alice", secret.Text); err != nil {
					t.Fatal(err)
				}
				if code, err = totp.GenerateCode(secret.Text, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			b.auth.AuthenticationMethods, b.auth.KbdInteractiveAuthentication = tt.methods, true
			b.offered = auth.Offered{PublicKey: tt.methods[0][0] == "publickey", Password: true, KbdInteractive: true}
			b.start()
			var args []string
			for _, identity := range []string{first, second}[:tt.keys] {
				args = append(args, "-i", identity)
			}
			in, out := b.logsIn(b.asked(b.login(args...), password, code))
			if in != tt.good {
				t.Errorf("got in: %t, want %t: %s", in, tt.good, out)
			}
			if tt.good {
				b.events.wait("authentication", "user", "alice", "result", "partial")
				b.events.wait("authentication", "user", "alice", "result", "accepted")
			}
		})
	}
}

func TestOpenSSHLogsInWithItsCertificate(t *testing.T) {
	for name, tt := range map[string]struct {
		sign   []string // arguments of ssh-keygen
		reason string   // empty if let in
	}{
		"good":              {[]string{"-n", "alice"}, ""},
		"several names":     {[]string{"-n", "bob,alice"}, ""},
		"another name":      {[]string{"-n", "bob"}, "the certificate is for"},
		"no name":           {nil, "names no principals"},
		"expired":           {[]string{"-n", "alice", "-V", "-2d:-1d"}, "expired"},
		"not yet":           {[]string{"-n", "alice", "-V", "+1d:+2d"}, "not yet valid"},
		"from here":         {[]string{"-n", "alice", "-O", "source-address=127.0.0.0/8"}, ""},
		"from elsewhere":    {[]string{"-n", "alice", "-O", "source-address=192.0.2.0/24"}, "source-address"},
		"unknown condition": {[]string{"-n", "alice", "-O", "critical:who@example.org=me"}, "critical option"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBastion(t)
			ca, identity := filepath.Join(b.dir, "ca"), filepath.Join(b.dir, "id")
			keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", ca)
			keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", identity)
			keygen(t, append(append([]string{"-q", "-s", ca, "-I", "alice at work", "-z", "12345"}, tt.sign...), identity+".pub")...)
			b.auth.TrustedUserCAKeys = ca + ".pub"
			b.start()
			in, out := b.logsIn(b.login("-o", "BatchMode=yes", "-i", identity))
			if in != (tt.reason == "") {
				t.Errorf("got in: %t, want reason %q: %s", in, tt.reason, out)
			}
			result := "accepted"
			if tt.reason != "" {
				result = "refused"
			}
			b.events.wait("authentication", "result", result, "certificate", "alice at work", "serial", "12345", "ca", "SHA256:", "reason", tt.reason)
		})
	}
}

func TestOpenSSHLogsInWithWhatItsAgentHolds(t *testing.T) {
	b := newBastion(t)
	ca, identity, socket := filepath.Join(b.dir, "ca"), filepath.Join(b.dir, "id"), filepath.Join(b.dir, "agent")
	keygen(t, "-q", "-t", "ecdsa", "-N", "", "-f", ca)
	keygen(t, "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", identity)
	keygen(t, "-q", "-s", ca, "-I", "alice", "-n", "staff", identity+".pub")
	agent := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", socket)
	said, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = agent.Process.Kill()
		_ = agent.Wait()
	}()
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
		t.Fatalf("ssh-agent: %v", err)
	}
	add := exec.Command("ssh-add", "-q", identity)
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v: %s", err, out)
	}
	for _, name := range []string{identity, identity + ".pub", identity + "-cert.pub"} {
		if err := os.Rename(name, name+".away"); err != nil { // so that ssh asks the agent
			t.Fatal(err)
		}
	}
	b.auth.TrustedUserCAKeys, b.auth.AuthorizedPrincipalsFile = ca+".pub", filepath.Join(b.dir, "%u.principals")
	if err := os.WriteFile(filepath.Join(b.dir, "alice.principals"), []byte("restrict,port-forwarding staff\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start()
	cmd := b.login("-o", "BatchMode=yes")
	for i, word := range cmd.Args {
		switch word {
		case "IdentitiesOnly=yes":
			cmd.Args[i] = "IdentitiesOnly=no"
		case "IdentityAgent=none":
			cmd.Args[i] = "IdentityAgent=" + socket
		}
	}
	if in, out := b.logsIn(cmd); !in {
		t.Errorf("not let in: %s", out)
	}
	b.events.wait("authentication", "result", "accepted", "certificate", "alice", "rule", "alice.principals:1")
}

func TestOpenSSHIsRefusedByAKRL(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	krl := filepath.Join(b.dir, "krl")
	keygen(t, "-q", "-kf", krl)
	b.auth.RevokedKeys = krl
	b.start()
	if in, out := b.logsIn(b.login("-o", "BatchMode=yes", "-i", identity)); !in {
		t.Fatalf("not let in by an empty list: %s", out)
	}
	keygen(t, "-q", "-kuf", krl, filepath.Join(b.dir, "alice.keys"))
	if in, _ := b.logsIn(b.login("-o", "BatchMode=yes", "-i", identity)); in {
		t.Error("a revoked key got in")
	}
	b.events.wait("authentication", "result", "refused", "reason", "revoked")
}

func TestRefusedUserSeesWhatEverybodySees(t *testing.T) {
	b := newBastion(t)
	_, identity := b.user("alice")
	b.policy.Global.DenyUsers = denyUsers(t, "alice")
	b.start()
	in, out := b.logsIn(b.login("-o", "BatchMode=yes", "-i", identity))
	if in || !strings.Contains(out, "Permission denied (password,publickey)") {
		t.Errorf("got in %t, %q, want permission denied", in, out)
	}
	b.events.wait("authentication", "result", "refused", "rule", "sshd_config:7", "reason", "not admitted")
}

// A panic in a later step is recovered like one in the first.
func TestLaterStepsAreGuarded(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.auth.AuthenticationMethods = [][]string{{"publickey", "password"}}
	b.events.fail = func(e event) error {
		if e["method"] == "password" {
			panic("the disk is on fire")
		}
		return nil
	}
	b.start()
	if _, err := b.dial("alice", ssh.PublicKeys(key), ssh.Password("x")); err == nil {
		t.Error("got in")
	}
	b.events.wait("connection.closed", "reason", errInternal.Error())
	if got := b.Panics(); got != 1 {
		t.Errorf("panics: got %d, want 1", got)
	}
}

func TestStepsAreNoFailures(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	if err := auth.SetPassword(b.auth.PasswordFile, "alice", "open sesame"); err != nil {
		t.Fatal(err)
	}
	b.auth.AuthenticationMethods = [][]string{{"publickey", "password"}}
	b.all.MaxAuthTries = 1
	b.start()
	if _, err := b.dial("alice", ssh.PublicKeys(key), ssh.Password("open sesame")); err != nil {
		t.Errorf("a login in two steps at one try: %v", err)
	}
	if _, err := b.dial("alice", ssh.PublicKeys(key), ssh.Password("open barley")); err == nil {
		t.Error("a wrong password got in")
	}
	b.events.wait("connection.closed", "reason", "too many authentication failures")
}
