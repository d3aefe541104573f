package e2e

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/culvert-ssh/culvert/internal/lan"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestRedirectedClientsKnowNothing has FTP clients connect to servers that they can't reach, on the desk and on a machine behind it: the packet
// filter of the desk sends them to culvert, by the rules that culvert prints. The server's address stays what they take it for, so that every client
// works, in passive mode and in active mode.
func TestRedirectedClientsKnowNothing(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	servers := []*peers.FTP{
		n.serve(t, peers.VSFTPD, peers.FTPConfig{Port: 21}),
		n.serve(t, peers.PureFTPD, peers.FTPConfig{Addr: netip.MustParseAddr("fd02::2"), Port: 21}),
	}
	var b *bastion
	n.bastion.Do(func() {
		b = startCulvertd(t, netip.MustParseAddr(bastionAtDesk), "PermitOpen ftp/"+servers[0].Addr.String()+" ftp/"+servers[1].Addr.String())
	})
	n.desk.Do(func() {
		_, at := startProxy(t, b.addr, user, b.key, "ftp-redirect/*:0")
		putInForce(t, at.Port(), "--user", strconv.Itoa(os.Getuid()), "--interface", "eth0", "--bastion", b.addr.String())
	})
	// Without a route to the server, a client doesn't come as far as the packet filter.
	routeToVault(t, n.desk, "10.1.0.1", "fd01::1")
	routeToVault(t, n.other, deskAtOther, deskAtOther6)
	for name, m := range map[string]*lan.Machine{"on the desk": n.desk, "behind it": n.other} {
		for _, server := range servers {
			for _, client := range peers.FTPClients() {
				if server.Addr.Addr().Is4() || client.IPv6() {
					t.Run(string(client)+"/"+name+"/"+string(server.Kind), func(t *testing.T) { n.wantByte(t, m, client, server.Target()) })
				}
			}
		}
	}
	active := servers[0].Target()
	active.Active = true
	for _, client := range []peers.FTPClient{peers.NetFTP, peers.Ftplib} {
		t.Run(string(client)+"/active", func(t *testing.T) { n.wantByte(t, n.desk, client, active) })
	}
}

// TestRedirectionsThatGoInCircles has a bastion on the desk whose own connections are redirected as well, by the same user: each comes to culvert again.
func TestRedirectionsThatGoInCircles(t *testing.T) {
	t.Parallel()
	if apart(t) {
		return
	}
	n := newNetwork(t)
	routeToVault(t, n.desk, "10.1.0.1", "fd01::1")
	var p *program
	n.desk.Do(func() {
		b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "PermitOpen ftp/"+vaultAddr+":21")
		var at netip.AddrPort
		p, at = startProxy(t, b.addr, user, b.key, "ftp-redirect/127.0.0.1:0")
		putInForce(t, at.Port(), "--user", strconv.Itoa(os.Getuid()))
		out, err := peers.Curl.List(t.Context(), peers.Target{Addr: netip.MustParseAddrPort(vaultAddr + ":21"), User: "a", Password: "b"}, "")
		if err == nil {
			t.Errorf("there is a listing:\n%s", out)
		}
	})
	p.await("connections wait for 10.2.0.2:21 to say something")
}

// putInForce puts the rules that culvert prints in force.
func putInForce(t *testing.T, port uint16, flags ...string) {
	t.Helper()
	args := append([]string{"redirect", "print", "--port", strconv.Itoa(int(port))}, flags...)
	rules, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "culvert"), args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := peers.LoadNFT(t.Context(), string(rules)); err != nil {
		t.Fatal(err)
	}
}

// routeToVault has m send what is for the vault to a neighbour.
func routeToVault(t *testing.T, m *lan.Machine, via, via6 string) {
	t.Helper()
	m.Do(func() {
		for _, args := range [][]string{{"route", "add", "10.2.0.0/24", "via", via}, {"-6", "route", "add", "fd02::/64", "via", via6}} {
			if _, err := peers.Run(t.Context(), "", "ip", args...); err != nil {
				t.Fatal(err)
			}
		}
	})
}
