package client

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/relay"
)

// A bastion that reads FTP opens an announced port to whoever asks first by the same SSH connection.
func TestServersPortIsTheOwnersAlone(t *testing.T) {
	const data = "for the owner"
	ports := make(chan uint16, 4)
	server := destination(t, func(c *net.TCPConn) {
		ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return
		}
		defer ln.Close()
		port := relay.AddrPort(ln.Addr()).Port()
		fmt.Fprint(c, "220 go\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
			case "PASV":
				ports <- port
				fmt.Fprintf(c, "227 Entering Passive Mode (127,0,0,1,%d,%d)\r\n", port>>8, port&255)
			case "RETR":
				fmt.Fprint(c, "150 go\r\n")
				if d, err := ln.Accept(); err == nil {
					_, _ = io.WriteString(d, data)
					_ = d.Close()
				}
				fmt.Fprint(c, "226 done\r\n")
			default:
				fmt.Fprint(c, "230 in\r\n")
			}
		}
	})
	_, cfg := bastion(t)
	proxy, err := ParseForward("ftp-proxy/0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Forwards, cfg.FTPPorts = []Forward{{Kind: SOCKS}, proxy}, []uint16{server.HostPort}
	r := start(t, cfg)
	at, proxyAt := r.ready(), r.ready()
	conn, _ := bySOCKS(t, at, server)
	f := newTalk(t, conn)
	f.want("220")
	f.say("USER me")
	f.want("230")
	for range 2 { // the first is opened before the client hears of it, the second meanwhile
		told := netip.MustParseAddrPort(f.pasv())
		real := Forward{Host: "localhost", HostPort: <-ports}
		if answer := askSOCKS(t, dialFrom(t, "127.0.0.2", at), real); answer != "\x05\x02" {
			t.Errorf("somebody else was answered %q, want that it is not allowed", answer)
		}
		other := newTalk(t, dialFrom(t, "127.0.0.2", proxyAt))
		other.want("220")
		other.say("USER x@" + real.Target())
		other.want("530")
		f.say("RETR f")
		own, answer := bySOCKS(t, at, Forward{Host: server.Host, HostPort: told.Port()})
		if got, err := io.ReadAll(own); answer != "\x05\x00" || string(got) != data || err != nil {
			t.Errorf("the owner was answered %q, and got %q, %v", answer, got, err)
		}
		f.want("150")
		f.want("226")
	}
}

func TestClaims(t *testing.T) {
	owner := control.Owner{Addr: loopback4, UID: 7}
	other := control.Owner{Addr: loopback4, UID: 8}
	var c claims
	first, second := c.claim(2000, owner), c.claim(2000, owner)
	if c.permitsOwner(2000, owner) != nil || c.permitsOwner(2000, other) == nil || c.permitsOwner(2001, other) != nil {
		t.Error("a claim doesn't keep others, and none but others, from its port and no other")
	}
	theirs := c.claim(2000, other)
	if c.permitsOwner(2000, owner) != nil || c.permitsOwner(2000, other) != nil {
		t.Error("two with the same port keep each other from it")
	}
	theirs()
	first()
	first()
	if c.permitsOwner(2000, other) == nil {
		t.Error("a claim ends with another one")
	}
	if second(); c.permitsOwner(2000, other) != nil || len(c.ports) > 0 {
		t.Error("a claim outlives its end")
	}
}
