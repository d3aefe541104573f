package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
)

func TestPlainForwardKeepsHalfClose(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) {
		got, err := io.ReadAll(c) // until the client's end
		fmt.Fprintf(c, "got %d bytes, %v", len(got), err)
	})}
	c := dial(t, start(t, cfg).ready())
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "got 1048576 bytes, <nil>" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// Each of a crowd that comes at once is served, and stays as long as it likes.
func TestManyConnectAtOnce(t *testing.T) {
	const crowd = 900 // sshd may have 1024 descriptors
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })}
	at := start(t, cfg).ready()
	var served sync.WaitGroup
	all := make([]net.Conn, crowd)
	for i := range all {
		served.Go(func() {
			c, err := net.DialTimeout("tcp", at, patience)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = c
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Error(err)
			}
			mine := []byte{byte(i), byte(i >> 8)}
			if _, err := c.Write(mine); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			got := make([]byte, len(mine))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, mine) {
				t.Errorf("connection %d: got %d, %v; want %d", i, got, err, mine)
			}
		})
	}
	served.Wait()
	for _, c := range all {
		if c != nil {
			_ = c.Close()
		}
	}
}

func TestUnreachableDestinationIsAReset(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{unused(t)}
	r := start(t, cfg)
	wantResetFrom(t, "127.0.0.1", r.ready())
	r.log.wait(t, "can't reach "+cfg.Forwards[0].Target())
}

func TestRefusalNamesTheBastion(t *testing.T) {
	_, cfg := bastion(t, "AllowTcpForwarding no")
	cfg.Forwards = []Forward{{Host: "ftp.corp", HostPort: 21}}
	r := start(t, cfg)
	wantResetFrom(t, "127.0.0.1", r.ready())
	r.log.wait(t, "the bastion refused ftp.corp:21: administratively prohibited")
}

func TestRequestNumberIsHandedOn(t *testing.T) {
	err := openError("ftp.corp:21", &ssh.OpenChannelError{Reason: ssh.Prohibited, Message: "administratively prohibited (request 7f3a)\x1b[2J"})
	want := "the bastion refused ftp.corp:21: administratively prohibited (request 7f3a)?[2J: ask its administrator, with that number"
	if err.Error() != want {
		t.Errorf("got  %q\nwant %q", err, want)
	}
}

func TestFTPThatCannotBeReachedSays421(t *testing.T) {
	_, cfg := bastion(t)
	f := unused(t)
	f.Kind = FTP
	cfg.Forwards = []Forward{f}
	r := start(t, cfg)
	c := dial(t, r.ready())
	if _, err := io.WriteString(c, "USER x\r\n"); err != nil { // unread input must not turn the goodbye into a reset
		t.Fatal(err)
	}
	got, err := io.ReadAll(io.LimitReader(c, 1<<10))
	want := "421 culvert: the bastion can't reach " + f.Target()
	if !strings.HasPrefix(string(got), want) || strings.Count(string(got), "\r\n") != 1 || err != nil {
		t.Errorf("got %q, %v; want one line that begins with %q", got, err, want)
	}
}

func TestLostConnectionResetsWhatRuns(t *testing.T) {
	_, cfg := bastion(t)
	wire := flaky(t, cfg)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) {
		_, _ = c.Write(make([]byte, 1<<20))
		_, _ = c.Read(make([]byte, 1))
	})}
	r := start(t, cfg)
	c := dial(t, r.ready())
	if _, err := io.ReadFull(c, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	wire.cut()
	wantReset(t, c)
	if err := r.end(); !errors.Is(err, ErrConnectionLost) {
		t.Errorf("Run: got %v, want that the connection was lost", err)
	}
}

func TestSilentBastionIsGivenUp(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(*net.TCPConn) {})}
	wire := flaky(t, cfg)
	cfg.ServerAliveInterval, cfg.ServerAliveCountMax = 500*time.Millisecond, 6 // a busy machine's sshd is alive, too
	r := start(t, cfg)
	r.ready()
	wire.freeze()
	if err := r.end(); !errors.Is(err, ErrConnectionLost) || !strings.Contains(err.Error(), "no sign of life for 3s") {
		t.Errorf("Run: got %v, want that there was no sign of life", err)
	}
}

func TestStoppedRunResetsAndReturnsNil(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
	})}
	r := start(t, cfg)
	c := dial(t, r.ready())
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := r.end(); err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
	wantReset(t, c)
}

// endedUplink is one that has ended.
type endedUplink struct{ uplink }

func (endedUplink) Done() <-chan struct{} { done := make(chan struct{}); close(done); return done }
func (endedUplink) Cause() error          { return errors.New("the program that had it is gone") }

// TestWordToEndWinsOverTheLossItCauses: an interrupt from the terminal ends a ProxyCommand as well.
func TestWordToEndWinsOverTheLossItCauses(t *testing.T) {
	for name, after := range map[string]time.Duration{"before": 0, "a moment later": togetherTimeout / 2} {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				synctest.Test(t, func(t *testing.T) {
					ctx, stop := context.WithCancel(t.Context())
					defer stop()
					if after == 0 {
						stop()
					} else {
						time.AfterFunc(after, stop)
					}
					if err := toldOrLost(ctx, endedUplink{}); err != nil {
						t.Errorf("got %v, want nil", err)
					}
				})
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		if err := toldOrLost(t.Context(), endedUplink{}); !errors.Is(err, ErrConnectionLost) {
			t.Errorf("nobody said to end: got %v, want that the connection was lost", err)
		}
	})
}

