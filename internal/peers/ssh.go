package peers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// SSHConfig says how ssh is to connect, and what to forward.
type SSHConfig struct {
	Server   netip.AddrPort
	User     string
	Identity string   // path of the private key
	Options  []string // values of -o
	Local    []string // each a "host:port" of -L; SSH.Local has where it is
	Dynamic  bool     // -D; SSH.Dynamic has where it is
	Master   bool     // -M; SSH.Control has where it is
}

// SSH is a running OpenSSH client without a session (-N).
type SSH struct {
	Local   []netip.AddrPort // in SSHConfig.Local's order
	Dynamic netip.AddrPort   // SOCKS
	Control string           // path of the control socket

	cmd    *exec.Cmd
	folder string
	ports  []func() // give them back
	done   chan struct{}
	err    error // valid once done is closed
}

// StartSSH starts ssh and returns when it is logged in and listens. It takes the server's host key as it
// is. The caller must close it; the end of ctx ends it too.
func StartSSH(ctx context.Context, c SSHConfig) (*SSH, error) {
	path, err := Find("ssh")
	if err != nil {
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	folder, err := os.MkdirTemp("", "culvert-ssh-")
	if err != nil {
		return nil, fmt.Errorf("start ssh: %w", err)
	}
	s := &SSH{folder: folder, done: make(chan struct{})}
	args, err := s.arguments(c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start ssh: %w", err), s.giveBack())
	}
	s.cmd = command(ctx, folder, path, args...)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start ssh: %w", err), s.giveBack())
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
		addr, err := s.hold()
		if err != nil {
			return nil, err
		}
		s.Local = append(s.Local, addr)
		args = append(args, "-L", addr.String()+":"+target)
	}
	if c.Dynamic {
		addr, err := s.hold()
		if err != nil {
			return nil, err
		}
		s.Dynamic = addr
		args = append(args, "-D", addr.String())
	}
	if c.Master {
		s.Control = filepath.Join(s.folder, "ctl")
		args = append(args, "-M", "-S", s.Control)
	}
	return append(args, c.Server.Addr().String()), nil
}

// Order tells a master what to do, by a word of ssh's -O.
func (s *SSH) Order(ctx context.Context, word string) error {
	cmd := command(ctx, s.folder, s.cmd.Path, "-F", "none", "-S", s.Control, "-O", word, "master")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ssh -O %s: %w\n%s", word, err, out)
	}
	return nil
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
	return s.giveBack()
}

// giveBack lets others have the ports, and removes the folder.
func (s *SSH) giveBack() error {
	for _, release := range s.ports {
		release()
	}
	return os.RemoveAll(s.folder)
}

// hold returns a loopback address with a port on which nobody but ssh listens until Close.
func (s *SSH) hold() (netip.AddrPort, error) {
	port, release, err := holdPort(0)
	if err != nil {
		return netip.AddrPort{}, err
	}
	s.ports = append(s.ports, release)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), nil
}
