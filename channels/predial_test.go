package channels_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
)

func predialled(p *policy.Policy) { p.Global.FTPPredial = &policy.Line[bool]{Value: true} }

// predialStage is a server that says how the connections to its data port have ended, and its bastion.
type predialStage struct {
	*bastion
	server *ftpServer
	came   chan *net.TCPConn
	ended  chan error
}

func newPredialStage(t *testing.T, change func(*channels.Config)) *predialStage {
	t.Helper()
	x := &predialStage{server: newFTPServer(t, honest), came: make(chan *net.TCPConn, 8), ended: make(chan error, 8)}
	x.server.data = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		x.came <- c
		_, err := io.Copy(c, c)
		x.ended <- err
	})
	p := permit(t, "ftp/"+x.server.at.String(), "")
	predialled(p)
	x.bastion = newBastion(t, p, change)
	return x
}

func (x *predialStage) announced() *dialogue {
	x.t.Helper()
	d := x.login(x.server)
	d.say("PASV")
	d.want("227 ")
	return d
}

func (x *predialStage) wantReset(why string) {
	x.t.Helper()
	if err := <-x.ended; !errors.Is(err, syscall.ECONNRESET) {
		x.t.Errorf("%s: the server saw %v, want a reset", why, err)
	}
}

func TestPredialledEndpointIsThereWhenItIsAskedFor(t *testing.T) {
	x := newPredialStage(t, nil)
	x.announced()
	first := <-x.came // nobody has asked for it
	data := x.mustOpen("127.0.0.1", x.server.data.Port())
	if _, err := io.WriteString(data, "echo"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(data, make([]byte, 4)); err != nil {
		t.Errorf("data: %v", err)
	}
	select {
	case second := <-x.came:
		t.Errorf("connected again, from %v after %v", second.RemoteAddr(), first.RemoteAddr())
	default:
	}
	x.mustRefuse("127.0.0.1", x.server.data.Port(), ssh.Prohibited)
	if e := x.audit.event("ftp.consumed"); e["address"] != x.server.data.String() {
		t.Errorf("audit: %v", e)
	}
	data.Close()
}

func TestPredialledConnectionEndsWithItsAnnouncement(t *testing.T) {
	for name, end := range map[string]func(x *predialStage, d *dialogue){
		"550":                func(_ *predialStage, d *dialogue) { d.say("RETR x"); d.want("550 ") },
		"REIN":               func(_ *predialStage, d *dialogue) { d.say("REIN"); d.want("200 ") },
		"QUIT":               func(_ *predialStage, d *dialogue) { d.say("QUIT"); d.want("221 ") },
		"a newer one":        func(_ *predialStage, d *dialogue) { d.say("PASV"); d.want("227 ") },
		"the SSH connection": func(x *predialStage, _ *dialogue) { x.client.Close() },
		"the policy":         func(x *predialStage, _ *dialogue) { x.change(permit(t, "10.0.0.1:1", "")) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newPredialStage(t, nil)
			d := x.announced()
			<-x.came
			end(x, d)
			x.wantReset(name)
			if e := x.audit.wait(t, "ftp.expired"); e["dialled"] != true {
				t.Errorf("audit: %v, want that it was dialled", e)
			}
		})
	}
}

// What the policy says when the endpoint is asked for counts, whatever was dialled before.
func TestPredialledConnectionIsDecidedOnWhenItIsAskedFor(t *testing.T) {
	x := newPredialStage(t, nil)
	x.announced()
	<-x.came
	denies := permit(t, "ftp/"+x.server.at.String(), x.server.data.String())
	predialled(denies)
	x.policy.Store(denies) // before anybody is asked again
	x.mustRefuse("127.0.0.1", x.server.data.Port(), ssh.Prohibited)
	x.wantReset("denied")
}

func TestPredialledConnectionThatCantBeRecordedIsReset(t *testing.T) {
	x := newPredialStage(t, nil)
	x.announced()
	<-x.came
	x.audit.fill(errors.New("no space"))
	if _, err := x.open("127.0.0.1", x.server.data.Port()); err == nil {
		t.Error("got a channel that is not on record")
	}
	x.wantReset("not on record")
}

// An attempt beforehand is the first of two. What the second one comes to is the client's.
func TestPredialThatFailsIsTheFirstOfTwoAttempts(t *testing.T) {
	closed := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), peers.TestPort(t))
	s := newFTPServer(t, func(*ftpServer) string { return sextuple(closed) })
	b := newFTPBastion(t, s, predialled)
	d := b.login(s)
	d.say("PASV")
	d.want("227 ")
	b.mustRefuse("127.0.0.1", closed.Port(), ssh.ConnectionFailed)
	e := b.mustRefuse("127.0.0.1", closed.Port(), ssh.Prohibited)
	if want := closed.String() + " was announced: used already"; !strings.Contains(fmt.Sprint(e["reason"]), want) {
		t.Errorf("audit: %v, want %q in the reason", e, want)
	}

	d.say("PASV")
	d.want("227 ")
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(closed))
	if err != nil {
		t.Skip("somebody else has the port by now:", err)
	}
	defer l.Close()
	b.mustOpen("127.0.0.1", closed.Port()) // whether the first attempt was too early or not
}
