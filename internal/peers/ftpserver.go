package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// FTPServer names a kind of FTP server.
type FTPServer string

// The FTP servers.
const (
	VSFTPD   FTPServer = "vsftpd"
	PureFTPD FTPServer = "pure-ftpd"
	ProFTPD  FTPServer = "proftpd"
)

// FTPServers returns all kinds.
func FTPServers() []FTPServer { return []FTPServer{VSFTPD, PureFTPD, ProFTPD} }

// FTPConfig says what a server serves.
type FTPConfig struct {
	// Root is the folder that the user finds after the login, to read and to write. Required. The server
	// works under the user id of whoever started it.
	Root string

	// Addr is the address to listen on. If it is not valid, 127.0.0.1.
	Addr netip.Addr
	// Port is where on it, on a machine of the test's own. If it is 0, a free one.
	Port uint16

	// On runs what it is given on the machine where the server is to be. If nil, it is on this one.
	On func(f func())

	// TLS, if not nil, is required of clients.
	TLS *FTPTLS

	// Lines are added to the configuration of vsftpd and proftpd, and to pure-ftpd's arguments, one a line.
	Lines []string
}

// FTP is a running FTP server. It answers an upload that was aborted, by a reset of its data connection, with a 4xx. What
// came of such an upload is not kept under its name; only pure-ftpd keeps it, and has no option against it.
type FTP struct {
	*inetd
	Kind           FTPServer
	Addr           netip.AddrPort
	User, Password string
	Root           string
}

// password is known to everybody; the servers are on loopback, for a test's time.
const password = "through-the-culvert"

// passwordHash is password's crypt(5) hash.
const passwordHash = "$6$culvert$zgRh/4CYKf8x5mIrXoR91uENlQL71Xn5bMQVE1zzpQf42R/yP4dRkNjCaeAi5zGLTG7uTVTSdbIYPUgE/nQfm0"

// StartFTP starts a server. The caller must close it.
func StartFTP(kind FTPServer, c FTPConfig) (*FTP, error) {
	if c.Root == "" {
		return nil, fmt.Errorf("start %s: FTPConfig.Root is required", kind)
	}
	path, err := Find(string(kind))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", kind, err)
	}
	d, err := newInetd(string(kind), c.Addr, c.Port, c.On)
	if err != nil {
		return nil, err
	}
	s := &FTP{inetd: d, Kind: kind, Addr: d.addr(), User: "culvert", Password: password, Root: c.Root}
	more, err := c.TLS.lines(kind, s.folder)
	more = append(more, c.Lines...)
	switch {
	case err != nil:
	case kind == VSFTPD:
		err = s.serveVSFTPD(path, more)
	case kind == PureFTPD:
		err = s.servePureFTPD(path, more)
	case kind == ProFTPD:
		err = s.serveProFTPD(path, more)
	default:
		err = errors.New("no such FTP server")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", kind, err), d.Close())
	}
	return s, nil
}

// serveVSFTPD makes the user the anonymous one, because vsftpd knows others only from PAM; of
// anonymous users it can ask a password too, and calls that an e-mail address.
func (s *FTP) serveVSFTPD(path string, more []string) error {
	s.User = "ftp"
	passwords, err := s.write("passwords", s.Password+"\n")
	if err != nil {
		return err
	}
	conf, err := s.write("vsftpd.conf", lines(append([]string{
		"listen=NO",
		"one_process_model=YES",
		"run_as_launching_user=YES",
		"ftp_username=nobody",
		"nopriv_user=nobody",
		"anonymous_enable=YES",
		"secure_email_list_enable=YES",
		"email_password_file=" + passwords,
		"anon_root=" + s.Root,
		"anon_umask=022",
		"write_enable=YES",
		"anon_upload_enable=YES",
		"anon_mkdir_write_enable=YES",
		"anon_other_write_enable=YES",
		"anon_world_readable_only=NO",
		"delete_failed_uploads=YES",
		"seccomp_sandbox=NO",
		"isolate_network=NO",
		"xferlog_enable=YES",
		"log_ftp_protocol=YES",
		"vsftpd_log_file=" + s.folder + "/vsftpd.log",
	}, more...)...))
	if err != nil {
		return err
	}
	s.serve(nil, path, conf)
	return nil
}

// servePureFTPD lets uid_wrapper play the change of user ids, because pure-ftpd refuses to work for user
// 0 and can't change to another user without being root.
func (s *FTP) servePureFTPD(path string, more []string) error {
	wrapper, err := Find("libuid_wrapper.so")
	if err != nil {
		return err
	}
	users, err := s.write("users", strings.Join([]string{s.User, passwordHash, "65534", "65534", "", s.Root}, ":")+
		strings.Repeat(":", 12)+"\n")
	if err != nil {
		return err
	}
	database := s.folder + "/users.pdb"
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if _, err := run(ctx, "", "pure-pw", "mkdb", database, "-f", users); err != nil {
		return fmt.Errorf("make the user database: %w", err)
	}
	env, err := Find("env")
	if err != nil {
		return err
	}
	program := []string{env, "LD_PRELOAD=" + wrapper, "UID_WRAPPER=1", "UID_WRAPPER_ROOT=1", path}
	if os.Geteuid() != 0 { // it sheds capabilities, and those it has to have first
		unshare, err := Find("unshare")
		if err != nil {
			return err
		}
		program = append([]string{unshare, "--map-root-user"}, program...)
	}
	program = append(program,
		"--login", "puredb:"+database,
		"--noanonymous",
		"--dontresolve",
		"--umask", "022:022",
		"--syslogfacility", "none",
		"--altlog", "clf:"+s.folder+"/transfers.log",
		"--pidfile", s.folder+"/pid",
	)
	s.serve(nil, append(program, more...)...)
	return nil
}

func (s *FTP) serveProFTPD(path string, more []string) error {
	users, err := s.write("users", fmt.Sprintf("%s:%s:%d:%d::%s:/bin/sh\n",
		s.User, passwordHash, os.Getuid(), os.Getgid(), s.Root))
	if err != nil {
		return err
	}
	// Of a directive that stands there twice, proftpd takes the first.
	conf, err := s.write("proftpd.conf", lines(append(more,
		`ServerName "proftpd"`,
		"ServerType inetd",
		"DefaultServer on",
		"Port 0",
		"DefaultAddress "+s.Addr.Addr().String(), // not what the machine's name stands for: it may be unknown
		"UseIPv6 on",
		"UseReverseDNS off",
		"User nobody",
		"Group nogroup",
		"AuthOrder mod_auth_file.c",
		"AuthUserFile "+users,
		"RequireValidShell off",
		"RootLogin on",
		"Umask 022",
		"AllowOverwrite on",
		"HiddenStores on",
		"DeleteAbortedStores on",
		"WtmpLog off",
		"ScoreboardFile none",
		"PidFile "+s.folder+"/pid",
		"SystemLog "+s.folder+"/system.log",
		"TransferLog "+s.folder+"/transfers.log",
		`LogFormat replies "%r -> %s"`,
		"ExtendedLog "+s.folder+"/replies.log ALL replies",
		"<IfModule mod_delay.c>",
		"  DelayEngine off",
		"</IfModule>",
	)...))
	if err != nil {
		return err
	}
	s.serve(nil, path, "--config", conf)
	return nil
}

// Module returns the lines with which proftpd loads a module.
func Module(name string) ([]string, error) {
	path, err := Find(name + ".so")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return nil, err
	}
	return []string{"ModulePath " + filepath.Dir(path), "LoadModule " + name + ".c"}, nil
}

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }
