package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/policy"
)

// proxied is a bastion that believes its proxy on 127.0.0.1.
func proxied(t *testing.T) *bastion {
	b := newBastion(t)
	b.cfg.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	return b
}

// header is what a proxy says for a client, in this version of the protocol.
func header(t *testing.T, version byte, client string) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(version,
		net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client)), net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:22")))
	text, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// through connects by the proxy, which says this first.
func (b *bastion) through(says string) net.Conn {
	b.t.Helper()
	c := b.connect()
	if _, err := io.WriteString(c, says); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestClientBehindAProxyIsKnownByItsOwnAddress(t *testing.T) {
	tlv, err := proxyproto.HeaderProxyFromAddrs(2, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 3), Port: 3}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 22}).Format()
	if err != nil {
		t.Fatal(err)
	}
	tlv[15] += 7
	tlv = append(tlv, 0xea, 0, 4, 'v', 'p', 'c', 'e') // a TLV
	for _, tt := range []struct{ says, client string }{
		{"PROXY TCP4 203.0.113.1 192.0.2.1 1 22\r\n", "203.0.113.1:1"},
		{"PROXY TCP6 2001:db8::1 2001:db8::2 2 22\r\n", "[2001:db8::1]:2"},
		{header(t, 1, "203.0.113.7:7000"), "203.0.113.7:7000"},
		{header(t, 2, "203.0.113.8:8000"), "203.0.113.8:8000"},
		{header(t, 2, "[2001:db8::9]:9000"), "[2001:db8::9]:9000"},
		{string(tlv), "203.0.113.3:3"},
	} {
		b := proxied(t)
		var asked []netip.Addr
		b.authFor = func(s policy.Subject) auth.Settings { asked = append(asked, s.Addr); return b.auth }
		key, _ := b.user("alice")
		b.start()
		c := b.through(tt.says)
		client, _, _, err := ssh.NewClientConn(c, b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
		if err != nil {
			t.Errorf("%q: %v", tt.says, err)
			continue
		}
		client.Close()
		b.events.wait("connection.opened", "client", tt.client, "proxy", c.LocalAddr().String())
		b.events.wait("authentication", "client", tt.client, "result", "accepted")
		b.events.wait("connection.closed", "client", tt.client)
		for _, addr := range asked {
			if want := netip.MustParseAddrPort(tt.client).Addr(); addr != want {
				t.Errorf("%q: the policy was asked of %v, want %v", tt.says, addr, want)
			}
		}
	}
}

func TestHeaderTogetherWithTheIdentificationLosesNothing(t *testing.T) {
	b := proxied(t)
	b.start()
	c := b.through("PROXY TCP4 203.0.113.1 192.0.2.1 1 22\r\nSSH-1.5-old\r\n")
	if got := gone(t, c); !strings.Contains(got, "Protocol major versions differ.") {
		t.Errorf("got %q, want the identification refused", got)
	}
	b.events.wait("connection.closed", "client", "203.0.113.1:1", "reason", "SSH-1.5-old")
}

func TestProxyMustSendAHeader(t *testing.T) {
	for _, says := range []string{
		"SSH-2.0-OpenSSH_9.2\r\n",
		"PROXY TCP4 203.0.113.1\r\n",
		"PROXY TCP4 203.0.113.1 192.0.2.1 1 22" + strings.Repeat(" ", 200) + "\r\n",
		"PROXY UDP4 203.0.113.1 192.0.2.1 1 22\r\n",
		"PROXY TCP4 2001:db8::1 192.0.2.1 1 22\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + strings.Repeat("x", 2*maxHeader),
		"\r\n\r\n\x00\r\nQUIT\n\x21\x12\x00\x0c" + strings.Repeat("x", 12), // a datagram
		"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("x", 216),
		"\r\n\r\n\x00\r\nQUIT\n\x21\x00\x00\x00", // a client that it doesn't know
		"\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x0c" + strings.Repeat("x", 12),
	} {
		b := proxied(t)
		b.start()
		if got := gone(t, b.through(says)); got != "" {
			t.Errorf("%.40q: got %q, want nothing", says, got)
		}
		b.events.wait("connection.refused", "client", "127.0.0.1", "reason", "no PROXY header")
		if got := b.events.count("connection.opened"); got != 0 {
			t.Errorf("%.40q: it was opened", says)
		}
	}
}

func TestProxyThatConnectsForItself(t *testing.T) {
	for _, says := range []string{"PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		b := proxied(t)
		b.cfg.Penalties = sshdPenalties()
		b.cfg.Penalties.Min = 0
		b.start()
		for range 2 { // it checks again and again and never logs in
			c := b.through(says)
			line := make([]byte, len("SSH-2.0-culvert_test\r\n"))
			if _, err := io.ReadFull(c, line); err != nil || !bytes.HasPrefix(line, []byte("SSH-2.0-")) {
				t.Errorf("%q: got %q, %v, want our identification", says, line, err)
			}
			c.Close()
			b.events.wait("connection.closed", "client", c.LocalAddr().String())
		}
		if got := b.Penalised(); len(got) != 0 {
			t.Errorf("%q: penalised: %+v, want nobody", says, got)
		}
	}
}

