package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// scrambled stands for a stream inside TLS: each byte is another one.
type scrambled struct{ relay.Stream }

func (s scrambled) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	scramble(p[:n])
	return n, err
}

func (s scrambled) Write(p []byte) (int, error) {
	q := append([]byte(nil), p...)
	scramble(q)
	return s.Stream.Write(q)
}

func scramble(p []byte) {
	for i := range p {
		p[i] ^= 0x80
	}
}

// startTLS is start with a session that wants TLS, and this for a handshake.
func startTLS(t *testing.T, handshake func(context.Context, relay.Stream) (relay.Stream, error)) *session {
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
			Client: ourClient, Server: ourServer, Endpoints: &endpoints{}, StartTLS: handshake,
			Session: ftp.NewSession(ftp.Options{TLS: ftp.TLSRequire}),
		})
	}()
	t.Cleanup(cancel)
	return s
}

// Not a byte that follows 234 is read before the handshake, whenever it comes.
func TestHandshakeGetsEveryByte(t *testing.T) {
	const hello = "the server's part of a handshake\r\n"
	s := startTLS(t, func(_ context.Context, server relay.Stream) (relay.Stream, error) {
		if _, err := io.WriteString(server, "hello\r\n"); err != nil {
			return nil, err
		}
		p := make([]byte, len(hello))
		if _, err := io.ReadFull(server, p); err != nil || string(p) != hello {
			t.Errorf("the handshake reads %q, %v; want %q", p, err, hello)
		}
		return scrambled{server}, nil
	})
	s.clientSays("USER alice")
	s.serverSays("220 ready")
	s.serverHears("AUTH TLS")
	s.serverSays("234 go ahead")
	s.serverHears("hello")
	io.WriteString(s.server, hello)

	inside := scrambledConn{s.server}
	s.sr = bufio.NewReader(inside)
	s.serverHears("PBSZ 0")
	io.WriteString(inside, "200 ok\r\n")
	s.serverHears("PROT P")
	io.WriteString(inside, "200 ok\r\n")
	s.clientHears("220 ready")
	s.serverHears("USER alice")
	io.WriteString(inside, "230 in\r\n")
	s.clientHears("230 in")
	s.cancel()
	s.wantReset("server", s.sr)
	<-s.result
}

type scrambledConn struct{ *net.TCPConn }

func (s scrambledConn) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	scramble(p[:n])
	return n, err
}

func (s scrambledConn) Write(p []byte) (int, error) {
	q := append([]byte(nil), p...)
	scramble(q)
	return s.TCPConn.Write(q)
}

func TestFailedHandshakeIsTold(t *testing.T) {
	for name, tc := range map[string]struct {
		handshake func(context.Context, relay.Stream) (relay.Stream, error)
		want      string
	}{
		"it fails": {func(_ context.Context, s relay.Stream) (relay.Stream, error) {
			s.Abort()
			return nil, errors.New("the certificate\r\n227 is bad")
		}, "421 the certificate??227 is bad"},
		"there is none": {nil, "421 TLS with the server is not known here"},
	} {
		s := startTLS(t, tc.handshake)
		s.clientSays("USER alice")
		s.serverSays("220 ready")
		s.serverHears("AUTH TLS")
		s.serverSays("234 go ahead")
		s.clientHears(tc.want)
		s.wantEOF("client", s.cr)
		s.client.Close()
		if err := <-s.result; !errors.Is(err, control.ErrRefused) {
			t.Errorf("%s: Run returned %v, want ErrRefused", name, err)
		}
		if got, err := io.ReadAll(s.sr); len(got) > 0 || err == nil && name == "it fails" {
			t.Errorf("%s: the server reads %q, %v; want an abort", name, got, err)
		}
	}
}

func TestHandshakeHasATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := newFake(), newFake()
		result := make(chan error)
		begin := time.Now()
		go func() {
			result <- control.Run(t.Context(), control.Config{
				Client: client, Server: server, Endpoints: &endpoints{},
				Session: ftp.NewSession(ftp.Options{TLS: ftp.TLSPrefer}),
				StartTLS: func(ctx context.Context, s relay.Stream) (relay.Stream, error) {
					<-ctx.Done()
					s.Abort()
					return nil, context.Cause(ctx)
				},
			})
		}()
		server.in <- "220 hello\r\n"
		server.in <- "234 go ahead\r\n"
		close(client.in)
		err := <-result
		if took := time.Since(begin); !errors.Is(err, control.ErrRefused) || !strings.Contains(err.Error(), "more than 30s") || took > 35*time.Second {
			t.Errorf("Run returned %v after %v, want a refusal after 30 seconds", err, took)
		}
	})
}
