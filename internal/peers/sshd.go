package peers

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHDConfig says how sshd is to serve.
type SSHDConfig struct {
	// AuthorizedKeys is the content of the authorized_keys file. Required, if there is no KeysFile.
	AuthorizedKeys []byte

	// KeysFile is the value of AuthorizedKeysFile. If it is empty, a file with AuthorizedKeys.
	KeysFile string

	// HostKey is the path of a private key. If it is empty, one is made.
	HostKey string

	// Accounts are shown to sshd alone, by nss_wrapper, with the user number of whoever starts
	// the server, so that each may log in.
	Accounts []Account

	// Addr is the address to listen on, always at a free port. If it is not valid, 127.0.0.1.
	Addr netip.Addr

	// On runs what it is given on the machine where the server is to be. If nil, it is on this one.
	On func(f func())

	// Lines are added at the end of sshd_config.
	Lines []string
}

// Account is a user who isn't one of this machine.
type Account struct {
	Name   string
	Groups []string
}

// SSHD is a running OpenSSH server.
type SSHD struct {
	*inetd
	Addr    netip.AddrPort
	User    string        // whoever started the server, the only one who may log in besides Accounts
	HostKey ssh.PublicKey // nil if SSHDConfig names one
}

// StartSSHD starts OpenSSH's sshd. The caller must close it.
func StartSSHD(c SSHDConfig) (*SSHD, error) {
	path, err := Find("sshd")
	if err != nil {
		return nil, fmt.Errorf("start sshd: %w", err)
	}
	self, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("start sshd: %w", err)
	}
	d, err := newInetd("sshd", c.Addr, 0, c.On)
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
	if c.HostKey == "" {
		key, err := NewKey(s.folder, "host_key")
		if err != nil {
			return err
		}
		c.HostKey, s.HostKey = key.Path, key.Signer.PublicKey()
	}
	if c.KeysFile == "" {
		var err error
		if c.KeysFile, err = s.write("authorized_keys", string(c.AuthorizedKeys)); err != nil {
			return err
		}
	}
	conf, err := s.write("sshd_config", lines(append([]string{
		"HostKey " + c.HostKey,
		"AuthorizedKeysFile " + c.KeysFile,
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
	env, err := separation(c.Accounts, s.write)
	if err != nil {
		return err
	}
	s.serve(env, path, "-i", "-e", "-f", conf)
	return nil
}

// separation gives sshd what it needs to separate its privileges where it runs as root: its folder,
// which is gone after each boot, and its account, which only the installed package brings; nss_wrapper
// shows it, and more accounts, to this process alone.
func separation(more []Account, write func(name, text string) (path string, err error)) (env []string, err error) {
	var passwd, group strings.Builder
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, fmt.Errorf("make the folder that sshd locks itself up in: %w", err)
		}
		if _, err := user.Lookup("sshd"); err != nil {
			passwd.WriteString("sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin\n")
		}
	}
	members := map[string][]string{}
	for _, a := range more {
		fmt.Fprintf(&passwd, "%s:x:%d:%d::/:/bin/sh\n", a.Name, os.Geteuid(), os.Getegid())
		for _, name := range a.Groups {
			members[name] = append(members[name], a.Name)
		}
	}
	for i, name := range slices.Sorted(maps.Keys(members)) {
		fmt.Fprintf(&group, "%s:x:%d:%s\n", name, firstGroup+i, strings.Join(members[name], ","))
	}
	if passwd.Len() == 0 {
		return nil, nil
	}
	wrapper, err := Find("libnss_wrapper.so")
	if err != nil {
		return nil, err
	}
	env = []string{"LD_PRELOAD=" + wrapper}
	for _, list := range []struct{ name, more, variable string }{
		{"passwd", passwd.String(), "NSS_WRAPPER_PASSWD"}, {"group", group.String(), "NSS_WRAPPER_GROUP"},
	} {
		text, err := os.ReadFile(filepath.Join("/etc", list.name))
		if err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
		path, err := write(list.name, strings.TrimSuffix(string(text), "\n")+"\n"+list.more)
		if err != nil {
			return nil, err
		}
		env = append(env, list.variable+"="+path)
	}
	return env, nil
}

// firstGroup is the number of the first group that nss_wrapper shows.
const firstGroup = 61000
