package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoints records what it is asked.
type endpoints struct {
	open   func(ftp.Endpoint) (netip.AddrPort, error) // if nil, 127.0.0.1:40001
	listen func() (netip.AddrPort, error)             // if nil, it fails
	begin  func()                                     // if nil, nothing
	end    func() error                               // if nil, nothing

	mu      sync.Mutex
	cancels []string
}

func (e *endpoints) Open(_ context.Context, ep ftp.Endpoint) (netip.AddrPort, error) {
	if e.open != nil {
		return e.open(ep)
	}
	return netip.MustParseAddrPort("127.0.0.1:40001"), nil
}

func (e *endpoints) Listen(context.Context, ftp.Listen) (netip.AddrPort, error) {
	if e.listen != nil {
		return e.listen()
	}
	return netip.AddrPort{}, errors.New("no")
}

func (e *endpoints) Begin(context.Context) {
	if e.begin != nil {
		e.begin()
	}
}

func (e *endpoints) End(context.Context) error {
	if e.end != nil {
		return e.end()
	}
	return nil
}

func (e *endpoints) Cancel(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancels = append(e.cancels, reason)
}

// session is Run between a client and a server that the test plays.
type session struct {
	t              *testing.T
	client, server *net.TCPConn
	cr, sr         *bufio.Reader
	cancel         context.CancelFunc
	result         chan error
}

func start(t *testing.T, e *endpoints) *session {
	t.Helper()
	return startSession(t, e, newSession())
}

func startSession(t *testing.T, e *endpoints, machine *ftp.Session) *session {
	t.Helper()
	return startTold(t, e, machine, nil)
}

// startTold starts a session whose dialogue goes to tell.
func startTold(t *testing.T, e *endpoints, machine *ftp.Session, tell func(control.Line)) *session {
	t.Helper()
	ourClient, client := tcpPair(t)
	ourServer, server := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{
		t: t, client: client, server: server, cr: bufio.NewReader(client), sr: bufio.NewReader(server),
		cancel: cancel, result: make(chan error, 1),
	}
	go func() {
		s.result <- control.Run(ctx, control.Config{
			Client: ourClient, Server: ourServer, Endpoints: e, Session: machine, Dialogue: tell,
		})
	}()
	t.Cleanup(cancel)
	return s
}

func newSession() *ftp.Session {
	loopback := netip.MustParseAddr("127.0.0.1")
	return ftp.NewSession(ftp.Options{Peer: loopback, Hop: loopback, Client: loopback})
}

func tcpPair(t *testing.T) (near *relay.TCP, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return relay.NewTCP(a.(*net.TCPConn)), d.(*net.TCPConn)
}

func (s *session) clientSays(lines ...string) { say(s.t, s.client, lines) }
func (s *session) serverSays(lines ...string) { say(s.t, s.server, lines) }
func (s *session) clientHears(want ...string) { s.t.Helper(); hear(s.t, "client", s.cr, want) }
func (s *session) serverHears(want ...string) { s.t.Helper(); hear(s.t, "server", s.sr, want) }

func say(t *testing.T, c *net.TCPConn, lines []string) {
	t.Helper()
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, who string, r *bufio.Reader, want []string) {
	t.Helper()
	for _, w := range want {
		got, err := r.ReadString('\n')
		if err != nil || got != w+"\r\n" {
			t.Fatalf("%s hears %q (%v), want %q", who, got, err, w)
		}
	}
}

// login goes through the greeting and the login.
func (s *session) login() {
	s.t.Helper()
	s.serverSays("220 hello")
	s.clientHears("220 hello")
	s.clientSays("USER alice")
	s.serverHears("USER alice")
	s.serverSays("230 welcome")
	s.clientHears("230 welcome")
}

func (s *session) wantReset(who string, r *bufio.Reader) {
	s.t.Helper()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, syscall.ECONNRESET) {
		s.t.Errorf("the %s reads %v at the end, want a reset", who, err)
	}
}

func (s *session) wantEOF(who string, r *bufio.Reader) {
	s.t.Helper()
	if b, err := io.ReadAll(r); err != nil || len(b) > 0 {
		s.t.Errorf("the %s reads %q, %v at the end, want a clean end", who, b, err)
	}
}

