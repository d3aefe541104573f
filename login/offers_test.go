package login

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// ring is the keys of a person: files in a folder, and an agent with some of them.
type ring struct {
	folder string
	names  map[string]string // of keys and certificates, by their wire form
	agent  string
}

// newRing makes the keys a to f, each with a certificate, which lies beside the file for those in beside, and an agent that has those in held.
func newRing(t *testing.T, beside, held string) *ring {
	t.Helper()
	r := &ring{folder: t.TempDir(), names: make(map[string]string)}
	authority := newSigner(t)
	keys := agent.NewKeyring()
	for _, name := range strings.Split("abcdef", "") {
		key, err := peers.NewKey(r.folder, name)
		if err != nil {
			t.Fatal(err)
		}
		cert := &ssh.Certificate{Key: key.Signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"me"}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, authority); err != nil {
			t.Fatal(err)
		}
		r.names[string(key.Signer.PublicKey().Marshal())], r.names[string(cert.Marshal())] = name, name+"-cert"
		file := r.folder + "/" + name + ".cert"
		if strings.Contains(beside, name) {
			file = r.folder + "/" + name + "-cert.pub"
		}
		if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(held, name) {
			r.hold(t, keys, name, nil)
		}
		if strings.Contains(held, strings.ToUpper(name)) {
			r.hold(t, keys, name, cert)
		}
	}
	r.agent = serveAgent(t, keys)
	return r
}

func (r *ring) hold(t *testing.T, keys agent.Agent, name string, cert *ssh.Certificate) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Add(agent.AddedKey{PrivateKey: private, Certificate: cert}); err != nil {
		t.Fatal(err)
	}
}

// watcher accepts nothing, and tells what it was offered.
func (r *ring) watcher(t *testing.T) (gate, func() []string) {
	var mu sync.Mutex
	var offered []string
	g := startGate(t, &ssh.ServerConfig{
		MaxAuthTries:            -1,
		PublicKeyAuthAlgorithms: ssh.SupportedAlgorithms().PublicKeyAuths,
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			mu.Lock()
			defer mu.Unlock()
			offered = append(offered, r.names[string(key.Marshal())])
			return nil, errors.New("not this one")
		},
	})
	return g, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Compact(slices.Clone(offered))
	}
}

// TestKeysAreOfferedInTheOrderOfSSH asks a real ssh, with the same ssh_config, about its own. In it, %s is the folder of the keys.
func TestKeysAreOfferedInTheOrderOfSSH(t *testing.T) {
	for name, test := range map[string]struct {
		beside, held string // of the keys a to f; of the agent, capitals are certificates
		config       []string
	}{
		"files":                                    {"", "", []string{"IdentityFile %s/c", "IdentityFile %s/a"}},
		"certificates beside them":                 {"ac", "", []string{"IdentityFile %s/c", "IdentityFile %s/b", "IdentityFile %s/a"}},
		"a certificate by name":                    {"a", "", []string{"IdentityFile %s/a", "IdentityFile %s/b", "CertificateFile %s/b.cert"}},
		"certificates by name":                     {"", "", []string{"CertificateFile %s/b.cert", "IdentityFile %s/a", "IdentityFile %s/b", "CertificateFile %s/a.cert"}},
		"an agent":                                 {"", "dab", []string{"IdentityFile %s/c"}},
		"an agent that has some":                   {"", "dab", []string{"IdentityFile %s/b", "IdentityFile %s/c", "IdentityFile %s/a"}},
		"an agent with certificates":               {"a", "dDaAb", []string{"IdentityFile %s/b", "IdentityFile %s/a"}},
		"IdentitiesOnly":                           {"", "dab", []string{"IdentitiesOnly yes", "IdentityFile %s/b", "IdentityFile %s/c"}},
		"IdentitiesOnly and certificates":          {"ab", "dDaAbB", []string{"IdentitiesOnly yes", "IdentityFile %s/b", "IdentityFile %s/c"}},
		"IdentitiesOnly and one by name":           {"", "dDaAb", []string{"IdentitiesOnly yes", "IdentityFile %s/d", "CertificateFile %s/d.cert"}},
		"a public half, whose other the agent has": {"", "eab", []string{"IdentityFile %s/b.pub", "IdentityFile %s/c"}},
		"no files":                                 {"", "ab", []string{"IdentityFile none"}},
		"no agent":                                 {"", "ab", []string{"IdentityFile %s/c", "IdentityAgent none"}},
		"nothing":                                  {"", "ab", []string{"IdentityFile none", "IdentityAgent none"}},
		"algorithms that leave some out":           {"ab", "abA", []string{"IdentityFile %s/a", "IdentityFile %s/b", "PubkeyAcceptedAlgorithms ssh-ed25519"}},
		"algorithms that leave the others out":     {"ab", "abA", []string{"IdentityFile %s/a", "IdentityFile %s/b", "PubkeyAcceptedAlgorithms -ssh-ed25519"}},
		"no keys at all":                           {"", "ab", []string{"PubkeyAuthentication no", "IdentityFile %s/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRing(t, test.beside, test.held)
			g, offered := r.watcher(t)
			g2, offered2 := r.watcher(t)
			text := strings.ReplaceAll(strings.Join(test.config, "\n"), "%s", r.folder) + "\nIdentityAgent " + r.agent + "\n"
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			host, port, _ := strings.Cut(g.addr.String(), ":")
			said, err := peers.Run(ctx, "", "ssh", "-v", "-F", file, "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", port, "me@"+host)
			if err == nil || ctx.Err() != nil {
				t.Fatalf("ssh: %v\n%s", err, said)
			}
			cfg := g2.config(t)
			cfg.ConfigFile, cfg.User, cfg.BatchMode = file, "me", true
			if err := cfg.ReadFiles(ctx); err != nil {
				t.Fatal(err)
			}
			if err := tryConnect(t, cfg); err == nil {
				t.Fatal("got in")
			}
			if got, want := offered2(), offered(); !slices.Equal(got, want) {
				t.Errorf("got %q offered, ssh offers %q", got, want)
			}
		})
	}
}
