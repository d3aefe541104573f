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
	"strings"
	"sync"
	"syscall"
)

// inetd accepts connections and starts a program for each, which finds the connection on its
// standard input and output, as inetd(8) does. All servers here know this mode. It spares us the
// search for a free port, the wait until a daemon answers, and daemons left behind.
type inetd struct {
	listener *net.TCPListener
	on       func(f func())
	folder   string // private to the server: configuration and logs; removed by Close
	program  []string
	env      []string

	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	children map[*exec.Cmd]bool
	ended    chan struct{} // closed, and replaced, when a child ends
	log      string        // once the folder is gone
}

// newInetd listens on a port of addr, a free one if it is 0, and makes the server's folder. It and its programs are where on runs what it
// is given; if on is nil, where everybody is. The caller must fill the folder and call serve, or Close.
func newInetd(name string, addr netip.Addr, port uint16, on func(f func())) (d *inetd, err error) {
	if on == nil {
		on = func(f func()) { f() }
	}
	if !addr.IsValid() {
		addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	folder, err := os.MkdirTemp("", "culvert-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	var listener *net.TCPListener
	on(func() { listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, port))) })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), os.RemoveAll(folder))
	}
	return &inetd{
		listener: listener, on: on, folder: folder, cancel: func() {}, children: map[*exec.Cmd]bool{}, ended: make(chan struct{}),
	}, nil
}

// write writes a file of the server's folder and returns its path. Nobody else may read it: OpenSSH wants
// that of keys.
func (d *inetd) write(name, content string) (string, error) {
	path := filepath.Join(d.folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// serve starts accepting. Each connection gets a process of program, with env added to its environment.
func (d *inetd) serve(env []string, program ...string) {
	d.program, d.env = program, env
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	d.running.Go(func() {
		for {
			conn, err := d.listener.AcceptTCP()
			if err != nil {
				return // Close closed the listener
			}
			if err := d.spawn(ctx, conn); err != nil {
				d.note(err.Error())
			}
		}
	})
}

// spawn starts the program on conn, which belongs to the program alone from then on.
func (d *inetd) spawn(ctx context.Context, conn *net.TCPConn) error {
	defer conn.Close()
	socket, err := conn.File()
	if err != nil {
		return fmt.Errorf("hand a connection over: %w", err)
	}
	defer socket.Close()
	// The runtime's sockets don't block; the programs expect one that does.
	if err := syscall.SetNonblock(int(socket.Fd()), false); err != nil {
		return fmt.Errorf("hand a connection over: %w", err)
	}
	stderr, err := os.OpenFile(filepath.Join(d.folder, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("hand a connection over: %w", err)
	}
	defer stderr.Close()

	cmd := command(ctx, d.folder, d.program[0], d.program[1:]...)
	cmd.Env = append(cmd.Env, d.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = socket, socket, stderr

	d.mu.Lock()
	defer d.mu.Unlock()
	d.on(func() { err = cmd.Start() })
	if err != nil {
		return fmt.Errorf("hand a connection over: %w", err)
	}
	d.children[cmd] = true
	d.running.Go(func() {
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			d.note(fmt.Sprintf("%s: %v", cmd.Path, err))
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.children, cmd)
		close(d.ended)
		d.ended = make(chan struct{})
	})
	return nil
}

// note adds a line of our own to the log.
func (d *inetd) note(line string) {
	f, err := os.OpenFile(filepath.Join(d.folder, "peers.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // the folder is gone, and with it whoever would read this
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

// Kill ends the server's processes at once, as a crash would, and leaves the listener to those who come next.
func (d *inetd) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for cmd := range d.children {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails for one that has just ended
	}
}

// Idle waits until the server has no connection left. What it did to its files is done then.
func (d *inetd) Idle(ctx context.Context) error {
	for {
		d.mu.Lock()
		n, ended := len(d.children), d.ended
		d.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("wait for the last of %d connections: %w", n, context.Cause(ctx))
		}
	}
}

// Log returns what the server has logged so far. It stays available after Close.
func (d *inetd) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log == "" {
		return readLogs(d.folder)
	}
	return d.log
}

func readLogs(folder string) string {
	paths, err := filepath.Glob(filepath.Join(folder, "*.log"))
	if err != nil {
		return err.Error()
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			text = []byte(err.Error())
		}
		if len(text) > 0 {
			fmt.Fprintf(&all, "--- %s\n%s", filepath.Base(path), text)
		}
	}
	return all.String()
}

// Close stops the server, waits for its processes and removes its folder.
func (d *inetd) Close() error {
	err := d.listener.Close()
	d.cancel()
	d.running.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = readLogs(d.folder)
	return errors.Join(err, os.RemoveAll(d.folder))
}

func (d *inetd) addr() netip.AddrPort {
	return d.listener.Addr().(*net.TCPAddr).AddrPort()
}
