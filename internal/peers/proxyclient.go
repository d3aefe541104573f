package peers

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// ProxyWay is a way in which an FTP client names the server to an FTP proxy.
type ProxyWay struct {
	Client FTPClient
	Mode   string // as the client calls it; "" is the only one
	// Default says that the port isn't named, so that it must be 21.
	Default bool

	script string // for sh, with shell variables for what it must know
}

func (w ProxyWay) String() string { return strings.TrimSpace(string(w.Client) + " " + w.Mode) }

const (
	// $proxyhost, $proxyport, $host, $port, $user, $password, $remote, $local. The name for the proxy is $me, and its password $word.
	lftpByProxy = `"$lftp" --norc -c "set cmd:fail-exit true; set net:max-retries 1; set net:timeout 20; set ftp:ssl-allow no; set xfer:clobber true
set ftp:proxy ftp://%s$proxyhost:$proxyport; set ftp:proxy-auth-type %s
open -u $user,$password ftp://$host:$port; get $remote -o $local"`

	ncftpByProxy = `cat >"$HOME/firewall" <<END
firewall-type=%d
firewall-host=$proxyhost
firewall-port=$proxyport
firewall-user=$me
firewall-password=$word
firewall-exception-list=.invalid
END
NCFTPDIR=$HOME "$ncftpget" -u $user -p $password -P $port -r 1 -Z -V -C $host $remote $local`

	wgetByProxy = `ftp_proxy=ftp://$proxyhost:$proxyport wget --no-config --no-verbose --no-hsts --tries=1 --timeout=20 -O $local ftp://$user:$password@$host:$port/$remote`

	curlByProxy     = `curl -q -sS -o $local ftp://$user%40$host%3a$port:$password@$proxyhost:$proxyport/$remote`
	curlWithAccount = `curl -q -sS --user "$user@$host $me:$password" --ftp-account $word -o $local ftp://$proxyhost:$proxyport/$remote`

	tnftpByGate = `echo "machine $host login $user password $password" >"$HOME/.netrc"; chmod 600 "$HOME/.netrc"
"$tnftp" -V -p <<END
gate $proxyhost $proxyport
open $host
binary
get $remote $local
END`

	// It looks up the machine's own name, which there may be nobody to ask for.
	urllibByProxy = `RES_OPTIONS="timeout:1 attempts:1" ftp_proxy=ftp://$proxyhost:$proxyport python3 -c "
import sys, urllib.request
open('$local', 'wb').write(urllib.request.urlopen('ftp://$user:$password@$host:$port/$remote', timeout=20).read())"`

	// The login for the proxy is one of ~/.netrc, of the home that the system knows.
	netFTPByProxy = `perl "-I$modules" -MNet::FTP -MNet::Netrc -e '
my ($me, $word, $proxy, $host, $user, $password, $remote, $local) = @ARGV;
{ no warnings; *Net::Netrc::lookup = sub { bless { login => $me, password => $word }, "Net::Netrc" } }
my $ftp = Net::FTP->new($host, Firewall => $proxy, FirewallType => %d, Passive => 1, Timeout => 20) or die "connect: $@\n";
$ftp->login($user, $password) or die "login: " . $ftp->message;
$ftp->binary;
$ftp->get($remote, $local) or die "get: " . $ftp->message;
$ftp->quit' $me $word $proxyhost:$proxyport $host $user $password $remote $local`
)

// ProxyWays returns the ways of the clients here. The name for the proxy is "culvert-proxy" where a client must have one.
func ProxyWays() []ProxyWay {
	ways := []ProxyWay{
		{Client: Wget, Default: true, script: wgetByProxy},
		{Client: Curl, Mode: "with a name", script: curlByProxy},
		{Client: Curl, Mode: "--ftp-account", Default: true, script: curlWithAccount},
		{Client: TNFTP, Mode: "gate", Default: true, script: tnftpByGate},
		{Client: "urllib", script: urllibByProxy},
		{Client: LFTP, Mode: "user without a login", script: fmt.Sprintf(lftpByProxy, "", "user")},
		{Client: LFTP, Mode: "open without a login", script: fmt.Sprintf(lftpByProxy, "", "open")},
	}
	for _, mode := range []string{"user", "joined", "joined-acct", "open", "proxy-user@host"} {
		ways = append(ways, ProxyWay{Client: LFTP, Mode: mode, script: fmt.Sprintf(lftpByProxy, "$me:$word@", mode)})
	}
	for kind := 1; kind <= 9; kind++ {
		ways = append(ways, ProxyWay{Client: NcFTP, Mode: fmt.Sprint("type ", kind), Default: kind < 8, script: fmt.Sprintf(ncftpByProxy, kind)})
	}
	for kind := 1; kind <= 6; kind++ {
		ways = append(ways, ProxyWay{Client: NetFTP, Mode: fmt.Sprint("type ", kind), Default: true, script: fmt.Sprintf(netFTPByProxy, kind)})
	}
	return ways
}

// Download gets the file remote of the server t by the proxy, and writes it to the path local. It returns what the client printed.
func (w ProxyWay) Download(ctx context.Context, proxy netip.AddrPort, t Target, remote, local string) (string, error) {
	var b strings.Builder
	set := func(name, value string) { fmt.Fprintf(&b, "%s='%s'\n", name, value) }
	for _, name := range []string{"lftp", "ncftpget", "tnftp"} {
		path, err := Find(name)
		if err != nil {
			return "", err
		}
		set(name, path)
	}
	modules, err := netFTPModules()
	if err != nil {
		return "", err
	}
	set("modules", modules)
	set("proxyhost", proxy.Addr().String())
	set("proxyport", fmt.Sprint(proxy.Port()))
	set("host", t.host())
	set("port", t.port())
	set("user", t.User)
	set("password", t.Password)
	set("remote", remote)
	set("local", local)
	set("me", "culvert-proxy")
	set("word", "word")
	return run(ctx, b.String()+w.script+"\n", "sh")
}
