package channels

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// somebodys is the control connection of an FTP client on this machine, of the user uid.
func somebodys(t *testing.T, uid int) *remoteControl {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("whose a connection is can be told on Linux alone")
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	word, err := policy.ParseListenPattern("ftp/*")
	if err != nil {
		t.Fatal(err)
	}
	p := &policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardAll},
		PermitListen:       &policy.Line[[]policy.ListenPattern]{Value: []policy.ListenPattern{word}},
		FTPDataTimeout:     &policy.Line[time.Duration]{Value: 10 * time.Second},
		FTPActive:          &policy.Line[policy.Active]{Value: policy.ActiveYes},
	}}
	c := &Conn{cfg: Config{
		Subject: func() policy.Subject { return policy.Subject{User: "alice"} }, Decide: p.Decide,
		Audit: audit.New(io.Discard, time.Now), Log: slog.New(slog.DiscardHandler), Now: time.Now, ConnectTimeout: 10 * time.Second,
	}}
	return &remoteControl{
		ftpControl: &ftpControl{opening: &opening{Conn: c}, rules: &policy.FTP{DataTimeout: 10 * time.Second}, ctx: t.Context()},
		listener:   &listener{Conn: c, ftp: true, asked: listenAt{"127.0.0.1", 2121}},
		client:     control.Owner{Addr: loopback, UID: uid}, hop: loopback,
	}
}

func TestDataConnectionOfAnotherUserOfTheMachineIsReset(t *testing.T) {
	for _, ours := range []bool{true, false} {
		uid := os.Getuid()
		if !ours {
			uid++
		}
		f := somebodys(t, uid)
		ln, err := f.listenOn(0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		came := make(chan *net.TCPConn, 1)
		go func() {
			c, _ := ln.Accept(ctx)
			came <- c
		}()
		c, err := net.Dial("tcp", ln.Addr().String())
		if err == nil {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		}
		if !ours {
			if err == nil {
				_, err = c.Read(make([]byte, 1))
			}
			cancel()
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("another user's connection met %v, want a reset", err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		switch got := <-came; {
		case (got != nil) != ours:
			t.Errorf("taken: %v, want %v", got != nil, ours)
		case got != nil:
			got.Close()
		}
		cancel()
	}
}

func TestProgramOfAnotherUserOfTheMachineIsNotConnectedTo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, ours := range []bool{true, false} {
		uid := os.Getuid()
		if !ours {
			uid++
		}
		f := somebodys(t, uid)
		d := &remoteDial{remoteControl: f, s: &stream{opening: f.opening}, to: relay.AddrPort(ln.Addr())}
		err := d.reach()
		if ours && err != nil {
			t.Errorf("the client's own port: %v", err)
		}
		if !ours && (err == nil || !strings.Contains(err.Error(), "and the control connection uid")) {
			t.Errorf("another user's port: %v, want whose it is", err)
		}
		if d.s.tcp != nil {
			d.s.tcp.Close()
		}
	}
}
