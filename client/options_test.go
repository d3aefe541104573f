package client

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
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
		"Compression=yes":                     "it is ssh's, and says nothing to culvert",
		"Colour=yes":                          `unknown option "Colour"`,
		"StrictHostKeyChecking=maybe":         "StrictHostKeyChecking: \"maybe\" is not one of yes, ask, accept-new, no",
		"BatchMode=ja":                        "BatchMode: \"ja\" is neither yes nor no",
		"ConnectTimeout=0":                    "is not a time from 1 to 86400 seconds",
		"ConnectTimeout=9999999h":             "is not a time",
		"ConnectTimeout=-1":                   "is not a time",
		"NumberOfPasswordPrompts=0":           "from 1 to 100",
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
