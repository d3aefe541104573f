package login

import (
	"context"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// configured returns the configuration of "me", whose ~/.ssh/config has text, for what stands on the command line.
func configured(t *testing.T, text string, options ...string) (*Config, error) {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh/config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := NewConfig(home, "me")
	for i := 0; i < len(options)-1; i += 2 {
		if err := c.Set(options[i], options[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetDestination(options[len(options)-1]); err != nil {
		t.Fatal(err)
	}
	return c, c.ReadFiles(context.Background())
}

func TestFilesSayWhatTheCommandLineDoesNot(t *testing.T) {
	c, err := configured(t, `
Host bas*
  HostName %h.example
  User alice
  Port 2222
  HostKeyAlias Alias
  IdentityFile ~/%r@%h:%p
  IdentityAgent ~/agent-%n
  UserKnownHostsFile "%d/known hosts" /kh/%k
`, "Port", "2022", "IdentityFile", "~/%u", "bastion")
	if err != nil {
		t.Fatal(err)
	}
	home := c.home
	for _, test := range []struct{ what, got, want string }{
		{"host", c.Dialled(), "bastion.example"},
		{"user", c.User, "alice"},
		{"alias", c.HostKeyAlias, "alias"},
		{"agent", c.AgentSocket, home + "/agent-bastion"},
		{"keys", strings.Join(c.Identities, "|"), home + "/me|" + home + "/alice@bastion.example:2022"},
		{"known hosts", strings.Join(c.UserKnownHosts, "|"), home + "/known hosts|/kh/alias"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %q, want %q", test.what, test.got, test.want)
		}
	}
	if c.Port != 2022 {
		t.Errorf("got port %d, want that of the command line", c.Port)
	}
}

func TestFilesOfRevokedKeysAreWords(t *testing.T) {
	c, err := configured(t, "RevokedHostKeys \"/k/with space\" /k/%h\n", "h")
	if want := []string{"/k/with space", "/k/h"}; err != nil || !slices.Equal(c.RevokedHostKeys, want) {
		t.Errorf("got %q, %v; want %q", c.RevokedHostKeys, err, want)
	}
}

// TestHomesOfOthersAreFound: a file that isn't found says nothing, and so would not say whom to distrust.
func TestHomesOfOthersAreFound(t *testing.T) {
	c, err := configured(t, "UserKnownHostsFile ~root/kh\nIdentityFile ~root/key\nCertificateFile ~root/cert\nRevokedHostKeys ~root/krl\nIdentityAgent ~root/agent\n", "h")
	if err != nil {
		t.Fatal(err)
	}
	root, err := user.Lookup("root")
	if err != nil {
		t.Skip("there is no root here: ", err)
	}
	got := slices.Concat(c.UserKnownHosts, c.Identities, c.Certificates, c.RevokedHostKeys, []string{c.AgentSocket})
	for i, name := range []string{"kh", "key", "cert", "krl", "agent"} {
		if want := filepath.Join(root.HomeDir, name); got[i] != want {
			t.Errorf("got %q, want %q", got[i], want)
		}
	}
	if _, err := configured(t, "UserKnownHostsFile ~no-such-user/kh\n", "h"); err == nil || !strings.Contains(err.Error(), `no user "no-such-user"`) {
		t.Errorf("got %v, want an error about the user", err)
	}
}

func TestDefaultsHaveNoTokens(t *testing.T) {
	c := NewConfig("/home/a%b", "me")
	c.Host, c.ConfigFile, c.AgentSocket = "h", "none", "/run/%x"
	if err := c.ReadFiles(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got, want := c.UserKnownHosts[0], "/home/a%b/.ssh/known_hosts"; got != want || c.AgentSocket != "/run/%x" {
		t.Errorf("got %q and %q, want %q and the agent as it was", got, c.AgentSocket, want)
	}
}

func TestTokensThatThereAreNotAreErrors(t *testing.T) {
	_, err := configured(t, "IdentityFile /k/%z\nUserKnownHostsFile ${CULVERT_NONE}\n", "h")
	if err == nil || !strings.Contains(err.Error(), `IdentityFile: "/k/%z": there is no %z here`) || !strings.Contains(err.Error(), "UserKnownHostsFile: ") {
		t.Errorf("got %v, want errors about both", err)
	}
}

// TestHopsHaveAConfigurationOfTheirOwn: as with ssh(1), what is typed is about the last host, and files are about all.
func TestHopsHaveAConfigurationOfTheirOwn(t *testing.T) {
	c, err := configured(t, `
Host jump
  HostName jump.example
  Port 2022
Host *
  User %%nobody
Match originalhost bastion
  Port 3022
Match !user alice
  FTPActive no
`, "IgnoreUnknown", "FTP*", "User", "alice", "HostKeyAlias", "x", "BatchMode", "yes", "IdentityFile", "/k", "bastion")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		hop, host, user string
		port            uint16
	}{
		{"jump", "jump.example", "%%nobody", 2022},
		{"bob@jump:7", "jump.example", "bob", 7},
		{"ssh://bob@[::1]:7", "::1", "bob", 7},
		{"[::1]", "::1", "%%nobody", 22},
	} {
		// What whoever has c takes is in the files, too.
		c.also = func(keyword string) bool { return keyword == "ftpactive" }
		h, err := c.Hop(context.Background(), test.hop)
		if err != nil {
			t.Errorf("%s: %v", test.hop, err)
			continue
		}
		if h.Dialled() != test.host || h.User != test.user || h.Port != test.port || h.HostKeyAlias != "" || len(h.Identities) != 0 || !h.BatchMode {
			t.Errorf("%s: got %+v, want %s@%s:%d and nothing else of the command line but whether to ask", test.hop, h, test.user, test.host, test.port)
		}
	}
	if _, err := c.Hop(context.Background(), "a:b"); err == nil || !strings.Contains(err.Error(), "ProxyJump: destination") {
		t.Errorf("got %v, want an error about the port", err)
	}
}
