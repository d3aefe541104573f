package channels_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// tlsServer is an FTP server that speaks TLS, as well as the test lets it.
type tlsServer struct {
	t    *testing.T
	at   netip.AddrPort
	data netip.AddrPort
	conf *tls.Config // of the control connection
	own  *tls.Config // of data connections

	implicit bool
	active   bool   // it has no passive mode
	auth     string // the answer to AUTH, and whatever is sent with it
	end      func(c *tls.Conn)
	got      chan upload
}

// upload is what came on a data connection, and how it ended.
type upload struct {
	text string
	err  error
}

const theFile = "what the file says"

// newTLSServer starts one with a certificate for names.
func newTLSServer(t *testing.T, ca *peers.CA, names []string, change func(s *tlsServer)) *tlsServer {
	t.Helper()
	pair := func(names []string) *tls.Config {
		id := ca.TestIdentity(t, peers.Certificate{Names: names})
		cert, err := tls.LoadX509KeyPair(id.Path, id.Path)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	s := &tlsServer{
		t: t, conf: pair(names), auth: "234 go ahead\r\n", got: make(chan upload, 1),
		end: func(c *tls.Conn) { c.CloseWrite(); io.Copy(io.Discard, c) },
	}
	s.own = s.conf
	if change != nil {
		change(s)
	}
	s.data = serveTCP(t, "127.0.0.1:0", s.serveData)
	s.at = serveTCP(t, "127.0.0.1:0", s.serve)
	return s
}

func (s *tlsServer) serve(c *net.TCPConn) {
	var conn net.Conn = c
	if s.implicit {
		conn = tls.Server(c, s.conf)
	}
	fmt.Fprint(conn, "220 hello\r\n")
	var client netip.AddrPort // that said PORT
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch verb, arg, _ := strings.Cut(lines.Text(), " "); verb {
		case "PORT":
			client = addressOf(arg)
			fmt.Fprint(conn, "200 ok\r\n")
		case "AUTH":
			fmt.Fprint(conn, s.auth)
			if strings.HasPrefix(s.auth, "234") {
				conn = tls.Server(c, s.conf)
				lines = bufio.NewScanner(conn)
			}
		case "USER":
			fmt.Fprint(conn, "230 welcome\r\n")
		case "PASV", "EPSV":
			if s.active {
				fmt.Fprint(conn, "502 no\r\n")
				continue
			}
			fmt.Fprint(conn, sextuple(s.data)+"\r\n")
		case "RETR", "STOR":
			fmt.Fprint(conn, "150 go\r\n")
			if client.IsValid() {
				s.connect(client)
			}
			fmt.Fprint(conn, "226 done\r\n")
		default:
			fmt.Fprint(conn, "200 ok\r\n")
		}
	}
}

// connect makes the data connection of active mode, from the control connection's address.
func (s *tlsServer) connect(to netip.AddrPort) {
	c, err := net.Dial("tcp", to.String())
	if err != nil {
		s.t.Error(err)
		return
	}
	defer c.Close()
	s.serveData(c.(*net.TCPConn))
}

// addressOf is the argument of a PORT.
func addressOf(arg string) netip.AddrPort {
	var a [4]byte
	var high, low uint16
	fmt.Sscanf(arg, "%d,%d,%d,%d,%d,%d", &a[0], &a[1], &a[2], &a[3], &high, &low)
	return netip.AddrPortFrom(netip.AddrFrom4(a), high<<8|low)
}

// serveData sends the file, or takes one if there is something to take.
func (s *tlsServer) serveData(c *net.TCPConn) {
	conn := tls.Server(c, s.own)
	if conn.Handshake() != nil {
		return
	}
	if s.end != nil {
		io.WriteString(conn, theFile)
		s.end(conn)
		return
	}
	text, err := io.ReadAll(conn)
	s.got <- upload{string(text), err}
	conn.CloseWrite()
}

