package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/internal/stage"
)

// contender is one way to carry a connection.
type contender struct {
	name    string
	echo    netip.AddrPort // where the work's echo server is reached
	source  netip.AddrPort
	sink    netip.AddrPort
	ftp     netip.AddrPort // where an FTP client connects to
	socks   netip.AddrPort // and by which SOCKS proxy, if valid
	always  bool           // all goes by that proxy, not only FTP
	client  []string       // the names of its processes, for their CPU time
	server  string
	forward bool // it takes part in what isn't FTP
}

// contenders starts them all: first OpenSSH on both ends with its own defaults, which is what the others are
// compared with.
func contenders(ctx context.Context, bin string, w *work) (all []*contender, closeAll func() error, err error) {
	var closers []func() error
	end := func() error {
		var errs []error
		for i := len(closers) - 1; i >= 0; i-- {
			errs = append(errs, closers[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, end())
		}
	}()

	s, err := stage.New(bin)
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, s.Close)
	key, err := peers.NewKey(s.Folder, "bench")
	if err != nil {
		return nil, nil, err
	}
	sshd, err := peers.StartSSHD(peers.SSHDConfig{AuthorizedKeys: key.Authorized()})
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, sshd.Close)
	if err := os.WriteFile(s.Path("keys/"+stage.User), key.Authorized(), 0o600); err != nil {
		return nil, nil, err
	}
	daemon, err := s.StartDaemon(sshd.Addr.Addr(), fmt.Sprintf("PermitOpen ftp/%s 127.0.0.1:*", w.ftp.Addr))
	if err != nil {
		return nil, nil, err
	}
	closers = append(closers, daemon.Close)

	targets := []string{w.echo.at.String(), w.source.at.String(), w.sink.at.String()}
	var master string // the control socket of the first ssh
	for _, c := range []struct {
		name, client, server string
		at                   netip.AddrPort
		user                 string
		options              []string
		dynamic              bool // it takes part by -D, too
	}{
		{"ssh → sshd", "ssh", "sshd", sshd.Addr, sshd.User, nil, true},
		{"ssh → sshd, aes128-gcm", "ssh", "sshd", sshd.Addr, sshd.User, []string{"Ciphers=aes128-gcm@openssh.com"}, false},
		{"culvert → culvertd", "culvert", "culvertd", daemon.Addr, stage.User, nil, false},
		{"culvert → sshd", "culvert", "sshd", sshd.Addr, sshd.User, nil, true},
		{"culvert -S, by the first ssh", "culvert", "sshd", sshd.Addr, sshd.User, nil, false},
		{"ssh → culvertd", "ssh", "culvertd", daemon.Addr, stage.User, nil, false},
	} {
		k := &contender{name: c.name, client: []string{c.client}, server: c.server, forward: true}
		var at []netip.AddrPort
		if c.client == "ssh" {
			p, err := peers.StartSSH(ctx, peers.SSHConfig{
				Server: c.at, User: c.user, Identity: key.Path, Options: c.options, Local: targets, Dynamic: true, Master: master == "",
			})
			if err != nil {
				return nil, nil, err
			}
			closers = append(closers, p.Close)
			at, k.ftp, k.socks = p.Local, w.ftp.Addr, p.Dynamic
			if master == "" {
				master = p.Control
			}
		} else {
			forwards := []string{"ftp/127.0.0.1:0:" + w.ftp.Addr.String()}
			for _, t := range targets {
				forwards = append(forwards, "127.0.0.1:0:"+t)
			}
			args := []string{"-D", "127.0.0.1:0", "-o", fmt.Sprintf("FTPPorts=%d", w.ftp.Addr.Port())}
			if strings.HasPrefix(c.name, "culvert -S") {
				args = append(args, "-S", master)
				k.client = append(k.client, "ssh")
			}
			p, err := s.StartClient(c.at, c.user, key.Path, forwards, args...)
			if err != nil {
				return nil, nil, err
			}
			closers = append(closers, p.Close)
			at, k.ftp = p.Local[1:], p.Local[0]
			proxy, err := p.Await(socksReady, 1)
			if err != nil {
				return nil, nil, err
			}
			if k.socks, err = netip.ParseAddrPort(proxy[0][1]); err != nil {
				return nil, nil, err
			}
		}
		k.echo, k.source, k.sink = at[0], at[1], at[2]
		all = append(all, k)
		if c.dynamic {
			d := *k
			d.name, d.always, d.ftp = c.client+" -D"+strings.TrimPrefix(c.name, c.client), true, w.ftp.Addr
			d.echo, d.source, d.sink = w.echo.at, w.source.at, w.sink.at
			all = append(all, &d)
		}
		if c.client == "culvert" {
			k.socks = netip.AddrPort{}
		}
	}
	return append(all, &contender{name: "no tunnel", ftp: w.ftp.Addr}), end, nil
}

var socksReady = regexp.MustCompile(`(?m)^SOCKS is at ([^ ,\n]+)`)

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
	return conn, nil
}
