package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// ledger is an audit log that remembers its last line that answers something.
type ledger struct {
	mu   sync.Mutex
	last entry
}

// entry is what an audit line says.
type entry struct {
	Event   string
	Rule    string
	Reason  string
	Result  string
	FTP     string
	Address netip.AddrPort
	Bound   []netip.AddrPort
}

func (l *ledger) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return 0, err
		}
		if slices.Contains([]string{"authentication", "channel.opened", "channel.refused", "listen.opened", "listen.refused"}, e.Event) {
			l.mu.Lock()
			l.last = e
			l.mu.Unlock()
		}
	}
	return len(lines), nil
}

func (l *ledger) take() entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.last = entry{} }()
	return l.last
}

// bastion is a daemon in this process, with a client's key and places to connect to.
type bastion struct {
	*daemon
	dir    string
	ledger *ledger
	signer ssh.Signer
	ports  []string // of the places: two addresses listen on the first, one on the second, none on the third
}

func newBastion(t *testing.T) *bastion {
	t.Helper()
	b := &bastion{dir: t.TempDir(), ledger: &ledger{}}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.signer, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	b.write(t, "host_key", string(pem.EncodeToMemory(block)))
	for user, groups := range map[string][]string{"alice": {"finance", "staff"}, "bob": {"staff"}} {
		if err := auth.SetGroups(b.path("accounts"), user, groups); err != nil {
			t.Fatal(err)
		}
	}
	b.places(t)
	b.write(t, "sshd_config", b.config("PermitOpen none\n"))

	b.daemon = &daemon{
		options: options{config: b.path("sshd_config")}, failed: make(chan error),
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), events: audit.New(b.ledger, time.Now),
	}
	g, err := read(b.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.start(&g, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.shutdown(signals{}); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return b
}

func (b *bastion) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bastion) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// places listens where connections may go; whoever comes is sent away.
func (b *bastion) places(t *testing.T) {
	t.Helper()
	serve := func(addr string) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		})
		t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	}
	for range 3 {
		b.ports = append(b.ports, strconv.Itoa(int(peers.TestPort(t))))
	}
	serve("127.0.0.1:" + b.ports[0])
	serve("127.0.0.2:" + b.ports[0])
	serve("127.0.0.1:" + b.ports[1])
}

// config is the whole file around the lines about the policy.
func (b *bastion) config(rules string) string {
	return fmt.Sprintf(`ListenAddress 127.0.0.1:0
HostKey %s
AuthorizedKeysFile %s
PasswordFile %s
ConnectTimeout 2
PerSourcePenalties no
ControlSocket none
%s`, b.path("host_key"), b.path("%u.keys"), b.path("accounts"), rules)
}

// addr is where it listens.
func (b *bastion) addr() string { return b.sockets[0].listener.Addr().String() }

// login connects as a user, from an address of the loopback.
func (b *bastion) login(t *testing.T, user string, from netip.Addr) (*ssh.Client, error) {
	t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: patience}
	nc, err := d.Dial("tcp", b.addr())
	if err != nil {
		t.Fatal(err)
	}
	conn, channels, requests, err := ssh.NewClientConn(nc, b.addr(), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(b.signer)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience,
	})
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	return ssh.NewClient(conn, channels, requests), nil
}

// askOpen asks for a direct-tcpip channel. It reports whether the policy permits it: what it permits may still not answer.
func askOpen(t *testing.T, c *ssh.Client, host string, port uint16) bool {
	t.Helper()
	ch, requests, err := c.OpenChannel("direct-tcpip", ssh.Marshal(struct {
		Host           string
		Port           uint32
		OriginatorHost string
		OriginatorPort uint32
	}{host, uint32(port), "127.0.0.1", 1}))
	var refused *ssh.OpenChannelError
	switch {
	case err == nil:
		go ssh.DiscardRequests(requests)
		_ = ch.Close()
		return true
	case !errors.As(err, &refused):
		t.Fatalf("open %s:%d: %v", host, port, err)
	}
	return refused.Reason == ssh.ConnectionFailed
}

// askListen asks for a remote forwarding, and gives it back. It reports what the server said.
func askListen(t *testing.T, c *ssh.Client, host string, port uint16) bool {
	t.Helper()
	return listens(t, c, "tcpip-forward", host, port)
}

// askListenFTP is askListen for connections that are read as FTP.
func askListenFTP(t *testing.T, c *ssh.Client, host string, port uint16) bool {
	t.Helper()
	if ok, _, err := c.SendRequest("end-of-data@culvert", true, nil); !ok || err != nil {
		t.Fatalf("end-of-data@culvert: %v, %v", ok, err)
	}
	return listens(t, c, "ftp-forward@culvert", host, port)
}

func listens(t *testing.T, c *ssh.Client, request, host string, port uint16) bool {
	t.Helper()
	type forward struct {
		Host string
		Port uint32
	}
	ok, reply, err := c.SendRequest(request, true, ssh.Marshal(forward{host, uint32(port)}))
	if err != nil {
		t.Fatalf("listen on %q:%d: %v", host, port, err)
	}
	if !ok {
		return false
	}
	bound := struct{ Port uint32 }{uint32(port)}
	if port == 0 {
		if err := ssh.Unmarshal(reply, &bound); err != nil {
			t.Fatal(err)
		}
	}
	if ok, _, err := c.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(forward{host, bound.Port})); !ok || err != nil {
		t.Fatalf("cancel %q:%d: %v, %v", host, bound.Port, ok, err)
	}
	return true
}
