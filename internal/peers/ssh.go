package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// SSHConfig says how ssh is to connect, and what to forward.
type SSHConfig struct {
	Server   netip.AddrPort
	User     string
	Identity string   // path of the private key
	Options  []string // values of -o
	Local    []string // each a "host:port" of -L; SSH.Local has where it is
	Dynamic  bool     // -D; SSH.Dynamic has where it is
}

// SSH is a running OpenSSH client without a session (-N).
type SSH struct {
	Local   []netip.AddrPort // in SSHConfig.Local's order
	Dynamic netip.AddrPort   // SOCKS

	cmd    *exec.Cmd
	folder string
	done   chan struct{}
	err    error // valid once done is closed
}

// sshAttempts is how often StartSSH tries other ports. ssh can't be told to take a free one, so the
// port is looked for beforehand and may be lost in between.
const sshAttempts = 5

// StartSSH starts ssh and returns when it is logged in and listens. It takes the server's host key as it
// is. The caller must close it; the end of ctx ends it too.
func StartSSH(ctx context.Context, c SSHConfig) (*SSH, error) {
	var failures []error
	for range sshAttempts {
		s, err := startSSH(ctx, c)
		if err == nil {
			return s, nil
		}
		failures = append(failures, err)
		if !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	return nil, fmt.Errorf("start ssh: %w", errors.Join(failures...))
}

func startSSH(ctx context.Context, c SSHConfig) (*SSH, error) {
	path, err := find("ssh")
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "culvert-ssh-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	s := &SSH{folder: folder, done: make(chan struct{})}
	args, err := s.arguments(c)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	s.cmd = command(ctx, folder, path, args...)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return s, nil
}

func (s *SSH) arguments(c SSHConfig) ([]string, error) {
	args := []string{
		"-N", "-F", "none", "-E", s.logPath(),
		"-i", c.Identity, "-l", c.User, "-p", strconv.Itoa(int(c.Server.Port())),
		"-o", "BatchMode=yes",
		"-o", "IdentitiesOnly=yes",
		"-o", "IdentityAgent=none",
		"-o", "ExitOnForwardFailure=yes",
		"-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=VERBOSE",
		// Runs when the login and all forwards are done; start waits for its word.
		"-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready",
	}
	for _, o := range c.Options {
		args = append(args, "-o", o)
	}
	for _, target := range c.Local {
		addr, err := freePort()
		if err != nil {
			return nil, err
		}
		s.Local = append(s.Local, addr)
		args = append(args, "-L", addr.String()+":"+target)
	}
	if c.Dynamic {
		addr, err := freePort()
		if err != nil {
			return nil, err
		}
		s.Dynamic = addr
		args = append(args, "-D", addr.String())
	}
	return append(args, c.Server.Addr().String()), nil
}

// start starts the program and waits until it says that it is ready.
func (s *SSH) start(ctx context.Context) error {
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read from ssh: %w", err)
	}
	// ssh says why it lost its connection on standard error, whatever -E is.
	stderr, err := os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("make a log for ssh: %w", err)
	}
	defer stderr.Close()
	s.cmd.Stderr = stderr
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("run ssh: %w", err)
	}
	timeout, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	stop := context.AfterFunc(timeout, func() { _ = s.cmd.Cancel() }) // fails only after its end
	word, readErr := bufio.NewReader(stdout).ReadString('\n')
	stop()
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	if word == "ready\n" {
		return nil
	}
	_ = s.cmd.Cancel()
	<-s.done
	return fmt.Errorf("ssh ended before it was ready: %w\n%s", errors.Join(readErr, s.err), s.Log())
}

func (s *SSH) logPath() string { return filepath.Join(s.folder, "ssh.log") }

// Log returns what ssh has logged so far, until Close.
func (s *SSH) Log() string {
	text, err := os.ReadFile(s.logPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Process returns the running program, for its process id and, after Close, what it used.
func (s *SSH) Process() *exec.Cmd { return s.cmd }

// Done is closed when ssh has ended.
func (s *SSH) Done() <-chan struct{} { return s.done }

// Close kills ssh, waits for its end and removes its folder.
func (s *SSH) Close() error {
	_ = s.cmd.Cancel() // fails only if it has ended already
	<-s.done
	return os.RemoveAll(s.folder)
}

// freePort returns a loopback address with a port that nobody listened on a moment ago.
func freePort() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("look for a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).AddrPort(), l.Close()
}
