package channels_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// token is the port by which the test's SSH client knows a data connection.
const token = 40001

// remoteFTP is a bastion that listens for FTP clients, and an SSH client in front of an FTP server.
type remoteFTP struct {
	*bastion
	port uint16 // where FTP clients connect to
	data chan ssh.NewChannel
	done chan struct{} // the FTP server says that a transfer is complete for each value
}

// newRemoteFTP permits what the words of PermitListen do, and is granted a port.
func newRemoteFTP(t *testing.T, change func(*policy.Rules)) *remoteFTP {
	t.Helper()
	r := newRemoteBastion(t, change)
	if !r.endOfData() {
		t.Fatal("end-of-data@culvert was refused")
	}
	if r.port = r.listenFTP("127.0.0.1", 0); r.port == 0 {
		t.Fatalf("ftp-forward@culvert refused: %v", r.audit.event("listen.refused"))
	}
	return r
}

func newRemoteBastion(t *testing.T, change func(*policy.Rules)) *remoteFTP {
	t.Helper()
	p := permit(t, "", "")
	p.Global.PermitListen = listenLine(t, "ftp/*")
	if change != nil {
		change(&p.Global)
	}
	r := &remoteFTP{
		bastion: newBastion(t, p, func(c *channels.Config) { c.MaxChannels = 100 }),
		data:    make(chan ssh.NewChannel, 100), done: make(chan struct{}, 100),
	}
	offers := r.takeOffers()
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case nc := <-offers:
				if openedAt(nc).Port == token {
					r.data <- nc
				} else {
					wg.Go(func() { serveFTP(tunnelled(nc), r.done) })
				}
			case <-ended:
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = r.client.Close()
		close(ended)
		close(r.done)
		wg.Wait()
	})
	return r
}

func listenLine(t *testing.T, words string) *policy.Line[[]policy.ListenPattern] {
	t.Helper()
	line := &policy.Line[[]policy.ListenPattern]{Source: "sshd_config:9"}
	for _, word := range strings.Fields(words) {
		p, err := policy.ParseListenPattern(word)
		if err != nil {
			t.Fatal(err)
		}
		line.Value = append(line.Value, p)
	}
	return line
}

func (b *bastion) endOfData() bool {
	ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil)
	return ok && err == nil
}

// listenFTP is forward with ftp-forward@culvert.
func (b *bastion) listenFTP(host string, port uint32) uint16 {
	b.t.Helper()
	return b.request("ftp-forward@culvert", host, port)
}

type forwarded struct {
	Host       string
	Port       uint32
	Origin     string
	OriginPort uint32
}

func openedAt(nc ssh.NewChannel) (at forwarded) {
	_ = ssh.Unmarshal(nc.ExtraData(), &at)
	return at
}

// tunnelled accepts a channel whose ends are said.
func tunnelled(nc ssh.NewChannel) relay.Stream {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return nil
	}
	return relay.NewChannel(ch, reqs, relay.ChannelConfig{Wire: relay.NewWire(nil), EndOfData: true})
}

// serveFTP is an FTP server that announces the token.
func serveFTP(c relay.Stream, done <-chan struct{}) {
	if c == nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "220 hello\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
		case "USER":
			fmt.Fprint(c, "230 welcome\r\n")
		case "PASV":
			fmt.Fprintf(c, "227 Entering Passive Mode (10,9,8,7,%d,%d)\r\n", token>>8, token&255)
		case "EPSV":
			fmt.Fprintf(c, "229 Entering Extended Passive Mode (|||%d|)\r\n", token)
		case "RETR", "STOR":
			fmt.Fprint(c, "150 here it comes\r\n")
			<-done
			fmt.Fprint(c, "226 done\r\n")
		default:
			fmt.Fprint(c, "200 ok\r\n")
		}
	}
}

// nearby is an FTP client near the bastion.
type nearby struct {
	t *testing.T
	*net.TCPConn
	replies *bufio.Reader
}

func (r *remoteFTP) login() *nearby {
	r.t.Helper()
	c := dialTCP(r.t, "127.0.0.1", r.port)
	n := &nearby{r.t, c, bufio.NewReader(c)}
	n.want("220 hello")
	n.say("USER bob")
	n.want("230 welcome")
	return n
}

func (n *nearby) say(command string) {
	n.t.Helper()
	if _, err := io.WriteString(n, command+"\r\n"); err != nil {
		n.t.Fatalf("%s: %v", command, err)
	}
}

func (n *nearby) want(start string) string {
	n.t.Helper()
	line, err := n.replies.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, start) {
		n.t.Fatalf("reply %q (%v), want %q", line, err, start)
	}
	return strings.TrimSpace(line)
}

