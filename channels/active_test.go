package channels_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// activeStage is a stage whose server connects for its data.
type activeStage struct {
	*stage
	offers <-chan ssh.NewChannel
}

func newActiveStage(t *testing.T, change ...func(*policy.Policy)) *activeStage {
	t.Helper()
	s := newStageWith(t, func(p *policy.Policy) {
		forwards(p)
		for _, c := range change {
			c(p)
		}
	})
	return &activeStage{s, s.b.takeOffers()}
}

func forwards(p *policy.Policy) {
	p.Global.FTPActive = &policy.Line[policy.Active]{Source: "sshd_config:3", Value: policy.ActiveForward}
}

// port has the client say where it waits, and returns where the server is told to connect to.
func (s *activeStage) port() netip.AddrPort {
	s.t.Helper()
	s.say("PORT 192,0,2,7,200,10")
	at := s.told()
	fmt.Fprint(s.server, "200 ok\r\n")
	s.want("200 PORT command successful")
	return at
}

// pasv has the client ask for passive mode, and returns what it and the server are told.
func (s *activeStage) pasv() (client, server netip.AddrPort) {
	s.t.Helper()
	s.ask("PASV")
	fmt.Fprint(s.server, "502 no\r\n")
	server = s.told()
	fmt.Fprint(s.server, "200 ok\r\n")
	s.want("227 ")
	return s.address(s.replies.Text()[len("227 Entering Passive Mode ("):], ")"), server
}

// told is the address of the PORT that the server hears.
func (s *activeStage) told() netip.AddrPort {
	s.t.Helper()
	if !s.heard.Scan() || !strings.HasPrefix(s.heard.Text(), "PORT ") {
		s.t.Fatalf("the server heard %q, want a PORT", s.heard.Text())
	}
	return s.address(s.heard.Text()[len("PORT "):], "")
}

func (s *activeStage) address(text, end string) netip.AddrPort {
	s.t.Helper()
	var a [4]byte
	var high, low uint16
	if _, err := fmt.Sscanf(text, "%d,%d,%d,%d,%d,%d"+end, &a[0], &a[1], &a[2], &a[3], &high, &low); err != nil {
		s.t.Fatalf("%q: %v", text, err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(a), high<<8|low)
}

// connectFrom connects to the bastion's listener.
func (s *activeStage) connectFrom(local string, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}, Timeout: 10 * time.Second}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn), nil
}

func (s *activeStage) mustConnect(to netip.AddrPort) *net.TCPConn {
	s.t.Helper()
	c, err := s.connectFrom("127.0.0.1", to)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// noListener waits until nobody listens there any more.
func (s *activeStage) noListener(at netip.AddrPort) {
	s.t.Helper()
	e := s.b.audit.wait(s.t, "ftp.expired")
	if c, err := s.connectFrom("127.0.0.1", at); err == nil {
		c.Close()
		s.t.Errorf("somebody listens at %v after %v", at, e)
	}
}

func TestServerThatConnectsIsPassedOnToAClientInActiveMode(t *testing.T) {
	s := newActiveStage(t)
	at := s.port()
	if at.Addr().String() != "127.0.0.1" {
		t.Errorf("the server was told %v, want the bastion's end of the control connection", at)
	}
	if e := s.b.audit.wait(t, "ftp.listening"); e["address"] != at.String() || e["server"] != "127.0.0.1" || e["waiting"] != "192.0.2.7:51210" || e["control"] != "c1-1" {
		t.Errorf("audit: %v", e)
	}
	s.ask("RETR f")
	server := s.mustConnect(at)
	nc := <-s.offers
	var open struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &open); err != nil || nc.ChannelType() != "forwarded-tcpip" || open.Host != "192.0.2.7" || open.Port != 51210 ||
		net.JoinHostPort(open.From, fmt.Sprint(open.FPort)) != server.LocalAddr().String() {
		t.Errorf("the client was offered %s %+v, %v", nc.ChannelType(), open, err)
	}
	s.data = accept(t, nc)
	s.reply("150 go")
	s.reply("226 done") // overtakes the data
	s.noTransfer()
	io.WriteString(server, "a file")
	server.CloseWrite()
	if got, err := io.ReadAll(s.data); string(got) != "a file" {
		t.Errorf("the client read %q, %v", got, err)
	}
	s.complete(0)
	wantEnd(t, "the server", server)
	s.transfer(`RETR download "f" 6 bytes complete 226`)

	if e := s.b.audit.wait(t, "ftp.connected"); e["address"] != at.String() || e["from"] != server.LocalAddr().String() {
		t.Errorf("audit: %v", e)
	}
	if e := s.b.audit.wait(t, "ftp.consumed"); e["address"] != at.String() || e["request"] != "c1-2" {
		t.Errorf("audit: %v", e)
	}
	if e := s.b.audit.waitFor(t, "channel.opened", "c1-2"); e["type"] != "forwarded-tcpip" || e["ftp"] != "data" ||
		e["target"] != "192.0.2.7:51210" || e["address"] != server.LocalAddr().String() || e["rule"] != "sshd_config:1" {
		t.Errorf("audit: %v", e)
	}
	if c, err := s.connectFrom("127.0.0.1", at); err == nil {
		t.Errorf("the server could connect twice: %v", c)
	}
	if e := s.b.audit.event("ftp.expired"); e != nil {
		t.Errorf("what was used expired: %v", e)
	}
}

func wantEnd(t *testing.T, who string, c *net.TCPConn) {
	t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%s read %q, %v, want a clean end", who, b, err)
	}
}

