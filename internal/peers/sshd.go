package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHDConfig says how sshd is to serve.
type SSHDConfig struct {
	// AuthorizedKeys is the content of the authorized_keys file. Required.
	AuthorizedKeys []byte

	// Addr is the address to listen on, always at a free port. If it is not valid, 127.0.0.1.
	Addr netip.Addr

	// Lines are added at the end of sshd_config.
	Lines []string
}

// SSHD is a running OpenSSH server.
type SSHD struct {
	*inetd
	Addr    netip.AddrPort
	User    string // the only one who may log in: whoever started the server
	HostKey ssh.PublicKey
}

// StartSSHD starts OpenSSH's sshd. The caller must close it.
func StartSSHD(c SSHDConfig) (*SSHD, error) {
	path, err := find("sshd")
	if err != nil {
		return nil, fmt.Errorf("start sshd: %w", err)
	}
	self, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("start sshd: %w", err)
	}
	d, err := newInetd("sshd", c.Addr)
	if err != nil {
		return nil, err
	}
	s := &SSHD{inetd: d, Addr: d.addr(), User: self.Username}
	if err := s.configure(path, c); err != nil {
		return nil, errors.Join(fmt.Errorf("start sshd: %w", err), d.Close())
	}
	return s, nil
}

func (s *SSHD) configure(path string, c SSHDConfig) error {
	key, err := NewKey(s.folder, "host_key")
	if err != nil {
		return err
	}
	s.HostKey = key.Signer.PublicKey()
	authorized, err := s.write("authorized_keys", string(c.AuthorizedKeys))
	if err != nil {
		return err
	}
	conf, err := s.write("sshd_config", lines(append([]string{
		"HostKey " + key.Path,
		"AuthorizedKeysFile " + authorized,
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"StrictModes no",
		"UsePAM no",
		"PidFile none",
		"LogLevel VERBOSE",
	}, c.Lines...)...))
	if err != nil {
		return err
	}
	env, err := separation(s.write)
	if err != nil {
		return err
	}
	s.serve(env, path, "-i", "-e", "-f", conf)
	return nil
}

// separation gives sshd what it needs to separate its privileges where it runs as root: its folder,
// which is gone after each boot, and its account, which only the installed package brings; nss_wrapper
// shows one to this process alone.
func separation(write func(name, text string) (path string, err error)) (env []string, err error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, fmt.Errorf("make the folder that sshd locks itself up in: %w", err)
	}
	if _, err := user.Lookup("sshd"); err == nil {
		return nil, nil
	}
	wrapper, err := find("libnss_wrapper.so")
	if err != nil {
		return nil, err
	}
	accounts, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	passwd, err := write("passwd", strings.TrimSuffix(string(accounts), "\n")+
		"\nsshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n")
	if err != nil {
		return nil, err
	}
	return []string{
		"LD_PRELOAD=" + wrapper, "NSS_WRAPPER_PASSWD=" + passwd, "NSS_WRAPPER_GROUP=/etc/group",
	}, nil
}
