package channels_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// ftpServer is an FTP server that says what the test has it say: to PASV, what announce returns.
type ftpServer struct {
	at   netip.AddrPort
	data netip.AddrPort // an echo server
	from chan net.Addr  // who connected to data
}

func newFTPServer(t *testing.T, announce func(s *ftpServer) string) *ftpServer {
	t.Helper()
	s := &ftpServer{from: make(chan net.Addr, 8)}
	s.data = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		s.from <- c.RemoteAddr()
		io.Copy(c, c)
	})
	s.at = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		fmt.Fprint(c, "220 hello\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
			case "USER":
				fmt.Fprint(c, "230 welcome\r\n")
			case "PASV", "EPSV":
				fmt.Fprint(c, announce(s)+"\r\n")
			case "RETR":
				fmt.Fprint(c, "550 no such file\r\n")
			case "QUIT":
				fmt.Fprint(c, "221 bye\r\n")
				return
			default:
				fmt.Fprint(c, "200 ok\r\n")
			}
		}
	})
	return s
}

// honest announces the data endpoint as it is.
func honest(s *ftpServer) string { return sextuple(s.data) }

func sextuple(at netip.AddrPort) string {
	a := at.Addr().As4()
	return fmt.Sprintf("227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", a[0], a[1], a[2], a[3], at.Port()>>8, at.Port()&255)
}

// dialogue is a control channel as an FTP client has it.
type dialogue struct {
	t *testing.T
	ssh.Channel
	replies *bufio.Scanner
}

// login opens a control channel and logs in.
func (b *bastion) login(s *ftpServer) *dialogue {
	b.t.Helper()
	d := &dialogue{t: b.t, Channel: b.mustOpen("127.0.0.1", s.at.Port())}
	d.replies = bufio.NewScanner(d)
	d.want("220 hello")
	d.say("USER alice")
	d.want("230 welcome")
	return d
}

func (d *dialogue) say(command string) {
	d.t.Helper()
	if _, err := io.WriteString(d, command+"\r\n"); err != nil {
		d.t.Fatalf("%s: %v", command, err)
	}
}

func (d *dialogue) want(start string) {
	d.t.Helper()
	if !d.replies.Scan() || !strings.HasPrefix(d.replies.Text(), start) {
		d.t.Fatalf("reply %q (%v), want %q", d.replies.Text(), d.replies.Err(), start)
	}
}

func newFTPBastion(t *testing.T, s *ftpServer, change func(*policy.Policy)) *bastion {
	t.Helper()
	p := permit(t, "ftp/"+s.at.String(), "")
	if change != nil {
		change(p)
	}
	return newBastion(t, p, nil)
}

func TestAnnouncedEndpointOpensOnce(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, nil)
	b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited) // not announced yet
	d := b.login(s)
	d.say("PASV")
	d.want(sextuple(s.data))

	b.mustRefuse("127.0.0.1", s.data.Port()^1, ssh.Prohibited) // beside it
	data := b.mustOpen("127.0.0.1", s.data.Port())
	if from, own := (<-s.from).(*net.TCPAddr).IP.String(), "127.0.0.1"; from != own {
		t.Errorf("data came from %s, want the control connection's %s", from, own)
	}
	io.WriteString(data, "echo")
	if _, err := io.ReadFull(data, make([]byte, 4)); err != nil {
		t.Errorf("data: %v", err)
	}
	e := b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited) // again
	if want := s.data.String() + " was announced: used already"; !strings.Contains(fmt.Sprint(e["reason"]), want) {
		t.Errorf("audit of the second use: %v, want %q in the reason", e, want)
	}
	if e := b.audit.event("ftp.announced"); e["reply"] != sextuple(s.data) || e["address"] != s.data.String() {
		t.Errorf("audit: %v", e)
	}
	if e := b.audit.event("ftp.consumed"); e["address"] != s.data.String() {
		t.Errorf("audit: %v", e)
	}
	if e := b.audit.event("channel.opened"); e["ftp"] != "data" || e["rule"] != "sshd_config:1" {
		t.Errorf("audit: %v", e)
	}
	data.Close()
}

func TestAnnouncementAuthorisesNoOtherConnection(t *testing.T) {
	s := newFTPServer(t, honest)
	b, other := newFTPBastion(t, s, nil), newFTPBastion(t, s, nil)
	d := b.login(s)
	other.login(s)
	d.say("PASV")
	d.want("227 ")
	other.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
	b.mustOpen("127.0.0.1", s.data.Port())
}

