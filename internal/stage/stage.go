// Package stage runs culvertd and culvert as the processes that users run, with keys, a
// configuration and an audit log in a temporary folder, for the demo, the
// benchmarks and the end-to-end tests. It runs nobody else's programs; package peers does.
package stage

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// startTimeout is how long a program may take to say that it is ready.
	startTimeout = 20 * time.Second
	// stopTimeout is how long it may take to end once it is told to. After that it is killed.
	stopTimeout = 10 * time.Second
)

// User is who may log in to the bastion.
const User = "alice"

// Stage is a folder with what both programs need.
type Stage struct {
	Folder string
	Bin    string     // the folder with the programs
	Signer ssh.Signer // User's key; in the file id_ed25519
}

// New makes the folder and the keys. The caller must call Close.
func New(bin string) (*Stage, error) {
	folder, err := os.MkdirTemp("", "culvert-stage-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for culvert: %w", err)
	}
	s := &Stage{Folder: folder, Bin: bin}
	if err := s.makeKeys(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close removes the folder.
func (s *Stage) Close() error { return os.RemoveAll(s.Folder) }

// Path returns the path of a file in the folder.
func (s *Stage) Path(name string) string { return filepath.Join(s.Folder, name) }

func (s *Stage) makeKeys() error {
	out, err := exec.Command(filepath.Join(s.Bin, "culvertd"), "keygen", s.Folder).CombinedOutput()
	if err != nil {
		return fmt.Errorf("culvertd keygen: %w: %s", err, out)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("make a user's key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, User)
	if err != nil {
		return fmt.Errorf("make a user's key: %w", err)
	}
	if s.Signer, err = ssh.NewSignerFromKey(key); err != nil {
		return fmt.Errorf("make a user's key: %w", err)
	}
	return errors.Join(
		os.Mkdir(s.Path("keys"), 0o700),
		os.WriteFile(s.Path("id_ed25519"), pem.EncodeToMemory(block), 0o600),
		os.WriteFile(s.Path("keys/"+User), ssh.MarshalAuthorizedKey(s.Signer.PublicKey()), 0o600),
	)
}

// Program is one of ours, running.
type Program struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how; valid once done is closed

	mu     sync.Mutex
	output []string
}

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Err tells how the program ended: nil for exit code 0. Only after Done.
func (p *Program) Err() error { return p.err }

// Process is the running program, for signals.
func (p *Program) Process() *os.Process { return p.cmd.Process }

// Output returns what the program has written to its standard error so far, by lines.
func (p *Program) Output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.output...)
}

// Close tells the program to end (SIGTERM) and waits until it has.
func (p *Program) Close() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails if it has ended
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopTimeout):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("%s did not end within %v of SIGTERM", p.cmd, stopTimeout)
}

// start runs a program and waits until n of its lines match ready; it returns what the pattern's group matched in them.
func (s *Stage) start(ctx context.Context, ready *regexp.Regexp, n int, name string, args ...string) (*Program, []netip.AddrPort, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, name), args...)
	cmd.Env = append(os.Environ(), "HOME="+s.Folder, "SSH_AUTH_SOCK=")
	cmd.WaitDelay = stopTimeout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Program{cmd: cmd, done: make(chan struct{})}
	found := make(chan string, n)
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(stderr)
		for seen := 0; lines.Scan(); {
			p.mu.Lock()
			p.output = append(p.output, lines.Text())
			p.mu.Unlock()
			if m := ready.FindStringSubmatch(lines.Text()); m != nil && seen < n {
				seen++
				found <- m[1]
			}
		}
		p.err = cmd.Wait()
	}()
	late := time.After(startTimeout)
	var at []netip.AddrPort
	for len(at) < n {
		select {
		case text := <-found:
			a, err := netip.ParseAddrPort(text)
			if err != nil {
				return nil, nil, errors.Join(fmt.Errorf("%s says it is ready at %q: %w", name, text, err), p.Close())
			}
			at = append(at, a)
			continue
		case <-p.done:
		case <-late:
		}
		_ = p.Close() // the failure that counts is this one:
		return nil, nil, fmt.Errorf("%s did not get ready:\n%s", cmd, strings.Join(p.Output(), "\n"))
	}
	return p, at, nil
}

// Daemon is a running culvertd.
type Daemon struct {
	*Program
	Addr  netip.AddrPort
	Audit string // path of the audit log
}

var listening = regexp.MustCompile(`msg=listening .*address=(\S+)`)

// StartDaemon starts culvertd on a free port of addr, with lines of configuration besides what
// it can't do without; they stand first in the file. The caller must close it.
func (s *Stage) StartDaemon(ctx context.Context, addr netip.Addr, lines ...string) (*Daemon, error) {
	d := &Daemon{Audit: s.Path("audit.jsonl")}
	lines = append([]string{
		"ListenAddress " + netip.AddrPortFrom(addr, 0).String(),
		"HostKey " + s.Path("ssh_host_ed25519_key"),
		"AuthorizedKeysFile " + s.Path("keys/%u"),
		"AuditLog " + d.Audit,
	}, lines...)
	if err := os.WriteFile(s.Path("sshd_config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	p, at, err := s.start(ctx, listening, 1, "culvertd", "-f", s.Path("sshd_config"))
	if err != nil {
		return nil, err
	}
	d.Program, d.Addr = p, at[0]
	return d, nil
}

// Client is a running culvert.
type Client struct {
	*Program
	Local []netip.AddrPort // where the forwards are, in the order of their -L
}

var ready = regexp.MustCompile(`^(?:FTP to )?\S+ is at ([^ ,]+)`)

// StartClient starts culvert to an SSH server with the given values of -L, and perhaps further
// arguments. The caller must close it.
func (s *Stage) StartClient(ctx context.Context, server netip.AddrPort, user, identity string, forwards []string, args ...string) (*Client, error) {
	all := []string{
		"-N", "-p", strconv.Itoa(int(server.Port())), "-l", user, "-i", identity, "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=" + s.Path("known_hosts"),
	}
	for _, f := range forwards {
		all = append(all, "-L", f)
	}
	all = append(append(all, args...), server.Addr().String())
	p, at, err := s.start(ctx, ready, len(forwards), "culvert", all...)
	if err != nil {
		return nil, err
	}
	return &Client{Program: p, Local: at}, nil
}

// Identity is the path of User's private key.
func (s *Stage) Identity() string { return s.Path("id_ed25519") }