func TestStoppedRunReturnsEvenIfTheBastionIsSilent(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = c.Read(make([]byte, 1))
	})}
	wire := flaky(t, cfg)
	r := start(t, cfg)
	c := dial(t, r.ready())
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	wire.freeze()
	r.stop()
	wantReset(t, c)
	if err := r.end(); err != nil {
		t.Errorf("Run: got %v, want nil", err)
	}
}

func TestPortThatIsTakenIsLeftOutAndTheOthersServed(t *testing.T) {
	_, cfg := bastion(t)
	taken := destination(t, func(*net.TCPConn) {})
	echo := destination(t, func(c *net.TCPConn) { _, _ = io.Copy(c, c) })
	cfg.Forwards = []Forward{{Port: taken.HostPort, Host: "ftp.corp", HostPort: 21}, echo}
	r := start(t, cfg)
	c := dial(t, r.ready())
	_, _ = io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Error(err)
	}
	r.log.wait(t, "the port is already used: choose another, or 0 for a free one")
}

func TestPortThatIsTakenEndsRunIfThatWasAsked(t *testing.T) {
	_, cfg := bastion(t)
	taken := destination(t, func(*net.TCPConn) {})
	bad := Forward{Port: taken.HostPort, Host: "ftp.corp", HostPort: 21}
	for name, test := range map[string]struct {
		forwards []Forward
		exit     bool
		want     string
	}{
		"one of two, ExitOnForwardFailure": {[]Forward{{Host: "h", HostPort: 1}, bad}, true, "the port is already used"},
		"the only one":                     {[]Forward{bad}, false, "no forward could be set up"},
	} {
		cfg.Forwards, cfg.ExitOnForwardFailure = test.forwards, test.exit
		if err := start(t, cfg).end(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestReadyLineSaysWhatToType(t *testing.T) {
	for _, test := range []struct {
		forward Forward
		network string
		at      string
		want    string
	}{
		{Forward{Kind: FTP, Host: "ftp.corp", HostPort: 21}, "tcp", "127.0.0.1:2121", "FTP to ftp.corp:21 is at 127.0.0.1:2121, try: lftp -p 2121 127.0.0.1"},
		{Forward{Kind: FTP, Host: "2001:db8::1", HostPort: 21}, "tcp", "[::1]:2121", "FTP to [2001:db8::1]:21 is at [::1]:2121, try: lftp -p 2121 ::1"},
		{Forward{Host: "ftp.corp", HostPort: 21}, "tcp", "127.0.0.1:2121", "ftp.corp:21 is at 127.0.0.1:2121, without the data connections of FTP: those come with ftp/ in front of the forward"},
		{Forward{Host: "db.corp", HostPort: 5432, Bind: "*"}, "tcp", "[::]:5432", "db.corp:5432 is at 127.0.0.1:5432"},
		{Forward{Host: "db.corp", HostPort: 5432, Bind: "*"}, "tcp6", "[::]:5432", "db.corp:5432 is at [::1]:5432"},
		{Forward{Kind: SOCKS}, "tcp", "127.0.0.1:1080", "SOCKS is at 127.0.0.1:1080, try: curl --socks5-hostname 127.0.0.1:1080 ftp://HOST/"},
		{Forward{Host: "db.corp", HostPort: 5432, Bind: "0.0.0.0"}, "tcp", "0.0.0.0:5432", "db.corp:5432 is at 127.0.0.1:5432"},
	} {
		if got := test.forward.ready(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(test.at)), test.network); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

func TestForwardWithoutAnAddressListensOnBothLoopbacks(t *testing.T) {
	ls, err := listen(context.Background(), NewConfig("", ""), Forward{Host: "h", HostPort: 1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range ls {
		got = append(got, relay.AddrPort(l.Addr()).Addr().String())
		_ = l.Close()
	}
	if strings.Join(got, " ") != "127.0.0.1 ::1" {
		t.Errorf("got %q, want 127.0.0.1 and ::1", got)
	}
}

func TestGatewayPortsOpensWhatDoesNotSayWhereToListen(t *testing.T) {
	for bind, want := range map[string]bool{"": true, "localhost": false, "127.0.0.1": false} {
		cfg := NewConfig("", "")
		cfg.GatewayPorts = true
		ls, err := listen(context.Background(), cfg, Forward{Kind: SOCKS, Bind: bind})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			if got := relay.AddrPort(l.Addr()).Addr().IsUnspecified(); got != want {
				t.Errorf("%q: listens at %v", bind, l.Addr())
			}
			_ = l.Close()
		}
	}
}

func TestReadyIsToldOnceAllIsSetUp(t *testing.T) {
	_, cfg := bastion(t)
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "hello") })}
	ready := make(chan struct{})
	cfg.Ready = func() { close(ready) }
	at := start(t, cfg).ready()
	<-ready
	if got, err := io.ReadAll(dial(t, at)); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
