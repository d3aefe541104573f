package e2e

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// answering is a TCP server that sends a word and its end to whoever ends his data.
func answering(t *testing.T, word string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(io.Discard, c)
			io.WriteString(c, word)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// ask ends its data and returns what the answer is, or why there is none.
func ask(at netip.AddrPort) (string, error) {
	c, err := net.DialTimeout("tcp", at.String(), patience)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(c)
	return string(got), err
}

// free returns a port on which nobody listens but who names it.
func free(t *testing.T) string {
	t.Helper()
	return strconv.Itoa(int(peers.TestPort(t)))
}

// bound waits for a listener and returns its addresses.
func (b *bastion) bound() []netip.AddrPort {
	b.t.Helper()
	var all []netip.AddrPort
	for _, word := range strings.Split(b.await(`"event":"listen.opened".*"bound":\[("[^,]*"(?:,"[^,]*")*)\]`)[1], ",") {
		all = append(all, netip.MustParseAddrPort(strings.Trim(word, `"`)))
	}
	return all
}

func TestRemoteForwardingToOpenSSH(t *testing.T) {
	target := answering(t, "from the client's side")
	for _, tt := range []struct {
		gateway string // GatewayPorts
		host    string // of -R
		want    []string
	}{
		{"no", "", []string{"127.0.0.1", "::1"}},
		{"no", "127.0.0.1:", []string{"127.0.0.1"}},
		{"no", "127.0.0.5:", []string{"127.0.0.1", "::1"}},
		{"no", "*:", []string{"127.0.0.1", "::1"}},
		{"clientspecified", "127.0.0.5:", []string{"127.0.0.5"}},
		{"clientspecified", "[::1]:", []string{"::1"}},
		{"clientspecified", "localhost:", []string{"127.0.0.1", "::1"}},
		{"yes", "127.0.0.5:", []string{"0.0.0.0", "::"}},
	} {
		for _, port := range []string{"0", free(t)} {
			t.Run(tt.gateway+","+tt.host+port, func(t *testing.T) {
				t.Parallel()
				b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "PermitListen any", "GatewayPorts "+tt.gateway)
				peers.TestSSH(t, peers.SSHConfig{
					Server: b.addr, User: user, Identity: b.key.Path,
					Options: []string{"RemoteForward=" + tt.host + port + " " + target.String()},
				})
				got := b.bound()
				var hosts []string
				for _, at := range got {
					hosts = append(hosts, at.Addr().String())
					if at.Port() != got[0].Port() || port != "0" && strconv.Itoa(int(at.Port())) != port {
						t.Errorf("bound to %v, want one port, %s", got, port)
					}
					to := at
					if at.Addr().IsUnspecified() { // of which the loopback is a part
						to = netip.AddrPortFrom(map[bool]netip.Addr{
							true: netip.MustParseAddr("127.0.0.1"), false: netip.IPv6Loopback(),
						}[at.Addr().Is4()], at.Port())
					}
					if answer, err := ask(to); answer != "from the client's side" || err != nil {
						t.Errorf("%v answers %q, %v", to, answer, err)
					}
				}
				if !slices.Equal(hosts, tt.want) {
					t.Errorf("bound to %v, want %v", hosts, tt.want)
				}
			})
		}
	}
}

func TestRemoteForwardingCancelledByOpenSSH(t *testing.T) {
	target := answering(t, "hello")
	b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), "PermitListen any")
	folder, err := os.MkdirTemp("", "culvert-mux-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "mux")
	fixed := free(t)
	peers.TestSSH(t, peers.SSHConfig{
		Server: b.addr, User: user, Identity: b.key.Path,
		Options: []string{"ControlMaster=yes", "ControlPath=" + socket},
	})
	control := func(word, forward string) string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, "ssh", "-F", "none", "-S", socket, "-O", word, "-R", forward, "bastion").CombinedOutput()
		if err != nil {
			t.Fatalf("ssh -O %s -R %s: %v: %s", word, forward, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, forward := range []string{fixed + ":" + target.String(), "0:" + target.String()} {
		chosen := control("forward", forward)
		port := fixed
		if chosen != "" {
			port = chosen
		}
		at := netip.MustParseAddrPort("127.0.0.1:" + port)
		if answer, err := ask(at); answer != "hello" || err != nil {
			t.Errorf("-R %s: %v answers %q, %v", forward, at, answer, err)
		}
		control("cancel", forward)
		b.await(`"event":"listen.closed".*cancelled by the client`)
		if answer, err := ask(at); err == nil {
			t.Errorf("-R %s: after the cancel, %v answers %q", forward, at, answer)
		}
	}
}

func TestRemoteForwardingDeniedToOpenSSH(t *testing.T) {
	port := free(t)
	for _, tt := range []struct {
		line, want string
	}{
		{"PermitListen localhost:" + port, `"target":"localhost:0".*"reason":"not in PermitListen"`},
		{"PermitListen none", `"rule":"[^"]*sshd_config:5".*"reason":"not in PermitListen"`},
		{"AllowTcpForwarding local", `"rule":"[^"]*sshd_config:5".*"reason":"AllowTcpForwarding`},
		{"DisableForwarding yes", `"rule":"[^"]*sshd_config:5".*"reason":"DisableForwarding`},
	} {
		t.Run(tt.line, func(t *testing.T) {
			t.Parallel()
			b := startCulvertd(t, netip.MustParseAddr("127.0.0.1"), tt.line, "PermitListen any")
			s, err := peers.StartSSH(t.Context(), peers.SSHConfig{
				Server: b.addr, User: user, Identity: b.key.Path,
				Options: []string{"RemoteForward=0 127.0.0.1:1"},
			})
			if err == nil { // it was ready before it knew
				defer s.Close()
				select {
				case <-s.Done(): // ExitOnForwardFailure
				case <-time.After(patience):
					t.Error("ssh goes on without its forwarding")
				}
				if !strings.Contains(s.Log(), "remote port forwarding failed") {
					t.Errorf("ssh says %q", s.Log())
				}
			}
			b.await(`"event":"listen.refused".*` + tt.want)
		})
	}
}

func TestRemoteForwardingNarrowedByTheKey(t *testing.T) {
	target := answering(t, "hello")
	allowed, other := free(t), free(t)
	file := filepath.Join(t.TempDir(), "keys")
	b := startCulvertd(
		t, netip.MustParseAddr("127.0.0.1"), "PermitListen any",
		"Match User "+user, "AuthorizedKeysFile "+file,
	)
	line := `permitlisten="localhost:` + allowed + `" ` + string(b.key.Authorized())
	if err := os.WriteFile(file, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	peers.TestSSH(t, peers.SSHConfig{
		Server: b.addr, User: user, Identity: b.key.Path,
		Options: []string{
			"ExitOnForwardFailure=no", // the first word counts, and peers' own is yes
			"RemoteForward=" + allowed + " " + target.String(), "RemoteForward=" + other + " " + target.String(),
		},
	})
	b.await(`"event":"listen.refused".*"target":"localhost:` + other + `".*"rule":"` + file + `:1"`)
	b.await(`"event":"listen.opened".*"target":"localhost:` + allowed + `"`)
}