// upstreamRules are lines about TLS, from line 10 on.
func upstreamRules(v policy.TLS, pins ...policy.Pin) func(*policy.Policy) {
	return func(p *policy.Policy) {
		r := &p.Global
		r.FTPUpstreamTLS = []policy.Line[policy.Targeted[policy.TLS]]{{Source: "sshd_config:10", Value: policy.Targeted[policy.TLS]{Value: v}}}
		r.FTPUpstreamTLSCAFile = &policy.Line[string]{Source: "sshd_config:11", Value: "/ca"}
		if len(pins) > 0 {
			r.FTPUpstreamTLSPin = []policy.Line[policy.Targeted[[]policy.Pin]]{{Source: "sshd_config:12", Value: policy.Targeted[[]policy.Pin]{Value: pins}}}
			r.FTPUpstreamTLSCAFile = nil
		}
	}
}

// newTLSBastion is one that may speak to s.
func newTLSBastion(t *testing.T, ca *peers.CA, word string, change func(*policy.Policy)) *bastion {
	t.Helper()
	pem, err := os.ReadFile(ca.Path)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ftps.Roots(pem)
	if err != nil {
		t.Fatal(err)
	}
	p := permit(t, word, "")
	change(p)
	b := newBastion(t, p, func(c *channels.Config) {
		c.Authorities = func(file string) *x509.CertPool { return map[string]*x509.CertPool{"/ca": pool}[file] }
	})
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
		t.Fatal(err)
	}
	return b
}

// control opens a control channel, on which the server's first word is to come.
func (b *bastion) control(at netip.AddrPort) *dialogue {
	b.t.Helper()
	d := &dialogue{t: b.t, Channel: b.mustOpen("127.0.0.1", at.Port())}
	d.replies = bufio.NewScanner(d)
	return d
}

// protection waits for how an event says that something is protected.
func (b *bastion) protection(event, want string) {
	b.t.Helper()
	e := b.audit.wait(b.t, event)
	if e["protection"] != want {
		b.t.Errorf("%s says %q, want %q", event, e["protection"], want)
	}
}

// retrieve fetches the file, and returns what came of it and whether it was complete.
func (b *bastion) retrieve(d *dialogue, s *tlsServer) (text string, complete bool) {
	b.t.Helper()
	d.say("USER alice")
	d.want("230 welcome")
	d.say("PASV")
	d.want("227 Entering Passive Mode (127,0,0,1,")
	at := addressOf(strings.TrimSuffix(d.replies.Text()[len("227 Entering Passive Mode ("):], ")"))
	if at != s.data && !s.active {
		b.t.Fatalf("announced is %v, want %v", at, s.data)
	}
	ch, reqs, err := b.client.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}{"127.0.0.1", uint32(at.Port()), "127.0.0.1", 1}))
	if err != nil {
		b.t.Fatal(err)
	}
	d.say("RETR file")
	got, _ := io.ReadAll(ch)
	d.want("150 go")
	d.want("226 done")
	if r := <-reqs; r != nil {
		complete = r.Type == relay.EndOfDataRequest
		go ssh.DiscardRequests(reqs)
	}
	ch.SendRequest(relay.EndOfDataRequest, false, ssh.Marshal(struct{ Bytes uint64 }{0}))
	ch.CloseWrite()
	return string(got), complete
}

func TestUpstreamIsProtected(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, how := range []policy.TLS{policy.TLSPrefer, policy.TLSRequire, policy.TLSImplicit} {
			t.Run(tls.VersionName(version)+" "+how.String(), func(t *testing.T) {
				s := newTLSServer(t, ca, []string{"127.0.0.1"}, func(s *tlsServer) {
					s.conf.MaxVersion, s.implicit = version, how == policy.TLSImplicit
				})
				word, rule := "ftp/"+s.at.String(), "sshd_config:10"
				if s.implicit {
					word, rule = "ftps/"+s.at.String(), "sshd_config:1"
				}
				b := newTLSBastion(t, ca, word, upstreamRules(how%policy.TLSImplicit))
				d := b.control(s.at)
				d.want("220 hello")
				if got, complete := b.retrieve(d, s); got != theFile || !complete {
					t.Errorf("got %q, complete %v; want %q, complete", got, complete, theFile)
				}
				b.protection("ftp.protection", tls.VersionName(version)+", verified")
				b.protection("ftp.transfer", tls.VersionName(version)+", verified")
				if e := b.audit.event("ftp.protection"); e["rule"] != rule {
					t.Errorf("got rule %v, want %s", e["rule"], rule)
				}
				if e := b.audit.event("ftp.transfer"); e["result"] != "complete" || e["bytes"] != float64(len(theFile)) {
					t.Errorf("got %v, want a complete transfer of %d bytes", e, len(theFile))
				}
			})
		}
	}
}

