package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// lies is what an FTP server says that has been asked for a data connection after a login.
var lies = []struct {
	name string
	tell func(c *net.TCPConn, third *net.TCPListener)

	want   string // how the client's reply to PASV begins; if empty, there is none, and the connection is reset
	usable bool   // the session is usable afterwards
}{
	{"another machine", func(c *net.TCPConn, third *net.TCPListener) {
		at := addrPort(third)
		say(c, fmt.Sprintf("227 Entering Passive Mode (127,0,0,9,%d,%d)", at.Port()>>8, at.Port()&0xff))
	}, "425 ", true},
	{"a mail server", func(c *net.TCPConn, _ *net.TCPListener) { say(c, "227 (127,0,0,1,0,25)") }, "500 ", true},
	{"two endpoints", func(c *net.TCPConn, _ *net.TCPListener) { say(c, "227 (127,0,0,1,200,1) (127,0,0,1,200,2)") }, "500 ", true},
	{"a reply that is not about it", func(c *net.TCPConn, _ *net.TCPListener) { say(c, "250 fine") }, "500 ", true},
	{"a hundred thousand replies that nobody asked for", func(c *net.TCPConn, _ *net.TCPListener) {
		say(c, "500 no\r\n"+strings.Repeat("250 fine\r\n", 100_000)+"226 done")
	}, "500 no", false}, // what is asked next may cross one of them

	{"announcements without an end", func(c *net.TCPConn, _ *net.TCPListener) {
		say(c, "500 no\r\n"+strings.Repeat("227 (127,0,0,1,200,1)\r\n", 1000))
	}, "500 no", false},
	{"a line without an end", func(c *net.TCPConn, _ *net.TCPListener) { say(c, "227 "+strings.Repeat("(", 1<<20)) }, "500 Line too long", false},
	{"a reply without an end", func(c *net.TCPConn, _ *net.TCPListener) { say(c, "227-"+strings.Repeat("\r\n", 1<<20)) }, "500 Reply too long", false},
	{"half a reply, and a reset", func(c *net.TCPConn, _ *net.TCPListener) {
		_, _ = io.WriteString(c, "227 Entering Pass")
		reset(c)
	}, "", false},
}

// TestLyingServerOpensNothing has culvert and both bastions ask a server that lies. The third machine that it names is connected to by nobody.
func TestLyingServerOpensNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []path{culvertCulvertd, culvertSSHD} {
		t.Run(string(p), func(t *testing.T) {
			third, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)})
			if err != nil {
				t.Fatal(err)
			}
			defer third.Close()
			server := newLiar(t, third)
			tun := p.open(t, &server.FTP, nil, nil)
			for i, lie := range lies {
				server.next <- i
				d := login(t, dial(t, tun.target.Addr), &server.FTP)
				if err := d.PrintfLine("PASV"); err != nil {
					t.Fatal(err)
				}
				switch line, err := d.ReadLine(); {
				case lie.want == "" && (errors.Is(err, syscall.ECONNRESET) || p == culvertSSHD && errors.Is(err, io.EOF)):
				case err != nil || lie.want == "" || !strings.HasPrefix(line, lie.want):
					t.Errorf("%s: PASV: got %q, %v; want %q", lie.name, line, err, lie.want)
				}
				if lie.usable {
					d.command(200, "NOOP")
				}
				d.Close()
			}
			if err := third.SetDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if c, err := third.AcceptTCP(); err == nil {
				t.Errorf("%v connected to the third machine", c.RemoteAddr())
			}
		})
	}
}

// A liar is an FTP server that tells one of the lies on each control connection.
type liar struct {
	peers.FTP
	next chan int // which lie
}

func newLiar(t *testing.T, third *net.TCPListener) *liar {
	t.Helper()
	l := listenLoopback(t)
	s := &liar{FTP: peers.FTP{Addr: addrPort(l), User: "anybody", Password: "anything"}, next: make(chan int, 1)}
	go func() { // ends with the listener, which the test closes
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go s.serve(c, <-s.next, third)
		}
	}()
	return s
}

func (s *liar) serve(c *net.TCPConn, lie int, third *net.TCPListener) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection
	say(c, "220 trust me")
	for in := bufio.NewScanner(c); in.Scan(); {
		switch verb, _, _ := strings.Cut(in.Text(), " "); verb {
		case "USER":
			say(c, "331 Go on")
		case "PASS":
			say(c, "230 Come in")
		case "PASV":
			lies[lie].tell(c, third)
		default:
			say(c, "200 Yes")
		}
	}
}
