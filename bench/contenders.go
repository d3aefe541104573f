package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/internal/stage"
)

// contender is one way to carry a connection.
type contender struct {
	name   string
	echo   netip.AddrPort // where the scene's echo server is reached
	source netip.AddrPort
	sink   netip.AddrPort
	ftp    netip.AddrPort // where an FTP client connects to
	socks  netip.AddrPort // and by which SOCKS proxy, if valid
	always bool           // all goes by that proxy, not only FTP
	client []string       // the names of its processes, for what they use
	server string
	sshd   netip.AddrPort // the SSH server itself
	login  *ssh.ClientConfig
}

// The names of contenders that a measurement asks for by name. The first is what all are compared with.
const (
	base      = "ssh → sshd"
	baseGCM   = "ssh → sshd, aes128-gcm"
	ours      = "culvert → culvertd"
	oursAlone = "culvert → sshd"
	theirs    = "ssh → culvertd"
	byMaster  = "culvert -S, by the first ssh"
	noTunnel  = "no tunnel"
)

// spec is how a contender is started.
type spec struct {
	name, client, server string
	options              []string // of ssh
	dynamic              bool     // it takes part by -D, too
}

// specs are all of them, OpenSSH on both ends with its own defaults first.
func specs() []spec {
	return []spec{
		{name: base, client: "ssh", server: "sshd", dynamic: true},
		{name: baseGCM, client: "ssh", server: "sshd", options: []string{"Ciphers=aes128-gcm@openssh.com"}},
		{name: ours, client: "culvert", server: "culvertd"},
		{name: oursAlone, client: "culvert", server: "sshd", dynamic: true},
		{name: byMaster, client: "culvert", server: "sshd"},
		{name: theirs, client: "ssh", server: "culvertd"},
	}
}

// absent are contenders of which nothing is known yet but their names.
func absent() (all []*contender) {
	for _, c := range specs() {
		all = append(all, &contender{name: c.name})
	}
	return all
}

// start starts it in a scene, which ends it.
func (c spec) start(ctx context.Context, s *scene) ([]*contender, error) {
	k := &contender{name: c.name, client: []string{c.client}, server: c.server, sshd: s.sshd.Addr}
	user := s.sshd.User
	if c.server == "culvertd" {
		k.sshd, user = s.daemon.Addr, stage.User
	}
	k.login = &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key.Signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is the one that was just started
	}
	targets := []string{s.echo.at.String(), s.source.at.String(), s.sink.at.String()}
	var at []netip.AddrPort
	var err error
	if c.client == "ssh" {
		at, err = c.startSSH(ctx, s, k, targets)
	} else {
		at, err = c.startCulvert(s, k, user, targets)
	}
	if err != nil {
		return nil, err
	}
	k.echo, k.source, k.sink = at[0], at[1], at[2]
	all := []*contender{k}
	if c.dynamic {
		d := *k
		d.name, d.always, d.ftp = c.client+" -D"+strings.TrimPrefix(c.name, c.client), true, s.ftp.Addr
		d.echo, d.source, d.sink = s.echo.at, s.source.at, s.sink.at
		all = append(all, &d)
	}
	if c.client == "culvert" {
		k.socks = netip.AddrPort{}
	}
	return all, nil
}

func (c spec) startSSH(ctx context.Context, s *scene, k *contender, targets []string) ([]netip.AddrPort, error) {
	p, err := peers.StartSSH(ctx, peers.SSHConfig{
		Server: k.sshd, User: k.login.User, Identity: s.key.Path, Options: c.options, Local: targets, Dynamic: true, Master: c.name == base,
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, p.Close)
	k.ftp, k.socks = s.ftp.Addr, p.Dynamic
	if c.name == base {
		s.master = p.Control
	}
	return p.Local, nil
}

func (c spec) startCulvert(s *scene, k *contender, user string, targets []string) ([]netip.AddrPort, error) {
	forwards := []string{"ftp/127.0.0.1:0:" + s.ftp.Addr.String()}
	for _, t := range targets {
		forwards = append(forwards, "127.0.0.1:0:"+t)
	}
	args := []string{"-D", "127.0.0.1:0", "-o", fmt.Sprintf("FTPPorts=%d", s.ftp.Addr.Port())}
	if c.name == byMaster {
		args = append(args, "-S", s.master)
		k.client = append(k.client, "ssh")
	}
	p, err := s.stage.StartClient(k.sshd, user, s.key.Path, forwards, args...)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, p.Close)
	k.ftp = p.Local[0]
	proxy, err := p.Await(socksReady, 1)
	if err != nil {
		return nil, err
	}
	k.socks, err = netip.ParseAddrPort(proxy[0][1])
	return p.Local[1:], err
}

var socksReady = regexp.MustCompile(`(?m)^SOCKS is at ([^ ,\n]+)`)

// forwards reports whether it takes part in what isn't FTP.
func (c *contender) forwards() bool { return c.name != noTunnel }

// dial connects to what isn't FTP.
func (c *contender) dial(at netip.AddrPort) (net.Conn, error) {
	if c.always {
		return c.dialFTP("tcp", at.String())
	}
	return net.Dial("tcp", at.String())
}

// dialFTP connects as an FTP client of this contender does: straight, or by the SOCKS proxy (RFC 1928).
func (c *contender) dialFTP(network, address string) (net.Conn, error) {
	if !c.socks.IsValid() {
		return net.Dial(network, address)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", c.socks.String())
	if err != nil {
		return nil, err
	}
	ask := append([]byte{5, 1, 0, 5, 1, 0, 1}, to.Addr().Unmap().AsSlice()...) // both messages at once: there is no password
	ask = binary.BigEndian.AppendUint16(ask, to.Port())
	reply := make([]byte, 2+10)
	if _, err = conn.Write(ask); err == nil {
		_, err = io.ReadFull(conn, reply)
	}
	if err == nil && reply[3] != 0 {
		err = fmt.Errorf("SOCKS: connect to %s failed with %d", address, reply[3])
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return proxied{conn.(*net.TCPConn), net.TCPAddrFromAddrPort(to)}, nil
}

// proxied is a connection by way of a proxy. To an FTP client the other end is the FTP server, where data connections go as well.
type proxied struct {
	*net.TCPConn
	to net.Addr
}

func (p proxied) RemoteAddr() net.Addr { return p.to }