func TestAnnouncementEndsWithItsControlChannel(t *testing.T) {
	for name, end := range map[string]func(d *dialogue){
		"QUIT":  func(d *dialogue) { d.say("QUIT"); d.want("221 ") },
		"close": func(d *dialogue) { d.Close() },
		"REIN":  func(d *dialogue) { d.say("REIN"); d.want("200 ") },
		"550":   func(d *dialogue) { d.say("RETR x"); d.want("550 ") },
		"PASV":  func(d *dialogue) { d.say("PASV"); d.want("500 ") },
	} {
		t.Run(name, func(t *testing.T) {
			announced := false
			s := newFTPServer(t, func(s *ftpServer) string {
				if announced {
					return "227 nonsense"
				}
				announced = true
				return honest(s)
			})
			b := newFTPBastion(t, s, nil)
			d := b.login(s)
			d.say("PASV")
			d.want("227 ")
			end(d)
			b.audit.wait(t, "ftp.expired")
			b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
		})
	}
}

func TestFTPControlChannelsAreBounded(t *testing.T) {
	s := newFTPServer(t, honest)
	p := permit(t, "ftp/"+s.at.String(), "")
	b := newBastion(t, p, func(c *channels.Config) { c.MaxChannels = 100 })
	first := b.login(s)
	for range 63 {
		b.login(s)
	}
	e := b.mustRefuse("127.0.0.1", s.at.Port(), ssh.ResourceShortage)
	if want := "64 FTP control channels are open"; e["reason"] != want {
		t.Errorf("audit: %v, want the reason %q", e, want)
	}
	first.say("QUIT")
	first.want("221 ")
	for deadline := time.Now().Add(10 * time.Second); ; { // its place is free once it has ended
		ch, err := b.open("127.0.0.1", s.at.Port())
		if err == nil {
			ch.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no place became free: %v", err)
		}
	}
}

func TestForeignAddressIsNotBelieved(t *testing.T) {
	s := newFTPServer(t, func(s *ftpServer) string {
		return sextuple(netip.AddrPortFrom(netip.MustParseAddr("10.1.60.99"), s.data.Port()))
	})
	b := newFTPBastion(t, s, nil)
	d := b.login(s)
	d.say("PASV")
	d.want(sextuple(s.data))
	b.mustRefuse("10.1.60.99", s.data.Port(), ssh.Prohibited)
	b.mustOpen("127.0.0.1", s.data.Port())
	if e := b.audit.event("ftp.announced"); e["named"] != "10.1.60.99" || e["address"] != s.data.String() {
		t.Errorf("audit: %v", e)
	}
}

func TestListedForeignAddressIsDialled(t *testing.T) {
	elsewhere := echo(t, "127.0.0.2:0")
	s := newFTPServer(t, func(*ftpServer) string { return sextuple(elsewhere) })
	b := newFTPBastion(t, s, func(p *policy.Policy) {
		p.Global.FTPDataAddress = &policy.Line[[]netip.Prefix]{Value: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}}
	})
	d := b.login(s)
	d.say("PASV")
	d.want(sextuple(elsewhere))
	b.mustOpen("127.0.0.2", elsewhere.Port())
}

func TestDenyOpenAndFTPDataPortsHoldForDataToo(t *testing.T) {
	for name, change := range map[string]func(s *ftpServer, p *policy.Policy){
		"DenyOpen": func(s *ftpServer, p *policy.Policy) {
			w, err := policy.ParseOpenPattern(fmt.Sprintf("127.0.0.0/8:%d", s.data.Port()))
			if err != nil {
				t.Fatal(err)
			}
			p.Global.DenyOpen[0].Value = append(p.Global.DenyOpen[0].Value, w)
		},
		"FTPDataPorts": func(s *ftpServer, p *policy.Policy) {
			p.Global.FTPDataPorts = &policy.Line[[]policy.PortRange]{
				Source: "sshd_config:2", Value: []policy.PortRange{{First: s.data.Port() ^ 1, Last: s.data.Port() ^ 1}},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFTPServer(t, honest)
			b := newFTPBastion(t, s, func(p *policy.Policy) { change(s, p) })
			d := b.login(s)
			d.say("PASV")
			d.want("425 ")
			b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
			if e := b.audit.event("ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "sshd_config:2") {
				t.Errorf("audit: %v", e)
			}
		})
	}
}

func TestPlainPermissionBringsNoDataChannels(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newBastion(t, permit(t, s.at.String(), ""), nil)
	d := b.login(s)
	d.say("PASV")
	d.want("227 ") // passes as it is: nobody reads this channel
	b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
}

