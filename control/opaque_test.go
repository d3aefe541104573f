package control_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
)

// startOpaque starts a session whose client may speak TLS with the server.
func startOpaque(t *testing.T, ready func(context.Context) error) *session {
	t.Helper()
	ourClient, client := tcpPair(t)
	ourServer, server := tcpPair(t)
	s := &session{
		t: t, client: client, server: server, cr: bufio.NewReader(client), sr: bufio.NewReader(server),
		cancel: func() {}, result: make(chan error, 1),
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	go func() {
		s.result <- control.Run(t.Context(), control.Config{
			Client: ourClient, Server: ourServer, Endpoints: &endpoints{}, Opaque: ready,
			Session: ftp.NewSession(ftp.Options{Peer: loopback, Hop: loopback, Client: loopback, Opaque: true}),
		})
	}()
	return s
}

// agree goes as far as the server's 234.
func (s *session) agree() {
	s.t.Helper()
	s.serverSays("220 ready")
	s.clientHears("220 ready")
	s.clientSays("AUTH TLS")
	s.serverHears("AUTH TLS")
	s.serverSays("234 go ahead")
}

func TestOpaqueSessionIsPassedOnUnread(t *testing.T) {
	asked := make(chan struct{})
	s := startOpaque(t, func(context.Context) error { close(asked); return nil })
	s.agree()
	<-asked
	s.clientHears("234 go ahead")
	// Lines that would be refused, announcements that would be read, bytes that would be dropped, and more than a buffer of them.
	up := "\x16\x03\x01\x00PASV\nGET / HTTP/1.1\r\n\xff\xf4" + strings.Repeat("x", 100<<10)
	down := "227 Entering Passive Mode (10,9,9,9,4,1)\r\n\xff\xfd\x01" + strings.Repeat("y", 100<<10)
	for _, way := range []struct {
		from io.Writer
		to   io.Reader
		text string
	}{{s.client, s.sr, up}, {s.server, s.cr, down}} {
		go io.WriteString(way.from, way.text)
		got := make([]byte, len(way.text))
		if _, err := io.ReadFull(way.to, got); err != nil || string(got) != way.text {
			t.Fatalf("%d bytes arrived changed: %v", len(way.text), err)
		}
	}
	s.client.CloseWrite()
	if _, err := s.sr.ReadByte(); err != io.EOF {
		t.Errorf("the server sees %v, want the client's end", err)
	}
	io.WriteString(s.server, "last word")
	s.server.Close()
	if got, err := io.ReadAll(s.cr); err != nil || string(got) != "last word" {
		t.Errorf("the client sees %q, %v; want the last word and the end", got, err)
	}
	if err := <-s.result; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestOpaqueSessionThatIsCutIsAborted(t *testing.T) {
	s := startOpaque(t, func(context.Context) error { return nil })
	s.agree()
	s.clientHears("234 go ahead")
	s.server.SetLinger(0)
	s.server.Close()
	if _, err := s.cr.ReadByte(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v, want a reset", err)
	}
	if err := <-s.result; err == nil {
		t.Error("Run: no error")
	}
}

func TestOpaqueSessionThatNobodyIsReadyFor(t *testing.T) {
	for name, ready := range map[string]func(context.Context) error{
		"nobody": nil,
		"no":     func(context.Context) error { return errors.New("port 50000 is in use") },
	} {
		s := startOpaque(t, ready)
		s.agree()
		s.clientHears("421 TLS through this connection is not possible now, closing it")
		if _, err := s.cr.ReadByte(); err != io.EOF {
			t.Errorf("%s: the client sees %v, want the end", name, err)
		}
		s.client.Close()
		if err := <-s.result; !errors.Is(err, control.ErrRefused) {
			t.Errorf("%s: got %v, want ErrRefused", name, err)
		}
	}
}
