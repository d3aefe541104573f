package login

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// settled connects, and returns when what the server tells about its keys has been looked at.
func settled(t *testing.T, cfg *Config) {
	t.Helper()
	looked := make(chan struct{}, 1)
	cfg.Log = slog.New(hearing{func(message string) {
		if strings.HasPrefix(message, "the server's ") && strings.Contains(message, "host keys are") {
			looked <- struct{}{}
		}
	}})
	conn, err := tryConn(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	serving(t, conn)
	select {
	case <-looked:
	case <-time.After(patience):
		t.Fatal("the server's host keys were not looked at")
	}
}

// TestHostKeysAreFollowed has a real sshd with two host keys, of which known_hosts has one, and another that is no more.
func TestHostKeysAreFollowed(t *testing.T) {
	id := peers.TestKey(t, "id")
	folder := t.TempDir()
	encrypted := encryptedKey(t, filepath.Join(folder, "rsa"), "") // RSA, in the clear
	s := peers.TestSSHD(t, peers.SSHDConfig{AuthorizedKeys: id.Authorized(), Lines: []string{"HostKey " + filepath.Join(folder, "rsa")}})
	at := xknownhosts.Normalize(s.Addr.String())
	old, foreign := newECDSA(t).PublicKey(), newSigner(t).PublicKey()
	known := at + " " + line(s.HostKey) + "\n"
	learned := at + " " + line(encrypted) + "\n"
	gone := at + " " + line(old) + "\n"
	others := "# mine\nelse.corp " + line(foreign) + "\n@cert-authority * " + line(foreign) + "\n"

	for name, test := range map[string]struct {
		file    string
		value   string // of UpdateHostKeys
		answer  string
		want    string // the file afterwards; "" for what it was
		hashed  bool
		options [][2]string
	}{
		"learned":   {file: others + known, value: "yes", want: others + known + learned},
		"forgotten": {file: gone + others + known + learned, value: "yes", want: others + known + learned},
		"both":      {file: gone + known, value: "yes", want: known + learned},
		"no":        {file: gone + known, value: "no"},
		"not by itself, with a file of one's own": {file: gone + known},
		"asked, and yes":              {file: known, value: "ask", answer: "yes", want: known + learned},
		"asked, and no":               {file: known, value: "ask", answer: "no"},
		"asked, and nobody there":     {file: known, value: "ask"},
		"nothing new":                 {file: known + learned, value: "yes"},
		"after an open line":          {file: strings.TrimSuffix(known, "\n"), value: "yes", want: known + learned},
		"hashed where hashes are":     {file: xknownhosts.HashHostname(at) + " " + line(s.HostKey) + "\n", value: "yes", hashed: true},
		"a line about others as well": {file: "x.corp," + known, value: "yes"},
		"a pattern":                   {file: known + strings.Replace(gone, "127.0.0.1", "127.0.0.*", 1), value: "yes"},
		"revoked":                     {file: known + "@revoked * " + line(encrypted) + "\n", value: "yes"},
		"a type that isn't wanted":    {file: known + gone, value: "yes", options: [][2]string{{"HostKeyAlgorithms", "ssh-ed25519"}}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(test.file), 0o640); err != nil {
				t.Fatal(err)
			}
			link := file + ".link"
			if err := os.Symlink(file, link); err != nil {
				t.Fatal(err)
			}
			cfg := NewConfig("", s.User)
			cfg.Host, cfg.Port, cfg.Identities, cfg.GlobalKnownHosts = s.Addr.Addr().String(), s.Addr.Port(), []string{id.Path}, nil
			options := append([][2]string{{"UserKnownHostsFile", link}, {"HostKeyAlgorithms", "ssh-ed25519,rsa-sha2-512,ecdsa-sha2-nistp256"}}, test.options...)
			if test.options != nil {
				options = slices.Delete(options, 1, 2)
			}
			if test.value != "" {
				options = append(options, [2]string{"UpdateHostKeys", test.value})
			}
			for _, o := range options {
				if err := cfg.Set(o[0], o[1]); err != nil {
					t.Fatal(err)
				}
			}
			if test.answer != "" {
				cfg.Ask = func(_ context.Context, question string, _ bool) (string, error) {
					if want := "New:      RSA " + ssh.FingerprintSHA256(encrypted); !strings.Contains(question, want) {
						t.Errorf("asked %q, want %q in it", question, want)
					}
					return test.answer, nil
				}
			}
			t.Run("login", func(t *testing.T) { settled(t, cfg) }) // it is closed at the end
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if test.hashed {
				hash, key, _ := strings.Cut(strings.TrimPrefix(string(got), test.file), " ")
				if !strings.HasPrefix(string(got), test.file) || !hashes(hash, at) || key != line(encrypted)+"\n" {
					t.Errorf("got %q, want the key behind a hash of %s", got, at)
				}
				return
			}
			want := test.want
			if want == "" {
				want = test.file
			}
			if string(got) != want {
				t.Errorf("got known_hosts\n%s\nwant\n%s", got, want)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("got mode %v, %v; want 0640", info.Mode(), err)
			}
			if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Error("the link is no more")
			}
		})
	}
}