// pasv returns where data is to be connected to.
func (n *nearby) pasv() netip.AddrPort {
	n.t.Helper()
	n.say("PASV")
	reply := n.want("227 Entering Passive Mode")
	var a [6]byte
	if _, err := fmt.Sscanf(reply, "227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
		n.t.Fatalf("%q: %v", reply, err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[:4])), uint16(a[4])<<8|uint16(a[5]))
}

// offered waits for the channel of a data connection.
func (r *remoteFTP) offered() ssh.NewChannel {
	r.t.Helper()
	select {
	case nc := <-r.data:
		return nc
	case <-time.After(10 * time.Second):
		r.t.Fatal("no channel for the data connection")
		return nil
	}
}

func TestRemoteFTPAnnouncesItsOwnListener(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	at := n.pasv()
	if at.Addr().String() != "127.0.0.1" || at.Port() == token {
		t.Errorf("told %v, want a port of the bastion's own on the address that the client came to", at)
	}
	e := r.audit.wait(t, "ftp.announced")
	if e["address"] != at.String() || e["named"] != "10.9.8.7" {
		t.Errorf("audit: %v", e)
	}
	n.say("RETR f")
	c := dialTCP(t, "127.0.0.1", at.Port())
	nc := r.offered()
	if got, want := openedAt(nc), (forwarded{"127.0.0.1", token, "127.0.0.1", uint32(relay.AddrPort(c.LocalAddr()).Port())}); got != want {
		t.Errorf("the channel is for %+v, want %+v", got, want)
	}
	s := tunnelled(nc)
	io.WriteString(s, "data")
	s.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "data" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	c.CloseWrite()
	if _, err := io.ReadAll(s); err != nil {
		t.Errorf("the end of the other direction: %v", err)
	}
	s.Close()
	r.done <- struct{}{}
	n.want("150")
	n.want("226")
	tr := r.audit.wait(t, "ftp.transfer")
	if tr["bytes"] != 4.0 || tr["direction"] != "download" || tr["result"] != "complete" {
		t.Errorf("audit: %v", tr)
	}
	if e := r.audit.wait(t, "ftp.consumed"); e["address"] != at.String() || e["request"] != tr["request"] {
		t.Errorf("audit: %v", e)
	}
	if e := r.audit.waitFor(t, "channel.closed", fmt.Sprint(tr["request"])); e["up"] != 4.0 || e["result"] != "clean" {
		t.Errorf("audit: %v", e)
	}
	if _, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a second connection: %v, want it refused", err)
	}
}

func TestRemoteFTPUploadIsCountedTheOtherWay(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	at := n.pasv()
	n.say("STOR f")
	c := dialTCP(t, "127.0.0.1", at.Port())
	s := tunnelled(r.offered())
	io.WriteString(c, "upload")
	c.CloseWrite()
	if got, err := io.ReadAll(s); string(got) != "upload" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	s.CloseWrite()
	s.Close()
	r.done <- struct{}{}
	if e := r.audit.wait(t, "ftp.transfer"); e["bytes"] != 6.0 || e["direction"] != "upload" || e["result"] != "complete" {
		t.Errorf("audit: %v", e)
	}
}

func TestRemoteFTPDataThatIsCutIsReset(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	at := n.pasv()
	n.say("RETR f")
	c := dialTCP(t, "127.0.0.1", at.Port())
	s := tunnelled(r.offered())
	io.WriteString(s, "half")
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	s.Abort()
	mustReset(t, c)
	r.done <- struct{}{}
	if e := r.audit.wait(t, "ftp.transfer"); e["result"] != "aborted" {
		t.Errorf("audit: %v", e)
	}
}

func TestRemoteFTPDataIsTheClientsAlone(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	at := n.pasv()
	thief, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", at.String())
	if err == nil {
		defer thief.Close()
		_, err = io.Copy(io.Discard, thief)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the thief's connection ended with %v, want a reset", err)
	}
	if e := r.audit.wait(t, "ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "127.0.0.2") {
		t.Errorf("audit: %v", e)
	}
	c := dialTCP(t, "127.0.0.1", at.Port())
	s := tunnelled(r.offered())
	s.Abort()
	mustReset(t, c)
}

