package login

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// sshd starts OpenSSH's sshd, and returns a configuration that knows it and has no key.
func sshd(t *testing.T, c peers.SSHDConfig) *Config {
	t.Helper()
	if c.KeysFile == "" && c.AuthorizedKeys == nil {
		c.KeysFile = "none"
	}
	s := peers.TestSSHD(t, c)
	cfg := NewConfig("", s.User)
	cfg.Host, cfg.Port, cfg.BatchMode = s.Addr.Addr().String(), s.Addr.Port(), true
	if err := cfg.Set("IdentityFile", "none"); err != nil {
		t.Fatal(err)
	}
	cfg.GlobalKnownHosts, cfg.UserKnownHosts = nil, []string{filepath.Join(t.TempDir(), "known_hosts")}
	if err := os.WriteFile(cfg.UserKnownHosts[0], []byte(xknownhosts.Line([]string{s.Addr.String()}, s.HostKey)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestCertificatesLogIn has a real sshd trust an authority alone.
func TestCertificatesLogIn(t *testing.T) {
	authority := peers.TestKey(t, "authority")
	cfg := sshd(t, peers.SSHDConfig{Lines: []string{"TrustedUserCAKeys " + authority.Path + ".pub"}})
	folder := t.TempDir()
	encryptedKey(t, filepath.Join(folder, "locked"), "open sesame")
	held, err := peers.NewKey(folder, "held")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"locked", "held"} {
		cert := &ssh.Certificate{
			Key: readPublicKey(filepath.Join(folder, name) + ".pub"), CertType: ssh.UserCert, ValidPrincipals: []string{cfg.User},
			ValidBefore: ssh.CertTimeInfinity, Permissions: ssh.Permissions{Extensions: map[string]string{"permit-port-forwarding": ""}},
		}
		if err := cert.SignCert(rand.Reader, authority.Signer); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{name + ".cert", name + "-cert.pub"} {
			if err := os.WriteFile(filepath.Join(folder, file), ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	socket := startAgent(t, held)
	if err := os.Remove(held.Path); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		identities, certificates []string
		agent                    string
		err                      string
	}{
		"beside an encrypted key":             {identities: []string{"locked"}},
		"by name, with a key in a file":       {identities: []string{"locked"}, certificates: []string{"locked.cert"}},
		"by name, with a key in the agent":    {certificates: []string{"held.cert"}, agent: socket},
		"by name, with a key that is lost":    {certificates: []string{"held.cert"}, err: "tried: nothing"},
		"beside a public half, with an agent": {identities: []string{"held"}, agent: socket},
		"another one than the key's":          {identities: []string{"locked"}, certificates: []string{"held.cert"}, err: "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			c := *cfg
			person := &answers{give: []string{"open sesame"}}
			c.BatchMode, c.Ask, c.AgentSocket, c.IdentitiesOnly = false, person.ask, test.agent, true
			c.Identities, c.Certificates = slices.Clone(test.identities), slices.Clone(test.certificates)
			for _, files := range [][]string{c.Identities, c.Certificates} {
				for i := range files {
					files[i] = filepath.Join(folder, files[i])
				}
			}
			err := tryConnect(t, &c)
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

func TestAgentIsGivenWhatIsUnlocked(t *testing.T) {
	folder := t.TempDir()
	key := encryptedKey(t, filepath.Join(folder, "locked"), "open sesame")
	var offered []string
	g := keyGate(t, key, &offered)
	for value, test := range map[string]struct {
		give  []string
		added bool
	}{
		"no":         {give: []string{"open sesame"}},
		"yes":        {give: []string{"open sesame"}, added: true},
		"confirm":    {give: []string{"open sesame"}, added: true},
		"1h":         {give: []string{"open sesame"}, added: true},
		"confirm 1h": {give: []string{"open sesame"}, added: true},
		"ask":        {give: []string{"open sesame", "yes"}, added: true},
		"ASK":        {give: []string{"open sesame", "no"}},
	} {
		t.Run(value, func(t *testing.T) {
			ring := &recorder{Agent: agent.NewKeyring()}
			give := test.give
			cfg := g.config(t)
			cfg.Identities, cfg.AgentSocket = []string{filepath.Join(folder, "locked")}, serveAgent(t, ring)
			cfg.Ask = func(context.Context, string, bool) (string, error) {
				answer := give[0]
				give = give[1:]
				return answer, nil
			}
			if err := cfg.Set("AddKeysToAgent", value); err != nil {
				t.Fatal(err)
			}
			if err := tryConnect(t, cfg); err != nil {
				t.Fatal(err)
			}
			if added := len(ring.added) == 1; added != test.added || len(give) > 0 {
				t.Fatalf("got %d keys in the agent, and %d answers left; want one: %v", len(ring.added), len(give), test.added)
			}
			if !test.added {
				return
			}
			want := agent.AddedKey{Comment: filepath.Join(folder, "locked"), ConfirmBeforeUse: strings.HasPrefix(value, "confirm")}
			if strings.HasSuffix(value, "1h") {
				want.LifetimeSecs = uint32(time.Hour / time.Second)
			}
			got := ring.added[0]
			if got.PrivateKey = nil; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %+v added, want %+v", got, want)
			}
		})
	}
	for _, value := range []string{"maybe", "yes 1h", "confirm 1h 2h", "0", "confirm x"} {
		if err := NewConfig("", "me").Set("AddKeysToAgent", value); err == nil {
			t.Errorf("%q was accepted", value)
		}
	}
}

// recorder is an agent that remembers what it was given.
type recorder struct {
	agent.Agent
	added []agent.AddedKey
}

func (r *recorder) Add(key agent.AddedKey) error {
	r.added = append(r.added, key)
	return nil
}

// TestAlgorithmsAreWhatIsAskedFor lets culvert and a real sshd agree.
func TestAlgorithmsAreWhatIsAskedFor(t *testing.T) {
	id := peers.TestKey(t, "id")
	cfg := sshd(t, peers.SSHDConfig{AuthorizedKeys: id.Authorized()})
	cfg.Identities = []string{id.Path}
	for _, test := range []struct{ keyword, value, want string }{
		{"Ciphers", "aes256-ctr", "aes256-ctr"},
		{"Ciphers", "^chacha20-poly1305@openssh.com", "chacha20-poly1305@openssh.com"},
		{"Ciphers", "-aes128-gcm@openssh.com", "aes256-gcm@openssh.com"},
		{"Ciphers", "aes256-cbc,aes192-ctr", "aes192-ctr"}, // the first is one that we lack
		{"KexAlgorithms", "ecdh-sha2-nistp384", "ecdh-sha2-nistp384"},
		{"KexAlgorithms", "^diffie-hellman-group16-sha512", "diffie-hellman-group16-sha512"},
		{"HostKeyAlgorithms", "ssh-ed25519*", "ssh-ed25519"},
		{"PubkeyAcceptedAlgorithms", "-ecdsa*", ""},
		{"MACs", "hmac-sha2-512", "hmac-sha2-512"},
	} {
		c := NewConfig("", cfg.User)
		c.Host, c.Port, c.GlobalKnownHosts, c.UserKnownHosts, c.Identities = cfg.Host, cfg.Port, nil, cfg.UserKnownHosts, cfg.Identities
		if test.keyword == "MACs" { // the others have none of their own
			c.Ciphers = []string{"aes128-ctr"}
		}
		if err := c.Set(test.keyword, test.value); err != nil {
			t.Fatal(err)
		}
		conn, err := tryConn(t, c)
		if err != nil {
			t.Errorf("%s %s: %v", test.keyword, test.value, err)
			continue
		}
		serving(t, conn)
		a := conn.Conn.(ssh.AlgorithmsConnMetadata).Algorithms()
		got := map[string]string{"Ciphers": a.Write.Cipher, "KexAlgorithms": a.KeyExchange, "HostKeyAlgorithms": a.HostKey, "MACs": a.Write.MAC}[test.keyword]
		if got != test.want {
			t.Errorf("%s %s: got %q, want %q", test.keyword, test.value, got, test.want)
		}
	}
}

func TestAlgorithmsThatDifferSayWhatToTry(t *testing.T) {
	id := peers.TestKey(t, "id")
	for line, want := range map[string]string{
		"KexAlgorithms diffie-hellman-group14-sha1": "has no KexAlgorithms in common with culvert; it has diffie-hellman-group14-sha1: these are weak: if you can't have it mended there, try -o KexAlgorithms=+diffie-hellman-group14-sha1",
		"Ciphers aes256-cbc":                        "it has aes256-cbc: culvert has none of these: ask its administrator for a newer server",
		"Ciphers aes256-ctr":                        "it has aes256-ctr: your Ciphers leaves out aes256-ctr",
	} {
		cfg := sshd(t, peers.SSHDConfig{AuthorizedKeys: id.Authorized(), Lines: []string{line}})
		if strings.HasSuffix(line, "-ctr") {
			cfg.Ciphers = []string{"aes128-gcm@openssh.com"}
		}
		if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", line, err, want)
		}
	}
}

// TestWeakHostKeysOnRequest is for old servers, which have a line in many an ssh_config.
func TestWeakHostKeysOnRequest(t *testing.T) {
	id := peers.TestKey(t, "id")
	host := filepath.Join(t.TempDir(), "host")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", host).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	s := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: id.Authorized(), HostKey: host, Lines: []string{"HostKeyAlgorithms ssh-rsa"}})
	for value, want := range map[string]string{
		"":         "try -o HostKeyAlgorithms=+ssh-rsa",
		"+ssh-rsa": "",
	} {
		cfg := NewConfig("", s.User)
		cfg.Host, cfg.Port, cfg.Identities, cfg.GlobalKnownHosts = s.Addr.Addr().String(), s.Addr.Port(), []string{id.Path}, nil
		cfg.HostKeyChecking = AcceptNew
		if value != "" {
			if err := cfg.Set("HostKeyAlgorithms", value); err != nil {
				t.Fatal(err)
			}
		}
		err := tryConnect(t, cfg)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %v, want %q", value, err, want)
		}
	}
}

// TestOldKeyFilesAreOpenedWhenTheirTurnComes has one that tells its public key only with its passphrase, and no .pub beside it.
func TestOldKeyFilesAreOpenedWhenTheirTurnComes(t *testing.T) {
	folder := t.TempDir()
	wanted := peers.TestKey(t, "wanted")
	old := filepath.Join(folder, "old")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "open sesame", "-f", old).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	oldKey := readPublicKey(old + ".pub")
	if err := os.Remove(old + ".pub"); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		accepted   ssh.PublicKey
		give       []string
		asked      int
		identities []string
	}{
		"not before the others": {wanted.Signer.PublicKey(), nil, 0, []string{wanted.Path, old}},
		"after the others":      {oldKey, []string{"wrong", "open sesame"}, 2, []string{wanted.Path, old}},
		"left out":              {wanted.Signer.PublicKey(), []string{""}, 1, []string{old, wanted.Path}},
	} {
		t.Run(name, func(t *testing.T) {
			var offered []string
			g := keyGate(t, test.accepted, &offered)
			person := &answers{give: test.give}
			cfg := g.config(t)
			cfg.Ask, cfg.Identities = person.ask, test.identities
			if err := tryConnect(t, cfg); err != nil {
				t.Error(err)
			}
			if len(person.asked) != test.asked {
				t.Errorf("was asked %q, want %d questions", person.asked, test.asked)
			}
		})
	}
}
