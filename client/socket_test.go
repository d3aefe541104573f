package client

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// inDir is a folder with a short name, as that of a socket must be.
func inDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "culvert-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

// socketServer is a server at a Unix socket that says how much it was sent.
func socketServer(t *testing.T) (path string) {
	t.Helper()
	path = inDir(t, "server")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			got, err := io.ReadAll(c) // until the client's end
			fmt.Fprintf(c, "got %d bytes, %v", len(got), err)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-ended })
	return path
}

// wantTold sends c a MiB and its end, and wants to be told so.
func wantTold(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if _, err := c.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "got 1048576 bytes, <nil>" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func dialSocket(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("unix", path, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestUnixSocketsAreForwardedBothWays(t *testing.T) {
	server := socketServer(t)
	for _, remote := range []bool{false, true} {
		for _, test := range []struct {
			name string
			Forward
		}{
			{"a port to a socket", Forward{Bind: "127.0.0.1", HostSocket: server}},
			{"a socket to a socket", Forward{Socket: inDir(t, "a"), HostSocket: server}},
			{"a socket to a port", Forward{Socket: inDir(t, "b")}},
		} {
			t.Run(fmt.Sprintf("%s, remote %t", test.name, remote), func(t *testing.T) {
				f := test.Forward
				if f.HostSocket == "" {
					to := destination(t, func(c *net.TCPConn) {
						got, err := io.ReadAll(c)
						fmt.Fprintf(c, "got %d bytes, %v", len(got), err)
					})
					f.Host, f.HostPort = to.Host, to.HostPort
				}
				_, cfg := bastion(t)
				if remote {
					cfg.RemoteForwards = []Forward{f}
				} else {
					cfg.Forwards = []Forward{f}
				}
				r := start(t, cfg)
				if f.Socket == "" {
					wantTold(t, dial(t, r.ready()))
					return
				}
				if line := <-r.notices; !strings.Contains(line, f.Target()+" is at "+f.Socket) {
					t.Errorf("got %q, want where it is", line)
				}
				for range 2 {
					wantTold(t, dialSocket(t, f.Socket))
				}
				if info, err := os.Stat(f.Socket); err != nil || !remote && info.Mode().Perm() != 0o600 {
					t.Errorf("the socket has mode %v, %v; want 0600", info.Mode(), err)
				}
				r.stop()
				_ = r.end()
				if _, err := os.Lstat(f.Socket); err == nil && !remote {
					t.Error("the socket is left behind")
				}
			})
		}
	}
}

func TestSocketOfABastionThatHasNone(t *testing.T) {
	_, cfg := bastion(t, "AllowStreamLocalForwarding no")
	cfg.ExitOnForwardFailure = true
	cfg.RemoteForwards = []Forward{{Socket: "/tmp/culvert-never", HostSocket: "/tmp/culvert-never"}}
	r := start(t, cfg)
	if err := r.end(); err == nil || !strings.Contains(err.Error(), "AllowStreamLocalForwarding") {
		t.Errorf("got %v, want what to ask for", err)
	}

	path := inDir(t, "s")
	cfg.RemoteForwards, cfg.Forwards = nil, []Forward{{Socket: path, HostSocket: "/tmp/culvert-never"}}
	r = start(t, cfg)
	<-r.notices
	c := dialSocket(t, path)
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil { // there is no reset
		t.Errorf("got %q, %v", got, err)
	}
	r.log.wait(t, "the bastion can't reach /tmp/culvert-never")
}

func TestWhatIsThereAlreadyIsKept(t *testing.T) {
	stale := inDir(t, "stale")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	file := inDir(t, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path   string
		unlink bool
		err    string
	}{
		{stale, false, "there is something by that name"},
		{file, true, "is no socket"},
		{stale, true, ""},
	} {
		cfg := NewConfig("", "")
		cfg.SocketUnlink = test.unlink
		ls, err := listen(context.Background(), cfg, Forward{Socket: test.path, Host: "h", HostPort: 1})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s, unlink %t: got %v, want %q", test.path, test.unlink, err, test.err)
			}
			if _, err := os.Lstat(test.path); err != nil {
				t.Errorf("%s is gone: %v", test.path, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = ls[0].Close()
	}
}

func TestSocketHasThePermissionsThatTheMaskLeaves(t *testing.T) {
	for mask, want := range map[string]fs.FileMode{"0177": 0o600, "0111": 0o666, "0": 0o777} {
		cfg := NewConfig("", "")
		if err := cfg.Set("StreamLocalBindMask", mask); err != nil {
			t.Fatal(err)
		}
		path := inDir(t, "s")
		ls, err := listen(context.Background(), cfg, Forward{Socket: path, Host: "h", HostPort: 1})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: got %v, %v; want %v", mask, info.Mode(), err, want)
		}
		// Somebody else has taken its place.
		if err := os.Rename(path, path+"2"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = ls[0].Close()
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("what has taken the socket's place is gone: %v", err)
		}
	}
}

// An FTP server behind a Unix socket runs on that machine, and so do its data ports.
func TestFTPServerBehindASocket(t *testing.T) {
	server := peers.TestFTP(t, peers.PureFTPD, peers.FTPConfig{Root: t.TempDir()})
	path := inDir(t, "ftp")
	_, inner := bastion(t)
	inner.Forwards = []Forward{{Socket: path, Host: server.Addr.Addr().String(), HostPort: server.Addr.Port()}}
	<-start(t, inner).notices
	for _, remote := range []bool{false, true} {
		_, cfg := bastion(t)
		f := []Forward{{Kind: FTP, Bind: "127.0.0.1", HostSocket: path}}
		if remote {
			cfg.RemoteForwards = f
		} else {
			cfg.Forwards = f
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		target := server.Target()
		at := start(t, cfg).ready()
		if err := target.Addr.UnmarshalText([]byte(at)); err != nil {
			t.Fatal(err)
		}
		transfers(ctx, t, peers.Curl, server, target)
		cancel()
	}
}