func TestServerMayConnectBeforeItAnswersPORT(t *testing.T) {
	s := newActiveStage(t)
	for _, agrees := range []bool{true, false} {
		s.say("PORT 192,0,2,7,200,10")
		server := s.mustConnect(s.told())
		s.b.audit.wait(t, "ftp.connected")
		if !agrees {
			fmt.Fprint(s.server, "500 no\r\n")
			s.want("502 ")
			mustReset(t, server)
			continue
		}
		fmt.Fprint(s.server, "200 ok\r\n")
		s.want("200 ")
		ch := accept(t, <-s.offers)
		io.WriteString(server, "data")
		if _, err := io.ReadFull(ch, make([]byte, 4)); err != nil {
			t.Error(err)
		}
		ch.Close()
	}
}

func TestUploadInActiveMode(t *testing.T) {
	s := newActiveStage(t)
	server := s.mustConnect(s.port())
	s.data = accept(t, <-s.offers)
	s.exchange("STOR f", "150 go")
	io.WriteString(s.data, "hello")
	s.complete(5)
	if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
		t.Errorf("the server read %q, %v", got, err)
	}
	server.Close()
	s.reply("226 done")
	s.transfer(`STOR upload "f" 5 bytes complete 226`)
}

func TestActiveDataThatBreaksIsReset(t *testing.T) {
	s := newActiveStage(t)
	server := s.mustConnect(s.port())
	s.data = accept(t, <-s.offers)
	s.exchange("STOR f", "150 go")
	io.WriteString(s.data, "hel")
	s.data.CloseWrite() // without the word
	mustReset(t, server)
	s.reply("426 broken")
	s.transfer(`STOR upload "f" 3 bytes aborted 426`)

	server = s.mustConnect(s.port())
	nc := <-s.offers
	ch, reqs, err := nc.Accept()
	if err != nil {
		t.Fatal(err)
	}
	words := make(chan string, 1)
	go func() {
		said := "nothing"
		for r := range reqs {
			said = r.Type
		}
		words <- said
	}()
	io.WriteString(server, "half")
	io.ReadFull(ch, make([]byte, 4))
	server.SetLinger(0)
	server.Close()
	io.ReadAll(ch)
	ch.Close()
	if got := <-words; got != "nothing" {
		t.Errorf("after a reset of the server the client heard %s, want nothing", got)
	}
}

func TestClientThatRefusesTheServersConnectionHasItReset(t *testing.T) {
	s := newActiveStage(t)
	at := s.port()
	s.ask("RETR f")
	server := s.mustConnect(at)
	(<-s.offers).Reject(ssh.Prohibited, "no such port")
	mustReset(t, server)
	if e := s.b.audit.waitFor(t, "channel.refused", "c1-2"); e["type"] != "forwarded-tcpip" || !strings.Contains(fmt.Sprint(e["reason"]), "no such port") {
		t.Errorf("audit: %v", e)
	}
	s.reply("425 nobody there")
	s.transfer(`RETR download "f" 0 bytes failed 425`)
}

func TestSuccessIsKeptFromAClientThatRefusesTheServersConnection(t *testing.T) {
	s := newActiveStage(t)
	at := s.port()
	s.ask("RETR f")
	server := s.mustConnect(at)
	io.WriteString(server, "a file")
	server.CloseWrite()
	fmt.Fprint(s.server, "226 that was quick\r\n")
	(<-s.offers).Reject(ssh.ConnectionFailed, "nobody there")
	s.want("426 ")
	s.transfer(`RETR download "f" 0 bytes aborted 426`)
	s.say("RETR f")
	s.want("425 ")
}

func TestActiveModeIsWhatThePolicySays(t *testing.T) {
	set := func(a policy.Active) func(*policy.Policy) {
		return func(p *policy.Policy) { p.Global.FTPActive = &policy.Line[policy.Active]{Value: a} }
	}
	for name, change := range map[string]func(*policy.Policy){
		"nothing": func(*policy.Policy) {}, "no": set(policy.ActiveNo), "yes": set(policy.ActiveYes),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStageWith(t, change)
			s.say("PORT 192,0,2,7,200,10")
			s.want("502 Active mode is not offered here, use passive mode (PASV or EPSV) or connect through culvert")
			s.exchange("PASV", "502 no")
		})
	}
}

func TestClientInActiveModeNeedsCulvert(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, forwards)
	d := b.login(s)
	d.say("PORT 192,0,2,7,200,10")
	d.want("502 ")
	if e := b.audit.wait(t, "ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "the SSH client is not culvert") {
		t.Errorf("audit: %v", e)
	}
	d.say("PASV")
	d.want(sextuple(s.data))
}

func TestIPv6ServerIsToldAnIPv6Address(t *testing.T) {
	heard := make(chan string, 10)
	at := serveTCP(t, "[::1]:0", func(c *net.TCPConn) {
		fmt.Fprint(c, "220 hello\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			heard <- lines.Text()
			fmt.Fprint(c, "230 ok\r\n")
		}
	})
	p := permit(t, "ftp/[::1]:*", "")
	forwards(p)
	b := newBastion(t, p, nil)
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
		t.Fatal(err)
	}
	offers := b.takeOffers()
	ch := b.mustOpen("::1", at.Port())
	d := &dialogue{t: t, Channel: ch, replies: bufio.NewScanner(ch)}
	d.want("220")
	d.say("USER alice")
	d.want("230")
	<-heard
	d.say("PORT 192,0,2,7,200,10") // the client needn't know of IPv6
	line := <-heard
	var port uint16
	if _, err := fmt.Sscanf(line, "EPRT |2|::1|%d|", &port); err != nil {
		t.Fatalf("the server heard %q: %v", line, err)
	}
	d.want("200")
	server := dialTCP(t, "::1", port)
	io.WriteString(server, "data")
	data := accept(t, <-offers)
	if _, err := io.ReadFull(data, make([]byte, 4)); err != nil {
		t.Error(err)
	}
	data.Close()
	d.Close()
}
