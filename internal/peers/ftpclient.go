package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// FTPClient names an FTP client program. All of its methods use passive mode unless Target.Active is set, give up at the first failure instead
// of trying again, and return what the program printed.
//
// Remote names are relative to the folder after the login. They, and local names, must consist of letters,
// digits and ./_- only, as each program would have its own way to quote others.
type FTPClient string

// The FTP clients. Those with SOCKS in their name go over Target.SOCKS; CurlSOCKS says names to it, by version 5.
const (
	Curl      FTPClient = "curl"
	CurlSOCKS FTPClient = "curl over SOCKS"

	CurlSOCKS5  FTPClient = "curl over SOCKS 5 by addresses"
	CurlSOCKS4  FTPClient = "curl over SOCKS 4"
	CurlSOCKS4a FTPClient = "curl over SOCKS 4a"

	LFTP   FTPClient = "lftp"
	NcFTP  FTPClient = "ncftp"
	TNFTP  FTPClient = "tnftp"
	Wget   FTPClient = "wget"
	NetFTP FTPClient = "Net::FTP" // Perl's
	Ftplib FTPClient = "ftplib"   // Python's
)

// FTPClients returns the clients that speak to an FTP server directly.
func FTPClients() []FTPClient { return []FTPClient{Curl, LFTP, NcFTP, TNFTP, Wget} }

// ActiveClients returns those of them that are known for active mode, and the libraries that use it where nobody says otherwise.
func ActiveClients() []FTPClient { return []FTPClient{LFTP, NcFTP, TNFTP, NetFTP, Ftplib} }

// Uploads reports whether the client can upload.
func (c FTPClient) Uploads() bool { return c != Wget }

// socksFlags are curl's.
var socksFlags = map[FTPClient]string{
	CurlSOCKS: "--socks5-hostname", CurlSOCKS5: "--socks5", CurlSOCKS4: "--socks4", CurlSOCKS4a: "--socks4a",
}

// SOCKSClients returns the clients that speak through Target.SOCKS.
func SOCKSClients() []FTPClient { return []FTPClient{CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a} }

// IPv6 reports whether the client speaks IPv6.
func (c FTPClient) IPv6() bool { return c != NcFTP && c != CurlSOCKS4 }

// ActiveIPv6 reports whether the client's active mode works over IPv6. lftp 4.9.2 takes its own address for "::".
func (c FTPClient) ActiveIPv6() bool { return c.IPv6() && c != LFTP }

// Target is where a client finds an FTP server.
type Target struct {
	Addr           netip.AddrPort
	User, Password string
	SOCKS          netip.AddrPort // for SOCKSClients
	Active         bool           // use active mode
	PASV           bool           // let curl use PASV rather than EPSV

	// CA is the file of the authority that the server's certificate must come from. If it is not empty, curl and lftp insist on TLS
	// (AUTH TLS, PROT P); the others don't know it. They speak TLS 1.2: when they have uploaded a file by 1.3, they close without having read the
	// tickets of the data connection, so that it is reset, and vsftpd often says 426, without any tunnel as well.
	CA string
}

// Target returns where clients find the server without a tunnel.
func (s *FTP) Target() Target { return Target{Addr: s.Addr, User: s.User, Password: s.Password} }

func (t Target) url(path string, withPassword bool) string {
	u := url.URL{Scheme: "ftp", Host: t.Addr.String(), Path: "/" + path}
	if withPassword {
		u.User = url.UserPassword(t.User, t.Password)
	}
	return u.String()
}

func (t Target) ncftpMode() string {
	if t.Active {
		return "-E"
	}
	return "-F"
}

func (t Target) tnftpMode() string {
	if t.Active {
		return "-A"
	}
	return "-p"
}

func (t Target) host() string { return t.Addr.Addr().String() }
func (t Target) port() string { return strconv.Itoa(int(t.Addr.Port())) }

// List lists the folder dir; "" is the one after the login. What it prints has the names of the files in it.
func (c FTPClient) List(ctx context.Context, t Target, dir string) (string, error) {
	switch c {
	case Curl, CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a:
		return c.curl(ctx, t, "url = "+t.url(slashed(dir), false)+"\n")
	case LFTP:
		return lftp(ctx, t, "cls -1 "+dir)
	case NetFTP, Ftplib:
		return c.scripted(ctx, t, "ls "+dir)
	case NcFTP:
		return run(ctx, "", "ncftpls", "-u", t.User, "-p", t.Password, "-P", t.port(), t.ncftpMode(), "-r", "1", "-l",
			"ftp://"+t.host()+"/"+slashed(dir))
	case TNFTP:
		return tnftp(ctx, t, "ls "+dir)
	case Wget:
		return wget(ctx, "-O", "-", t.url(slashed(dir), true))
	}
	return "", c.unknown()
}

