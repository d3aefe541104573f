package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// line is a long line in a time of its own: what is sent in either direction arrives at the next trip, and a trip is made when both ends have
// nothing more to say. So the number of trips is how many times the length of the line somebody has to wait, on any machine.
type line struct {
	mu      sync.Mutex
	parcels []parcel
	last    time.Time // when the last of them came
	trips   int
	sent    chan struct{} // has something in it if there is a parcel
	done    chan struct{}
}

// parcel is what is on its way; without data it is an end.
type parcel struct {
	to   *net.TCPConn
	data []byte
}

// quiet is how long nothing is sent before a trip. On a machine that is slower than that, a trip may be made in two.
const quiet = 20 * time.Millisecond

func newLine() *line { return &line{sent: make(chan struct{}, 1), done: make(chan struct{})} }

// open starts the line for connections to target and returns where its near end is.
func (l *line) open(t *testing.T, target netip.AddrPort) netip.AddrPort {
	t.Helper()
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(target.Addr(), 0)))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(l.travel)
	running.Go(func() {
		for {
			near, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			far, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(target))
			if err != nil {
				near.Close()
				continue
			}
			running.Go(func() { l.load(far, near) })
			running.Go(func() { l.load(near, far) })
		}
	})
	t.Cleanup(func() { // after the programs at both ends
		ln.Close()
		close(l.done)
		running.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// load takes what src sends for dst.
func (l *line) load(dst, src *net.TCPConn) {
	for {
		buf := make([]byte, 64<<10)
		n, err := src.Read(buf)
		l.mu.Lock()
		if n > 0 {
			l.parcels = append(l.parcels, parcel{dst, buf[:n]})
		}
		if err != nil {
			l.parcels = append(l.parcels, parcel{to: dst})
		}
		l.last = time.Now()
		l.mu.Unlock()
		select {
		case l.sent <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// travel makes the trips.
func (l *line) travel() {
	for {
		select {
		case <-l.sent:
		case <-l.done:
			return
		}
		for _, p := range l.trip() {
			if p.data == nil {
				p.to.CloseWrite()
			} else if _, err := p.to.Write(p.data); err != nil {
				p.to.Close()
			}
		}
	}
}

// trip waits until both ends wait, and returns what is to arrive.
func (l *line) trip() []parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := quiet; rest > 0; rest = quiet - time.Since(l.last) {
		l.mu.Unlock()
		time.Sleep(rest)
		l.mu.Lock()
	}
	all := l.parcels
	l.parcels = nil
	if len(all) > 0 {
		l.trips++
	}
	return all
}

func (l *line) made() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trips
}

// fetch is a client that fetches files, and tells of each.
type fetch struct {
	client  string
	answers int // that it waits for with each file
	run     func(t *testing.T, target peers.Target, files []string, got func()) error
}

var fetches = []fetch{
	{"curl", 3, fetchByCurl}, // EPSV, SIZE, RETR
	{"Go", 2, fetchByGo},     // EPSV, RETR
}

func fetchByCurl(t *testing.T, target peers.Target, files []string, got func()) error {
	var config bytes.Buffer
	fmt.Fprintf(&config, "user = \"%s:%s\"\n", target.User, target.Password)
	if target.SOCKS.IsValid() {
		fmt.Fprintf(&config, "socks5-hostname = %s\n", target.SOCKS)
	}
	for _, f := range files {
		fmt.Fprintf(&config, "url = \"ftp://%s/%s\"\noutput = /dev/null\n", target.Addr, f)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "curl", "-q", "-sS", "--fail-early", "--write-out", "%{stderr}%{size_download}\\n", "--config", "-")
	cmd.Stdin = &config
	out, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for s := bufio.NewScanner(out); s.Scan(); got() {
		if s.Text() != "4096" {
			t.Errorf("curl got %s bytes, want 4096", s.Text())
		}
	}
	return cmd.Wait()
}

func fetchByGo(t *testing.T, target peers.Target, files []string, got func()) error {
	client, err := ftp.Dial(target.Addr.String(), ftp.DialWithTimeout(patience))
	if err != nil {
		return err
	}
	defer func() { _ = client.Quit() }()
	if err := client.Login(target.User, target.Password); err != nil {
		return err
	}
	for _, f := range files {
		r, err := client.Retr(f)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil || len(data) != 4096 {
			t.Errorf("got %d bytes, %v; want 4096", len(data), err)
		}
		if err := r.Close(); err != nil {
			return err
		}
		got()
	}
	return nil
}

// TestTripsForASmallFile counts how long a client waits for the next of several files, in trips over the line between culvert and the bastion: as
// often as it must hear an answer before it can say the next thing, and not once more for the data connection.
func TestTripsForASmallFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var files []string
	for i := range 8 {
		files = append(files, fmt.Sprintf("f%d", i))
		if err := os.WriteFile(filepath.Join(root, files[i]), make([]byte, 4096), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	for _, r := range []route{{path: culvertCulvertd}, {path: culvertSSHD}, {path: culvertCulvertd, dynamic: true}} {
		for _, f := range fetches {
			if r.dynamic && f.client != "curl" {
				continue
			}
			t.Run(fmt.Sprintf("%s/dynamic %t/%s", r.path, r.dynamic, f.client), func(t *testing.T) {
				t.Parallel()
				r.line = newLine()
				f.count(t, r.open(t, server).target, files, r)
			})
		}
	}
}

func (f fetch) count(t *testing.T, target peers.Target, files []string, r route) {
	want := 2 * f.answers
	if r.path == culvertSSHD {
		want += 2 // it acknowledges the end of the file late, and vsftpd says 226 after that, or after the client's end
	}
	var trips []int
	before := r.line.made()
	err := f.run(t, target, files, func() {
		now := r.line.made()
		trips = append(trips, now-before)
		before = now
	})
	if err != nil || len(trips) != len(files) {
		t.Fatalf("got %d files, %v; want %d", len(trips), err, len(files))
	}
	sorted := slices.Sorted(slices.Values(trips))
	if got := sorted[len(sorted)/2]; got > want { // of most: now and then a machine is slow
		t.Errorf("got %d trips for a file, want %d; for each: %v", got, want, trips)
	}
}
