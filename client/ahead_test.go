package client

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
)

// namedEndpoints are those of a client that asks for its data connections.
func namedEndpoints(t *testing.T) (*endpoints, *direct) {
	t.Helper()
	e, d := testEndpoints(t)
	e.names = new(dataNames).session("ftp.corp", loopback)
	return e, d
}

// askFor asks for the data connection that was announced at addr. What fails is a reset.
func askFor(t *testing.T, e *endpoints, addr string) *net.TCPConn {
	t.Helper()
	data := askedFor(e, addr)
	if data == nil {
		t.Fatalf("nobody waits for a client that asks for %s", addr)
	}
	local, client := pairOfTCP(t)
	data.hand(handed{local: local})
	return client
}

// askedFor is who waits for a client that asks for addr, or nil. Nobody does any more.
func askedFor(e *endpoints, addr string) *namedData {
	at := netip.MustParseAddrPort(addr)
	return e.names.claim(at.Addr().String(), at.Port(), netip.AddrPort{}, func(control.Owner) error { return nil })
}

func TestLaterEndpointsOpenTheirChannelWhileTheClientHearsOfThem(t *testing.T) {
	e, d := namedEndpoints(t)
	wantData(t, askFor(t, e, openEndpoint(t, e, ftp.PASV)))
	asked, answer := make(chan struct{}), make(chan struct{})
	d.answer = func() { asked <- struct{}{}; <-answer }
	before := d.opened.Load()
	addr := openEndpoint(t, e, ftp.PASV) // returns before there is an answer
	<-asked
	close(answer)
	wantData(t, askFor(t, e, addr))
	if n := d.opened.Load() - before; n != 1 {
		t.Errorf("got %d channels, want 1", n)
	}
}

func TestChannelThatNobodyTakesIsGivenBack(t *testing.T) {
	for name, after := range map[string]bool{"after the answer": true, "before the answer": false} {
		e, d := namedEndpoints(t)
		var log logBuffer
		e.log = slog.New(slog.NewTextHandler(&log, nil))
		wantData(t, askFor(t, e, openEndpoint(t, e, ftp.PASV)))
		ended := make(chan error, 1)
		d.to = destination(t, func(c *net.TCPConn) {
			_, err := io.Copy(io.Discard, c)
			ended <- err
		})
		asked, answer := make(chan struct{}), make(chan struct{})
		d.answer = func() { close(asked); <-answer }
		addr := openEndpoint(t, e, ftp.PASV)
		ahead := e.current.(*namedData).ahead
		<-asked
		if after {
			close(answer)
			<-ahead.opened
		}
		e.Cancel("the transfer failed (550)")
		if !after {
			close(answer)
		}
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the server saw %v, want a reset", name, err)
		}
		if askedFor(e, addr) != nil {
			t.Errorf("%s: somebody waits for the client still", name)
		}
		e.wg.Wait()
		if log.String() != "" {
			t.Errorf("%s: got a word in the log:\n%s", name, log.String())
		}
	}
}

// fickle is a transport whose next answers are these errors.
type fickle struct {
	*direct
	answers chan error
}

func (f *fickle) Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error) {
	select {
	case err := <-f.answers:
		f.opened.Add(1)
		return nil, err
	default:
		return f.direct.Open(ctx, host, port, origin)
	}
}

func TestWhoComesIsDueAnAttemptOfTheirOwn(t *testing.T) {
	for _, test := range []struct {
		reason ssh.RejectionReason
		again  bool
	}{
		{ssh.ConnectionFailed, true}, // the server may be there by now, and the bastion permits one attempt more
		{ssh.Prohibited, false},
	} {
		e, d := namedEndpoints(t)
		f := &fickle{d, make(chan error, 1)}
		e.transport = f
		wantData(t, askFor(t, e, openEndpoint(t, e, ftp.PASV)))
		f.answers <- openError("ftp.corp:1548", &ssh.OpenChannelError{Reason: test.reason})
		before := d.opened.Load()
		addr := openEndpoint(t, e, ftp.PASV)
		if test.again {
			wantData(t, askFor(t, e, addr))
		} else {
			wantReset(t, askFor(t, e, addr))
		}
		e.wg.Wait()
		want := int32(1)
		if test.again {
			want = 2
		}
		if n := d.opened.Load() - before; n != want {
			t.Errorf("%v: got %d attempts, want %d", test.reason, n, want)
		}
	}
}

// What one session has found out is known to the next, until it is not so any more.
func TestModeThatHasFailedIsEagerAgain(t *testing.T) {
	e, d := testEndpoints(t)
	next := newEndpoints(context.Background(), e.endpointsConfig)
	t.Cleanup(next.end)
	wantData(t, dial(t, openEndpoint(t, e, ftp.PASV)))
	d.fail.Store(true)
	wantResetFrom(t, "127.0.0.1", openEndpoint(t, next, ftp.PASV))
	if at, err := next.Open(context.Background(), ftp.Endpoint{Mode: ftp.PASV, Port: 1548}); err == nil {
		t.Errorf("got %s, want the failure of the channel", at)
	}
	d.fail.Store(false)
	wantData(t, dial(t, openEndpoint(t, next, ftp.PASV)))
}

func TestSOCKSDataIsGrantedBeforeTheBastionAnswers(t *testing.T) {
	for _, fails := range []bool{false, true} {
		e, d := namedEndpoints(t)
		e.proven.note(ftp.PASV, nil)
		answer := make(chan struct{})
		d.answer = func() { <-answer }
		d.fail.Store(fails)
		at, err := e.Open(context.Background(), ftp.Endpoint{Mode: ftp.PASV, Port: 1548})
		if err != nil {
			t.Fatal(err)
		}
		local, client := pairOfTCP(t)
		e.names.waiting[at.Port()].hand(handed{local, func(err error) []byte {
			if err != nil {
				return []byte("refused")
			}
			return []byte("granted")
		}})
		word := make([]byte, len("granted"))
		if _, err := io.ReadFull(client, word); string(word) != "granted" || err != nil {
			t.Fatalf("got %q, %v; want that it is granted", word, err)
		}
		close(answer)
		if fails {
			wantReset(t, client)
		} else {
			wantData(t, client)
		}
	}
}

// A refusal that is known by the time that the client comes is told.
func TestSOCKSDataIsRefusedIfThatIsKnown(t *testing.T) {
	e, d := namedEndpoints(t)
	e.proven.note(ftp.PASV, nil)
	d.fail.Store(true)
	at, err := e.Open(context.Background(), ftp.Endpoint{Mode: ftp.PASV, Port: 1548})
	if err != nil {
		t.Fatal(err)
	}
	data := e.names.waiting[at.Port()]
	<-data.ahead.opened
	local, client := pairOfTCP(t)
	data.hand(handed{local, func(err error) []byte { return []byte(err.Error()) }})
	if got, err := io.ReadAll(client); !strings.Contains(string(got), "refused") || err != nil {
		t.Errorf("got %q, %v; want the refusal", got, err)
	}
}

// pairOfTCP is a connection, from both sides.
func pairOfTCP(t *testing.T) (local *relay.TCP, client *net.TCPConn) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client = dial(t, ln.Addr().String())
	conn, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	return relay.NewTCP(conn), client
}
