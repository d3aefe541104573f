package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestServersThatAreNotSSHsAreToldApart has what people take for the bastion, and what a bastion says that has no time.
func TestServersThatAreNotSSHsAreToldApart(t *testing.T) {
	for name, test := range map[string]struct{ says, want string }{
		"FTP":                   {"220 (vsFTPd 3.0.3)\r\n", `is no SSH server, but one of FTP or mail: it said "220 (vsFTPd 3.0.3)": give culvert the bastion here, and that server in -L`},
		"HTTP":                  {"HTTP/1.1 400 Bad Request\r\n\r\n", "is no SSH server, but one of HTTP"},
		"too many connections":  {"Exceeded MaxStartups\r\n", "has too many connections that aren't logged in"},
		"a penalty":             {"Not allowed at this time\r\n", "refuses this address for a while"},
		"something else":        {"\r\n* OK IMAP \x1b[2J ready\r\n", `said "* OK IMAP ?[2J ready", and nothing of SSH`},
		"nothing":               {"", "closed the connection during the SSH handshake"},
		"SSH, and then nothing": {"SSH-2.0-x\r\n", "closed the connection during the SSH handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			at := peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
				_, _ = io.WriteString(c, test.says)
				_ = c.CloseWrite()
				_, _ = io.Copy(io.Discard, c) // a reset would be another story
			})
			cfg := NewConfig("", "me")
			cfg.Host, cfg.Port, cfg.GlobalKnownHosts = at.Addr().String(), at.Port(), nil
			if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestDenialsSayWhatToTry asks a real sshd.
func TestDenialsSayWhatToTry(t *testing.T) {
	right := peers.TestKey(t, "right")
	wrong := []peers.Key{peers.TestKey(t, "a"), peers.TestKey(t, "b"), peers.TestKey(t, "c")}
	crowded := startAgent(t, wrong...)
	for name, test := range map[string]struct {
		lines  []string
		change func(*Config)
		want   string
	}{
		"no key":        {nil, func(*Config) {}, "tried: nothing; the server takes: publickey): there was no key to offer: name its file with -i"},
		"the wrong key": {nil, func(c *Config) { c.Identities = []string{wrong[0].Path} }, "tried: one key; the server takes: publickey): check the user name, or have your public key added there"},
		"too many keys": {
			[]string{"MaxAuthTries 2"},
			func(c *Config) { c.AgentSocket, c.Identities = crowded, []string{right.Path} },
			"Too many authentication failures: it counts each key that is offered: name the right one with -i, and set IdentitiesOnly=yes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := sshd(t, peers.SSHDConfig{AuthorizedKeys: right.Authorized(), Lines: test.lines})
			test.change(cfg)
			if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestMethodsThatCulvertLacksAreNamed(t *testing.T) {
	g := startGate(t, &ssh.ServerConfig{GSSAPIWithMICConfig: &ssh.GSSAPIWithMICConfig{
		AllowLogin: func(ssh.ConnMetadata, string) (*ssh.Permissions, error) { return nil, errors.New("no") }, Server: nobody{},
	}})
	want := "the server takes: gssapi-with-mic): culvert can do none of these: ssh may, and culvert goes through it by --via ssh"
	if err := tryConnect(t, g.config(t)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestOneProofOfTwoIsSaidToBeRight(t *testing.T) {
	key := peers.TestKey(t, "id")
	g := startGate(t, &ssh.ServerConfig{
		PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
			return nil, &ssh.PartialSuccessError{Next: ssh.ServerAuthCallbacks{
				PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errors.New("no") },
			}}
		},
	})
	cfg := g.config(t)
	cfg.Identities, cfg.BatchMode = []string{key.Path}, true
	want := "(tried: one key; accepted: publickey; the server takes: password): it wants more than one proof of who you are"
	if err := tryConnect(t, cfg); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// nobody accepts no ticket.
type nobody struct{}

func (nobody) AcceptSecContext([]byte) ([]byte, string, bool, error) {
	return nil, "", false, errors.New("no")
}
func (nobody) VerifyMIC([]byte, []byte) error { return errors.New("no") }
func (nobody) DeleteSecContext() error        { return nil }

func TestConnectionsComeFromWhereTheyAreToldTo(t *testing.T) {
	from := make(chan netip.Addr, 1)
	at := peers.TestTCPServer(t, patience, func(c *net.TCPConn) {
		from <- netip.MustParseAddrPort(c.RemoteAddr().String()).Addr()
	})
	for _, test := range []struct{ keyword, value, from, err string }{
		{"BindAddress", "127.0.0.9", "127.0.0.9", ""},
		{"BindInterface", "lo", "127.0.0.1", ""},
		{"BindAddress", "192.0.2.1", "", "this machine doesn't have the address 192.0.2.1 (BindAddress)"},
		{"BindAddress", "::1", "", "has no address that connections could come from"},
		{"BindInterface", "none-such0", "", `BindInterface "none-such0": this machine has no such interface`},
	} {
		cfg := NewConfig("", "me")
		cfg.Host, cfg.Port, cfg.GlobalKnownHosts = at.Addr().String(), at.Port(), nil
		for _, set := range [][2]string{{test.keyword, test.value}, {"AddressFamily", "inet"}} {
			if err := cfg.Set(set[0], set[1]); err != nil {
				t.Fatal(err)
			}
		}
		err := tryConnect(t, cfg)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s %s: got %v, want %q", test.keyword, test.value, err, test.err)
			}
			continue
		}
		if got := <-from; got.String() != test.from {
			t.Errorf("%s %s: it came from %s, want %s", test.keyword, test.value, got, test.from)
		}
	}
}

// TestConnectingIsTriedAgain has a server that begins to listen after the first attempt.
func TestConnectingIsTriedAgain(t *testing.T) {
	port := peers.TestPort(t)
	again := make(chan struct{})
	listening := make(chan net.Listener, 1)
	go func() {
		<-again
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Error(err)
		}
		listening <- ln
	}()
	cfg := NewConfig("", "me")
	cfg.Host, cfg.Port, cfg.GlobalKnownHosts, cfg.ConnectionAttempts = "127.0.0.1", port, nil, 2
	cfg.ConnectTimeout = attemptInterval // nobody will say anything
	cfg.Log = slog.New(hearing{func(message string) {
		if message == "trying again" {
			close(again)
		}
	}})
	err := tryConnect(t, cfg)
	if want := "was silent for 1s"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q: that it got there", err, want)
	}
	if ln := <-listening; ln != nil {
		_ = ln.Close()
	}
}

// hearing is a log that tells each message.
type hearing struct{ hear func(message string) }

func (h hearing) Handle(_ context.Context, r slog.Record) error { h.hear(r.Message); return nil }
func (hearing) Enabled(context.Context, slog.Level) bool        { return true }
func (h hearing) WithAttrs([]slog.Attr) slog.Handler            { return h }
func (h hearing) WithGroup(string) slog.Handler                 { return h }
