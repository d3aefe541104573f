package login

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/sshconfig"
)

// FuzzPlaces holds that what is taken for a destination is a host, and means the same when it is written out.
func FuzzPlaces(f *testing.F) {
	for _, s := range []string{"a", "me@a:22", "ssh://me@[::1]:22/", "[fe80::1%eth0]", "a@b@c", "a:b:c", "@", ":", "ssh://", "[::1]x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s, true)
		if err != nil {
			return
		}
		if err := sshconfig.CheckHost(p.host); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		again := p.host
		if strings.Contains(again, ":") {
			again = "[" + again + "]"
		}
		if p.port != "" {
			again += ":" + p.port
		}
		if p.user != "" {
			again = p.user + "@" + again
		}
		if q, err := parsePlace(again, true); err != nil || q != p {
			t.Fatalf("%q is %+v, and %q is %+v, %v", s, p, again, q, err)
		}
	})
}

// FuzzHostFile holds that whatever a known_hosts file has, only lines about the host alone go, and only with the key.
func FuzzHostFile(f *testing.F) {
	key, err := ssh.ParsePublicKey(fuzzKey(f))
	if err != nil {
		f.Fatal(err)
	}
	mine := "h " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	for _, text := range []string{mine, mine + "\n", "# x\n\n" + mine + " comment\nx," + mine + "\n", "@revoked " + mine + "\n", "|1|x|y ssh-ed25519 A\n", "h\t" + mine[2:], "\r\n" + mine + "\r\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := readHostFile(path, "h")
		if err != nil {
			t.Fatal(err)
		}
		if err := file.rewrite([]ssh.PublicKey{key}, []string{"more\n"}); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for line := range strings.Lines(text) {
			names, rest, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
			k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(rest))
			if strings.EqualFold(names, "h") && err == nil && bytes.Equal(k.Marshal(), key.Marshal()) {
				continue
			}
			want.WriteString(line)
		}
		if s := want.String(); s != "" && !strings.HasSuffix(s, "\n") {
			want.WriteByte('\n')
		}
		if string(got) != want.String()+"more\n" {
			t.Fatalf("%q became %q, want %q", text, got, want.String()+"more\n")
		}
	})
}

// FuzzToldHostKeys holds that of a server's message only keys come that may be a host's, each once, and the one that it has shown among them.
func FuzzToldHostKeys(f *testing.F) {
	shown := fuzzKey(f)
	message := ssh.Marshal(struct{ Key []byte }{shown})
	f.Add(message)
	f.Add(append(message, message...))
	f.Add(append(message, 0, 0, 0, 4, 'x', 'x', 'x', 'x'))
	f.Add(message[:len(message)-1])
	key, err := ssh.ParsePublicKey(shown)
	if err != nil {
		f.Fatal(err)
	}
	cfg := NewConfig("", "me")
	cfg.Host, cfg.GlobalKnownHosts = "h", nil
	h, err := loadHostKeys(cfg)
	if err != nil {
		f.Fatal(err)
	}
	h.shown = key
	f.Fuzz(func(t *testing.T, payload []byte) {
		keys, err := h.told(payload)
		if err != nil {
			return
		}
		if !containsKey(keys, key) || len(keys) > maxHostKeys {
			t.Fatalf("got %d keys, and not the one shown", len(keys))
		}
		for i, k := range keys {
			if !h.accepts(k) || containsKey(keys[:i], k) {
				t.Fatalf("got a key that no host may show, or twice: %s", k.Type())
			}
		}
	})
}

func fuzzKey(f *testing.F) []byte {
	f.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDl0yK0qrpCjXkqYVnJ5lJ1vV8dQ2v0CkPoxrA7m9d7S"))
	if err != nil {
		f.Fatal(err)
	}
	return key.Marshal()
}
