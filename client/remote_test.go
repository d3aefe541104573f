package client

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/login"
	"github.com/culvert-ssh/culvert/relay"
)

func TestRemoteForwardKeepsHalfClose(t *testing.T) {
	_, cfg := bastion(t)
	cfg.RemoteForwards = []Forward{destination(t, func(c *net.TCPConn) {
		got, err := io.ReadAll(c) // until the client's end
		fmt.Fprintf(c, "got %d bytes, %v", len(got), err)
	})}
	cfg.RemoteForwards[0].Bind = "127.0.0.1"
	c := dial(t, start(t, cfg).ready())
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "got 1048576 bytes, <nil>" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRemoteForwardSaysWhereTheBastionListens(t *testing.T) {
	_, cfg := bastion(t)
	cfg.RemoteForwards = []Forward{destination(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "one") })}
	cfg.RemoteForwards[0].Bind = "127.0.0.1"
	r := start(t, cfg)
	line := <-r.notices
	target := cfg.RemoteForwards[0].Target()
	before, after, _ := strings.Cut(line, " is at 127.0.0.1:")
	port, host, _ := strings.Cut(after, " of ")
	if before != target || port == "0" || host != cfg.Host {
		t.Errorf("got %q, want where %s is on %s, with the port that was chosen", line, target, cfg.Host)
	}
	if got, err := io.ReadAll(dial(t, net.JoinHostPort("127.0.0.1", port))); string(got) != "one" || err != nil {
		t.Errorf("at port %s: got %q, %v", port, got, err)
	}
}

func TestRemoteForwardThatIsRefusedEndsOnlyWhatItMust(t *testing.T) {
	_, cfg := bastion(t, "PermitListen localhost:1")
	cfg.Forwards = []Forward{destination(t, func(c *net.TCPConn) { _, _ = io.WriteString(c, "local") })}
	cfg.RemoteForwards = []Forward{unused(t)}
	r := start(t, cfg)
	if got, err := io.ReadAll(dial(t, r.ready())); string(got) != "local" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	r.log.wait(t, "a forward is left out")
	r.stop()
	_ = r.end()

	for _, change := range []func(){
		func() { cfg.ExitOnForwardFailure = true },
		func() { cfg.ExitOnForwardFailure, cfg.Forwards = false, nil },
	} {
		change()
		if err := start(t, cfg).end(); err == nil || !strings.Contains(err.Error(), "refused: choose another port") && !strings.Contains(err.Error(), "no forward could be set up") {
			t.Errorf("Run: %v, want why nothing is forwarded", err)
		}
	}
}

func TestUnreachableTargetOfARemoteForwardIsToldOf(t *testing.T) {
	_, cfg := bastion(t)
	cfg.RemoteForwards = []Forward{unused(t)}
	cfg.RemoteForwards[0].Bind = "127.0.0.1"
	r := start(t, cfg)
	if got, _ := io.ReadAll(dial(t, r.ready())); len(got) > 0 { // OpenSSH closes what it can't forward
		t.Errorf("got %q", got)
	}
	r.log.wait(t, "connection refused")
}

// lying is a bastion that grants everything, always the same port, and opens what the test likes.
func lying(t *testing.T) (server ssh.Conn, c *connection, log *logBuffer) {
	t.Helper()
	host := peers.TestKey(t, "host").Signer
	conns := make(chan ssh.Conn, 1)
	at := destination(t, func(c *net.TCPConn) {
		config := &ssh.ServerConfig{NoClientAuth: true}
		config.AddHostKey(host)
		conn, chans, reqs, err := ssh.NewServerConn(c, config)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- conn
		var wg sync.WaitGroup
		wg.Go(func() {
			for r := range reqs {
				_ = r.Reply(true, ssh.Marshal(struct{ Port uint32 }{4711}))
			}
		})
		for nc := range chans {
			_ = nc.Reject(ssh.Prohibited, "no")
		}
		wg.Wait()
	})
	wire := relay.NewWire(dial(t, at.Target()))
	conn, chans, reqs, err := ssh.NewClientConn(wire, "", &ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(host.PublicKey())})
	if err != nil {
		t.Fatal(err)
	}
	log = new(logBuffer)
	c = newConnection(&login.Conn{Conn: conn, Channels: chans, Requests: reqs, Wire: wire}, slog.New(slog.NewTextHandler(log, nil)), nil)
	t.Cleanup(func() {
		c.Close()
		c.incoming.close()
	})
	return <-conns, c, log
}