// A server that connects for its data is the server of TLS there as well (RFC 4217, section 7).
func TestProtectedDataOfAServerThatConnects(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newTLSServer(t, ca, []string{"127.0.0.1"}, func(s *tlsServer) { s.conf.MaxVersion, s.active = version, true })
		b := newTLSBastion(t, ca, "ftp/"+s.at.String(), func(p *policy.Policy) { forwards(p); upstreamRules(policy.TLSRequire)(p) })
		d := b.control(s.at)
		d.want("220 hello")
		if got, complete := b.retrieve(d, s); got != theFile || !complete {
			t.Errorf("got %q, complete %v; want %q, complete", got, complete, theFile)
		}
		b.protection("ftp.transfer", tls.VersionName(version)+", verified")
	}
}

// A bastion without TLS says so as well.
func TestUpstreamInTheClearIsOnRecord(t *testing.T) {
	s := newStage(t)
	s.b.protection("ftp.protection", "clear")
	server := s.connect()
	s.exchange("RETR /a", "150 go")
	io.WriteString(server, "a file")
	server.Close()
	io.ReadAll(s.data)
	s.complete(0)
	s.reply("226 done")
	s.b.protection("ftp.transfer", "clear")
}

func TestLyingTLSServersAreRefused(t *testing.T) {
	ca, other := peers.TestCA(t, "ca"), peers.TestCA(t, "other")
	here := []string{"127.0.0.1"}
	for _, test := range []struct {
		name   string
		ca     *peers.CA
		names  []string
		change func(*tlsServer)
		says   string // to the client
		record string
	}{
		{"no TLS", ca, here, func(s *tlsServer) { s.auth = "500 what\r\n" }, "421 The FTP server takes no TLS (500): this bastion speaks to it by TLS or not at all", "it is required"},
		{"speaks on", ca, here, func(s *tlsServer) { s.auth += "200 PBSZ=0\r\n" }, "421 The server spoke on in the clear", "12 bytes"},
		{"another name", ca, []string{"ftp.corp"}, nil, "421 the bastion gets no TLS", `not for "127.0.0.1"`},
		{"a name that reads like the address", ca, []string{"127.0.0.1.corp"}, nil, "421 the bastion gets no TLS", `not for "127.0.0.1"`},
		{"another authority", other, here, nil, "421 the bastion gets no TLS", "not in FTPUpstreamTLSCAFile"},
		{"TLS 1.1", ca, here, func(s *tlsServer) { s.conf.MinVersion, s.conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, "421 the bastion gets no TLS", "TLS with the FTP server"},
		{"no TLS after 234", ca, here, func(s *tlsServer) { s.auth = "234 go\r\n"; s.conf = &tls.Config{} }, "421 the bastion gets no TLS", "TLS with the FTP server"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newTLSServer(t, test.ca, test.names, test.change)
			b := newTLSBastion(t, ca, "ftp/"+s.at.String(), upstreamRules(policy.TLSRequire))
			d := b.control(s.at)
			d.want(test.says)
			d.Close() // or the bastion would linger
			if strings.Contains(d.replies.Text(), "corp") || strings.Contains(d.replies.Text(), "CAFile") {
				t.Errorf("the client is told %q, which is the bastion's affair", d.replies.Text())
			}
			b.audit.wait(t, "channel.closed") // nothing comes after it
			refused := b.audit.all("ftp.refused")
			if len(refused) != 1 || !strings.Contains(refused[0]["reason"].(string), test.record) {
				t.Fatalf("got %v, want one refusal that says %q", refused, test.record)
			}
			if strings.Contains(test.says, "the bastion gets no TLS") && refused[0]["rule"] != "sshd_config:10" {
				t.Errorf("got the rule %v, want sshd_config:10", refused[0]["rule"])
			}
			if e := b.audit.event("ftp.protection"); e != nil {
				t.Errorf("got %v, want nothing that is protected", e)
			}
		})
	}
}

