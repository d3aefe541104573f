package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/control"
)

// pretendOffer is a channel that a bastion opens, which says how it was answered.
type pretendOffer struct {
	ssh.NewChannel
	answered chan string
}

func (o *pretendOffer) Reject(_ ssh.RejectionReason, text string) error {
	o.answered <- text
	return nil
}

func (o *pretendOffer) Accept() (ssh.Channel, <-chan *ssh.Request, error) {
	o.answered <- "accepted"
	return nil, nil, errors.New("the test is over")
}

// arrives has a connection from an address offered to serve, and returns how it is answered.
func arrives(from string, serve func(*arrival)) <-chan string {
	o := &pretendOffer{answered: make(chan string, 1)}
	go serve(&arrival{offer: channelOffer{NewChannel: o}, origin: netip.AddrPortFrom(netip.MustParseAddr(from), 20)})
	return o.answered
}

func wantAnswer(t *testing.T, answered <-chan string, want string) {
	t.Helper()
	select {
	case got := <-answered:
		if !strings.Contains(got, want) {
			t.Errorf("the connection was answered %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Errorf("the connection was not answered, want %q", want)
	}
}

// listened is a connection of culvert's that has been asked to wait.
func listened(t *testing.T, sshd bool, l Listening, lines ...string) (*connection, Arrival, error) {
	t.Helper()
	_, cfg := bastion(t, lines...)
	c, err := connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.channel.EndOfData = !sshd
	l.Log = slog.New(slog.DiscardHandler)
	a, err := c.Listen(t.Context(), l)
	return c, a, err
}

func TestServerIsListenedForByTheNameOfItsPort(t *testing.T) {
	client := netip.MustParseAddrPort("127.0.0.1:51210")
	c, a, err := listened(t, false, Listening{Client: client, Host: "ftp.corp"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr() != client {
		t.Errorf("the bastion is told %v, want what the client says: %v", a.Addr(), client)
	}
	if _, err := c.Listen(t.Context(), Listening{Client: client, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a second client waits at the same place, and there was no error")
	}
	serve, _ := c.incoming.find(place{host: "127.0.0.1", port: 51210})
	if serve == nil {
		t.Fatal("nobody serves the channel that the bastion will open")
	}
	first := arrives("192.0.2.1", serve)
	accept(t, a)
	wantAnswer(t, first, "accepted")
	if again, _ := c.incoming.find(place{host: "127.0.0.1", port: 51210}); again != nil {
		t.Error("another channel would be served")
	}
	wantAnswer(t, arrives("192.0.2.1", serve), "not the connection that is waited for")

	if _, err := c.Listen(t.Context(), Listening{Host: "ftp.corp", Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a client in passive mode: no error, and the bastion is the one who knows how")
	}
}

// accept waits for the connection, whose channel is none.
func accept(t *testing.T, a Arrival) {
	t.Helper()
	if _, err := a.Accept(t.Context()); err == nil || !strings.Contains(err.Error(), "the test is over") {
		t.Errorf("Accept: %v, want that the connection came", err)
	}
}

func TestSSHServerListensForTheFTPServerAlone(t *testing.T) {
	c, a, err := listened(t, true, Listening{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr().Addr() != loopback || a.Addr().Port() == 0 {
		t.Errorf("the server is told %v, want a port on loopback", a.Addr())
	}
	serve, _ := c.incoming.find(place{host: "127.0.0.1", port: a.Addr().Port()})
	if serve == nil {
		t.Fatal("nobody serves the channel that the SSH server will open")
	}
	wantAnswer(t, arrives("192.0.2.1", serve), "not the connection that is waited for")
	wantAnswer(t, arrives("127.0.0.2", serve), "not the connection that is waited for")
	first := arrives("127.0.0.1", serve)
	accept(t, a)
	wantAnswer(t, first, "accepted")
	wantNobodyListens(t, a.Addr())
}

// wantNobodyListens waits until the SSH server has done what it was asked to.
func wantNobodyListens(t *testing.T, at netip.AddrPort) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c, err := net.DialTimeout("tcp", at.String(), patience)
		if err != nil {
			return
		}
		_ = c.Close()
	}
	t.Errorf("the SSH server still listens at %v", at)
}

func TestOthersEndTheWaitingForTheFTPServer(t *testing.T) {
	c, a, err := listened(t, true, Listening{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	serve, _ := c.incoming.find(place{host: "127.0.0.1", port: a.Addr().Port()})
	for range control.MaxRejects {
		wantAnswer(t, arrives("192.0.2.1", serve), "not the connection that is waited for")
	}
	if _, err := a.Accept(t.Context()); err == nil || !strings.Contains(err.Error(), "of others") {
		t.Errorf("Accept: %v, want that the waiting has ended", err)
	}
	wantNobodyListens(t, a.Addr())
}

func TestClosedArrivalWaitsForNothing(t *testing.T) {
	c, a, err := listened(t, true, Listening{Host: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	serve, _ := c.incoming.find(place{host: "127.0.0.1", port: a.Addr().Port()})
	parked := arrives("127.0.0.1", serve) // nobody takes it
	a.Close()
	a.Close()
	wantAnswer(t, parked, "nobody waits")
	wantNobodyListens(t, a.Addr())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Accept(ctx); err == nil {
		t.Error("Accept: no error")
	}
}

func TestWhyNobodyCanListenForTheFTPServer(t *testing.T) {
	for _, tt := range []struct {
		listening Listening
		lines     []string
		want      string
	}{
		{Listening{Host: "10.0.0.5"}, nil, "set FTPActiveAddress"},
		{Listening{Host: "ftp.corp", Told: netip.MustParseAddr("10.0.0.1")}, nil, "by its address"},
		{Listening{Host: "localhost"}, []string{"AllowTcpForwarding local"}, "AllowTcpForwarding"},
		{Listening{Host: "::1"}, []string{"PermitListen 127.0.0.1:22"}, "PermitListen"},
	} {
		t.Run(fmt.Sprint(tt.listening.Host, tt.lines), func(t *testing.T) {
			if _, _, err := listened(t, true, tt.listening, tt.lines...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestServerIsToldWhatItCanReach has an FTP server that is not on the SSH server's machine.
func TestServerIsToldWhatItCanReach(t *testing.T) {
	told := netip.MustParseAddr("127.0.0.9")
	_, a, err := listened(t, true, Listening{Host: "192.0.2.1", Told: told}, "GatewayPorts clientspecified")
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr().Addr() != told {
		t.Errorf("the server is told %v, want %v", a.Addr(), told)
	}
	conn, err := net.DialTimeout("tcp", a.Addr().String(), patience)
	if err != nil {
		t.Errorf("the SSH server doesn't listen there: %v", err)
	} else {
		_ = conn.Close()
	}
	a.Close()
}
