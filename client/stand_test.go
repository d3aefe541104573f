package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// lineToBastion is a TCP relay in front of a bastion that breaks, and is there again.
type lineToBastion struct {
	t  *testing.T
	to string

	mu      sync.Mutex
	down    bool
	ends    []net.Conn
	carried int // connections so far
}

// behindLine puts a line before the bastion of cfg.
func behindLine(t *testing.T, cfg *Config) *lineToBastion {
	t.Helper()
	l := &lineToBastion{t: t, to: net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port))}
	rename(t, cfg)
	cfg.Port = destination(t, l.carry).HostPort
	t.Cleanup(l.cut)
	return l
}

func (l *lineToBastion) carry(c *net.TCPConn) {
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return // the test has ended its bastion
	}
	defer far.Close()
	l.mu.Lock()
	down := l.down
	l.ends = append(l.ends, c, far)
	l.carried++
	l.mu.Unlock()
	if down {
		return
	}
	_ = c.SetDeadline(time.Time{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(far, c)
		_ = far.Close()
	})
	_, _ = io.Copy(c, far)
	_ = c.Close()
	wg.Wait()
}

// cut breaks all that goes over the line.
func (l *lineToBastion) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.ends {
		_ = c.Close()
	}
	l.ends = nil
}

// set has the line break whatever comes, or carry it.
func (l *lineToBastion) set(down bool) {
	l.mu.Lock()
	l.down = down
	l.mu.Unlock()
	if down {
		l.cut()
	}
}

func (l *lineToBastion) connections() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.carried
}

// stand has the forwards of cfg stand until the test ends.
func stand(t *testing.T, cfg *Config) (*Standing, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Stand(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			t.Logf("log:\n%s", log)
		}
	})
	for _, f := range s.Status().Forwards[:len(cfg.Forwards)] {
		if f.Ready == "" || f.Error != "" {
			t.Errorf("got %+v, want a forward that is ready", f)
		}
	}
	return s, log
}

func (s *Standing) at() string { return s.Status().Forwards[0].At[0].String() }

// standingFTP is vsftpd behind a bastion and a line, and a forward to it that stands.
func standingFTP(t *testing.T, change func(*Config)) (*peers.FTP, *Standing, peers.Target, *lineToBastion) {
	t.Helper()
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: t.TempDir()})
	_, cfg := bastion(t)
	line := behindLine(t, cfg)
	cfg.Forwards = []Forward{{Kind: FTP, Host: server.Addr.Addr().String(), HostPort: server.Addr.Port()}}
	if change != nil {
		change(cfg)
	}
	s, _ := stand(t, cfg)
	target := server.Target()
	target.Addr = netip.MustParseAddrPort(s.at())
	return server, s, target, line
}

func TestStandingForwardHasItsConnectionWhenItIsUsed(t *testing.T) {
	server, s, target, line := standingFTP(t, func(cfg *Config) { cfg.IdleTimeout = 100 * time.Millisecond })
	if n := line.connections(); n != 0 {
		t.Errorf("got %d connections before anybody has come, want none", n)
	}
	for i := 1; i <= 2; i++ {
		data := randomFile(t, filepath.Join(server.Root, "file"), 1<<20)
		local := filepath.Join(t.TempDir(), "file")
		if out, err := peers.Curl.Download(t.Context(), target, "file", local); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		wantFile(t, local, data)
		s.wait(t, func(st LinkStatus) bool { return st.State == LinkIdle })
		if n := line.connections(); n != i {
			t.Errorf("got %d connections, want %d", n, i)
		}
	}
}

// wait waits for a state of the link.
func (s *Standing) wait(t *testing.T, is func(LinkStatus) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		st := s.link.status()
		if is(st) {
			return
		}
		s.link.mu.Lock()
		changed := s.link.changed
		s.link.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(10 * time.Millisecond): // it may have changed in between
		case <-ctx.Done():
			t.Fatalf("the link stays at %+v", st)
		}
	}
}

func TestBrokenConnectionCutsItsSessionsAndServesTheNext(t *testing.T) {
	server, _, target, line := standingFTP(t, nil)
	data := randomFile(t, filepath.Join(server.Root, "big"), 16<<20)
	f := loggedIn(t, target)
	down := f.beginDownload("big")
	line.set(true)
	wantReset(t, down)
	if said := f.want("421"); !strings.Contains(said, "the SSH connection was lost") {
		t.Errorf("got %q, want that the connection was lost", said)
	}
	if rest, err := io.ReadAll(f.in); len(rest) > 0 || err != nil {
		t.Errorf("after the 421: got %q, %v, want the end", rest, err)
	}

	c := dial(t, target.Addr.String()) // who comes meanwhile waits
	line.set(false)
	loggedInBy(t, c, target)
	local := filepath.Join(t.TempDir(), "big")
	if out, err := peers.Curl.Download(t.Context(), target, "big", local); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantFile(t, local, data)
}

