package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
)

// HAProxyConfig says what haproxy is to do.
type HAProxyConfig struct {
	To   netip.AddrPort // the server
	From netip.Addr     // where it connects from
	Send string         // "send-proxy" or "send-proxy-v2"
}

// HAProxy is a running haproxy that passes TCP connections on.
type HAProxy struct {
	Addr   netip.AddrPort
	home   string
	cmd    *exec.Cmd
	cancel context.CancelFunc
}

// StartHAProxy starts haproxy on a free port of 127.0.0.1. The caller must close it.
func StartHAProxy(c HAProxyConfig) (*HAProxy, error) {
	path, err := Find("haproxy")
	if err != nil {
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	defer l.Close() // haproxy has its own descriptor
	tcp := l.(*net.TCPListener)
	inherited, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	defer inherited.Close()
	home, err := os.MkdirTemp("", "culvert-haproxy-")
	if err != nil {
		return nil, fmt.Errorf("start haproxy: %w", err)
	}
	conf := filepath.Join(home, "haproxy.cfg")
	text := lines(
		"defaults", "  mode tcp", "  timeout connect 10s", "  timeout client 1m", "  timeout server 1m",
		"listen bastion", "  bind fd@3", fmt.Sprintf("  server culvertd %s source %s %s", c.To, c.From, c.Send),
	)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("start haproxy: %w", err), os.RemoveAll(home))
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &HAProxy{Addr: tcp.Addr().(*net.TCPAddr).AddrPort(), home: home, cancel: cancel}
	h.cmd = command(ctx, home, path, "-db", "-q", "-f", conf)
	h.cmd.ExtraFiles = []*os.File{inherited}
	if err := h.cmd.Start(); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("start haproxy: %w", err), os.RemoveAll(home))
	}
	return h, nil
}

// Close ends haproxy and its connections.
func (h *HAProxy) Close() error {
	h.cancel()
	_ = h.cmd.Wait() // it was killed
	return os.RemoveAll(h.home)
}