func TestRemoteFTPEndpointsEnd(t *testing.T) {
	for name, end := range map[string]func(*remoteFTP, *nearby){
		"the client asks for a new endpoint": func(_ *remoteFTP, n *nearby) { n.pasv() },
		"control connection ended":           func(_ *remoteFTP, n *nearby) { n.Close() },
		"SSH connection closed":              func(r *remoteFTP, _ *nearby) { r.client.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteFTP(t, nil)
			n := r.login()
			at := n.pasv()
			end(r, n)
			if e := r.audit.wait(t, "ftp.expired"); e["address"] != at.String() || !strings.Contains(fmt.Sprint(e["reason"]), name) && name != "SSH connection closed" {
				t.Errorf("audit: %v", e)
			}
			if _, err := net.Dial("tcp", at.String()); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial: %v, want it refused", err)
			}
		})
	}
}

func TestRemoteFTPEndpointExpires(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) { p.FTPDataTimeout.Value = 50 * time.Millisecond })
	n := r.login()
	n.pasv()
	if e := r.audit.wait(t, "ftp.expired"); e["reason"] != "nobody came in FTPDataTimeout" {
		t.Errorf("audit: %v", e)
	}
}

func TestRemoteFTPDataPorts(t *testing.T) {
	port := peers.TestPort(t)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	r := newRemoteFTP(t, func(p *policy.Rules) {
		p.FTPDataPorts = &policy.Line[[]policy.PortRange]{Value: []policy.PortRange{{First: port, Last: port}}}
	})
	n := r.login()
	n.say("PASV")
	n.want("425") // somebody has it
	l.Close()
	if at := n.pasv(); at.Port() != port {
		t.Errorf("told %v, want port %d, which is the only one permitted", at, port)
	}
}

func TestRemoteFTPIsRefused(t *testing.T) {
	b := newRemoteBastion(t, nil)
	if port := b.listenFTP("127.0.0.1", 0); port != 0 {
		t.Error("granted to a client that doesn't know the end of data")
	}
	if e := b.audit.event("listen.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "end-of-data@culvert") || e["target"] != "ftp/127.0.0.1:0" {
		t.Errorf("audit: %v", e)
	}
	if !b.endOfData() {
		t.Fatal("end-of-data@culvert was refused")
	}
	if port := b.forward("127.0.0.1", 0); port != 0 {
		t.Error("a word with ftp/ permitted a tcpip-forward")
	}
	b = newRemoteBastion(t, func(p *policy.Rules) { p.PermitListen = listenLine(t, "*") })
	if !b.endOfData() {
		t.Fatal("end-of-data@culvert was refused")
	}
	if port := b.listenFTP("127.0.0.1", 0); port != 0 {
		t.Error("a word without ftp/ permitted an ftp-forward")
	}
	if e := b.audit.event("listen.refused"); e["rule"] != "sshd_config:9" {
		t.Errorf("audit: %v", e)
	}
}

func TestRemoteFTPIsCancelled(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	if !r.cancel("127.0.0.1", r.port) {
		t.Fatal("cancel-tcpip-forward was refused")
	}
	if _, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v, want it refused", err)
	}
	n.pasv() // what was accepted goes on
}

func TestRemoteFTPAccess(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) {
		p.FTPAccess = &policy.Line[policy.Access]{Source: "sshd_config:8", Value: policy.ReadOnly}
	})
	n := r.login()
	n.say("DELE f")
	n.want("550")
	n.say("SIZE f")
	n.want("200")
}

func TestRemoteFTPActiveClient(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) { p.FTPActive = &policy.Line[policy.Active]{Value: policy.ActiveYes} })
	n := r.login()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := relay.AddrPort(ln.Addr()).Port()
	n.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	nc := r.offered() // before the transfer: the server may wait for it
	if at := openedAt(nc); at.Port != token {
		t.Errorf("the channel is for port %d, want %d", at.Port, token)
	}
	s := tunnelled(nc)
	n.want("200")
	n.say("RETR f")
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if from := relay.AddrPort(c.RemoteAddr()).Addr().String(); from != "127.0.0.1" {
		t.Errorf("connected from %s, want the address that the client knows", from)
	}
	io.WriteString(s, "active")
	s.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "active" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	c.Close()
	if _, err := io.ReadAll(s); err != nil {
		t.Errorf("the end of the other direction: %v", err)
	}
	s.Close()
	r.done <- struct{}{}
	n.want("150")
	n.want("226")
	if e := r.audit.wait(t, "ftp.transfer"); e["bytes"] != 6.0 || e["direction"] != "download" || e["result"] != "complete" {
		t.Errorf("audit: %v", e)
	}

	n.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	s = tunnelled(r.offered())
	n.want("200")
	n.say("PASV") // withdraws it
	n.want("227")
	if _, err := io.ReadAll(s); !errors.Is(err, relay.ErrAborted) {
		t.Errorf("the channel of what was withdrawn ended with %v, want an abort", err)
	}
}

