// Package stage runs culvertd and culvert as the processes that users run, with keys, a
// configuration and an audit log in a temporary folder, for the demo, the
// benchmarks and the end-to-end tests. It runs nobody else's programs; package peers does.
package stage

import (
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

	"golang.org/x/crypto/ssh"
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

// start runs a program and waits until n parts of its output match ready; it returns the addresses in them.
func (s *Stage) start(ready *regexp.Regexp, n int, name string, args ...string) (*Program, []netip.AddrPort, error) {
	p, err := Start(s.Bin, s.Folder, name, args...)
	if err != nil {
		return nil, nil, err
	}
	found, err := p.Await(ready, n)
	if err != nil {
		_ = p.Close() // the failure that counts is this one:
		return nil, nil, err
	}
	var at []netip.AddrPort
	for _, match := range found {
		a, err := netip.ParseAddrPort(match[1])
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s says it is ready at %q: %w", name, match[1], err), p.Close())
		}
		at = append(at, a)
	}
	return p, at, nil
}

// Daemon is a running culvertd.
type Daemon struct {
	*Program
	Addr  netip.AddrPort
	Audit string // path of the audit log
}

var listening = regexp.MustCompile(`msg=listening .*address="?([^ "\n]+)`)

// StartDaemon starts culvertd on a free port of addr, with lines of configuration besides what
// it can't do without; they stand first in the file. The caller must close it.
func (s *Stage) StartDaemon(addr netip.Addr, lines ...string) (*Daemon, error) {
	d := &Daemon{Audit: s.Path("audit.jsonl")}
	lines = append([]string{
		"ListenAddress " + netip.AddrPortFrom(addr, 0).String(),
		"HostKey " + s.Path("ssh_host_ed25519_key"),
		"AuthorizedKeysFile " + s.Path("keys/%u"),
		"AuditLog " + d.Audit,
		"ControlSocket none",
	}, lines...)
	if err := os.WriteFile(s.Path("sshd_config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	p, at, err := s.start(listening, 1, "culvertd", "-f", s.Path("sshd_config"))
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

var ready = regexp.MustCompile(`(?m)^(?:FTP to )?\S+ is at ([^ ,\n]+)`)

// StartClient starts culvert to an SSH server with the given values of -L, and perhaps further
// arguments. The caller must close it.
func (s *Stage) StartClient(server netip.AddrPort, user, identity string, forwards []string, args ...string) (*Client, error) {
	all := []string{
		"-N", "-p", strconv.Itoa(int(server.Port())), "-l", user, "-i", identity, "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=" + s.Path("known_hosts"),
	}
	for _, f := range forwards {
		all = append(all, "-L", f)
	}
	all = append(append(all, args...), server.Addr().String())
	p, at, err := s.start(ready, len(forwards), "culvert", all...)
	if err != nil {
		return nil, err
	}
	return &Client{Program: p, Local: at}, nil
}

// Identity is the path of User's private key.
func (s *Stage) Identity() string { return s.Path("id_ed25519") }
