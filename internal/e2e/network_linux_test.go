package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/lan"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// network is what culvert is for: an FTP server that nobody reaches but the bastion.
//
//	other --- desk --- bastion --- vault
//
// Culvert is on the desk, the FTP server in the vault; the other machine is somebody else's in the client's network.
type network struct {
	other, desk, bastion, vault *lan.Machine
}

// The addresses of network.
const (
	otherAddr      = "10.3.0.3"
	deskAtOther    = "10.3.0.2"
	deskAtOther6   = "fd03::2"
	bastionAtDesk  = "10.1.0.1"
	bastionAtVault = "10.2.0.1"
	vaultAddr      = "10.2.0.2"
	linkLocal      = "fe80::2" // the desk's at the other, and the vault's
)

// apart runs the test in a process that may make a network.
func apart(t *testing.T) bool {
	t.Helper()
	return lan.Apart(t, builtIn+"="+binaries)
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{
		other: lan.NewMachine(t, "other"), desk: lan.NewMachine(t, "desk"),
		bastion: lan.NewMachine(t, "bastion"), vault: lan.NewMachine(t, "vault"),
	}
	lan.Cable(
		lan.Plug{Machine: n.other, Addrs: []string{otherAddr + "/24", "fd03::3/64", "fe80::3/64"}},
		lan.Plug{Machine: n.desk, Addrs: []string{deskAtOther + "/24", deskAtOther6 + "/64", linkLocal + "/64"}},
	)
	lan.Cable(
		lan.Plug{Machine: n.desk, Addrs: []string{"10.1.0.2/24", "fd01::2/64"}},
		lan.Plug{Machine: n.bastion, Addrs: []string{bastionAtDesk + "/24", "fd01::1/64"}},
	)
	lan.Cable(
		lan.Plug{Machine: n.bastion, Addrs: []string{bastionAtVault + "/24", "fd02::1/64", "fe80::1/64"}},
		lan.Plug{Machine: n.vault, Addrs: []string{vaultAddr + "/24", "fd02::2/64", linkLocal + "/64"}},
	)
	return n
}

// serve starts an FTP server in the vault, with the file "byte" in it, at c's address or else vaultAddr.
func (n *network) serve(t *testing.T, kind peers.FTPServer, c peers.FTPConfig) *peers.FTP {
	t.Helper()
	c.Root, c.On = withByte(t), n.vault.Do
	if !c.Addr.IsValid() {
		c.Addr = netip.MustParseAddr(vaultAddr)
	}
	return peers.TestFTP(t, kind, c)
}

// open puts the path to server into operation, with culvert listening at bind.
func (n *network) open(t *testing.T, p path, server *peers.FTP, bind string) *tunnel {
	t.Helper()
	return n.route(p, bind).open(t, server)
}

// route is the path through the network, with culvert listening at bind.
func (n *network) route(p path, bind string) route {
	return route{path: p, bind: bind, bastion: netip.MustParseAddr(bastionAtDesk), onDesk: n.desk.Do, onBastion: n.bastion.Do}
}

// wantByte is moveByte on a machine.
func (n *network) wantByte(t *testing.T, m *lan.Machine, c peers.FTPClient, target peers.Target) {
	t.Helper()
	m.Do(func() { moveByte(t, c, target) })
}

// TestFTPServerThatOnlyTheBastionReaches has a server announce an address of which nobody here has heard, as one
// behind an address translation does. On every path the client's data comes by the bastion.
func TestFTPServerThatOnlyTheBastionReaches(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	server := n.serve(t, peers.VSFTPD, peers.FTPConfig{Lines: []string{"pasv_address=192.168.77.7"}})
	n.desk.Do(func() {
		if conn, err := net.Dial("tcp", server.Addr.String()); err == nil {
			conn.Close()
			t.Fatal("the desk reaches the vault without the bastion")
		}
	})
	for _, p := range []path{culvertCulvertd, culvertSSHD, sshCulvertd, sshSSHD} {
		tun := n.open(t, p, server, "127.0.0.1:0")
		for _, client := range p.clients() {
			t.Run(string(p)+"/"+string(client), func(t *testing.T) { n.wantByte(t, n.desk, client, tun.target) })
		}
	}
}