func TestRemoteFTPActiveClientIsRefusedByDenyOpen(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) {
		p.FTPActive = &policy.Line[policy.Active]{Value: policy.ActiveYes}
		p.DenyOpen = permit(t, "", "127.0.0.0/8:*").Global.DenyOpen
	})
	n := r.login()
	n.say("PORT 127,0,0,1,200,10")
	n.want("502")
	if e := r.audit.wait(t, "ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "not permitted: DenyOpen 127.0.0.0/8:* (sshd_config:2)") {
		t.Errorf("audit: %v", e)
	}
}

// A client that has come through the bastion is of the same user as what the bastion listens to for others.
func TestRemoteFTPActiveClientIsNoWayToWhatSSHClientsListenTo(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) { p.FTPActive = &policy.Line[policy.Active]{Value: policy.ActiveYes} })
	port := r.listenFTP("127.0.0.1", 0)
	n := r.login()
	n.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	n.want("502")
	if e := r.audit.wait(t, "ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "listens there itself") {
		t.Errorf("audit: %v", e)
	}
	if e := r.audit.event("ftp.announced"); e != nil {
		t.Errorf("audit: %v", e)
	}
	if !r.cancel("127.0.0.1", port) {
		t.Fatal("not cancelled")
	}
	n.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	tunnelled(r.offered())
	n.want("200")
}

func TestRemoteFTPActiveClientIsRefusedByDefault(t *testing.T) {
	r := newRemoteFTP(t, nil)
	n := r.login()
	n.say("PORT 127,0,0,1,200,10")
	n.want("502")
}

func TestRemoteFTPFollowsThePolicy(t *testing.T) {
	readOnly := &policy.Line[policy.Access]{Source: "sshd_config:8", Value: policy.ReadOnly}
	for name, test := range map[string]struct {
		change   func(*policy.Rules)
		control  bool // ends
		listener bool // for control connections ends
		data     bool // connections and endpoints end
	}{
		"the forwarding": {change: func(p *policy.Rules) { p.PermitListen = listenLine(t, "8080") }, control: true, listener: true, data: true},
		"FTPAccess":      {change: func(p *policy.Rules) { p.FTPAccess = readOnly }, control: true, data: true},
		"FTPDataPorts": {change: func(p *policy.Rules) {
			p.FTPDataPorts = &policy.Line[[]policy.PortRange]{Value: []policy.PortRange{{First: 1, Last: 1}}}
		}, data: true},
		"nothing of it at all": {change: func(p *policy.Rules) { p.GatewayPorts = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRemoteFTP(t, nil)
			n := r.login()
			n.pasv()
			c := dialTCP(t, "127.0.0.1", r.audited("ftp.announced").Port())
			s := tunnelled(r.offered())
			io.WriteString(s, "x")
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			at := n.pasv() // a second one that nobody has come to

			p := *r.policy.Load()
			test.change(&p.Global)
			r.change(&p)
			_, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
			if refused := errors.Is(err, syscall.ECONNREFUSED); refused != test.listener {
				t.Errorf("a new control connection: %v", err)
			}
			if test.data {
				mustReset(t, c)
				r.audit.wait(t, "ftp.expired")
			} else {
				io.WriteString(s, "y")
				if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
					t.Errorf("data: %v", err)
				}
			}
			if _, err := net.Dial("tcp", at.String()); (err != nil) != test.data {
				t.Errorf("the endpoint that was announced: %v", err)
			}
			if test.control {
				mustReset(t, n.TCPConn)
			} else {
				n.say("NOOP")
				n.want("200")
			}
			s.Abort()
		})
	}
}

// audited is the address of the last event of a name.
func (r *remoteFTP) audited(name string) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprint(r.audit.event(name)["address"]))
}

func TestRemoteFTPActiveClientThatIsNotThere(t *testing.T) {
	r := newRemoteFTP(t, func(p *policy.Rules) { p.FTPActive = &policy.Line[policy.Active]{Value: policy.ActiveYes} })
	n := r.login()
	port := peers.TestPort(t)
	n.say(fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255))
	s := tunnelled(r.offered())
	n.want("200")
	n.say("RETR f")
	n.want("150")
	if _, err := io.ReadAll(s); !errors.Is(err, relay.ErrAborted) {
		t.Errorf("the server's channel ended with %v, want an abort", err)
	}
	r.done <- struct{}{} // the server has not noticed, and says 226
	n.want("426")
	if e := r.audit.wait(t, "ftp.transfer"); e["result"] != "aborted" {
		t.Errorf("audit: %v", e)
	}
}