// open opens a forwarded-tcpip channel as a bastion does.
func open(server ssh.Conn, at place, origin string) (ssh.Channel, error) {
	ch, reqs, err := server.OpenChannel("forwarded-tcpip", ssh.Marshal(forwardedTCPIP{at.host, uint32(at.port), origin, 50000}))
	if err == nil {
		go ssh.DiscardRequests(reqs)
	}
	return ch, err
}

func wantNotAsked(t *testing.T, server ssh.Conn, at place, why string) {
	t.Helper()
	ch, err := open(server, at, "127.0.0.1")
	if err == nil {
		_ = ch.Close()
	}
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("%s: got %v, want %q", at, err, why)
	}
}

func TestOnlyWhatWasAskedForIsAccepted(t *testing.T) {
	server, c, log := lying(t)
	serve := func(a *arrival) {
		if stream, err := a.accept(); err == nil {
			stream.Abort()
		}
	}
	at, err := c.listen(t.Context(), "tcpip-forward", place{host: "localhost", port: 0}, serve)
	if want := (place{host: "localhost", port: 4711}); at != want || err != nil {
		t.Fatalf("listen: %v, %v; want %v", at, err, want)
	}
	if _, err := open(server, at, "127.0.0.1"); err != nil {
		t.Errorf("what was asked for: %v", err)
	}
	wantNotAsked(t, server, place{host: "localhost", port: 4712}, "nobody asked for this")
	wantNotAsked(t, server, place{host: "127.0.0.1", port: 4711}, "nobody asked for this")
	log.wait(t, "nobody asked for it")
	if _, _, err := server.OpenChannel("forwarded-tcpip", []byte("x")); err == nil {
		t.Error("a malformed open was accepted")
	}
	if _, _, err := server.OpenChannel("direct-tcpip", ssh.Marshal(directTCPIP{"localhost", 22, "", 0})); err == nil {
		t.Error("direct-tcpip was accepted from a bastion")
	}
	c.unlisten(at)
	wantNotAsked(t, server, at, "nobody asked for this")
}

func TestConnectionThatOvertakesTheChosenPortIsServed(t *testing.T) {
	server, c, _ := lying(t)
	at := place{host: "localhost", port: 4711}
	settle := c.incoming.ask(at.host)
	opened := make(chan error, 1)
	go func() {
		_, err := open(server, at, "127.0.0.1")
		opened <- err
	}()
	wantEarly(t, c, 1)
	c.incoming.put(at, func(a *arrival) {
		if stream, err := a.accept(); err == nil {
			stream.Abort()
		}
	})
	settle()
	if err := <-opened; err != nil {
		t.Errorf("opened before the port was known: %v", err)
	}
}

func TestConnectionsThatOvertakeTheChosenPortAreBounded(t *testing.T) {
	server, c, _ := lying(t)
	settle := c.incoming.ask("localhost")
	opened := make(chan error, maxEarly)
	for range maxEarly {
		go func() {
			_, err := open(server, place{host: "localhost", port: 4711}, "127.0.0.1")
			opened <- err
		}()
	}
	wantEarly(t, c, maxEarly)
	wantNotAsked(t, server, place{host: "localhost", port: 4711}, "nobody asked for this")
	settle()
	for range maxEarly {
		if err := <-opened; err == nil {
			t.Error("accepted, and nobody serves it")
		}
	}
}

func wantEarly(t *testing.T, c *connection, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		c.incoming.mu.Lock()
		early := c.incoming.early
		c.incoming.mu.Unlock()
		if early == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d channels wait, want %d", early, want)
		}
	}
}

// TestConnectionThatEndsWhileChannelsAreAskedFor ends connections at the moment at which many ask for a channel. Each gets an answer, and so
// does Close.
func TestConnectionThatEndsWhileChannelsAreAskedFor(t *testing.T) {
	for range 30 {
		server, c, _ := lying(t)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for {
					if _, err := c.Open(context.Background(), "h", 1, netip.AddrPort{}); err == nil {
						t.Error("a channel that was refused is open")
					} else if hasEnded(c) {
						return
					}
				}
			})
		}
		_ = server.Close()
		ended := make(chan struct{})
		go func() {
			wg.Wait()
			c.Close()
			close(ended)
		}()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("somebody still waits for a channel of a connection that has ended")
		}
	}
}