// TestClientsOnOtherMachines has culvert's port opened to them: what they are told must be the address that they have reached
// culvert at, and their data connections are theirs alone.
func TestClientsOnOtherMachines(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	server := n.serve(t, peers.ProFTPD, peers.FTPConfig{})
	for _, p := range []path{culvertCulvertd, culvertSSHD} {
		tun := n.open(t, p, server, "*:0")
		for _, hop := range []string{deskAtOther, deskAtOther6} {
			target := tun.target
			target.Addr = netip.AddrPortFrom(netip.MustParseAddr(hop), tun.target.Addr.Port())
			for _, client := range p.clients() {
				if target.Addr.Addr().Is6() && !client.IPv6() {
					continue
				}
				t.Run(string(p)+"/"+hop+"/"+string(client), func(t *testing.T) { n.wantByte(t, n.other, client, target) })
			}
			target.Active = true
			for _, client := range peers.ActiveClients() {
				if target.Addr.Addr().Is6() && !client.ActiveIPv6() {
					continue
				}
				t.Run(string(p)+"/"+hop+"/"+string(client)+" in active mode", func(t *testing.T) { n.wantByte(t, n.other, client, target) })
			}
		}
		t.Run(string(p)+"/thief", func(t *testing.T) {
			at := netip.AddrPortFrom(netip.MustParseAddr(deskAtOther), tun.target.Addr.Port())
			d := login(t, dialOn(t, n.other, at), server)
			data := netip.AddrPortFrom(at.Addr(), d.endpoint())
			if got, err := hear(n.desk, data); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("another machine at the data port: got %q, %v, want a reset", got, err)
			}
			own := dialOn(t, n.other, data)
			d.command(150, "RETR byte")
			if got, err := io.ReadAll(own); err != nil || string(got) != "\xff" {
				t.Errorf("data connection: got %q, %v, want one byte", got, err)
			}
			own.Close() // proftpd waits for it
			d.reply(226)
		})
	}
}

// dialOn is dial on a machine.
func dialOn(t *testing.T, m *lan.Machine, addr netip.AddrPort) (conn *net.TCPConn) {
	t.Helper()
	m.Do(func() { conn = dial(t, addr) })
	return conn
}

// hear connects to addr from a machine and returns all that is said there, or why it isn't all.
func hear(m *lan.Machine, addr netip.AddrPort) (string, error) {
	var conn net.Conn
	var err error
	m.Do(func() { conn, err = net.DialTimeout("tcp", addr.String(), patience) })
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	heard, err := io.ReadAll(conn)
	return string(heard), err
}

// TestServerThatConnectsToTheBastionsOtherSide has a server without passive mode, which must be told the address of the bastion that it
// reaches: culvertd knows it, and for sshd culvert is told.
func TestServerThatConnectsToTheBastionsOtherSide(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	server := n.serve(t, peers.VSFTPD, peers.FTPConfig{Lines: []string{noPassive}})
	for _, p := range []path{culvertSSHD, culvertCulvertd} {
		r := n.route(p, "127.0.0.1:0")
		r.culvertd = []string{"FTPActive forward"}
		r.culvert = []string{"-o", "FTPActive=forward", "-o", "FTPActiveAddress=" + bastionAtVault}
		r.sshd = []string{"GatewayPorts clientspecified"}
		target := r.open(t, server).target
		for _, active := range []bool{false, true} {
			target.Active = active
			for _, client := range []peers.FTPClient{peers.LFTP, peers.TNFTP} {
				t.Run(fmt.Sprintf("%s/%s, active mode %v", p, client, active), func(t *testing.T) { n.wantByte(t, n.desk, client, target) })
			}
		}
	}
}

