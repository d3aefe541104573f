package ftps_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a TLS server that does to each connection what the test says.
type server struct {
	t    *testing.T
	conf *tls.Config
	addr string
}

func serve(t *testing.T, id peers.Identity, do func(c *tls.Conn), change ...func(*tls.Config)) *server {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(id.Path, id.Path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, conf: &tls.Config{Certificates: []tls.Certificate{pair}}, addr: l.Addr().String()}
	for _, f := range change {
		f(s.conf)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				conn := tls.Server(strict{c}, s.conf)
				if conn.Handshake() == nil {
					do(conn)
				}
				c.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return s
}

// strict is a connection whose end without close_notify package tls doesn't take for one.
type strict struct{ net.Conn }

func (s strict) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err == io.EOF {
		err = errors.New("an end without close_notify") // package tls takes io.ErrUnexpectedEOF for io.EOF
	}
	return n, err
}

// dial returns a connection to the server that the caller's test ends.
func (s *server) dial() relay.Stream {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	stream := relay.NewTCP(c.(*net.TCPConn))
	s.t.Cleanup(stream.Abort)
	return stream
}

// control begins a control connection and reads a line of it, with which the tickets come.
func (s *server) control(session *ftps.Session) {
	s.t.Helper()
	c, err := session.Control(s.t.Context(), s.dial())
	if err != nil {
		s.t.Fatal(err)
	}
	line := make([]byte, len("200 ok\r\n"))
	if _, err := io.ReadFull(c, line); err != nil {
		s.t.Fatal(err)
	}
}

// says has the server say text and end by close_notify.
func says(text string) func(*tls.Conn) {
	return func(c *tls.Conn) { io.WriteString(c, text); c.CloseWrite(); io.Copy(io.Discard, c) }
}

