package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// direct is a Transport without SSH.
type direct struct {
	fail   atomic.Bool
	opened atomic.Int32
	asked  atomic.Value // the last host:port
	answer func()       // returns when there is to be an answer; nil is at once
	to     Forward
}

func (d *direct) ReadsFTP() bool { return false }

func (d *direct) Open(ctx context.Context, host string, port uint16, _ netip.AddrPort) (relay.Stream, error) {
	d.asked.Store(Forward{Host: host, HostPort: port}.Target())
	d.opened.Add(1)
	if d.answer != nil {
		d.answer()
	}
	if d.fail.Load() {
		return nil, errors.New("the bastion refused")
	}
	// The bastion's answer comes, even if nobody wants it any more.
	c, err := relay.Dial(context.WithoutCancel(ctx), netip.Addr{}, d.to.Target(), patience)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (d *direct) OpenControl(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	return d.Open(ctx, host, port, origin)
}

func (d *direct) OpenSocket(context.Context, string) (relay.Stream, error) {
	return nil, errors.New("the bastion refused")
}

// Listen has nobody to ask.
func (d *direct) Listen(context.Context, Listening) (Arrival, error) {
	return nil, errors.New("the bastion refused")
}

// testEndpoints has a transport to a server that says "data" and then, if it is told anything, nothing more.
func testEndpoints(t *testing.T) (*endpoints, *direct) {
	t.Helper()
	d := &direct{to: destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "data")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})}
	e := newEndpoints(context.Background(), endpointsConfig{
		transport: d, host: "ftp.corp", hop: loopback, owner: control.Owner{Addr: loopback, UID: os.Getuid()},
		log: slog.New(slog.DiscardHandler), drain: patience,
	})
	t.Cleanup(e.end)
	return e, d
}

func openEndpoint(t *testing.T, e *endpoints, mode ftp.Mode) string {
	t.Helper()
	at, err := e.Open(context.Background(), ftp.Endpoint{Mode: mode, Port: 1548})
	if err != nil {
		t.Fatal(err)
	}
	return at.String()
}

// wantData expects that c gets what the server sends.
func wantData(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if got, err := io.ReadAll(c); string(got) != "data" || err != nil {
		t.Errorf("got %q, %v; want the data and its end", got, err)
	}
	_ = c.Close()
}

// wantRefused expects that nothing listens at addr any more. The listener may be about to close, so that a
// connection is reset rather than refused.
func wantRefused(t *testing.T, addr string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("connect to %s: got %v, want a refusal", addr, err)
	}
}

func TestDataListenerServesOneConnection(t *testing.T) {
	e, _ := testEndpoints(t)
	addr := openEndpoint(t, e, ftp.PASV)
	wantData(t, dial(t, addr))
	wantRefused(t, addr)
}

func TestFirstEndpointOfAModeIsEager(t *testing.T) {
	e, d := testEndpoints(t)
	d.fail.Store(true)
	if at, err := e.Open(context.Background(), ftp.Endpoint{Mode: ftp.EPSV, Port: 1548}); err == nil {
		t.Errorf("got %s, want the failure of the channel", at)
	}
	d.fail.Store(false)
	wantData(t, dial(t, openEndpoint(t, e, ftp.EPSV)))

	d.fail.Store(true) // EPSV is proven, PASV isn't
	wantResetFrom(t, "127.0.0.1", openEndpoint(t, e, ftp.EPSV))
	if _, err := e.Open(context.Background(), ftp.Endpoint{Mode: ftp.PASV, Port: 1548}); err == nil {
		t.Error("PASV: got no error, want the failure of the channel")
	}
}

func TestTransferBeginsWhenTheOwnerOfItsDataIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, checked := range []time.Duration{0, beginTimeout / 2, 2 * beginTimeout} {
			done := make(chan struct{})
			time.AfterFunc(checked, func() { close(done) })
			begin := time.Now()
			await(t.Context(), done)
			if got, want := time.Since(begin), min(checked, beginTimeout); got != want {
				t.Errorf("checked after %v: the transfer begins after %v, want %v", checked, got, want)
			}
			<-done
		}
		(&endpoints{}).Begin(t.Context()) // without an endpoint it returns
	})
}

func TestProgramMayCloseItsDataConnectionOnceTheTransferHasBegun(t *testing.T) {
	uploaded := make(chan string, 1)
	e, d := testEndpoints(t)
	d.to = destination(t, func(c *net.TCPConn) {
		got, err := io.ReadAll(c)
		uploaded <- fmt.Sprintf("%q, %v", got, err)
	})
	for range 100 {
		c := dial(t, openEndpoint(t, e, ftp.EPSV))
		e.Begin(t.Context())
		_, _ = io.WriteString(c, "x")
		_ = c.Close()
		if got, want := <-uploaded, `"x", <nil>`; got != want {
			t.Fatalf("the server got %s, want %s", got, want)
		}
	}
}

func TestDataIsAskedForByTheControlHost(t *testing.T) {
	for name, test := range map[string]struct {
		option    bool // FTPDataAddress=announced
		announced string
		want      string
	}{
		"control":                {false, "10.1.60.99", "ftp.corp:1548"},
		"announced":              {true, "10.1.60.99", "10.1.60.99:1548"},
		"announced, IPv6":        {true, "2001:db8::9", "[2001:db8::9]:1548"},
		"announced by 229, port": {true, "", "ftp.corp:1548"},
	} {
		e, d := testEndpoints(t)
		e.endpointsConfig.announced = test.option
		end := ftp.Endpoint{Mode: ftp.PASV, Port: 1548}
		if test.announced != "" {
			end.Announced = netip.MustParseAddr(test.announced)
		}
		if _, err := e.Open(context.Background(), end); err != nil {
			t.Fatal(err)
		}
		if got := d.asked.Load(); got != test.want {
			t.Errorf("%s: asked for %v, want %s", name, got, test.want)
		}
		e.Cancel("the test is over")
	}
}

