package e2e

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKeepaliveIsOnWhereverFTPPasses asks the kernel about the sockets of both programs in the middle of a transfer: a firewall that forgets an idle
// control connection, or a peer that is gone, must be noticed within minutes.
func TestKeepaliveIsOnWhereverFTPPasses(t *testing.T) {
	t.Parallel()
	server := newPuppet(t)
	tun := culvertCulvertd.open(t, server.FTP, nil, nil)
	d := login(t, tun.connect(t, 0), server.FTP)
	data := tun.connect(t, d.endpoint())
	if err := d.PrintfLine("RETR file"); err != nil {
		t.Fatal(err)
	}
	x := server.next()
	x.say("150 Here it comes")
	d.reply(150)
	x.send([]byte("x"))
	if _, err := io.ReadFull(data, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	want := keepalive{on: 1, idle: 30, interval: 15, count: 4}
	for _, p := range []*program{tun.client, tun.bastion.program} {
		connected := connections(t, p.PID())
		if len(connected) != 3 { // SSH, control, data
			t.Errorf("%s has %d connections, want 3", p.name, len(connected))
		}
		for name, got := range connected {
			if got != want {
				t.Errorf("%s, %s: got %+v, want %+v", p.name, name, got, want)
			}
		}
	}
	close(x.over)
}

// keepalive is how a socket looks for a peer that is gone; times in seconds.
type keepalive struct{ on, idle, interval, count int }

// connections returns the TCP connections of a process.
func connections(t *testing.T, pid int) map[string]keepalive {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(process)
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]keepalive{}
	for _, link := range links {
		to, err := os.Readlink(link)
		number, numberErr := strconv.Atoi(filepath.Base(link))
		if err != nil || numberErr != nil || !strings.HasPrefix(to, "socket:") {
			continue // it may have been closed meanwhile
		}
		fd, err := unix.PidfdGetfd(process, number, 0)
		if err != nil {
			continue
		}
		if k, err := readKeepalive(fd); err == nil {
			found[to] = k
		} else if !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("%s of process %d: %v", to, pid, err)
		}
		unix.Close(fd)
	}
	return found
}

// readKeepalive returns ENOTCONN for a listener, and EOPNOTSUPP for what isn't TCP.
func readKeepalive(fd int) (k keepalive, err error) {
	if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
		return k, unix.EOPNOTSUPP
	}
	if _, err := unix.Getpeername(fd); err != nil {
		return k, err
	}
	for _, o := range []struct {
		level, name int
		to          *int
	}{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, &k.on},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, &k.idle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, &k.interval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, &k.count},
	} {
		value, valueErr := unix.GetsockoptInt(fd, o.level, o.name)
		*o.to = value
		err = errors.Join(err, valueErr)
	}
	return k, err
}

// TestControlConnectionOutlivesALongTransfer has a bastion that closes what is idle, with its patience shortened: for as long as data
// moves, however slowly, the control connection that belongs to it stays, and serves the next transfer.
func TestControlConnectionOutlivesALongTransfer(t *testing.T) {
	t.Parallel()
	const idle = time.Second
	for _, p := range []path{culvertCulvertd, sshCulvertd} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			server := newPuppet(t)
			tun := p.open(t, server.FTP, nil, nil, "ChannelTimeout direct-tcpip=1s", "UnusedConnectionTimeout 1s")
			d := login(t, tun.connect(t, 0), server.FTP)
			data := tun.connect(t, d.endpoint())
			if err := d.PrintfLine("RETR file"); err != nil {
				t.Fatal(err)
			}
			x := server.next()
			x.say("150 Here it comes")
			d.reply(150)
			for began := time.Now(); time.Since(began) < 3*idle; {
				x.send([]byte("x"))
				if _, err := io.ReadFull(data, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(idle / 10) // this is how slow it is
			}
			x.data.Close()
			x.say("226 Done")
			if rest, err := io.ReadAll(data); err != nil || len(rest) > 0 {
				t.Errorf("got %q, %v, want an end in order", rest, err)
			}
			d.reply(226)
			close(x.over)
			d.command(200, "NOOP")

			// And what is idle indeed is closed, or the test proves nothing.
			if _, err := io.Copy(io.Discard, d.R); err != nil && !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("an idle control connection: got %v, want its end", err)
			}
		})
	}
}
