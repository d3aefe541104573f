package control_test

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
)

// startFarewell starts a session whose client hears text in the end, and may speak TLS with the server.
func startFarewell(t *testing.T, text string) *session {
	t.Helper()
	ourClient, client := tcpPair(t)
	ourServer, server := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &session{
		t: t, client: client, server: server, cr: bufio.NewReader(client), sr: bufio.NewReader(server),
		cancel: cancel, result: make(chan error, 1),
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	go func() {
		s.result <- control.Run(ctx, control.Config{
			Client: ourClient, Server: ourServer, Endpoints: &endpoints{},
			Session:  ftp.NewSession(ftp.Options{Peer: loopback, Hop: loopback, Client: loopback, Opaque: true}),
			Opaque:   func(context.Context) error { return nil },
			Farewell: func(error) string { return text },
		})
	}()
	t.Cleanup(cancel)
	return s
}

func TestClientHearsThatTheServerIsLost(t *testing.T) {
	s := startFarewell(t, "the connection was lost")
	s.login()
	s.server.SetLinger(0)
	s.server.Close()
	s.clientHears("421 the connection was lost")
	s.wantEOF("client", s.cr)
	s.client.Close()
	if err := <-s.result; err == nil || errors.Is(err, control.ErrRefused) {
		t.Errorf("Run returned %v, want the loss", err)
	}
}

func TestClientHearsThatTheSessionIsToEnd(t *testing.T) {
	s := startFarewell(t, "taken down")
	s.login()
	s.cancel()
	s.clientHears("421 taken down")
	s.wantEOF("client", s.cr)
	s.wantReset("server", s.sr)
	s.client.Close()
	if err := <-s.result; !errors.Is(err, context.Canceled) {
		t.Errorf("Run returned %v, want that it was cancelled", err)
	}
}

func TestWithoutAFarewellTheClientIsReset(t *testing.T) {
	s := startFarewell(t, "")
	s.login()
	s.server.SetLinger(0)
	s.server.Close()
	s.wantReset("client", s.cr)
	<-s.result
}

// A client that reads nothing keeps nobody.
func TestFarewellThatNobodyHearsIsShort(t *testing.T) {
	for name, full := range map[string]bool{"while something is said": true, "while nothing is": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := newFake(), newFake()
				client.full = full
				ctx, cancel := context.WithCancel(t.Context())
				result := make(chan error)
				go func() {
					result <- control.Run(ctx, control.Config{
						Client: client, Server: server, Endpoints: &endpoints{}, Session: newSession(),
						Farewell: func(error) string { client.full = true; return "over" },
					})
				}()
				server.in <- "220 hello\r\n"
				synctest.Wait()
				begin := time.Now()
				cancel()
				err := <-result
				if took := time.Since(begin); err == nil || took > 5*time.Second {
					t.Errorf("Run returned %v after %v, want an error within 5 seconds", err, took)
				}
			})
		})
	}
}

// What is said in the clear to a client that speaks TLS with the server would be taken for the server's.
func TestNoFarewellWhereNobodyIsRead(t *testing.T) {
	s := startFarewell(t, "lost")
	s.agree()
	s.clientHears("234 go ahead")
	s.server.SetLinger(0)
	s.server.Close()
	s.wantReset("client", s.cr)
	if err := <-s.result; err == nil {
		t.Error("Run returned nil, want that it was cut")
	}
}
