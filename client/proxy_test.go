package client

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// ftpProxy starts vsftpd behind a bastion and a Run with an FTP proxy, and returns a client of that which has seen its greeting.
func ftpProxy(t *testing.T, change func(cfg *Config)) (*peers.FTP, *ftpTalk) {
	t.Helper()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
	_, cfg := bastion(t)
	f, err := ParseForward("ftp-proxy/0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Forwards = []Forward{f}
	if change != nil {
		change(cfg)
	}
	c := dial(t, start(t, cfg).ready())
	talk := newTalk(t, c)
	talk.want("220")
	return server, talk
}

// listing gets a listing by PASV.
func (f *ftpTalk) listing() {
	f.t.Helper()
	data := dial(f.t, f.pasv())
	f.say("NLST")
	f.want("150")
	wantEnd(f.t, data)
	f.want("226")
}

// wantEnd reads to the end, which must be one.
func wantEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("it ends with %v, want a clean end", err)
	}
}

func TestProxyServesTheServerThatTheClientNames(t *testing.T) {
	for name, dialogue := range map[string]string{
		"USER user@host": "USER NAME@HOST 331|PASS WORD 230",
		"OPEN":           "USER me 331|PASS secret 230|OPEN HOST 220|USER NAME 331|PASS WORD 230",
		"SITE":           "SITE HOST 220|USER NAME 331|PASS WORD 230",
		"joined":         "USER NAME@culvert-proxy@HOST 331|PASS WORD@secret 230",
		"an account":     "USER NAME@HOST me 331|PASS WORD 332|ACCT secret 230",
		"a URL":          "USER anonymous 331|PASS anonymous@ 230|CWD ftp://NAME:WORD@HOST 230",
	} {
		t.Run(name, func(t *testing.T) {
			server, talk := ftpProxy(t, nil)
			for _, step := range strings.Split(dialogue, "|") {
				i := strings.LastIndexByte(step, ' ')
				line := strings.ReplaceAll(step[:i], "HOST", server.Addr.String())
				line = strings.ReplaceAll(line, "NAME", server.User)
				line = strings.ReplaceAll(line, "WORD", server.Password)
				talk.say(line)
				talk.want(step[i+1:])
			}
			talk.listing()
		})
	}
}

// What comes behind the login in the same segment is for the server.
func TestProxyTakesPipelinedCommands(t *testing.T) {
	server, talk := ftpProxy(t, nil)
	talk.say("USER " + server.User + "@" + server.Addr.String() + "\r\nPASS " + server.Password + "\r\nSYST")
	talk.want("331")
	talk.want("230")
	talk.want("215")
}

func TestProxyTakesAnotherLogin(t *testing.T) {
	server, talk := ftpProxy(t, nil)
	at := "@" + server.Addr.String()
	for _, step := range []string{
		"USER " + server.User + at + " 331", "PASS wrong 530", "USER " + server.User + "@ftp.other 530", "USER " + server.User + at + " 331", "PASS " + server.Password + " 230",
	} {
		i := strings.LastIndexByte(step, ' ')
		talk.say(step[:i])
		talk.want(step[i+1:])
	}
	talk.listing()
}

func TestProxySaysWhyTheServerIsNotThere(t *testing.T) {
	_, talk := ftpProxy(t, nil)
	talk.say("USER alice@" + unused(t).Target())
	if got := talk.want("530"); !strings.Contains(got, "the bastion can't reach 127.0.0.1:") {
		t.Errorf("got %q, want what the bastion said", got)
	}
	wantEnd(t, talk.in)

	_, talk = ftpProxy(t, nil)
	talk.say("OPEN " + unused(t).Target())
	talk.want("421")
	wantEnd(t, talk.in)
}

func TestProxyEndsWithoutAServer(t *testing.T) {
	_, talk := ftpProxy(t, nil)
	talk.say("QUIT")
	talk.want("221")
	wantEnd(t, talk.in)
}

func TestProxyForwards(t *testing.T) {
	for spec, want := range map[string]Forward{
		"ftp-proxy/2121":           {Kind: FTPProxy, Port: 2121},
		"FTP-Proxy/0":              {Kind: FTPProxy},
		"ftp-proxy/*:2121":         {Kind: FTPProxy, Bind: "*", Port: 2121},
		"ftp-proxy/[2001::1]:2121": {Kind: FTPProxy, Bind: "2001::1", Port: 2121},
		"ftp-proxy/:2121":          {Kind: FTPProxy, Bind: "*", Port: 2121},
	} {
		if got, err := ParseForward(spec); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", spec, got, err, want)
		}
	}
	for _, spec := range []string{"ftp-proxy/", "ftp-proxy/x", "ftp-proxy/2121:h:21", "ftp-proxy/1:2:3:4"} {
		if got, err := ParseForward(spec); err == nil {
			t.Errorf("%s: got %+v, want an error", spec, got)
		}
	}
	cfg := NewConfig("", "me")
	if err := cfg.Set("RemoteForward", "ftp-proxy/2121"); err == nil {
		t.Error("a remote FTP proxy is taken")
	}
	for _, name := range []string{"a@b", "a b", "a:b"} {
		if err := cfg.Set("FTPProxyUser", name); err == nil {
			t.Errorf("FTPProxyUser %q is taken", name)
		}
	}
	if at := netip.MustParseAddrPort("127.0.0.1:2121"); !strings.Contains((Forward{Kind: FTPProxy}).ready(net.TCPAddrFromAddrPort(at), "tcp"), " is at 127.0.0.1:2121") {
		t.Error("the ready line doesn't say where the proxy is")
	}
}