func TestReplyIsForwardedOnlyAfterTheEndpointIsOpen(t *testing.T) {
	var opened bool // owned by Run until the client has heard
	s := start(t, &endpoints{open: func(e ftp.Endpoint) (netip.AddrPort, error) {
		if want := netip.MustParseAddrPort("127.0.0.1:1025"); netip.AddrPortFrom(e.Addr, e.Port) != want {
			t.Errorf("endpoint %v:%d, want %v", e.Addr, e.Port, want)
		}
		opened = true
		return netip.MustParseAddrPort("127.0.0.1:40001"), nil
	}})
	s.login()
	s.clientSays("PASV")
	s.serverHears("PASV")
	s.serverSays("227 Entering Passive Mode (127,0,0,1,4,1).")
	s.clientHears("227 Entering Passive Mode (127,0,0,1,156,65)")
	if !opened {
		t.Error("the client heard of an endpoint that isn't open")
	}
	s.clientSays("RETR f")
	s.serverHears("RETR f")
}

func TestBeginningOfATransferIsToldBeforeTheClientHearsOfIt(t *testing.T) {
	var began int // owned by Run until the client has heard
	s := start(t, &endpoints{begin: func() { began++ }})
	s.login()
	s.clientSays("PASV")
	s.serverHears("PASV")
	s.serverSays("227 Entering Passive Mode (127,0,0,1,4,1).")
	s.clientHears("227 Entering Passive Mode (127,0,0,1,156,65)")
	s.clientSays("STOR f")
	s.serverHears("STOR f")
	s.serverSays("150 go on")
	s.clientHears("150 go on")
	if began != 1 {
		t.Errorf("Begin was called %d times before the client heard 150, want once", began)
	}
	s.serverSays("226 done")
	s.clientHears("226 done")
	if began != 1 {
		t.Errorf("Begin was called %d times, want once", began)
	}
}

func TestEndpointThatCannotBeOpenedIsRefused(t *testing.T) {
	s := start(t, &endpoints{open: func(ftp.Endpoint) (netip.AddrPort, error) {
		return netip.AddrPort{}, errors.New("no")
	}})
	s.login()
	s.clientSays("PASV")
	s.serverHears("PASV")
	s.serverSays("227 Entering Passive Mode (127,0,0,1,4,1).")
	if line, err := s.cr.ReadString('\n'); !strings.HasPrefix(line, "425 ") {
		t.Errorf("PASV: %q, %v; want 425", line, err)
	}
	s.clientSays("EPSV")
	s.serverHears("EPSV")
	s.serverSays("229 ok (|||1025|)")
	if line, err := s.cr.ReadString('\n'); !strings.HasPrefix(line, "500 ") {
		t.Errorf("EPSV: %q, %v; want 500", line, err)
	}
	s.clientSays("NOOP")
	s.serverHears("NOOP")
}

func TestSessionEndsAsTheServerEndsIt(t *testing.T) {
	e := &endpoints{}
	s := start(t, e)
	s.login()
	s.clientSays("QUIT")
	s.serverHears("QUIT")
	s.serverSays("221 bye")
	s.server.CloseWrite()
	s.clientHears("221 bye")
	s.wantEOF("client", s.cr)
	s.client.Close()
	if err := <-s.result; err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
	if len(e.cancels) == 0 {
		t.Error("the session ended and its endpoint was not withdrawn")
	}
}

func TestClientThatEndsItsSideHearsTheRest(t *testing.T) {
	s := start(t, &endpoints{})
	s.serverSays("220 hello")
	s.clientSays("USER alice", "QUIT")
	s.client.CloseWrite()
	s.serverHears("USER alice", "QUIT")
	s.wantEOF("server", s.sr)
	s.serverSays("230 welcome", "221 bye")
	s.server.Close()
	s.clientHears("220 hello", "230 welcome", "221 bye")
	s.wantEOF("client", s.cr)
	if err := <-s.result; err != nil {
		t.Errorf("Run: %v, want nil", err)
	}
}

func TestResetPassesThrough(t *testing.T) {
	s := start(t, &endpoints{})
	s.login()
	s.server.SetLinger(0)
	s.server.Close()
	s.wantReset("client", s.cr)
	if err := <-s.result; err == nil || errors.Is(err, control.ErrRefused) {
		t.Errorf("server reset: Run returned %v", err)
	}

	s = start(t, &endpoints{})
	s.login()
	s.client.SetLinger(0)
	s.client.Close()
	s.wantReset("server", s.sr)
	<-s.result

	s = start(t, &endpoints{})
	s.login()
	s.cancel()
	s.wantReset("client", s.cr)
	s.wantReset("server", s.sr)
	if err := <-s.result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: Run returned %v", err)
	}
}

