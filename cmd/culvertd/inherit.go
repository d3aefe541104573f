package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets come from systemd (sd_listen_fds(3)), or in the same way from the process that this one takes over from. The
// latter also names a descriptor that is a line between the two, in this variable. On it the heir says ready, reload, and passed on
// when its own heir has taken over, or taken back if that has failed; it is told go and a legacy. Whoever closes it has ended.
const lineVariable = "CULVERTD_LINE"

// The names of inherited sockets, by LISTEN_FDNAMES, if a predecessor gives them.
const (
	ownSocket   = "ListenAddress"
	givenSocket = "systemd"
)

// inheritance is sockets on their way from one process to another.
type inheritance []*os.File

func (files inheritance) close() error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// listeners makes sockets of the files, which stay open. If own is set, a predecessor may have made them itself; those of them that
// were shut since, by somebody else who has them, are left out.
func (files inheritance) listeners(own bool) (all sockets, err error) {
	for _, f := range files {
		if own && f.Name() == ownSocket && isShut(f) {
			continue
		}
		l, err := net.FileListener(f)
		if err != nil {
			all.close()
			return nil, fmt.Errorf("use the inherited socket %q: %w", f.Name(), err)
		}
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			all.close()
			return nil, fmt.Errorf("the inherited socket %q is not a TCP socket", f.Name())
		}
		s := socket{listener: tcp}
		if own && f.Name() == ownSocket {
			at := tcp.Addr().(*net.TCPAddr).AddrPort()
			s.named = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
		}
		all = append(all, s)
	}
	return all, nil
}

// isShut reports whether nobody can listen on a socket any more.
func isShut(f *os.File) bool {
	accepts := 1
	raw, err := f.SyscallConn() // Fd would make it blocking
	if err == nil {
		err = raw.Control(func(fd uintptr) { accepts, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	}
	return err == nil && accepts == 0
}

// predecessor is the process that this one takes over from.
type predecessor struct {
	line  *net.UnixConn
	read  *bufio.Reader
	ended chan struct{} // closed when it has, if it is watched
}

// inherit returns what this process was given when it was started: sockets, and perhaps a predecessor. It is to be called
// once, before anything else is opened.
func inherit() (sockets, *predecessor, error) {
	var before *predecessor
	if fd := os.Getenv(lineVariable); fd != "" {
		_ = os.Unsetenv(lineVariable) // fails for malformed names only
		var err error
		if before, err = newPredecessor(fd); err != nil {
			return nil, nil, err
		}
		// systemd knows whom it starts before it writes the environment; a predecessor can't.
		if err := os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())); err != nil {
			return nil, nil, err
		}
	}
	files := inheritance(activation.Files(true))
	all, err := files.listeners(before != nil)
	return all, before, errors.Join(err, files.close())
}

func newPredecessor(descriptor string) (*predecessor, error) {
	fd, err := strconv.Atoi(descriptor)
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q is no descriptor", lineVariable, descriptor)
	}
	f := os.NewFile(uintptr(fd), "line")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("talk to the process before: %w", err)
	}
	line, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s=%q is no line to another process", lineVariable, descriptor), c.Close())
	}
	return &predecessor{line: line, read: bufio.NewReader(line), ended: make(chan struct{})}, nil
}

// legacy is what a process that takes over has to know. Its text is read by other versions of this program: what one doesn't
// know, it leaves out.
type legacy struct {
	LastConnection uint64           `json:"last_connection"` // as both number them in the same audit log
	UsedCodes      map[string]int64 `json:"used_codes,omitempty"`
}

// takeOver says that all is ready, and returns when the predecessor doesn't accept any more. If it has ended, that is as
// good, but that there is no legacy.
func (p *predecessor) takeOver() (l legacy, err error) {
	if err := p.line.SetDeadline(time.Now().Add(handoverTime)); err != nil {
		return legacy{}, err
	}
	_, _ = p.line.Write([]byte(wordReady + "\n")) // what is read next shows whether it arrived
	said, err := p.read.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return legacy{}, fmt.Errorf("take over: the process before said nothing for %v", handoverTime)
	} else if err != nil {
		return legacy{}, nil
	}
	text, ok := strings.CutPrefix(said, "go ")
	if !ok {
		return legacy{}, fmt.Errorf("take over: the process before said %.100q", said)
	}
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return legacy{}, fmt.Errorf("take over: what the process before said: %w", err)
	}
	return l, p.line.SetDeadline(time.Time{})
}

// leave tells an heir what it has to know, and that it is its turn.
func (l legacy) leave(to *net.UnixConn) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := to.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(to, "go %s\n", text)
	return err
}

// watch says when the predecessor has ended.
func (p *predecessor) watch(log *slog.Logger) {
	defer close(p.ended)
	for {
		if _, err := p.read.ReadString('\n'); err != nil {
			log.Info("the process before this one has ended")
			return
		}
	}
}

// tell tells the predecessor, if there was one, what it has to know as long as it has connections.
func (p *predecessor) tell(word string) {
	if p == nil {
		return
	}
	_ = p.line.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = p.line.Write([]byte(word + "\n")) // if it has ended, there is nobody to be told
}

// environment returns env as an heir needs it, that finds sockets of these names and then the line at descriptor 3 and on.
func environment(env []string, files inheritance) []string {
	var next, names []string
	for _, v := range env {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", lineVariable:
		default:
			next = append(next, v)
		}
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	return append(
		next,
		"LISTEN_FDS="+strconv.Itoa(len(files)),
		"LISTEN_FDNAMES="+strings.Join(names, ":"),
		lineVariable+"="+strconv.Itoa(3+len(files)),
	)
}