func TestImplicitTLSWithServersThatLie(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	for name, change := range map[string]func(*tlsServer){
		"speaks first": nil,
		"another name": func(s *tlsServer) {
			s.implicit = true
			id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
			cert, err := tls.LoadX509KeyPair(id.Path, id.Path)
			if err != nil {
				t.Fatal(err)
			}
			s.conf.Certificates[0] = cert
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTLSServer(t, ca, []string{"127.0.0.1"}, change)
			b := newTLSBastion(t, ca, "ftps/"+s.at.String(), upstreamRules(policy.TLSOff))
			if e := b.mustRefuse("127.0.0.1", s.at.Port(), ssh.ConnectionFailed); e["rule"] != "sshd_config:1" || !strings.Contains(e["reason"].(string), "TLS with the FTP server") {
				t.Errorf("got %v, want a refusal by sshd_config:1 that says why there is no TLS", e)
			}
		})
	}
}

func TestAuthoritiesThatAreNotAtHandAreNobodys(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	s := newTLSServer(t, ca, []string{"127.0.0.1"}, nil)
	b := newTLSBastion(t, ca, "ftp/"+s.at.String(), func(p *policy.Policy) {
		upstreamRules(policy.TLSPrefer)(p)
		p.Global.FTPUpstreamTLSCAFile.Value = "/other"
	})
	if e := b.mustRefuse("127.0.0.1", s.at.Port(), ssh.ConnectionFailed); e["reason"] != `"/other" has not been read` {
		t.Errorf("got %v", e)
	}
}

// A data connection must be the server's as well, and its end must be said inside TLS.
func TestProtectedDataThatIsCutIsAborted(t *testing.T) {
	ca, other := peers.TestCA(t, "ca"), peers.TestCA(t, "other")
	for name, change := range map[string]func(*tlsServer){
		"no close_notify": func(s *tlsServer) { s.end = func(*tls.Conn) {} },
		"another server": func(s *tlsServer) {
			id := other.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
			cert, err := tls.LoadX509KeyPair(id.Path, id.Path)
			if err != nil {
				t.Fatal(err)
			}
			s.own = &tls.Config{Certificates: []tls.Certificate{cert}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTLSServer(t, ca, []string{"127.0.0.1"}, change)
			b := newTLSBastion(t, ca, "ftp/"+s.at.String(), upstreamRules(policy.TLSRequire))
			d := b.control(s.at)
			d.want("220 hello")
			if got, complete := b.retrieve(d, s); complete {
				t.Errorf("got %q, complete; want it aborted", got)
			}
			if e := b.audit.wait(t, "ftp.transfer"); e["result"] != "aborted" {
				t.Errorf("got %v, want an aborted transfer", e)
			}
		})
	}
}

// An upload that is cut short reaches the server as an abort, not as close_notify.
func TestProtectedUploads(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	for _, complete := range []bool{true, false} {
		s := newTLSServer(t, ca, []string{"127.0.0.1"}, func(s *tlsServer) { s.end = nil })
		b := newTLSBastion(t, ca, "ftp/"+s.at.String(), upstreamRules(policy.TLSRequire))
		d := b.control(s.at)
		d.want("220 hello")
		d.say("USER alice")
		d.want("230 welcome")
		d.say("PASV")
		d.want(sextuple(s.data))
		ch := b.mustOpen("127.0.0.1", s.data.Port())
		d.say("STOR file")
		d.want("150 go")
		io.WriteString(ch, theFile)
		if complete {
			ch.SendRequest(relay.EndOfDataRequest, false, ssh.Marshal(struct{ Bytes uint64 }{uint64(len(theFile))}))
		}
		ch.CloseWrite()
		if got := <-s.got; complete != (got.err == nil) || complete && got.text != theFile {
			t.Errorf("complete %v: the server got %q, %v", complete, got.text, got.err)
		}
	}
}