func TestRefusedCommandHasANumberThatIsOnRecord(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, func(p *policy.Policy) {
		denied, err := policy.ParsePathPattern("/secret")
		if err != nil {
			t.Fatal(err)
		}
		p.Global.FTPAccess = &policy.Line[policy.Access]{Source: "sshd_config:7", Value: policy.ReadOnly}
		p.Global.FTPDeny = []policy.Line[[]policy.PathPattern]{{Source: "sshd_config:8", Value: []policy.PathPattern{denied}}}
	})
	d := b.login(s) // to PWD, this server says 200, so nobody knows where it is
	for i, tt := range []struct{ command, resolved, rule, reason string }{
		{"DELE /pub/x", "<nil>", "sshd_config:7", "FTPAccess is against it"},
		{"SIZE /pub/./x", "", "", ""},
		{"SIZE /./Secret//x", "/Secret/x", "sshd_config:8", "FTPDeny /secret"},
		{"SIZE x", "<nil>", "<nil>", "the path is relative, and the working directory isn't known"},
	} {
		d.say(tt.command)
		if tt.reason == "" {
			d.want("200 ok")
			continue
		}
		d.want("550 Permission denied here, number c1-1.")
		_, number, _ := strings.Cut(d.replies.Text(), "number ")
		e := b.audit.event("ftp.command") // it is on record before it is said
		got := fmt.Sprint(e["number"], " ", e["resolved"], " ", e["rule"], " ", e["reason"], " ", e["by"])
		if want := number + " " + tt.resolved + " " + tt.rule + " " + tt.reason + " bastion"; got != want {
			t.Errorf("%d: %s is on record as %s, want %s", i, tt.command, got, want)
		}
	}
}

func TestExplainFTPAgreesWithTheControlChannel(t *testing.T) {
	denied, err := policy.ParsePathPattern("/secret")
	if err != nil {
		t.Fatal(err)
	}
	rules := &policy.FTP{Access: policy.ReadOnly, AccessRule: "f:1", Deny: []policy.Line[[]policy.PathPattern]{{Source: "f:2", Value: []policy.PathPattern{denied}}}}
	for _, tt := range []struct{ command, want string }{
		{"RETR /secret/x", "FTPDeny /secret f:2"},
		{"retr /pub/x", ""},
		{"RETR x", "the path is relative, and the working directory isn't known "},
		{"STOR /pub/x", "FTPAccess is against it f:1"},
		{"NOOP", ""},
		{" NOOP", "500 Syntax error, no command there "},
		{"", "500 Syntax error, no command there "},
	} {
		_, d := channels.ExplainFTP(rules, tt.command)
		got := ""
		if d != nil {
			got = d.Reason + " " + d.Rule
		}
		if got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.command, got, tt.want)
		}
	}
}

func TestKeyThatPermitsNoFTPIsReadAllTheSame(t *testing.T) {
	s := newFTPServer(t, honest)
	p := permit(t, "ftp/"+s.at.String(), "")
	p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ReadOnly}
	key := permit(t, s.at.String()+" ftp/other.corp:21", "").Global.PermitOpen.Value
	b := newBastion(t, p, func(c *channels.Config) {
		withKey(c, &policy.KeyRules{Source: "keys/alice:1", PermitOpen: key})
	})
	d := b.login(s)
	d.say("DELE f")
	d.want("550 ")
	d.say("PASV")
	d.want("425 ")
	b.mustRefuse("127.0.0.1", s.data.Port(), ssh.Prohibited)
}

func TestResetOfAnUploadReachesTheServerAsReset(t *testing.T) {
	ended := make(chan error, 1)
	data := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	s := newFTPServer(t, func(*ftpServer) string { return sextuple(data) })
	b := newFTPBastion(t, s, nil)
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
		t.Fatal(err)
	}
	d := b.login(s)
	d.say("PASV")
	d.want("227 ")
	ch := b.mustOpen("127.0.0.1", data.Port())
	io.WriteString(ch, "half a file")
	ch.CloseWrite() // without the word
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server read %v, want a reset", err)
	}
	if e := b.audit.wait(t, "channel.closed"); e["result"] != "aborted" || e["up"] != 11.0 || e["down"] != 0.0 {
		t.Errorf("audit: %v", e)
	}
}

func TestRefusedDataDialMayBeTriedOnceMore(t *testing.T) {
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), peers.TestPort(t))
	s := newFTPServer(t, func(*ftpServer) string { return sextuple(at) })
	b := newFTPBastion(t, s, nil)
	d := b.login(s)
	d.say("PASV")
	d.want("227 ")
	b.mustRefuse("127.0.0.1", at.Port(), ssh.ConnectionFailed)
	b.mustRefuse("127.0.0.1", at.Port(), ssh.ConnectionFailed)
	b.mustRefuse("127.0.0.1", at.Port(), ssh.Prohibited)
}

func TestFTPLoginIsOnRecord(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, nil)
	b.login(s)
	if e := b.audit.event("ftp.login"); e["login"] != "alice" {
		t.Errorf("audit: %v", e)
	}
}

// What a server announces is opened unread, and so it isn't a second control connection.
func TestControlPortIsNoDataPort(t *testing.T) {
	for name, word := range map[string]string{"named alone": "ftp/%v", "among others": "ftp/127.0.0.1:*"} {
		t.Run(name, func(t *testing.T) {
			s := newFTPServer(t, honest)
			if strings.Contains(word, "%") {
				word = fmt.Sprintf(word, s.at)
			}
			s.data = s.at
			b := newFTPBastion(t, s, func(p *policy.Policy) { *p = *permit(t, word, "") })
			d := b.login(s)
			d.say("PASV")
			d.want("425 ")
			b.login(s).say("NOOP") // it is read
		})
	}
}