func TestWhoWaitsTooLongIsToldWhy(t *testing.T) {
	_, _, target, line := standingFTP(t, func(cfg *Config) { cfg.QueueTimeout = time.Second })
	line.set(true)
	f := newTalk(t, dial(t, target.Addr.String()))
	if said := f.want("421"); !strings.Contains(said, "there is no SSH connection to 127.0.0.1: ") {
		t.Errorf("got %q, want that there is no connection, and why", said)
	}
}

func TestRefusedLoginIsToldAtOnce(t *testing.T) {
	_, s, target, _ := standingFTP(t, func(cfg *Config) {
		cfg.Identities = []string{peers.TestKey(t, "stranger").Path}
		cfg.QueueTimeout = time.Hour
	})
	f := newTalk(t, dial(t, target.Addr.String()))
	if said := f.want("421"); !strings.Contains(said, "ermission denied") {
		t.Errorf("got %q, want that permission is denied", said)
	}
	if err := s.Login(t.Context()); err == nil || !strings.Contains(err.Error(), "ermission denied") {
		t.Errorf("Login: got %v, want that permission is denied", err)
	}
}

func TestClosedTunnelTellsItsClients(t *testing.T) {
	server, s, target, _ := standingFTP(t, nil)
	randomFile(t, filepath.Join(server.Root, "big"), 16<<20)
	idle, busy := loggedIn(t, target), loggedIn(t, target)
	down := busy.beginDownload("big")
	closed := make(chan struct{})
	go func() { defer close(closed); s.Close() }()
	for _, f := range []*ftpTalk{idle, busy} {
		if said := f.want("421"); !strings.Contains(said, "this tunnel has been closed") {
			t.Errorf("got %q, want that the tunnel has been closed", said)
		}
		_ = f.Close()
	}
	wantReset(t, down)
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close doesn't return")
	}
	if c, err := net.Dial("tcp", target.Addr.String()); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

func TestRemoteForwardIsThereAgainAfterABreak(t *testing.T) {
	near := destination(t, func(c *net.TCPConn) { fmt.Fprint(c, "hello") })
	_, cfg := bastion(t)
	line := behindLine(t, cfg)
	cfg.RemoteForwards = []Forward{near}
	cfg.RemoteForwards[0].Bind = "127.0.0.1"
	s, log := stand(t, cfg)
	for i := 1; i <= 2; i++ {
		s.wait(t, func(st LinkStatus) bool {
			return st.State == LinkConnected && st.Attempts >= i && s.Status().Forwards[0].Ready != ""
		})
		m := readyAddr.FindStringSubmatch(s.Status().Forwards[0].Ready)
		if m == nil {
			t.Fatalf("got %+v, want where it is", s.Status().Forwards)
		}
		c := dial(t, m[1])
		if got, err := bufio.NewReader(c).ReadString('o'); got != "hello" || err != nil {
			t.Errorf("connection %d: got %q, %v", i, got, err)
		}
		line.cut()
		log.wait(t, "the SSH connection was lost")
	}
}

// A bastion that has not noticed yet that the connection before has broken still has its port in use.
func TestRemoteForwardThatIsRefusedIsAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := &refusingUplink{fakeUplink: fakeUplink{done: make(chan struct{})}, refusals: 2}
		s := &Standing{cfg: NewConfig("", "alice"), remotes: []*standingRemote{{Forward: Forward{Host: "h", HostPort: 21}}, {Forward: Forward{Host: "h", HostPort: 22}}}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); s.serveRemotes(ctx, up) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if first, second := s.remotes[0].state(), s.remotes[1].state(); first != "refused" || second != "there" {
			t.Errorf("at first: got %q and %q, want the second alone", first, second)
		}
		time.Sleep(2 * remoteRetry)
		synctest.Wait()
		if first := s.remotes[0].state(); first != "there" {
			t.Errorf("after two refusals: got %q", first)
		}
		if up.asked != 4 {
			t.Errorf("got %d questions, want 3 for the first and 1 for the second", up.asked)
		}
		cancel()
		<-ended
		if s.remotes[0].state() != "" || s.remotes[1].state() != "" {
			t.Error("what isn't there any more is said to be there")
		}
	})
}

// state is what a status says of the forward.
func (r *standingRemote) state() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed.Error()
	}
	return r.ready
}

type refusingUplink struct {
	fakeUplink
	refusals, asked int
}

func (u *refusingUplink) Remote(_ context.Context, _ *Config, f Forward) (string, error) {
	u.asked++
	if f.HostPort == 21 && u.refusals > 0 {
		u.refusals--
		return "", errors.New("refused")
	}
	return "there", nil
}
