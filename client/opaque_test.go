package client

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// testOpaquePorts have a transport to a server that says "data".
func testOpaquePorts(t *testing.T) (*opaquePorts, *direct) {
	t.Helper()
	d := &direct{to: destination(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "data")
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c)
	})}
	return &opaquePorts{ports: []uint16{peers.TestPort(t), peers.TestPort(t), peers.TestPort(t)}, open: d.Open}, d
}

func (o *opaquePorts) mustShare(t *testing.T, host string) (release func()) {
	t.Helper()
	release, err := o.share(t.Context(), loopback, host, control.Owner{Addr: loopback, UID: os.Getuid()}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func (o *opaquePorts) at(i int) string { return netip.AddrPortFrom(loopback, o.ports[i]).String() }

func TestOpaquePortsLeadToTheServersOwn(t *testing.T) {
	o, d := testOpaquePorts(t)
	release := o.mustShare(t, "ftp.corp")
	for i := range o.ports {
		for range 2 {
			wantData(t, dial(t, o.at(i)))
		}
		if got, want := d.asked.Load(), (Forward{Host: "ftp.corp", HostPort: o.ports[i]}).Target(); got != want {
			t.Errorf("the bastion was asked for %v, want %s", got, want)
		}
	}
	release()
	wantRefused(t, o.at(0))
	o.mustShare(t, "other.corp")()
}

func TestOpaquePortsAreSharedWithinOneServerAndOwner(t *testing.T) {
	o, _ := testOpaquePorts(t)
	first, second := o.mustShare(t, "ftp.corp"), o.mustShare(t, "ftp.corp")
	for _, other := range []struct {
		host  string
		owner control.Owner
	}{
		{"other.corp", control.Owner{Addr: loopback, UID: os.Getuid()}},
		{"ftp.corp", control.Owner{Addr: loopback, UID: os.Getuid() + 1}},
		{"ftp.corp", control.Owner{Addr: netip.MustParseAddr("127.0.0.2"), UID: os.Getuid()}},
	} {
		_, err := o.share(t.Context(), loopback, other.host, other.owner, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "lead to ftp.corp for another session") {
			t.Errorf("%+v: got %v, want a refusal", other, err)
		}
	}
	first()
	wantData(t, dial(t, o.at(0)))
	second()
	wantRefused(t, o.at(0))
}

func TestOpaquePortsAreTheOwners(t *testing.T) {
	o, d := testOpaquePorts(t)
	release, err := o.share(t.Context(), loopback, "ftp.corp", control.Owner{Addr: loopback, UID: os.Getuid() + 1}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	wantResetFrom(t, "127.0.0.1", o.at(0))
	if n := d.opened.Load(); n != 0 {
		t.Errorf("%d channels were opened for somebody else", n)
	}
}

func TestOpaquePortThatIsInUse(t *testing.T) {
	o, _ := testOpaquePorts(t)
	ln, err := net.Listen("tcp", o.at(2))
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.share(t.Context(), loopback, "ftp.corp", control.Owner{}, nil, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "is in use, and FTPOpaqueTLS needs it: bind this forward to another address") {
		t.Errorf("got %v, want what to do about the port", err)
	}
	ln.Close()
	o.mustShare(t, "ftp.corp")() // those before it were given back
}

func TestOpaquePortsEndWithEverything(t *testing.T) {
	o, _ := testOpaquePorts(t)
	ctx, cancel := context.WithCancel(t.Context())
	release, err := o.share(ctx, loopback, "ftp.corp", control.Owner{Addr: loopback, UID: os.Getuid()}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	release()
	wantRefused(t, o.at(0))
}

func TestOpaquePortsOption(t *testing.T) {
	for value, want := range map[string][]uint16{
		"none": nil, "50000": {50000}, "50000-50002,60000": {50000, 50001, 50002, 60000}, "50000 60000": {50000, 60000}, "65535": {65535},
	} {
		c := NewConfig("", "me")
		if err := c.SetOption("FTPOpaqueTLS=" + value); err != nil || !slices.Equal(c.OpaquePorts, want) {
			t.Errorf("%s: got %v, %v; want %v", value, c.OpaquePorts, err, want)
		}
	}
	for value, want := range map[string]string{
		"21": "a data port is 1024 or more", "50002-50000": "the wrong way round", "50000-50256": "more than 256 ports", "any": "is not a number", "50000-": "is not a number",
	} {
		if err := NewConfig("", "me").SetOption("FTPOpaqueTLS=" + value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", value, err, want)
		}
	}
}