// A client of the network that the proxies are in is none of them.
func TestClientFromTheProxiesNetworkIsPenalised(t *testing.T) {
	b := newBastion(t)
	b.cfg.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	b.cfg.Penalties = sshdPenalties()
	b.cfg.Penalties.Min = 0
	b.start()
	b.through("PROXY TCP4 127.0.0.9 127.0.0.1 1 22\r\nnonsense\r\n")
	b.events.wait("penalty", "source", "127.0.0.9/32")
	if got := gone(t, b.through("PROXY TCP4 127.0.0.9 127.0.0.1 2 22\r\n")); got != wordsPenalty {
		t.Errorf("again: got %q, want %q", got, wordsPenalty)
	}
}

func TestHeaderOfAnUnlistedClientIsNotBelieved(t *testing.T) {
	b := newBastion(t)
	b.cfg.ProxyFrom = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	b.start()
	c := b.through("PROXY TCP4 203.0.113.1 192.0.2.1 1 22\r\n")
	if got := gone(t, c); !strings.Contains(got, "Invalid SSH identification string.") {
		t.Errorf("got %q, want it refused", got)
	}
	b.events.wait("connection.closed", "client", c.LocalAddr().String(), "reason", "not an SSH client")
}

func TestPenaltiesAndLimitsAreTheClients(t *testing.T) {
	b := proxied(t)
	b.cfg.Penalties = sshdPenalties()
	b.cfg.Penalties.Min = 0
	b.cfg.PerSourceMaxStartups = 1
	key, _ := b.user("alice")
	b.start()
	b.through("PROXY TCP4 203.0.113.1 192.0.2.1 1 22\r\nnonsense\r\n")
	b.events.wait("penalty", "source", "203.0.113.1/32")
	if got := gone(t, b.through("PROXY TCP4 203.0.113.1 192.0.2.1 2 22\r\n")); got != wordsPenalty {
		t.Errorf("the same client: got %q, want %q", got, wordsPenalty)
	}
	b.events.wait("connection.refused", "client", "203.0.113.1:2", "proxy", "127.0.0.1", "reason", "PerSourcePenalties")

	b.through("PROXY TCP4 203.0.113.2 192.0.2.1 1 22\r\n")
	b.events.wait("connection.opened", "client", "203.0.113.2:1")
	if got := gone(t, b.through("PROXY TCP4 203.0.113.2 192.0.2.1 2 22\r\n")); got != wordsStartups {
		t.Errorf("PerSourceMaxStartups: got %q, want %q", got, wordsStartups)
	}
	c := b.through("PROXY TCP4 203.0.113.3 192.0.2.1 1 22\r\n")
	if _, _, _, err := ssh.NewClientConn(c, b.addr, b.clientConfig("alice", ssh.PublicKeys(key))); err != nil {
		t.Errorf("another client: %v", err)
	}
}

func TestHeadersThatNeverComeAreBounded(t *testing.T) {
	b := proxied(t)
	b.cfg.MaxStartups = Startups{3, 100, 3}
	b.cfg.LoginGraceTime = time.Second // of which headers get no more
	b.start()
	var waiting []net.Conn
	for range 3 {
		waiting = append(waiting, b.through("PRO"))
	}
	if got := gone(t, b.connect()); got != wordsStartups {
		t.Errorf("got %q, want %q", got, wordsStartups)
	}
	for _, c := range waiting {
		if got := gone(t, c); got != "" {
			t.Errorf("got %q, want nothing", got)
		}
	}
	if got := gone(t, b.through("PROXY TCP4 203.0.113.2 192.0.2.1 2 22\r\nx\r\n")); !strings.Contains(got, "SSH-2.0") {
		t.Errorf("afterwards: got %q, want our identification", got)
	}
	// Who still waits when the server stops is gone as well.
	last := b.through("PRO")
	for deadline := time.Now().Add(patience); b.waitingForHeaders() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for a header")
		}
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone(t, last)
}

func (b *bastion) waitingForHeaders() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.nameless)
}

func FuzzReadHeader(f *testing.F) {
	for _, seed := range []string{
		"PROXY TCP4 203.0.113.1 192.0.2.1 1 22\r\nSSH-2.0-x\r\n", "PROXY UNKNOWN\r\n", "SSH-2.0-x\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x01\xc0\x00\x02\x01\x00\x01\x00\x16rest", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		client, conn, err := readHeader(&said{Reader: bytes.NewReader(sent)}, time.Time{})
		if err != nil {
			return
		}
		rest, err := io.ReadAll(conn)
		if err != nil || !bytes.HasSuffix(sent, rest) || len(rest) == len(sent) {
			t.Errorf("after the header: %q, %v, want the rest of %q", rest, err, sent)
		}
		if len(sent)-len(rest) > maxHeader {
			t.Errorf("the header is %d bytes long, want no more than %d", len(sent)-len(rest), maxHeader)
		}
		if client.IsValid() && conn.RemoteAddr().String() != fmt.Sprint(client) {
			t.Errorf("the connection is from %v, want %v", conn.RemoteAddr(), client)
		}
	})
}

// said is a connection on which this has been said.
type said struct {
	net.Conn
	io.Reader
}

func (s *said) Read(p []byte) (int, error)      { return s.Reader.Read(p) }
func (s *said) SetReadDeadline(time.Time) error { return nil }
func (s *said) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
