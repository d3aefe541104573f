package e2e

import (
	"net"
	"net/netip"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestClientThatNeverConnectsIsTold has a client ask for a transfer and never come for the data. The server's deadline must reach it as it
// is, and the session goes on.
func TestClientThatNeverConnectsIsTold(t *testing.T) {
	t.Parallel()
	for _, p := range []path{culvertCulvertd, culvertSSHD, sshCulvertd, sshSSHD} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: withByte(t), Lines: []string{"accept_timeout=1"}})
			tun := p.open(t, server, nil, nil)
			d := login(t, tun.connect(t, 0), server)
			d.wantByteOver(tun) // culvert opens the channel of the first transfer before anybody asks
			d.endpoint()
			d.command(425, "RETR byte")
			d.wantByteOver(tun)
		})
	}
}

// wantByteOver transfers the file "byte".
func (d *dialog) wantByteOver(tun *tunnel) {
	d.t.Helper()
	data := tun.connect(d.t, d.endpoint())
	d.command(150, "RETR byte")
	one := make([]byte, 2)
	if n, _ := data.Read(one); n != 1 || one[0] != 0xff {
		d.t.Errorf("got %q, want one byte", one[:n])
	}
	data.Close()
	d.reply(226)
}

// TestAnnouncementThatNobodyTakesUpExpires has the bastion forget an endpoint by its deadline, and say so on record; whoever comes
// later is refused, and the control connection is none the worse.
func TestAnnouncementThatNobodyTakesUpExpires(t *testing.T) {
	t.Parallel()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: withByte(t)})
	tun := sshCulvertd.open(t, server, nil, nil, "FTPDataTimeout 1s")
	d := login(t, tun.connect(t, 0), server)
	port := d.endpoint()
	tun.bastion.await(`"event":"ftp.expired".*nobody came in 1s`)
	wantProhibited(t, tun.bastion.member(t), netip.AddrPortFrom(server.Addr.Addr(), port))
	d.wantByteOver(tun)
}

// TestServerThatNeverAcceptsIsToldOf has a server announce a port at which the kernel answers nobody any more. The client hears
// that there is no data connection, by the bastion's deadline, instead of waiting for a transfer that never comes.
func TestServerThatNeverAcceptsIsToldOf(t *testing.T) {
	t.Parallel()
	server := newPuppet(t)
	dead := unanswered(t)
	server.announces(dead)
	tun := culvertCulvertd.open(t, server.FTP, nil, nil, "ConnectTimeout 1")
	d := login(t, tun.connect(t, 0), server.FTP)
	began := time.Now()
	d.command(425, "PASV")
	d.command(500, "EPSV")
	if took := time.Since(began); took > patience/2 {
		t.Errorf("it took %v, with a deadline of a second each", took)
	}
	d.command(200, "NOOP")
	tun.client.await(regexp.QuoteMeta(dead.String()))
}

// unanswered is a port whose queue of connections is full, so that the kernel drops whoever else knocks.
func unanswered(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	for range 8 { // the queue takes one or two
		conn, err := net.DialTimeout("tcp", at.String(), time.Second/2)
		if err != nil {
			return at
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatalf("%v still answers", at)
	return at
}