// TestPlainClientInActiveModeOfAServerThatRequiresTLS is what it is all for. A client that knows nothing but FTP of 1985, in active mode and
// in the clear, has files of a server that it can't reach, that can't reach it, and that speaks to nobody without TLS.
func TestPlainClientInActiveModeOfAServerThatRequiresTLS(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{vaultAddr}})
	files := makeFilesOf(t, 4<<20, 3)
	server := n.serve(t, peers.VSFTPD, peers.FTPConfig{TLS: &peers.FTPTLS{Identity: id}})
	files.linkInto(t, filepath.Join(server.Root, "files"))

	for _, p := range []path{culvertSSHD, culvertCulvertd} {
		r := n.route(p, "*:0")
		if p.hasCulvertd() {
			r.culvertd = []string{"FTPUpstreamTLS require", "FTPUpstreamTLSCAFile " + ca.Path}
		} else {
			r.culvert = []string{"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path}
		}
		tun := r.open(t, server)
		at := tun.target
		at.Active = true
		t.Run(string(p)+"/on the desk", func(t *testing.T) {
			n.desk.Do(func() { files.cell(t, peers.TNFTP, at, server.Root) })
		})
		at.Addr = netip.AddrPortFrom(netip.MustParseAddr(deskAtOther), at.Addr.Port())
		t.Run(string(p)+"/on another machine", func(t *testing.T) {
			n.other.Do(func() { files.cell(t, peers.TNFTP, at, server.Root) })
		})
	}
}

// TestLinkLocalAddresses is what they are good for. Culvert can listen at one, for clients on the same cable, and an FTP server at one is
// reached through OpenSSH, to which the zone means something. To culvertd an address with a zone is none, and it says so.
func TestLinkLocalAddresses(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	t.Run("culvert listens", func(t *testing.T) {
		server := n.serve(t, peers.VSFTPD, peers.FTPConfig{})
		tun := n.open(t, culvertSSHD, server, "["+linkLocal+"%eth0]:0")
		at := linkLocalOn(t, n.other, "eth0", tun.target.Addr.Port())
		d := login(t, dialOn(t, n.other, at), server)
		data := dialOn(t, n.other, netip.AddrPortFrom(at.Addr(), d.endpoint()))
		d.command(150, "RETR byte")
		if got, err := io.ReadAll(data); err != nil || string(got) != "\xff" {
			t.Errorf("data connection: got %q, %v, want one byte", got, err)
		}
		d.reply(226)
	})
	server := n.serve(t, peers.VSFTPD, peers.FTPConfig{Addr: linkLocalOn(t, n.vault, "eth0", 0).Addr()})
	server.Addr = netip.MustParseAddrPort(fmt.Sprintf("[%s%%eth1]:%d", linkLocal, server.Addr.Port())) // the bastion's name for the cable
	t.Run("sshd", func(t *testing.T) {
		tun := n.open(t, culvertSSHD, server, "127.0.0.1:0")
		for _, client := range []peers.FTPClient{peers.Curl, peers.NcFTP} { // by EPSV and by PASV
			n.wantByte(t, n.desk, client, tun.target)
		}
	})
	t.Run("culvertd", func(t *testing.T) {
		var b *bastion
		n.bastion.Do(func() { b = startCulvertd(t, netip.MustParseAddr(bastionAtDesk), "PermitOpen ftp/*:*") })
		var at netip.AddrPort
		n.desk.Do(func() { _, at = startForward(t, b.addr, user, b.key, "ftp/127.0.0.1:0:"+server.Addr.String()) })
		if said, err := hear(n.desk, at); err != nil || !strings.HasPrefix(said, "421 ") {
			t.Errorf("the client hears %q, %v, want 421", said, err)
		}
		b.await(`"event":"channel.refused".*has a zone`)
	})
}

// linkLocalOn is linkLocal as this process can use it on a machine: by the number of the interface, as package net keeps the names of
// all machines together.
func linkLocalOn(t *testing.T, m *lan.Machine, name string, port uint16) netip.AddrPort {
	t.Helper()
	var cable *net.Interface
	var err error
	m.Do(func() { cable, err = net.InterfaceByName(name) })
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("%s%%%d", linkLocal, cable.Index)), port)
}
