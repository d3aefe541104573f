package redirect_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/lan"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/redirect"
)

const patience = 20 * time.Second

// TestRulesSendConnectionsHere has the rules in force on a machine, and connections made on it and through it.
func TestRulesSendConnectionsHere(t *testing.T) {
	t.Parallel()
	if lan.Apart(t) {
		return
	}
	for kind, load := range map[string]func(ctx context.Context, r redirect.Rules) error{
		"nft":      func(ctx context.Context, r redirect.Rules) error { return peers.LoadNFT(ctx, r.NFTables()) },
		"iptables": func(ctx context.Context, r redirect.Rules) error { return peers.RunIPTables(ctx, r.IPTables()) },
	} {
		t.Run(kind, func(t *testing.T) {
			desk, other := lan.NewMachine(t, "desk"), lan.NewMachine(t, "other")
			lan.Cable(lan.Plug{Machine: desk, Addrs: []string{"10.3.0.2/24", "fd03::2/64"}}, lan.Plug{Machine: other, Addrs: []string{"10.3.0.3/24", "fd03::3/64"}})
			// What isn't redirected comes to nobody, at once.
			desk.Do(func() {
				ip(t, "route", "add", "local", "10.9.0.0/16", "dev", "lo")
				ip(t, "-6", "route", "add", "local", "fd09::/64", "dev", "lo")
			})
			other.Do(func() {
				ip(t, "route", "add", "10.9.0.0/16", "via", "10.3.0.2")
				ip(t, "-6", "route", "add", "fd09::/64", "via", "fd03::2")
			})

			ln, port := listen(t, desk)
			rules := redirect.Rules{
				Port: port, ControlPorts: []uint16{21, 2100}, Users: []int{os.Getuid()}, Interfaces: []string{"eth0"},
				Except: []netip.AddrPort{netip.MustParseAddrPort("10.9.0.9:2100"), netip.MustParseAddrPort("[fd09::9]:2100")},
			}
			for range 2 { // they take the place of themselves
				desk.Do(func() {
					if err := load(t.Context(), rules); err != nil {
						t.Fatal(err)
					}
				})
			}
			for i, m := range []*lan.Machine{desk, other} {
				for _, at := range []string{fmt.Sprintf("10.9.%d.1", i), fmt.Sprintf("fd09::1:%d", i)} {
					wantNotRedirected(t, m, at, 50007) // there has been no control connection
					wantRedirected(t, m, ln, at, 21)
					wantRedirected(t, m, ln, at, 2100)
					wantRedirected(t, m, ln, at, 50007)
					wantNotRedirected(t, m, at, 22)
					wantNotRedirected(t, m, at, 49999)
					wantNotRedirected(t, m, at, 51000)
				}
				wantNotRedirected(t, m, "10.9.0.9", 2100)
				wantNotRedirected(t, m, "fd09::9", 2100)
				wantNotRedirected(t, m, "10.9.0.2", 50007) // another server
			}
			if kind == "nft" { // iptables remembers servers, whoever has been there
				wantNotRedirected(t, other, "10.9.0.1", 50007)
			}
			wantNotRedirected(t, desk, "127.0.0.1", 21)
			wantNotRedirected(t, desk, "::1", 21)
			wantDirect(t, desk, ln, "127.0.0.1", port)
			wantDirect(t, desk, ln, "::1", port)
		})
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if _, err := peers.Run(t.Context(), "", "ip", args...); err != nil {
		t.Fatal(err)
	}
}

// listen listens on all addresses of m.
func listen(t *testing.T, m *lan.Machine) (ln *net.TCPListener, port uint16) {
	t.Helper()
	m.Do(func() {
		var err error
		if ln, err = net.ListenTCP("tcp", nil); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { ln.Close() })
	return ln, uint16(ln.Addr().(*net.TCPAddr).Port)
}

func dial(m *lan.Machine, at string, port uint16) (conn net.Conn, err error) {
	m.Do(func() { conn, err = net.DialTimeout("tcp", net.JoinHostPort(at, strconv.Itoa(int(port))), patience) })
	return conn, err
}

// accepted is what Original says of the connection from m to a port of at.
func accepted(t *testing.T, m *lan.Machine, ln *net.TCPListener, at string, port uint16) (netip.AddrPort, error) {
	t.Helper()
	conn, err := dial(m, at, port)
	if err != nil {
		t.Fatalf("%s port %d: %v", at, port, err)
	}
	defer conn.Close()
	if err := ln.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got, err := ln.AcceptTCP()
	if err != nil {
		t.Fatalf("%s port %d: %v", at, port, err)
	}
	defer got.Close()
	return redirect.Original(got)
}

func wantRedirected(t *testing.T, m *lan.Machine, ln *net.TCPListener, at string, port uint16) {
	t.Helper()
	want := netip.AddrPortFrom(netip.MustParseAddr(at), port)
	if got, err := accepted(t, m, ln, at, port); err != nil || got != want {
		t.Errorf("to %v: redirected from %v, %v", want, got, err)
	}
}

func wantDirect(t *testing.T, m *lan.Machine, ln *net.TCPListener, at string, port uint16) {
	t.Helper()
	if got, err := accepted(t, m, ln, at, port); !errors.Is(err, redirect.ErrNotRedirected) {
		t.Errorf("to the listener itself, at %s: redirected from %v, %v; want ErrNotRedirected", at, got, err)
	}
}

func wantNotRedirected(t *testing.T, m *lan.Machine, at string, port uint16) {
	t.Helper()
	conn, err := dial(m, at, port)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("to %s port %d: %v, want a refusal", at, port, err)
	}
}

// TestRulesAreWordsForNft has it read more than the other tests put in force.
func TestRulesAreWordsForNft(t *testing.T) {
	t.Parallel()
	if lan.Apart(t) {
		return
	}
	m := lan.NewMachine(t, "desk")
	for _, r := range []redirect.Rules{
		{Port: 1, ControlPorts: []uint16{21}, Users: []int{os.Getuid(), 1, 65534}},
		{Port: 1, ControlPorts: []uint16{21}, Interfaces: []string{"eth0", "wg-corp.1"}},
		{Port: 1, ControlPorts: []uint16{21}, Users: []int{os.Getuid()}, To: prefixes("10.9.0.1/8", "192.0.2.0/24", "fd00::/8")},
	} {
		m.Do(func() {
			if err := peers.LoadNFT(t.Context(), r.NFTables()); err != nil {
				t.Error(err)
			}
			r.Users = r.Users[:min(1, len(r.Users))] // iptables asks the kernel, which knows no user that isn't mapped into the namespace of the test
			if err := peers.RunIPTables(t.Context(), r.IPTables()); err != nil {
				t.Error(err)
			}
		})
	}
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