func roots(t *testing.T, ca *peers.CA) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(ca.Path)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := ftps.Roots(pem)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestWhoseCertificateServes(t *testing.T) {
	ca, other := peers.TestCA(t, "ca"), peers.TestCA(t, "other")
	good := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp", "127.0.0.1"}})
	old := ca.TestIdentity(t, peers.Certificate{
		Names: []string{"ftp.corp"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	})
	foreign := other.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	nameless := ca.TestIdentity(t, peers.Certificate{})
	pin := func(ids ...peers.Identity) (pins []ftps.Pin) {
		for _, id := range ids {
			pins = append(pins, ftps.PinOf(id.Cert))
		}
		return pins
	}
	trusted := roots(t, ca)
	for _, tc := range []struct {
		name string
		id   peers.Identity
		asks string
		conf ftps.Config
		want []string // in the error; none: it serves
	}{
		{"by name", good, "ftp.corp", ftps.Config{Roots: trusted}, nil},
		{"by name with a dot behind it", good, "ftp.corp.", ftps.Config{Roots: trusted}, nil},
		{"by address", good, "127.0.0.1", ftps.Config{Roots: trusted}, nil},
		{"wrong name", good, "ftp2.corp", ftps.Config{Roots: trusted}, []string{`"ftp.corp", 127.0.0.1`, `not for "ftp2.corp"`}},
		{"wrong address", good, "127.0.0.2", ftps.Config{Roots: trusted}, []string{`not for "127.0.0.2"`}},
		{"no name", nameless, "ftp.corp", ftps.Config{Roots: trusted}, []string{"is for no name"}},
		{"expired", old, "ftp.corp", ftps.Config{Roots: trusted}, []string{"valid from", "needs a new one"}},
		{"other CA", foreign, "ftp.corp", ftps.Config{Roots: trusted}, []string{`"CN=other"`, "not in FTPUpstreamTLSCAFile"}},
		{"system", good, "ftp.corp", ftps.Config{}, []string{`"CN=ca"`, "FTPUpstreamTLSCAFile", "FTPUpstreamTLSPin", ftps.PinOf(good.Cert).String()}},
		{"pinned", good, "ftp.corp", ftps.Config{Pins: pin(good)}, nil},
		{"pinned among others", good, "ftp.corp", ftps.Config{Pins: pin(old, good)}, nil},
		{"pinned, and nothing else is right", old, "elsewhere", ftps.Config{Pins: pin(old)}, nil},
		{"another is pinned", good, "ftp.corp", ftps.Config{Pins: pin(old)}, []string{ftps.PinOf(good.Cert).String(), "FTPUpstreamTLSPin does not name"}},
		{"pinned and of the CA", good, "ftp.corp", ftps.Config{Roots: trusted, Pins: pin(good)}, nil},
		{"of the CA, and another is pinned", good, "ftp.corp", ftps.Config{Roots: trusted, Pins: pin(foreign)}, []string{"FTPUpstreamTLSPin does not name"}},
		{"pinned, and not of the CA", foreign, "ftp.corp", ftps.Config{Roots: trusted, Pins: pin(foreign)}, []string{"not in FTPUpstreamTLSCAFile"}},
		{"pinned, of the CA, wrong name", good, "elsewhere", ftps.Config{Roots: trusted, Pins: pin(good)}, []string{`not for "elsewhere"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, tc.id, says("200 ok\r\n"))
			c, err := tc.conf.NewSession(tc.asks).Control(t.Context(), s.dial())
			if tc.want == nil {
				if err != nil {
					t.Fatalf("got %v, want success", err)
				}
				c.Abort()
				return
			}
			if err == nil {
				t.Fatalf("got success, want an error with %q", tc.want)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

// Servers compare the session of a data connection with that of the control connection.
func TestDataConnectionsResumeTheControlConnection(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s := serve(t, id, says("200 ok\r\n"))
			conf := ftps.Config{Roots: roots(t, ca), MaxVersion: version}
			session := conf.NewSession("ftp.corp")
			s.control(session)
			for i := range 5 {
				c := session.Data(s.dial())
				if got, err := io.ReadAll(c); err != nil || string(got) != "200 ok\r\n" {
					t.Fatalf("data connection %d: read %q, %v", i, got, err)
				}
				if !c.Resumed() || c.VersionName() != tls.VersionName(version) {
					t.Errorf("data connection %d: resumed %v, %s; want true, %s", i, c.Resumed(), c.VersionName(), tls.VersionName(version))
				}
			}
			another := conf.NewSession("ftp.corp")
			c := another.Data(s.dial())
			if _, err := io.ReadAll(c); err != nil || c.Resumed() {
				t.Errorf("a data connection of another session: resumed %v, %v", c.Resumed(), err)
			}
		})
	}
}

// TestSessionOutlivesTheTicketOfItsControlConnection: a server that requires reuse goes on serving one whose control connection is older than
// the ticket that came with it. Go's servers give tickets seven days.
func TestSessionOutlivesTheTicketOfItsControlConnection(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{
		Names: []string{"ftp.corp"}, NotBefore: time.Now().AddDate(0, 0, -1), NotAfter: time.Now().AddDate(1, 0, 0),
	})
	var days atomic.Int64
	now := func() time.Time { return time.Now().AddDate(0, 0, int(days.Load())) }
	s := serve(t, id, says("200 ok\r\n"), func(c *tls.Config) { c.Time = now })
	session := ftps.Config{Pins: []ftps.Pin{ftps.PinOf(id.Cert)}, Now: now}.NewSession("ftp.corp")
	s.control(session)
	for day := range int64(20) {
		days.Store(day)
		c := session.Data(s.dial())
		if _, err := io.ReadAll(c); err != nil || !c.Resumed() {
			t.Fatalf("day %d: resumed %v, %v; want true, <nil>", day, c.Resumed(), err)
		}
	}
}

// TestVersionsBelow1_2 are refused by us, whatever a server offers.
func TestVersionsBelow1_2(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	s := serve(t, id, says(""), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	_, err := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Control(t.Context(), s.dial())
	if err == nil {
		t.Fatal("TLS 1.1 was taken")
	}
}

// TestEndWithoutCloseNotifyIsNoEnd: only the server's word ends a download; on a control connection, and where all was sent
// and nothing is to come, there is nothing to be cut short.
func TestEndWithoutCloseNotifyIsNoEnd(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	cut := func(text string) func(*tls.Conn) {
		return func(c *tls.Conn) { io.WriteString(c, text) } // what follows is FIN
	}
	takes := func(end func(c *tls.Conn)) func(*tls.Conn) {
		return func(c *tls.Conn) {
			if got, err := io.ReadAll(c); err != nil || string(got) != "upload" {
				t.Errorf("the server reads %q, %v", got, err)
			}
			end(c)
		}
	}
	upload := func(c *ftps.Stream) error {
		if _, err := io.WriteString(c, "upload"); err != nil {
			return err
		}
		return c.CloseWrite()
	}
	for _, tc := range []struct {
		name    string
		does    func(*tls.Conn)
		before  func(*ftps.Stream) error // if nil, nothing
		control bool
		want    error
	}{
		{"download, close_notify", says("data"), nil, false, nil},
		{"download, FIN", cut("data"), nil, false, relay.ErrAborted},
		{"empty download, close_notify", says(""), nil, false, nil},
		{"empty download, FIN", cut(""), nil, false, relay.ErrAborted},
		{"download to a client that has ended its side, FIN", func(c *tls.Conn) { io.Copy(c, c); io.WriteString(c, "data") }, (*ftps.Stream).CloseWrite, false, relay.ErrAborted},
		{"upload, close_notify", takes(func(c *tls.Conn) { c.CloseWrite() }), upload, false, nil},
		{"upload, FIN", takes(func(*tls.Conn) {}), upload, false, nil},
		{"upload, and something comes back, FIN", takes(func(c *tls.Conn) { io.WriteString(c, "x") }), upload, false, relay.ErrAborted},
		{"control, FIN", cut("221 bye\r\n"), nil, true, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := serve(t, id, tc.does)
			session := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp")
			c := session.Data(s.dial())
			if tc.control {
				var err error
				if c, err = session.Control(t.Context(), s.dial()); err != nil {
					t.Fatal(err)
				}
			}
			if tc.before != nil {
				if err := tc.before(c); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.ReadAll(c); !errors.Is(err, tc.want) {
				t.Errorf("got %v at the end, want %v", err, tc.want)
			}
		})
	}
}

// A record that somebody cuts in two is no end either, nor is one that somebody changes.
func TestTamperedDataIsAborted(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	data := bytes.Repeat([]byte("x"), 100<<10)
	s := serve(t, id, says(string(data)))
	for name, w := range map[string]*tampered{
		"cut":     {after: 50 << 10, cut: true},
		"changed": {after: 50 << 10},
	} {
		w.Stream = s.dial()
		got, err := io.ReadAll(ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(w))
		if !errors.Is(err, relay.ErrAborted) || len(got) >= len(data) {
			t.Errorf("%s: %d bytes and %v, want fewer than %d and ErrAborted", name, len(got), err, len(data))
		}
	}
}

// tampered is a stream that somebody else has got hold of after so many bytes.
type tampered struct {
	relay.Stream
	after int
	cut   bool
}

func (w *tampered) Read(p []byte) (int, error) {
	n, err := w.Stream.Read(p)
	before := w.after
	w.after -= n
	switch {
	case w.after > 0 || before <= 0:
	case w.cut:
		return max(before, 0), io.EOF
	default:
		p[before-1] ^= 1
	}
	return n, err
}

// TestUploadEndsWithCloseNotify: the server can tell its end from an abort.
func TestUploadEndsWithCloseNotify(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	type seen struct {
		data string
		err  error
	}
	all := make(chan seen, 1)
	s := serve(t, id, func(c *tls.Conn) {
		got, err := io.ReadAll(c)
		all <- seen{string(got), err}
	}, func(c *tls.Config) { c.SessionTicketsDisabled = true })
	for _, text := range []string{"", "upload"} {
		c := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(s.dial())
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := <-all; got.data != text || got.err != nil {
			t.Errorf("the server reads %q, %v; want %q and an end", got.data, got.err, text)
		}
	}
	c := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(s.dial())
	if _, err := io.WriteString(c, "half"); err != nil {
		t.Fatal(err)
	}
	c.Abort()
	if got := <-all; got.err == nil {
		t.Errorf("the server reads %q and an end of an upload that was aborted", got.data)
	}
}

// orderly is a stream of which somebody on the way makes an orderly end whatever happens, as OpenSSH's sshd does.
type orderly struct{ relay.Stream }

func (o orderly) Abort() { _ = o.Stream.CloseWrite(); _ = o.Stream.Close() }

// Servers that take any end for the end of an upload are told otherwise, and those that send are not disturbed.
func TestAbortedUploadIsSpoiled(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	begun, heard := make(chan struct{}, 1), make(chan error, 1)
	s := serve(t, id, func(c *tls.Conn) {
		begun <- struct{}{}
		_, err := io.ReadAll(c)
		heard <- err
	})
	abort := func(sent string) error {
		c := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(orderly{s.dial()})
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.ReadAll(c) }) // as relay.Join does
		if _, err := io.WriteString(c, sent); err != nil {
			t.Fatal(err)
		}
		<-begun
		c.Abort()
		reading.Wait()
		if _, err := io.WriteString(c, "more"); !errors.Is(err, relay.ErrAborted) {
			t.Errorf("after the abort, Write returns %v, want ErrAborted", err)
		}
		if err := c.CloseWrite(); !errors.Is(err, relay.ErrAborted) {
			t.Errorf("after the abort, CloseWrite returns %v, want ErrAborted", err)
		}
		return <-heard
	}
	for _, sent := range []string{"", "half"} {
		if err := abort(sent); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
			t.Errorf("after %q, the server reads %v, want a record that it can't open", sent, err)
		}
	}

	s = serve(t, id, func(c *tls.Conn) {
		io.WriteString(c, "data")
		_, err := io.ReadAll(c)
		heard <- err
	})
	c := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(orderly{s.dial()})
	if _, err := io.ReadFull(c, make([]byte, len("data"))); err != nil {
		t.Fatal(err)
	}
	c.Abort()
	if err := <-heard; err == nil || !strings.Contains(err.Error(), "without close_notify") {
		t.Errorf("in a download, the server reads %v, want an end without close_notify and nothing else", err)
	}
}

// TestEndOfServerThatIsGone: it has said close_notify and closed; ours has nowhere to go, and nothing is lost by that.
func TestEndOfServerThatIsGone(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"ftp.corp"}})
	gone := make(chan struct{}, 1)
	s := serve(t, id, func(c *tls.Conn) {
		io.WriteString(c, "data")
		c.CloseWrite()
		c.NetConn().(strict).Conn.(*net.TCPConn).CloseWrite()
		gone <- struct{}{}
	})
	under := &unwritable{Stream: s.dial()}
	c := ftps.Config{Roots: roots(t, ca)}.NewSession("ftp.corp").Data(under)
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	<-gone
	under.broken.Store(true)
	if err := c.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v, want nil", err)
	}
}

type unwritable struct {
	relay.Stream
	broken atomic.Bool
}

func (u *unwritable) Write(p []byte) (int, error) {
	if u.broken.Load() {
		return 0, errors.New("broken pipe")
	}
	return u.Stream.Write(p)
}

func TestServerThatSpeaksNoTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := make(chan string, 1)
	go func() {
		for text := range said {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, text)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	defer close(said)
	s := &server{t: t, addr: l.Addr().String()}
	for text, want := range map[string]string{
		"220 ready when you are\r\n": "not TLS",
		"":                           "ended the connection in the handshake",
	} {
		said <- text
		_, err := ftps.Config{}.NewSession("ftp.corp").Control(t.Context(), s.dial())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a server that says %q: got %v, want %q in it", text, err, want)
		}
	}
}

func TestHandshakeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &server{t: t, addr: l.Addr().String()}
	cause := errors.New("it takes too long")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if _, err := (ftps.Config{}).NewSession("ftp.corp").Control(ctx, s.dial()); !errors.Is(err, cause) {
		t.Errorf("got %v, want %v", err, cause)
	}
}

func TestPins(t *testing.T) {
	const good = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	for _, text := range []string{good, good + "="} {
		if p, err := ftps.ParsePin(text); err != nil || p.String() != good {
			t.Errorf("ParsePin(%q) = %v, %v; want %s", text, p, err, good)
		}
	}
	for _, text := range []string{
		"", "SHA256:", good[len("SHA256:"):], "sha256//" + good[len("SHA256:"):], "MD5:" + good, good + "==", good + "A", good[:len(good)-1],
		good[:len(good)-1] + "V", " " + good,
	} {
		if p, err := ftps.ParsePin(text); err == nil {
			t.Errorf("ParsePin(%q) = %v, want an error", text, p)
		}
	}
}

func TestRootsWithoutACertificate(t *testing.T) {
	for _, text := range []string{"", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := ftps.Roots([]byte(text)); err == nil {
			t.Errorf("Roots(%q): no error", text)
		}
	}
}
