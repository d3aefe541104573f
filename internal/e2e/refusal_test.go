package e2e

import (
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// connect makes an SSH connection to the bastion, for no longer than anything here may take.
func (b *bastion) connect(login string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	conn, err := net.Dial("tcp", b.addr.String())
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c, channels, requests, err := ssh.NewClientConn(conn, b.addr.String(), &ssh.ClientConfig{
		User: login, Auth: auth, HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return ssh.NewClient(c, channels, requests), nil
}

// member is connect as user with user's key.
func (b *bastion) member(t *testing.T) *ssh.Client {
	t.Helper()
	client, err := b.connect(user, ssh.PublicKeys(b.key.Signer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// direct opens a direct-tcpip channel (RFC 4254, section 7.2).
func direct(client *ssh.Client, target netip.AddrPort) (ssh.Channel, error) {
	channel, requests, err := client.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}{target.Addr().String(), uint32(target.Port()), "127.0.0.1", 1}))
	if err != nil {
		return nil, err
	}
	go ssh.DiscardRequests(requests)
	return channel, nil
}

// open is direct for a channel that must open.
func open(t *testing.T, client *ssh.Client, target netip.AddrPort) ssh.Channel {
	t.Helper()
	channel, err := direct(client, target)
	if err != nil {
		t.Fatalf("direct-tcpip to %v: %v", target, err)
	}
	return channel
}

// wantProhibited wants a channel to target refused as RFC 4254, section 5.1 has it for reasons of
// policy, with a text that says nothing of the inside.
func wantProhibited(t *testing.T, client *ssh.Client, target netip.AddrPort) {
	t.Helper()
	_, err := direct(client, target)
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
		t.Errorf("direct-tcpip to %v: got %v, want administratively prohibited", target, err)
	} else if strings.Contains(refused.Message, target.String()) || strings.Contains(refused.Message, "sshd_config") {
		t.Errorf("the refusal tells %q", refused.Message)
	}
}

// untouched listens on a loopback address, and fails the test if anybody connects.
func untouched(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			t.Errorf("the bastion connected to %v", l.Addr())
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// permitted starts an FTP server with a file of one byte, and a bastion that permits it.
func permitted(t *testing.T) (*peers.FTP, *bastion) {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "byte"), []byte{0xff}, 0o644); err != nil {
		t.Fatal(err)
	}
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	return server, startCulvertd(t, server.Addr.Addr(), "PermitOpen ftp/"+server.Addr.String())
}

func TestUnlistedHostIsRefused(t *testing.T) {
	t.Parallel()
	_, b := permitted(t)
	wantProhibited(t, b.member(t), untouched(t))
}

func TestNothingIsPermittedByDefault(t *testing.T) {
	t.Parallel()
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"))
	wantProhibited(t, b.member(t), untouched(t))
}

func TestUnannouncedPortIsRefusedBesideAnOpenControlChannel(t *testing.T) {
	t.Parallel()
	server, b := permitted(t)
	client := b.member(t)
	d := login(t, open(t, client, server.Addr), server)
	d.endpoint()
	wantProhibited(t, client, untouched(t))
}

func TestAnnouncedPortServesOnce(t *testing.T) {
	t.Parallel()
	server, b := permitted(t)
	client := b.member(t)
	d := login(t, open(t, client, server.Addr), server)
	at := netip.AddrPortFrom(server.Addr.Addr(), d.endpoint())
	data := open(t, client, at)
	wantProhibited(t, client, at)
	wantByte(t, d, data)
	wantProhibited(t, client, at)
}

func TestAnnouncedPortIsRefusedFromAnotherConnection(t *testing.T) {
	t.Parallel()
	server, b := permitted(t)
	mine, other := b.member(t), b.member(t)
	d := login(t, open(t, mine, server.Addr), server)
	at := netip.AddrPortFrom(server.Addr.Addr(), d.endpoint())
	wantProhibited(t, other, at)
	wantByte(t, d, open(t, mine, at))
}

func TestAnnouncedPortEndsWithTheNextAnnouncement(t *testing.T) {
	t.Parallel()
	server, b := permitted(t)
	client := b.member(t)
	d := login(t, open(t, client, server.Addr), server)
	first := netip.AddrPortFrom(server.Addr.Addr(), d.endpoint())
	second := netip.AddrPortFrom(server.Addr.Addr(), d.endpoint())
	wantProhibited(t, client, first)
	wantByte(t, d, open(t, client, second))
}

func TestAnnouncedPortEndsWithTheControlChannel(t *testing.T) {
	t.Parallel()
	server, b := permitted(t)
	client := b.member(t)
	control := open(t, client, server.Addr)
	at := netip.AddrPortFrom(server.Addr.Addr(), login(t, control, server).endpoint())
	if err := control.Close(); err != nil {
		t.Fatal(err)
	}
	b.await(`"event":"ftp.expired"`)
	wantProhibited(t, client, at)
}

// wantByte gets the file of one byte over a data channel that is open.
func wantByte(t *testing.T, d *dialog, data ssh.Channel) {
	t.Helper()
	d.command(150, "RETR byte")
	got, err := io.ReadAll(data)
	if err != nil || string(got) != "\xff" {
		t.Errorf("data channel: got %q, %v, want one byte", got, err)
	}
	if err := data.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("close data channel: %v", err)
	}
	d.reply(226)
}

func TestNoneAuthenticationIsRefused(t *testing.T) {
	t.Parallel()
	_, b := permitted(t)
	wantStranger(t, b, user)
}

func TestForeignKeyIsRefused(t *testing.T) {
	t.Parallel()
	_, b := permitted(t)
	wantStranger(t, b, user, ssh.PublicKeys(peers.TestKey(t, "foreign").Signer))
}

func TestKeyServesItsOwnUserOnly(t *testing.T) {
	t.Parallel()
	_, b := permitted(t)
	wantStranger(t, b, "bob", ssh.PublicKeys(b.key.Signer))
	wantStranger(t, b, "../"+user, ssh.PublicKeys(b.key.Signer))
	wantStranger(t, b, "x/../"+user, ssh.PublicKeys(b.key.Signer))
}

// unproven is a signer that shows user's key and signs with another.
type unproven struct{ shown, proven ssh.Signer }

func (u unproven) PublicKey() ssh.PublicKey { return u.shown.PublicKey() }
func (u unproven) Sign(_ io.Reader, data []byte) (*ssh.Signature, error) {
	return u.proven.Sign(rand.Reader, data)
}

func TestOfferedKeyMustBeProven(t *testing.T) {
	t.Parallel()
	_, b := permitted(t)
	foreign := peers.TestKey(t, "foreign").Signer
	wantStranger(t, b, user, ssh.PublicKeys(unproven{b.key.Signer, foreign}))
	// What was offered first must not help what is proven afterwards.
	wantStranger(t, b, user, ssh.PublicKeys(unproven{b.key.Signer, foreign}, foreign))
}

func wantStranger(t *testing.T, b *bastion, login string, auth ...ssh.AuthMethod) {
	t.Helper()
	client, err := b.connect(login, auth...)
	if err == nil {
		client.Close()
		t.Errorf("the bastion let %q in", login)
	} else if !strings.Contains(err.Error(), "unable to authenticate") && !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want: unable to authenticate", err)
	}
}
