package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/ftp"
)

func TestWhatServesForSSH(t *testing.T) {
	for value, want := range map[string]LoginForSSH{
		"no": {}, "user": {User: true}, "User,Password": {User: true, Password: true},
		"host,user,password": {Host: true, User: true, Password: true},
	} {
		cfg := NewConfig("", "me")
		if err := cfg.Set("FTPLoginForSSH", value); err != nil || cfg.LoginForSSH != want {
			t.Errorf("%s: %+v, %v; want %+v", value, cfg.LoginForSSH, err, want)
		}
	}
	for _, value := range []string{"yes", "user,", "password user", "none"} {
		if err := NewConfig("", "me").Set("FTPLoginForSSH", value); err == nil {
			t.Errorf("%s is taken", value)
		}
	}
}

func TestFTPLoginsServeFTPAlone(t *testing.T) {
	for option, value := range map[string]string{"LocalForward": "0:h:1", "DynamicForward": "0", "RemoteForward": "ftp/0:h:1", "FTPOpaqueTLS": "2000"} {
		cfg := NewConfig("", "me")
		cfg.Host = "bastion"
		for _, o := range [][2]string{{"FTPLoginForSSH", "user"}, {"LocalForward", "ftp-proxy/0"}, {option, value}} {
			if err := cfg.Set(o[0], o[1]); err != nil {
				t.Fatal(err)
			}
		}
		wantNoLogins(t, cfg, option+" "+value)
	}
	for what, change := range map[string]func(cfg *Config){
		"-S":    func(cfg *Config) { cfg.ControlPath = "/run/master" },
		"--via": func(cfg *Config) { cfg.Via = []string{"ssh"} },
	} {
		cfg := NewConfig("", "me")
		cfg.Host, cfg.LoginForSSH, cfg.Forwards = "bastion", LoginForSSH{User: true}, []Forward{{Kind: FTPProxy}}
		if err := cfg.check(); err != nil {
			t.Fatal(err)
		}
		change(cfg)
		wantNoLogins(t, cfg, what)
	}
}

func wantNoLogins(t *testing.T, cfg *Config, what string) {
	t.Helper()
	if err := cfg.check(); err == nil || !strings.HasPrefix(err.Error(), "FTPLoginForSSH: ") {
		t.Errorf("with %s: %v, want an error", what, err)
	}
}

// A master is logged in as somebody already, and the options of a connection of our own would be ssh's: -p and -J among them.
func TestFTPLoginsAreNotForMasters(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"-S":    func(c *Config) { c.ControlPath = "/run/ctl" },
		"--via": func(c *Config) { c.Via = []string{"ssh", "-J", "jump", "bastion"} },
	} {
		cfg := NewConfig("", "me")
		cfg.Host, cfg.LoginForSSH = "bastion", LoginForSSH{User: true}
		cfg.Forwards = []Forward{{Kind: FTPProxy}}
		change(cfg)
		if err := cfg.check(); err == nil || !strings.HasPrefix(err.Error(), "FTPLoginForSSH: ") {
			t.Errorf("with %s: %v, want an error", name, err)
		}
	}
}

// Who waits for that goes to the background by it.
func TestFTPLoginsAreReady(t *testing.T) {
	cfg := NewConfig("", "me")
	cfg.Host, cfg.LoginForSSH = "bastion", LoginForSSH{User: true}
	cfg.Forwards = []Forward{{Kind: FTPProxy, Bind: "127.0.0.1"}}
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	listening, ready := false, false
	cfg.Listening = func(Forward, net.Addr) { listening = true }
	cfg.Ready = func() { ready = true; stop() }
	if err := Run(ctx, cfg); err != nil || !listening || !ready {
		t.Errorf("got %v, listening %v, ready %v", err, listening, ready)
	}
}

// The FTP password goes to the server that it is meant for and to nobody else who asks: to no jump host, even if it is another port of the same
// machine for the same user.
func TestFTPPasswordGoesToOneServer(t *testing.T) {
	cfg := NewConfig("", "me")
	cfg.Host, cfg.HostName, cfg.HostKeyAlias, cfg.Port, cfg.ConfigFile = "bastion", "bastion.corp", "b", 2222, "none"
	cfg.Ask = func(_ context.Context, question string, _ bool) (string, error) { return "asked: " + question, nil }
	cfg.LoginForSSH = LoginForSSH{User: true, Password: true}
	l := newLogins(cfg)
	defer l.close()
	got := l.config(who{user: "alice", password: "secret"})
	if got.User != "alice" || got.HostName != "bastion.corp" || got.HostKeyAlias != "b" || got.Pubkey || got.PasswordPrompts != 1 || got.Secret == nil || *got.Secret != "secret" {
		t.Errorf("got %+v, want alice at the bastion, by her password, once", got.Config)
	}
	hop, err := got.Hop(t.Context(), "alice@bastion:22")
	if err != nil {
		t.Fatal(err)
	}
	if hop.Secret != nil {
		t.Error("a jump host has the password")
	}
	for _, question := range []string{"alice@bastion's password: ", "(alice@bastion) Password: ", `Passphrase for key "id_rsa": `} {
		if answer, err := hop.Ask(t.Context(), question, false); err != nil || !strings.HasPrefix(answer, "asked") {
			t.Errorf("%s: a jump host is told %q, %v; want the person asked", question, answer, err)
		}
	}

	cfg.LoginForSSH = LoginForSSH{Host: true}
	if got := l.config(who{host: "ftp.corp"}); got.Host != "ftp.corp" || got.HostName != "" || got.HostKeyAlias != "" || got.User != "me" || !got.Pubkey {
		t.Errorf("got %+v, want me at ftp.corp, whose key is looked up by that name", got.Config)
	}
}

// TestLoginsAreApart holds that a session finds the connection of its own login alone, and that there are not many.
func TestLoginsAreApart(t *testing.T) {
	cfg := NewConfig("", "me")
	cfg.Host = "bastion"
	cfg.LoginForSSH = LoginForSSH{User: true, Password: true}
	l := newLogins(cfg)
	defer l.close()
	linkOf := func(user, password string) *link {
		t.Helper()
		transport, end, err := l.as(ftp.Meant{Host: "ftp.corp", Port: 21, User: user, Password: password})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(end)
		return transport.(*session).link
	}
	first := linkOf("alice", "secret")
	if linkOf("alice", "secret") != first {
		t.Error("two sessions of one login have a connection each")
	}
	if linkOf("alice", "wrong") == first || linkOf("bob", "secret") == first {
		t.Error("somebody else's login shares the connection")
	}
	for i := len(l.links); i < maxLogins; i++ {
		linkOf("alice", fmt.Sprint(i))
	}
	if _, _, err := l.as(ftp.Meant{User: "alice", Password: "one more"}); err == nil {
		t.Error("one login more is taken")
	}
	for w, x := range l.links { // its sessions have ended
		if w.password == "0" || w.password == "5" {
			l.mu.Lock()
			x.sessions = 0
			l.mu.Unlock()
			break
		}
	}
	if _, end, err := l.as(ftp.Meant{User: "alice", Password: "one more"}); err != nil {
		t.Errorf("where one has no sessions, another doesn't find its place: %v", err)
	} else {
		end()
	}
	if _, _, err := l.as(ftp.Meant{User: "a\x00b", Password: "secret"}); err == nil {
		t.Error("what can't be a user name is one")
	}
	if _, err := l.Open(t.Context(), "h", 1, netip.AddrPort{}); !errors.Is(err, errNoLogin) {
		t.Errorf("without a login: %v, want errNoLogin", err)
	}
}
