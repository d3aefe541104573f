package ftps_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

// piped is a stream in the time of a synctest bubble.
type piped struct{ net.Conn }

func (p piped) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if errors.Is(err, io.ErrClosedPipe) {
		err = relay.ErrAborted
	}
	return n, err
}
func (p piped) CloseWrite() error { return nil }
func (p piped) Abort()            { p.Close() }

// hello reads what a client says first.
func hello(t *testing.T, server net.Conn) {
	t.Helper()
	if _, err := server.Read(make([]byte, 16<<10)); err != nil {
		t.Error(err)
	}
}

func TestHandshakeOfADataConnectionHasAnEnd(t *testing.T) {
	for _, tc := range []struct {
		name  string
		after time.Duration
		says  string
		play  func(server net.Conn)
	}{
		{"silent", 10 * time.Minute, "said nothing", func(net.Conn) {}},
		{"stops", 5*time.Minute + 30*time.Second, "more than 30s", func(server net.Conn) {
			time.Sleep(5 * time.Minute) // until it comes to the transfer
			server.Write([]byte{22, 3, 3, 1, 0})
		}},
		{"by the byte", 30 * time.Second, "more than 30s", func(server net.Conn) {
			for _, b := range []byte{22, 3, 3, 1, 0, 2} {
				if _, err := server.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(9 * time.Second)
			}
		}},
	} {
		uses := map[string]func(*ftps.Stream) error{
			"read":  func(s *ftps.Stream) error { _, err := s.Read(make([]byte, 1)); return err },
			"write": func(s *ftps.Stream) error { _, err := s.Write([]byte("x")); return err },
			"end":   func(s *ftps.Stream) error { return s.CloseWrite() },
		}
		for use, do := range uses {
			t.Run(tc.name+"/"+use, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					near, server := net.Pipe()
					s := ftps.Config{}.NewSession("ftp.corp").Data(piped{near})
					time.Sleep(time.Hour) // nobody uses it yet
					begin := time.Now()
					var over sync.WaitGroup
					defer over.Wait()
					over.Go(func() {
						hello(t, server)
						tc.play(server)
						io.Copy(io.Discard, server)
					})
					err := do(s)
					if took := time.Since(begin); !errors.Is(err, relay.ErrAborted) || !strings.Contains(err.Error(), tc.says) || took != tc.after {
						t.Errorf("%v after %v, want an abort that says %q after %v", err, took, tc.says, tc.after)
					}
				})
			})
		}
	}
}

// Once the handshake is over a data connection may be as slow as it is.
func TestDataConnectionHasNoTimeOnceItIsThere(t *testing.T) {
	id := peers.TestCA(t, "ca").TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	pair, err := tls.LoadX509KeyPair(id.Path, id.Path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		now := func() time.Time { return id.Cert.NotBefore.Add(time.Minute) }
		s := ftps.Config{Pins: []ftps.Pin{ftps.PinOf(id.Cert)}, Now: now}.NewSession("ftp.corp").Data(piped{near})
		go func() {
			server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true})
			for range 3 {
				io.WriteString(server, "x")
				time.Sleep(24 * time.Hour)
			}
			server.CloseWrite()
			io.Copy(io.Discard, far)
		}()
		text, err := io.ReadAll(s)
		if string(text) != "xxx" || err != nil {
			t.Errorf("read %q, %v; want xxx and its end", text, err)
		}
		s.Abort()
	})
}
