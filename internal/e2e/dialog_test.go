package e2e

import (
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// dialog is an FTP control connection in the hands of a test.
type dialog struct {
	t *testing.T
	*textproto.Conn
}

// login logs in on a fresh control connection to server.
func login(t *testing.T, conn io.ReadWriteCloser, server *peers.FTP) *dialog {
	t.Helper()
	d := &dialog{t, textproto.NewConn(conn)}
	if _, _, err := d.ReadResponse(220); err != nil {
		t.Fatalf("greeting: %v", err)
	}
	d.command(331, "USER "+server.User)
	d.command(230, "PASS "+server.Password)
	return d
}

// command sends a command and returns the reply, which must have the code.
func (d *dialog) command(code int, line string) string {
	d.t.Helper()
	if err := d.PrintfLine("%s", line); err != nil {
		d.t.Fatalf("%s: %v", line, err)
	}
	return d.reply(code)
}

func (d *dialog) reply(code int) string {
	d.t.Helper()
	_, text, err := d.ReadResponse(code)
	if err != nil {
		d.t.Fatalf("want reply %d: %v", code, err)
	}
	return text
}

// endpoint asks for a data port of the peer by EPSV.
func (d *dialog) endpoint() uint16 {
	d.t.Helper()
	text := d.command(229, "EPSV")
	m := regexp.MustCompile(`\(\|\|\|(\d+)\|\)`).FindStringSubmatch(text)
	if m == nil {
		d.t.Fatalf("no port in 229 %q", text)
	}
	port, err := strconv.ParseUint(m[1], 10, 16)
	if err != nil {
		d.t.Fatal(err)
	}
	return uint16(port)
}

// dial connects to addr, for no longer than anything here may take.
func dial(t *testing.T, addr netip.AddrPort) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}
