package client

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/sshconfig"
)

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

func TestOptionGrammar(t *testing.T) {
	for _, word := range []string{
		"Port=2222", "port 2222", "PORT = 2222", `Port="2222"`, " Port\t=\t2222 ",
	} {
		c := NewConfig("", "me")
		if err := c.SetOption(word); err != nil || c.Port != 2222 {
			t.Errorf("SetOption(%q): got port %d, %v; want 2222", word, c.Port, err)
		}
	}
	for word, want := range map[string]string{
		"": "has no value", "Port": "has no value", "Port=": "has no value", `Port=""`: "has no value", "=2222": "where a keyword should",
		`Port="22`: "a quote isn't closed", "Port 22 23": `"23" is one word too many`,
	} {
		if err := NewConfig("", "me").SetOption(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SetOption(%q): got error %v, want %q", word, err, want)
		}
	}
}

func TestFirstValueOfAnOptionCounts(t *testing.T) {
	c := NewConfig("/home/me", "me")
	for _, word := range []string{
		"User=alice", "User=bob", "IdentityFile=~/a", "IdentityFile=/b", "ServerAliveInterval=1m", "ServerAliveInterval=7",
		"LocalForward=1:h:2", "LocalForward=ftp/3 [::1]:4",
	} {
		if err := c.SetOption(word); err != nil {
			t.Fatalf("SetOption(%q): %v", word, err)
		}
	}
	if c.User != "alice" || c.ServerAliveInterval != time.Minute {
		t.Errorf("got user %q and interval %v, want the first values: alice and 1m", c.User, c.ServerAliveInterval)
	}
	if want := []string{"/home/me/a", "/b"}; !slices.Equal(c.Identities, want) {
		t.Errorf("got identities %q, want all: %q", c.Identities, want)
	}
	want := []Forward{{Port: 1, Host: "h", HostPort: 2}, {Kind: FTP, Port: 3, Host: "::1", HostPort: 4}}
	if !slices.Equal(c.Forwards, want) {
		t.Errorf("got forwards %+v, want %+v", c.Forwards, want)
	}
	if err := c.SetOption("ServerAliveInterval=never"); err == nil {
		t.Error("a later value that is wrong was accepted")
	}
}

func TestWrongOptionsSayWhatIsRight(t *testing.T) {
	for word, want := range map[string]string{
		"Compression=yes":                     "it is ssh's, and says nothing to culvert (nothing is compressed): leave it out",
		"ForwardAgent=yes":                    "it is ssh's, and says nothing to culvert (agents aren't forwarded",
		"KnownHostsCommand=/bin/keys":         "(a command that says whom to trust may say whom not to)",
		"Colour=yes":                          `unknown option "Colour": culvert(1) lists`,
		"BacthMode=yes":                       `unknown option "BacthMode": did you mean BatchMode?`,
		"FTPUpstreamTSL=require":              "did you mean FTPUpstreamTLS?",
		"StrictHostKeyChecking=maybe":         "StrictHostKeyChecking: \"maybe\" is not one of yes, ask, accept-new, no",
		"BatchMode=ja":                        "BatchMode: \"ja\" is neither yes nor no",
		"ConnectTimeout=x":                    "is not a time",
		"ConnectTimeout=9999999h":             "is not a time",
		"ConnectTimeout=-1":                   "is not a time",
		"NumberOfPasswordPrompts=-1":          "from 0 to 1000",
		"Ciphers=arcfour":                     `unknown algorithm "arcfour"`,
		"PreferredAuthentications=hostbased":  "no method is left",
		"PreferredAuthentications=publickeys": "is not one of publickey",
		"FTPActive=maybe":                     "is not one of yes, no, forward",
		"FTPActiveAddress=ftp.corp":           "is not an address",
		"FTPActiveAddress=0.0.0.0":            "is not an address",
		"FTPDataAddress=peer":                 "neither control nor announced",
		"LogLevel=LOUD":                       "is not one of QUIET",
		"FTPUpstreamTLS=yes":                  "is not one of off, prefer, require",
		"FTPUpstreamTLSMaxVersion=1.1":        "neither 1.2 nor 1.3",
		"FTPUpstreamTLSPin=MD5:abc":           "does not begin with SHA256:",
		"FTPUpstreamTLSCAFile=/nonexistent":   "FTPUpstreamTLSCAFile: open /nonexistent",
		`HostName="a b"`:                      "is not a host name",
		"LocalForward=80":                     "write [ftp/|ftps/]",
	} {
		if err := NewConfig("", "me").SetOption(word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("SetOption(%q): got error %v, want %q", word, err, want)
		}
	}
}

func TestFastestCipherIsOfferedFirst(t *testing.T) {
	if got := NewConfig("", "me").Ciphers[0]; got != "aes128-gcm@openssh.com" {
		t.Errorf("got %s first, want aes128-gcm@openssh.com", got)
	}
}