func TestClientHearsWhyItWasClosedEvenIfItTalksOn(t *testing.T) {
	s := start(t, &endpoints{})
	s.login()
	// Over the bound of a command, and more behind it that nobody wants, until a little after it has heard why.
	more, heard, flooded := strings.Repeat("x", 64<<10), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := io.WriteString(s.client, "CWD ")
		for last := false; !last && err == nil; {
			select {
			case <-heard:
				last = true
			default:
			}
			_, err = io.WriteString(s.client, more)
		}
		flooded <- err
	}()
	line, err := s.cr.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "500 ") {
		t.Fatalf("the client hears %q, %v; want 500", line, err)
	}
	s.wantEOF("client", s.cr)
	close(heard)
	if err := <-flooded; err != nil {
		t.Errorf("talking on: %v, want it read and thrown away until the client has had time to listen", err)
	}
	s.client.Close()
	if err := <-s.result; !errors.Is(err, control.ErrRefused) {
		t.Errorf("Run: %v, want ErrRefused", err)
	}
}

func TestSilentServerIsLeftAfterItsClientHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newFake(), newFake()
		result := make(chan error)
		go func() {
			result <- control.Run(t.Context(), control.Config{
				Client: client, Server: server, Endpoints: &endpoints{}, Session: newSession(),
			})
		}()
		server.in <- "220 hello\r\n"
		close(client.in)
		begin := time.Now()
		err := <-result
		if took := time.Since(begin); err == nil || took != 5*time.Minute {
			t.Errorf("Run returned %v after %v, want an error after 5 minutes", err, took)
		}
	})
}

func TestClientThatDoesNotReadIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newFake(), newFake()
		client.full = true
		result := make(chan error)
		go func() {
			result <- control.Run(t.Context(), control.Config{
				Client: client, Server: server, Endpoints: &endpoints{}, Session: newSession(),
			})
		}()
		server.in <- "220 hello\r\n"
		begin := time.Now()
		err := <-result
		if took := time.Since(begin); err == nil || took != 2*time.Minute {
			t.Errorf("Run returned %v after %v, want an error after 2 minutes", err, took)
		}
	})
}

// What is cut by the end of everything may look complete to the server: an upload over ssh does. So its word for that must not reach
// the client, even if it is there before the session has noticed.
func TestReplyBehindTheEndIsNotPassedOn(t *testing.T) {
	for range 20 { // it was by chance
		synctest.Test(t, func(t *testing.T) {
			client, server := newFake(), newFake()
			ctx, cancel := context.WithCancel(t.Context())
			busy, result := make(chan struct{}), make(chan error)
			go func() {
				result <- control.Run(ctx, control.Config{
					Client: client, Server: server, Endpoints: &endpoints{}, Session: newSession(),
					Dialogue: func(l control.Line) {
						if l.Text == "NOOP" {
							<-busy
						}
					},
				})
			}()
			server.in <- "220 hello\r\n"
			client.in <- "NOOP\r\n"
			synctest.Wait()
			server.in <- "226 Transfer complete\r\n"
			synctest.Wait()
			cancel()
			close(busy)
			if err := <-result; !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v, want that it was cancelled", err)
			}
			if strings.Contains(client.out, "226") {
				t.Fatalf("the client was told %q", client.out)
			}
		})
	}
}

// fake is a stream in memory, for what needs a clock of its own.
type fake struct {
	in      chan string
	out     string // what was written; its owner's until that has ended
	full    bool   // Write never gets anywhere
	aborted chan struct{}
	once    sync.Once
}

func newFake() *fake { return &fake{in: make(chan string), aborted: make(chan struct{})} }

func (f *fake) Read(p []byte) (int, error) {
	select {
	case s, ok := <-f.in:
		if !ok {
			return 0, io.EOF
		}
		return copy(p, s), nil
	case <-f.aborted:
		return 0, relay.ErrAborted
	}
}

func (f *fake) Write(p []byte) (int, error) {
	if f.full {
		<-f.aborted
		return 0, fmt.Errorf("write: %w", relay.ErrAborted)
	}
	f.out += string(p)
	return len(p), nil
}

func (f *fake) CloseWrite() error { return nil }
func (f *fake) Close() error      { f.Abort(); return nil }
func (f *fake) Abort()            { f.once.Do(func() { close(f.aborted) }) }
