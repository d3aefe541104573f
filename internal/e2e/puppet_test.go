package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// puppet is an FTP server that has no files: a test moves the data of each transfer, and says what is replied when. It
// serves where a server has to do at a given moment what a real one can't be made to.
type puppet struct {
	*peers.FTP
	t         *testing.T
	transfers chan *puppetTransfer
	refuse    map[string]bool // verbs answered by 502
	tls       *tls.Config     // for AUTH TLS; nil: it is answered by 502
	agrees    string          // what it says to AUTH TLS, in one segment
	serving   sync.WaitGroup
	done      chan struct{}

	mu       sync.Mutex
	open     []io.Closer
	announce netip.AddrPort // the answer to PASV and EPSV; if it is not valid, a port of its own
}

// puppetTransfer is a transfer that was asked for, and was answered by nothing yet.
type puppetTransfer struct {
	verb    string
	control *net.TCPConn
	voice   net.Conn // control, or TLS in it
	data    *net.TCPConn
	over    chan struct{} // to be closed when the server may read commands again
}

// newPuppet starts a server for the duration of a test.
func newPuppet(t *testing.T, refuse ...string) *puppet {
	t.Helper()
	return newTLSPuppet(t, nil, "", refuse...)
}

// newTLSPuppet is newPuppet with a server that takes TLS, and agrees to it in these words. What there is inside data connections is
// the test's matter.
func newTLSPuppet(t *testing.T, conf *tls.Config, agrees string, refuse ...string) *puppet {
	t.Helper()
	l := listenLoopback(t)
	p := &puppet{
		FTP: &peers.FTP{Addr: addrPort(l), User: "anybody", Password: "anything"}, t: t,
		transfers: make(chan *puppetTransfer), refuse: map[string]bool{}, done: make(chan struct{}),
		tls: conf, agrees: agrees,
	}
	for _, verb := range refuse {
		p.refuse[verb] = true
	}
	p.serving.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			p.keep(c)
			p.serving.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		close(p.done)
		l.Close()
		p.mu.Lock()
		for _, c := range p.open {
			c.Close()
		}
		p.mu.Unlock()
		p.serving.Wait()
	})
	return p
}

func listenLoopback(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func addrPort(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// announces has PASV and EPSV answered by at from now on.
func (p *puppet) announces(at netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announce = at
}

// keep has c closed in the end.
func (p *puppet) keep(c io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, c)
}

// serve is one control connection.
func (p *puppet) serve(tcp *net.TCPConn) {
	defer tcp.Close()
	var c net.Conn = tcp
	say(c, "220 pulled by strings")
	var l *net.TCPListener
	in := bufio.NewScanner(c)
	for in.Scan() {
		verb, _, _ := strings.Cut(strings.ToUpper(in.Text()), " ")
		switch {
		case p.refuse[verb]:
			say(c, "502 Not today")
		case verb == "AUTH" && p.tls != nil:
			say(c, p.agrees)
			c = tls.Server(tcp, p.tls)
			in = bufio.NewScanner(c)
		case verb == "PBSZ" || verb == "PROT":
			say(c, "200 "+verb)
		case verb == "USER":
			say(c, "331 Go on")
		case verb == "PASS":
			say(c, "230 Come in")
		case verb == "TYPE", verb == "NOOP", verb == "CWD":
			say(c, "200 Yes")
		case verb == "PWD":
			say(c, `257 "/" is here`)
		case verb == "EPSV", verb == "PASV":
			p.mu.Lock()
			at := p.announce
			p.mu.Unlock()
			if !at.IsValid() {
				var err error
				if l, err = net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Addr.Addr(), 0))); err != nil {
					say(c, "425 "+err.Error())
					continue
				}
				p.keep(l)
				at = addrPort(l)
			}
			if verb == "EPSV" {
				say(c, fmt.Sprintf("229 (|||%d|)", at.Port()))
			} else {
				say(c, fmt.Sprintf("227 (127,0,0,1,%d,%d)", at.Port()>>8, at.Port()&0xff))
			}
		case verb == "RETR", verb == "STOR":
			if !p.transfer(tcp, c, l, verb) {
				return
			}
		case verb == "QUIT":
			say(c, "221 Goodbye")
			return
		default:
			say(c, "502 A puppet can't")
		}
	}
}

// transfer hands a transfer to the test, and reports whether there is a next command to read.
func (p *puppet) transfer(control *net.TCPConn, c net.Conn, l *net.TCPListener, verb string) bool {
	data, err := l.AcceptTCP()
	if err != nil {
		say(c, "425 "+err.Error())
		return true
	}
	p.keep(data)
	if err := data.SetDeadline(time.Now().Add(patience)); err != nil {
		say(c, "425 "+err.Error())
		return true
	}
	x := &puppetTransfer{verb: verb, control: control, voice: c, data: data, over: make(chan struct{})}
	select {
	case p.transfers <- x:
	case <-p.done:
		return false
	}
	select {
	case <-x.over:
	case <-p.done:
		return false
	}
	return true
}

// next returns the next transfer.
func (p *puppet) next() *puppetTransfer {
	p.t.Helper()
	select {
	case x := <-p.transfers:
		return x
	case <-time.After(patience):
		p.t.Fatalf("no transfer came to the FTP server within %v", patience)
		return nil
	}
}

// say replies. A client that is gone doesn't hear it, which is the test's own matter.
func (x *puppetTransfer) say(reply string) { say(x.voice, reply) }

func say(c net.Conn, reply string) { _, _ = io.WriteString(c, reply+"\r\n") }

// played has play do each transfer that comes, until stop is called.
func (p *puppet) played(play func(x *puppetTransfer)) (stop func()) {
	enough := make(chan struct{})
	var playing sync.WaitGroup
	playing.Go(func() {
		for {
			select {
			case x := <-p.transfers:
				play(x)
				close(x.over)
			case <-enough:
				return
			}
		}
	})
	return func() {
		close(enough)
		playing.Wait()
	}
}

// reset ends a TCP connection as a broken one ends.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails, as Close does, if it is closed already
	_ = c.Close()
}

// connect connects, through the tunnel, to the server's control port, or to a data port that was announced there.
func (tun *tunnel) connect(t *testing.T, port uint16) *net.TCPConn {
	t.Helper()
	to := tun.target.Addr
	if port != 0 {
		to = netip.AddrPortFrom(to.Addr(), port)
	}
	if !tun.target.SOCKS.IsValid() {
		return dial(t, to)
	}
	// RFC 1928: version 5, no authentication; CONNECT to an IPv4 address.
	c := dial(t, tun.target.SOCKS)
	ask := append([]byte{5, 1, 0, 5, 1, 0, 1}, to.Addr().AsSlice()...)
	if _, err := c.Write(binary.BigEndian.AppendUint16(ask, to.Port())); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 2+10)
	if _, err := io.ReadFull(c, answer); err != nil || answer[3] != 0 {
		t.Fatalf("SOCKS to %v: %v, %v", to, answer, err)
	}
	return c
}