func TestForwardsOfSockets(t *testing.T) {
	c := NewConfig("", "me")
	for _, line := range []string{"LocalForward=/tmp/a:b h:1", `LocalForward "/tmp/a b" /tmp/c`, "RemoteForward=1080", "DynamicForward=*:1080"} {
		if err := c.SetOption(line); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	local := []Forward{{Socket: "/tmp/a:b", Host: "h", HostPort: 1}, {Socket: "/tmp/a b", HostSocket: "/tmp/c"}, {Kind: SOCKS, Bind: "*", Port: 1080}}
	if !slices.Equal(c.Forwards, local) {
		t.Errorf("got %+v, want %+v", c.Forwards, local)
	}
	if want := []Forward{{Kind: SOCKS, Port: 1080}}; !slices.Equal(c.RemoteForwards, want) {
		t.Errorf("got %+v, want %+v", c.RemoteForwards, want)
	}
}

// TestValuesThatSSHTakesAreTaken holds that a file which ssh takes is not refused for a value of ours.
func TestValuesThatSSHTakesAreTaken(t *testing.T) {
	for keyword, values := range map[string][]string{
		"AddressFamily":                {"any", "inet", "inet6"},
		"BatchMode":                    {"yes", "TRUE", "no", "false"},
		"BindAddress":                  {"10.0.0.1", "::1"},
		"CASignatureAlgorithms":        {"+ssh-rsa", "ssh-ed25519", "-ecdsa*"},
		"Ciphers":                      {"aes128-ctr", "+aes256-cbc", "^aes256-gcm@openssh.com", "-chacha20*", "aes128-cbc,aes128-ctr"},
		"ConnectTimeout":               {"0", "none", "30", "1m30s", "1h"},
		"ConnectionAttempts":           {"1", "100"},
		"ClearAllForwardings":          {"yes", "no"},
		"DynamicForward":               {"1080", "127.0.0.1:1080", "[::1]:1080", "*:1080"},
		"ExitOnForwardFailure":         {"yes", "no"},
		"GatewayPorts":                 {"yes", "no"},
		"GlobalKnownHostsFile":         {"none", "/a", "/a /b", `"/a b"`},
		"HostKeyAlgorithms":            {"ssh-ed25519", "+ssh-rsa", "-ssh-*", "^rsa-sha2-512", "ssh-*,ecdsa-*"},
		"HostKeyAlias":                 {"x", "X.example"},
		"HostName":                     {"%h.example", "10.0.0.1", "::1"},
		"IdentitiesOnly":               {"yes", "no"},
		"IdentityAgent":                {"none", "SSH_AUTH_SOCK", "$SSH_AUTH_SOCK", "/a", "~/a", "/a/%r"},
		"IdentityFile":                 {"none", "/a", `"/a b"`, `/a\ b`, "~/%h"},
		"IgnoreUnknown":                {"*"},
		"KbdInteractiveAuthentication": {"yes", "no"},
		"KexAlgorithms":                {"curve25519-sha256", "+diffie-hellman-group14-sha1", "-*nistp*", "^curve25519-sha256"},
		"LocalForward":                 {"2121 ftp.corp:21", "[::1]:2121 [::1]:21", "127.0.0.1:2121 ftp.corp:21", "/a /b", "2121 /b", `"/a b" ftp.corp:21`},
		"LogLevel":                     {"QUIET", "fatal", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG1", "DEBUG2", "DEBUG3"},
		"MACs":                         {"hmac-sha2-256", "+hmac-sha1", "-umac*", "^hmac-sha2-512"},
		"NumberOfPasswordPrompts":      {"0", "1", "3"},
		"PasswordAuthentication":       {"yes", "no"},
		"PermitRemoteOpen":             {"any", "none", "a:1 [::1]:2", "a:*"},
		"Port":                         {"1", "65535"},
		"PreferredAuthentications":     {"publickey", "gssapi-with-mic,hostbased,publickey,keyboard-interactive,password", "gssapi-keyex,publickey"},
		"ProxyCommand":                 {"none", "nc %h %p", `sh -c "nc '%h' %p"`},
		"ProxyJump":                    {"none", "a", "a,b", "u@[::1]:22", "u@a:22,b"},
		"PubkeyAcceptedAlgorithms":     {"ssh-ed25519", "+ssh-rsa", "-ssh-*"},
		"PubkeyAuthentication":         {"yes", "no", "unbound", "host-bound"},
		"RemoteForward":                {"2121 ftp.corp:21", "[::1]:2121 [::1]:21", "1080", "/a /b"},
		"ServerAliveCountMax":          {"0", "3", "99999"},
		"ServerAliveInterval":          {"0", "30", "1m", "none"},
		"StrictHostKeyChecking":        {"yes", "no", "off", "ask", "accept-new", "true", "false"},
		"StreamLocalBindMask":          {"0177", "077"},
		"StreamLocalBindUnlink":        {"yes", "no"},
		"User":                         {"a", "a.b@c", `CORP\a`},
		"UserKnownHostsFile":           {"none", "/a", "/a /b", `"/a b" c`, "~/%h"},
	} {
		for _, value := range values {
			option := keyword + " " + value
			if _, err := peers.EffectiveSSH(t.Context(), nil, "-F", "none", "-o", option, "host"); err != nil {
				t.Errorf("%s: ssh refuses it: %v", option, err)
			}
			c := NewConfig("/home/me", "me")
			if !c.Knows(keyword) {
				continue // it is ssh's alone
			}
			if err := c.SetOption(option); err != nil {
				t.Errorf("%s: ssh takes it, and we don't: %v", option, err)
			}
		}
	}
}

func TestPathsOfSocketsHaveTokens(t *testing.T) {
	t.Setenv("CULVERT_TEST", "me")
	c := NewConfig("", "me")
	for _, option := range []string{"ConfigFile=none", "LocalForward /tmp/%h-%u.sock /srv/100%%", "RemoteForward /tmp/${CULVERT_TEST}/%n /x"} {
		if err := c.SetOption(option); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetDestination("Bastion"); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := c.Forwards[0]; f.Socket != "/tmp/bastion-me.sock" || f.HostSocket != "/srv/100%" {
		t.Errorf("got %+v, want its tokens replaced", f)
	}
	if f := c.RemoteForwards[0]; f.Socket != "/tmp/me/Bastion" {
		t.Errorf("got %+v, want its variable and token replaced", f)
	}
	c = NewConfig("", "me")
	for _, option := range []string{"ConfigFile=none", "LocalForward /tmp/%z h:1"} {
		if err := c.SetOption(option); err != nil {
			t.Fatal(err)
		}
	}
	c.Host = "h"
	if err := c.ReadFiles(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no %z here") {
		t.Errorf("got %v, want an error about the token", err)
	}
}

func TestClearAllForwardings(t *testing.T) {
	c := NewConfig("", "me")
	c.Host = "bastion"
	for _, word := range []string{"ConfigFile=none", "LocalForward=1:h:2", "RemoteForward=1", "ClearAllForwardings=yes"} {
		if err := c.SetOption(word); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ReadFiles(t.Context()); err != nil || len(c.Forwards)+len(c.RemoteForwards) > 0 {
		t.Errorf("got %v and %v, %v; want none", c.Forwards, c.RemoteForwards, err)
	}
}

func TestVerboseSaysMoreEachTime(t *testing.T) {
	c := NewConfig("", "me")
	for i, want := range []Level{LevelDebug, LevelDebug2, LevelDebug3, LevelDebug3} {
		if c.Verbose(); c.LogLevel != want {
			t.Errorf("%d times: got %v, want %v", i+1, c.LogLevel, want)
		}
	}
	if err := c.Set("LogLevel", "QUIET"); err != nil || c.LogLevel != LevelDebug3 {
		t.Errorf("what a file says afterwards counts: %v, %v", c.LogLevel, err)
	}
}

// TestKeywordsOfSSHAreKnown holds that each keyword that ssh -G shows is one of ours, or known to be ssh's alone.
func TestKeywordsOfSSHAreKnown(t *testing.T) {
	out, err := peers.EffectiveSSH(t.Context(), nil, "-F", "none", "host")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		keyword, _, _ := strings.Cut(line, " ")
		if ours := (*Config)(nil).Knows(keyword); keyword != "host" && ours == sshconfig.Foreign(keyword) && !slices.Contains(tunnelsOfSSH, strings.ToLower(keyword)) {
			t.Errorf("%s: got %v for ours, and the same for ssh's alone", keyword, ours)
		}
	}
}

// tunnelsOfSSH are keywords of ours that package login alone doesn't know, and ignores.
var tunnelsOfSSH = []string{
	"clearallforwardings", "dynamicforward", "exitonforwardfailure", "forkafterauthentication", "gatewayports", "localforward", "loglevel", "permitremoteopen",
	"remoteforward", "streamlocalbindmask", "streamlocalbindunlink",
}

// TestFilesThatPeopleWriteAreTaken reads the files that are held against a real ssh (sshconfig/testdata/corpus) into what is used.
func TestFilesThatPeopleWriteAreTaken(t *testing.T) {
	t.Setenv("VARIABLE", "value")
	files, err := filepath.Glob("../sshconfig/testdata/corpus/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		for _, host := range []string{"bastion", "web1.corp", "10.1.2.3", "db.internal"} {
			c := NewConfig("/home/me", "me")
			if err := c.Set("ConfigFile", file); err != nil {
				t.Fatal(err)
			}
			if err := c.SetDestination(host); err != nil {
				t.Fatal(err)
			}
			if err := c.ReadFiles(t.Context()); err != nil {
				t.Errorf("%s of %s: %v", host, filepath.Base(file), err)
			}
		}
	}
}