func TestNewEndpointReplacesTheLast(t *testing.T) {
	e, _ := testEndpoints(t)
	first := openEndpoint(t, e, ftp.PASV)
	second := openEndpoint(t, e, ftp.PASV)
	wantRefused(t, first)
	wantData(t, dial(t, second))
}

func TestCancelAbortsAnUnusedChannel(t *testing.T) {
	ended := make(chan error, 1)
	e, d := testEndpoints(t)
	d.to = destination(t, func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		ended <- err
	})
	addr := openEndpoint(t, e, ftp.PASV)
	e.Cancel("a test")
	wantRefused(t, addr)
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the server saw %v, want a reset", err)
	}
}

// A client connects when it says RETR; the server's 550 is often here before the bastion's answer about the data.
func TestDataOfATransferThatHasFailedIsNoErrorWhenRefused(t *testing.T) {
	for _, cancelled := range []bool{true, false} {
		var log logBuffer
		e, d := testEndpoints(t)
		e.log = slog.New(slog.NewTextHandler(&log, nil))
		wantData(t, dial(t, openEndpoint(t, e, ftp.PASV)))
		asked, refused := make(chan struct{}), make(chan struct{})
		d.answer = func() { close(asked); <-refused }
		d.fail.Store(true)
		c := dial(t, openEndpoint(t, e, ftp.PASV))
		<-asked
		if cancelled {
			e.Cancel("the transfer failed (550)")
		}
		close(refused)
		wantReset(t, c)
		e.wg.Wait()
		if got := strings.Contains(log.String(), "level=ERROR"); got == cancelled {
			t.Errorf("cancelled: %v, an error in the log: %v; want one or the other\n%s", cancelled, got, log.String())
		}
	}
}

func TestAcceptedDataSurvivesCancel(t *testing.T) {
	e, d := testEndpoints(t)
	resume := make(chan struct{})
	d.to = destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "da")
		<-resume
		_, _ = io.WriteString(c, "ta")
	})
	c := dial(t, openEndpoint(t, e, ftp.PASV))
	begin := make([]byte, 2)
	if _, err := io.ReadFull(c, begin); err != nil {
		t.Fatal(err)
	}
	e.Cancel("a 226 that overtook the data")
	close(resume)
	if rest, err := io.ReadAll(c); string(begin)+string(rest) != "data" || err != nil {
		t.Errorf("got %q%q, %v; want the data and its end", begin, rest, err)
	}
}

func TestDataDrainsOnlyForAWhile(t *testing.T) {
	e, d := testEndpoints(t)
	e.drain = 50 * time.Millisecond
	d.to = destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "d")
		_, _ = c.Read(make([]byte, 1))
	})
	c := dial(t, openEndpoint(t, e, ftp.PASV))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	e.end()
	wantReset(t, c)
}

func TestDataConnectionsAreBounded(t *testing.T) {
	e, d := testEndpoints(t)
	e.drain = 0
	d.to = destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "d")
		_, _ = c.Read(make([]byte, 1))
	})
	for range maxData {
		if _, err := io.ReadFull(dial(t, openEndpoint(t, e, ftp.PASV)), make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.Open(context.Background(), ftp.Endpoint{Mode: ftp.PASV, Port: 1548}); err == nil {
		t.Errorf("got a data connection beyond %d", maxData)
	}
}

// wantResetFrom connects from a given loopback address and expects a reset. On loopback it may come before
// the connect has returned.
func wantResetFrom(t *testing.T, from, to string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := dialer.Dial("tcp", to)
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = io.Copy(io.Discard, c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%s to %s: got %v, want a reset", from, to, err)
	}
}

func TestOtherAddressIsResetAndTheOwnerServed(t *testing.T) {
	e, _ := testEndpoints(t)
	addr := openEndpoint(t, e, ftp.PASV)
	for range control.MaxRejects - 1 {
		wantResetFrom(t, "127.0.0.2", addr)
	}
	wantData(t, dial(t, addr))
}

func TestTenRejectsCloseTheListener(t *testing.T) {
	e, _ := testEndpoints(t)
	addr := openEndpoint(t, e, ftp.PASV)
	for range control.MaxRejects {
		wantResetFrom(t, "127.0.0.2", addr)
	}
	wantRefused(t, addr)
}

// uidHelper is what the test binary does as another user: it connects to an address, says what came, and
// reports whether it was asked to.
func uidHelper() bool {
	addr := os.Getenv("CULVERT_TEST_CONNECT")
	if addr == "" {
		return false
	}
	c, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		_, err = io.Copy(os.Stdout, c)
	}
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
	}
	return true
}

func TestOtherUserIsResetAndTheOwnerServed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a program as somebody else")
	}
	e, _ := testEndpoints(t)
	addr := openEndpoint(t, e, ftp.PASV)
	// The test binary lies where others can't reach it, so it is handed on open.
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{self}
	cmd.Dir = "/"
	cmd.Env = []string{"CULVERT_TEST_CONNECT=" + addr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	got, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(got), "connection reset") {
		t.Errorf("the other user got %q, %v; want a reset", got, err)
	}
	wantData(t, dial(t, addr))
}
