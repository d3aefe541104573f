package channels_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// opaqueStage is a bastion that lets client and server speak TLS with each other. The server's side of the control connection is the test's.
type opaqueStage struct {
	*dialogue
	b       *bastion
	word    string         // of PermitOpen
	data    netip.AddrPort // an echo server, in FTPOpaqueTLS
	outside netip.AddrPort // one that isn't
	server  *net.TCPConn
	heard   *bufio.Reader
}

// opaqueRules has FTPOpaqueTLS on line 10.
func opaqueRules(at netip.AddrPort) func(*policy.Policy) {
	return func(p *policy.Policy) {
		p.Global.FTPOpaqueTLS = &policy.Line[[]policy.PortRange]{Source: "sshd_config:10", Value: []policy.PortRange{{First: at.Port(), Last: at.Port()}}}
	}
}

func newOpaqueStage(t *testing.T, deny bool) *opaqueStage {
	t.Helper()
	s := &opaqueStage{data: echo(t, "127.0.0.1:0"), outside: echo(t, "127.0.0.1:0")}
	control := make(chan *net.TCPConn)
	at := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		control <- c
		<-t.Context().Done()
	})
	s.word = "ftp/" + at.String()
	denied := ""
	if deny {
		denied = s.data.String()
	}
	p := permit(t, s.word, denied)
	opaqueRules(s.data)(p)
	s.b = newBastion(t, p, nil)
	ch := s.b.mustOpen("127.0.0.1", at.Port())
	s.server = <-control
	s.heard = bufio.NewReader(s.server)
	s.dialogue = &dialogue{t: t, Channel: ch, replies: bufio.NewScanner(ch)}
	fmt.Fprint(s.server, "220 hello\r\n")
	s.want("220 hello")
	return s
}

// agree goes as far as the server's agreement to TLS.
func (s *opaqueStage) agree() {
	s.t.Helper()
	s.say("AUTH TLS")
	if line, err := s.heard.ReadString('\n'); line != "AUTH TLS\r\n" {
		s.t.Fatalf("the server heard %q, %v", line, err)
	}
	fmt.Fprint(s.server, "234 go ahead\r\n")
	s.want("234 go ahead")
}

// echoes checks that a channel reaches the data port.
func (s *opaqueStage) echoes(host string) ssh.Channel {
	s.t.Helper()
	ch := s.b.mustOpen(host, s.data.Port())
	io.WriteString(ch, "echo")
	if _, err := io.ReadFull(ch, make([]byte, 4)); err != nil {
		s.t.Fatal(err)
	}
	return ch
}

func TestOpaqueControlBringsItsPorts(t *testing.T) {
	s := newOpaqueStage(t, false)
	s.b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
	s.agree()
	// What passes would not, if it were read.
	io.WriteString(s, "\x16\x03\x01PASV\n")
	if got, err := s.heard.ReadString('\n'); got != "\x16\x03\x01PASV\n" {
		t.Errorf("the server hears %q, %v", got, err)
	}
	fmt.Fprint(s.server, "227 Entering Passive Mode (127,0,0,1,4,1)\n\xff\xff\n")
	s.want("227 Entering Passive Mode (127,0,0,1,4,1)")
	s.want("\xff\xff")

	for range 3 {
		s.echoes("127.0.0.1").Close()
	}
	s.b.mustRefuse("127.0.0.1", s.outside.Port(), ssh.Prohibited)
	s.b.mustRefuse("127.0.0.2", s.data.Port(), ssh.Prohibited)
	s.b.mustRefuse("localhost", s.data.Port(), ssh.Prohibited)
	s.b.protection("ftp.protection", "opaque")
	if e := s.b.audit.event("channel.opened"); e["ftp"] != "data" || e["rule"] != "sshd_config:1" {
		t.Errorf("got %v, want an FTP data channel by sshd_config:1", e)
	}
	if e := s.b.audit.event("channel.decided"); e["address"] != s.data.String() || e["result"] != "allowed" {
		t.Errorf("got %v, want a decision about %v", e, s.data)
	}
	s.CloseWrite() // the server may take its time to do the same
	if _, err := s.heard.ReadByte(); err != io.EOF {
		t.Errorf("the server sees %v, want the client's end", err)
	}
	s.b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
}

func TestOpaquePortsAreDeniedByDenyOpen(t *testing.T) {
	s := newOpaqueStage(t, true)
	s.agree()
	if e := s.b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited); e["rule"] != "sshd_config:2" {
		t.Errorf("got %v, want it refused by sshd_config:2", e)
	}
}

func TestServerThatRefusesTLSBringsNoPorts(t *testing.T) {
	s := newOpaqueStage(t, false)
	s.say("AUTH TLS")
	s.heard.ReadString('\n')
	fmt.Fprint(s.server, "502 no\r\n")
	s.want("502 no")
	s.b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
}

func TestAuthIsRefusedWithoutFTPOpaqueTLS(t *testing.T) {
	for name, change := range map[string]func(*policy.Policy){
		"no ports":  func(p *policy.Policy) { p.Global.FTPOpaqueTLS = nil },
		"read-only": func(p *policy.Policy) { p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ReadOnly} },
		"list-only": func(p *policy.Policy) { p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ListOnly} },
	} {
		f := newFTPServer(t, honest)
		b := newFTPBastion(t, f, func(p *policy.Policy) { opaqueRules(f.data)(p); change(p) })
		d := b.login(f)
		d.say("AUTH TLS")
		if d.want("502 AUTH is not offered here"); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestReloadEndsWhatIsOpaque(t *testing.T) {
	for name, change := range map[string]func(*policy.Policy, *opaqueStage){
		"no ports": func(*policy.Policy, *opaqueStage) {},
		"read-only": func(p *policy.Policy, s *opaqueStage) {
			opaqueRules(s.data)(p)
			p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ReadOnly}
		},
		"TLS from here": func(p *policy.Policy, s *opaqueStage) { opaqueRules(s.data)(p); upstreamRules(policy.TLSRequire)(p) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newOpaqueStage(t, false)
			s.agree()
			data := s.echoes("127.0.0.1")
			same := permit(t, s.word, "")
			opaqueRules(s.data)(same)
			s.b.change(same)
			io.WriteString(data, "echo")
			if _, err := io.ReadFull(data, make([]byte, 4)); err != nil {
				t.Fatalf("what is permitted as before has ended: %v", err)
			}
			p := permit(t, s.word, "")
			change(p, s)
			s.b.change(p)
			for what, ch := range map[string]io.Reader{"control": s, "data": data} {
				if n, _ := ch.Read(make([]byte, 1)); n > 0 {
					t.Errorf("the %s channel goes on", what)
				}
			}
		})
	}
}