// Download gets the file remote and writes it to the path local.
func (c FTPClient) Download(ctx context.Context, t Target, remote, local string) (string, error) {
	switch c {
	case Curl, CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a:
		return c.curl(ctx, t, curlDownload(t, remote, local))
	case LFTP:
		return lftp(ctx, t, "get "+remote+" -o "+local)
	case NetFTP, Ftplib:
		return c.scripted(ctx, t, "get "+remote+" "+local)
	case NcFTP:
		return run(ctx, "", "ncftpget", "-u", t.User, "-p", t.Password, "-P", t.port(), t.ncftpMode(), "-r", "1", "-Z", "-v",
			"-C", t.host(), remote, local)
	case TNFTP:
		return saidByTNFTP(run(ctx, "", "tnftp", t.tnftpMode(), "-V", "-o", local, t.url(remote, true)))
	case Wget:
		return wget(ctx, "-O", local, t.url(remote, true))
	}
	return "", c.unknown()
}

// Upload puts the file with the path local to the name remote.
func (c FTPClient) Upload(ctx context.Context, t Target, local, remote string) (string, error) {
	switch c {
	case Curl, CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a:
		return c.curl(ctx, t, curlUpload(t, local, remote))
	case LFTP:
		return lftp(ctx, t, "put "+local+" -o "+remote)
	case NetFTP, Ftplib:
		return c.scripted(ctx, t, "put "+local+" "+remote)
	case NcFTP:
		return run(ctx, "", "ncftpput", "-u", t.User, "-p", t.Password, "-P", t.port(), t.ncftpMode(), "-r", "1", "-Z", "-v",
			"-C", t.host(), local, remote)
	case TNFTP:
		return run(ctx, "", "tnftp", t.tnftpMode(), "-V", "-u", t.url(remote, true), local)
	}
	return "", c.unknown()
}

// DownloadAll gets the files dir/name for all names, as local/name, in one FTP session; curl in
// eight. Wget takes whatever files dir has.
func (c FTPClient) DownloadAll(ctx context.Context, t Target, dir string, names []string, local string) (string, error) {
	remote := joined(dir, names)
	switch c {
	case Curl, CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a:
		var conf strings.Builder
		for i, name := range names {
			conf.WriteString(curlDownload(t, remote[i], filepath.Join(local, name)))
		}
		return c.curl(ctx, t, conf.String(), curlMany...)
	case LFTP:
		return lftp(ctx, t, "mget -O "+local+" "+strings.Join(remote, " "))
	case NetFTP, Ftplib:
		return c.scripted(ctx, t, gets(dir, names, local)...)
	case NcFTP:
		return run(ctx, "", "ncftpget", append([]string{
			"-u", t.User, "-p", t.Password, "-P", t.port(), t.ncftpMode(), "-r", "1", "-Z", "-V", t.host(), local,
		}, remote...)...)
	case TNFTP:
		return tnftp(ctx, t, "lcd "+local, "cd "+dir, "get "+strings.Join(names, "\nget "))
	case Wget:
		return wget(ctx, "-P", local, t.url(slashed(dir), true)+"*")
	}
	return "", c.unknown()
}

// UploadAll puts the files local/name to dir/name for all names, in one FTP session; curl in eight. The
// folder dir exists.
func (c FTPClient) UploadAll(ctx context.Context, t Target, local string, names []string, dir string) (string, error) {
	from := joined(local, names)
	switch c {
	case Curl, CurlSOCKS, CurlSOCKS5, CurlSOCKS4, CurlSOCKS4a:
		var conf strings.Builder
		for i, name := range names {
			conf.WriteString(curlUpload(t, from[i], dir+"/"+name))
		}
		return c.curl(ctx, t, conf.String(), curlMany...)
	case LFTP:
		return lftp(ctx, t, "mput -O "+dir+" "+strings.Join(from, " "))
	case NetFTP, Ftplib:
		return c.scripted(ctx, t, puts(local, names, dir)...)
	case NcFTP:
		return run(ctx, "", "ncftpput", append([]string{
			"-u", t.User, "-p", t.Password, "-P", t.port(), t.ncftpMode(), "-r", "1", "-Z", "-V", t.host(), dir,
		}, from...)...)
	case TNFTP:
		return tnftp(ctx, t, "lcd "+local, "cd "+dir, "put "+strings.Join(names, "\nput "))
	}
	return "", c.unknown()
}