// TestLyingAboutHostKeysChangesNothing has servers that tell keys which aren't theirs.
func TestLyingAboutHostKeysChangesNothing(t *testing.T) {
	mine, stolen := newSigner(t), newSigner(t)
	tell := func(keys ...ssh.PublicKey) []byte {
		var message []byte
		for _, key := range keys {
			message = append(message, ssh.Marshal(struct{ Key []byte }{key.Marshal()})...)
		}
		return message
	}
	sign := func(by ssh.Signer, session []byte, name string, key ssh.PublicKey) []byte {
		sig, err := by.Sign(nil, ssh.Marshal(struct {
			Name         string
			Session, Key []byte
		}{name, session, key.Marshal()}))
		if err != nil {
			t.Fatal(err)
		}
		return ssh.Marshal(struct{ Sig []byte }{ssh.Marshal(sig)})
	}
	many := make([]ssh.PublicKey, maxHostKeys+1)
	for i := range many {
		many[i] = newSigner(t).PublicKey()
	}
	for name, test := range map[string]struct {
		message []byte
		prove   func(session []byte) []byte // nil refuses
	}{
		"signed by another key":         {tell(mine.PublicKey(), stolen.PublicKey()), func(s []byte) []byte { return sign(mine, s, proveKeysRequest, stolen.PublicKey()) }},
		"signed in another session":     {tell(mine.PublicKey(), stolen.PublicKey()), func(s []byte) []byte { return sign(stolen, s[1:], proveKeysRequest, stolen.PublicKey()) }},
		"signed for something else":     {tell(mine.PublicKey(), stolen.PublicKey()), func(s []byte) []byte { return sign(stolen, s, "ssh-connection", stolen.PublicKey()) }},
		"no signature":                  {tell(mine.PublicKey(), stolen.PublicKey()), func([]byte) []byte { return nil }},
		"nonsense for a signature":      {tell(mine.PublicKey(), stolen.PublicKey()), func([]byte) []byte { return []byte{0, 0, 0, 1, 7} }},
		"refused":                       {tell(mine.PublicKey(), stolen.PublicKey()), nil},
		"without the key that it shows": {tell(stolen.PublicKey()), func(s []byte) []byte { return sign(stolen, s, proveKeysRequest, stolen.PublicKey()) }},
		"a key twice": {tell(mine.PublicKey(), stolen.PublicKey(), stolen.PublicKey()), func(s []byte) []byte {
			return slices.Concat(sign(stolen, s, proveKeysRequest, stolen.PublicKey()), sign(stolen, s, proveKeysRequest, stolen.PublicKey()))
		}},
		"too many":  {tell(append(many, mine.PublicKey())...), nil},
		"cut short": {tell(mine.PublicKey(), stolen.PublicKey())[:60], nil},
		"nothing":   {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			config := &ssh.ServerConfig{NoClientAuth: true}
			config.AddHostKey(mine)
			at := peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
				conn, chans, reqs, err := ssh.NewServerConn(c, config)
				if err != nil {
					return
				}
				_, _, _ = conn.SendRequest(hostKeysRequest, false, test.message)
				go func() {
					for nc := range chans {
						_ = nc.Reject(ssh.Prohibited, "no")
					}
				}()
				for r := range reqs {
					if r.Type == proveKeysRequest && test.prove != nil {
						_ = r.Reply(true, test.prove(conn.SessionID()))
					} else if r.WantReply {
						_ = r.Reply(false, nil)
					}
				}
			})
			file := filepath.Join(t.TempDir(), "known_hosts")
			before := xknownhosts.Line([]string{at.String()}, mine.PublicKey()) + "\n" + xknownhosts.Line([]string{at.String()}, newECDSA(t).PublicKey()) + "\n"
			if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg := NewConfig("", "me")
			cfg.Host, cfg.Port, cfg.GlobalKnownHosts = at.Addr().String(), at.Port(), nil
			for _, o := range [][2]string{{"UserKnownHostsFile", file}, {"UpdateHostKeys", "yes"}} {
				if err := cfg.Set(o[0], o[1]); err != nil {
					t.Fatal(err)
				}
			}
			t.Run("login", func(t *testing.T) { settled(t, cfg) })
			if after, err := os.ReadFile(file); err != nil || string(after) != before {
				t.Errorf("got known_hosts %q, %v; want %q", after, err, before)
			}
		})
	}
}

func TestKnownHostsThatChangedMeanwhileAreLeftAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "known_hosts")
	key := newSigner(t).PublicKey()
	if err := os.WriteFile(file, fmt.Appendf(nil, "h %s\n", line(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := readHostFile(file, "h")
	if err != nil {
		t.Fatal(err)
	}
	if err := addKnownHost(file, "x:22", key, false); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.rewrite([]ssh.PublicKey{key}, nil); err == nil || !strings.Contains(err.Error(), "was changed by somebody else") {
		t.Errorf("got %v, want that somebody else changed it", err)
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("got %q, %v; want %q", after, err, before)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".known_hosts-*")); len(left) > 0 {
		t.Errorf("%q is left behind (%v)", left, err)
	}
}