func (c FTPClient) unknown() error {
	if c == Wget {
		return fmt.Errorf("wget: %w", errors.ErrUnsupported)
	}
	return fmt.Errorf("%q is no FTP client that we know", string(c))
}

// curlMany makes curl use several sessions at once. Curl 7.88 may look only once a second whether a data connection
// is there; one file after the other would then take a second each.
var curlMany = []string{"--parallel", "--parallel-max", "8"}

// curl runs curl with a configuration, so that many transfers share one session.
func (c FTPClient) curl(ctx context.Context, t Target, conf string, more ...string) (string, error) {
	mode := []string{"--ftp-pasv"}
	if t.Active {
		mode = []string{"--ftp-port", "-"}
	}
	if t.PASV {
		mode = append(mode, "--disable-epsv", "--no-ftp-skip-pasv-ip")
	}
	args := append(mode, "-q", "-sS", "-K", "-", "--fail-early", "--user", t.User+":"+t.Password)
	args = append(args, more...)
	if t.CA != "" {
		args = append(args, "--ssl-reqd", "--tls-max", "1.2", "--cacert", t.CA)
	}
	if flag := socksFlags[c]; flag != "" {
		args = append(args, flag, t.SOCKS.String())
	}
	return run(ctx, conf, "curl", args...)
}

func curlDownload(t Target, remote, local string) string {
	return "url = " + t.url(remote, false) + "\noutput = " + local + "\n"
}

func curlUpload(t Target, local, remote string) string {
	return "url = " + t.url(remote, false) + "\nupload-file = " + local + "\n"
}

// LFTP runs commands of lftp's own, and ends at the first that fails.
func (t Target) LFTP(ctx context.Context, commands ...string) (string, error) {
	return lftp(ctx, t, commands...)
}

func lftp(ctx context.Context, t Target, commands ...string) (string, error) {
	script := []string{
		"set cmd:fail-exit true",
		"set cmd:interactive false",
		"set net:max-retries 1",
		"set net:persist-retries 0",
		"set net:reconnect-interval-base 1", // it does try again after a transfer that broke off
		"set net:reconnect-interval-max 1",
		"set net:timeout 20",
		"set xfer:clobber true",
		// Going on where an upload broke off, lftp 4.9.2 at times sends the 64 KiB first that it had read
		// further on in the file.
		"set ftp:rest-stor false",
		"set ftp:passive-mode " + strconv.FormatBool(!t.Active),
	}
	if t.CA != "" {
		script = append(script,
			"set ftp:ssl-force true",
			"set ftp:ssl-protect-data true",
			"set ftp:prefer-epsv true", // of PASV it would take the address, which is the server's own
			"set ssl:priority NORMAL:-VERS-TLS1.3", "set ssl:ca-file "+t.CA,
			"set ssl:check-hostname false", // it doesn't look for addresses in certificates
		)
	}
	script = append(script, "open -u "+t.User+","+t.Password+" ftp://"+t.Addr.String())
	return run(ctx, "", "lftp", "--norc", "-c", strings.Join(append(script, commands...), "; "))
}

// failedReply is a reply that says no, as tnftp shows it.
var failedReply = regexp.MustCompile(`(?m)^[45]\d\d[ -].*|^(?:tn)?ftp: .*|^Not connected.*|^Login failed.*`)

// tnftp runs commands. Its exit status says nothing then, so what it prints has to.
func tnftp(ctx context.Context, t Target, commands ...string) (string, error) {
	script := append([]string{"user " + t.User + " " + t.Password, "binary"}, commands...)
	return saidByTNFTP(run(ctx, lines(append(script, "quit")...), "tnftp", t.tnftpMode(), "-i", "-n", "-V", t.host(), t.port()))
}

// saidByTNFTP takes what tnftp complains of for an error: its exit status need not say so.
func saidByTNFTP(out string, err error) (string, error) {
	if bad := failedReply.FindString(out); err == nil && bad != "" {
		err = fmt.Errorf("run tnftp: %s", bad)
	}
	return out, err
}

func wget(ctx context.Context, args ...string) (string, error) {
	return run(ctx, "", "wget", append([]string{
		"--no-config", "--no-verbose", "--no-proxy", "--no-hsts", "--passive-ftp", "--tries=1", "--timeout=20",
	}, args...)...)
}

// slashed makes the name of a folder end in a slash; the folder after the login stays "".
func slashed(dir string) string {
	if dir == "" {
		return ""
	}
	return dir + "/"
}

func joined(dir string, names []string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = dir + "/" + name
	}
	return paths
}
