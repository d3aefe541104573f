package config

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/algorithms"
)

func TestErrorsHavePositionAndText(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{"Port 70000", `Port: port "70000" is out of range`},
		{"Port 0", `Port: port "0" is out of range`},
		{"Port 22 23", `Port: "23" is one value too many`},
		{"Port 22,23", `Port: port "22,23" is not a number`},
		{"Port 22-22", `Port: port "22-22" is not a number`},
		{"Port *", `Port: port "*" is not a number`},
		{"Port ssh", `Port: port "ssh" is not a number`},
		{"Port", `Port: it has no value: it wants a port number`},
		{"ListenAddress localhost", `ListenAddress: "localhost" is not an address; names aren't looked up here`},
		{"ListenAddress localhost:22", `ListenAddress: "localhost" is not an address; names aren't looked up here`},
		{"ListenAddress 127.0.0.1:70000", `ListenAddress: port "70000" is out of range`},
		{"ListenAddress [::1]:", `ListenAddress: port "" is not a number`},
		{"ListenAddress ::1:70000", `ListenAddress: "::1:70000": an IPv6 address stands in brackets before a port`},
		{"ListenAddress []:22", `ListenAddress: "[]" is not an address; names aren't looked up here`},
		{"ListenAddress ::ffff:10.0.0.1:22", `ListenAddress: "::ffff:10.0.0.1:22": an IPv6 address stands in brackets before a port`},
		{"ListenAddress 127.0.0.1 rdomain x", `ListenAddress: "rdomain" is one value too many`},
		{`HostKey ""`, `HostKey: the path is empty`},
		{"AuthorizedKeysFile /keys/%k", `AuthorizedKeysFile: "/keys/%k": after % stands one of U, h, u, or another %`},
		{"AuthorizedKeysFile /keys/%", `AuthorizedKeysFile: "/keys/%": after % stands one of U, h, u, or another %`},
		{"AuthorizedKeysFile /keys/%u none", `AuthorizedKeysFile: "none" stands alone`},
		{"AuthorizedKeysFile ~/keys", `AuthorizedKeysFile: "~/keys": write %h for the home directory of the user`},
		{"AuthorizedKeysCommand keys %u", `AuthorizedKeysCommand: "keys %u" is not an absolute path`},
		{"AuthorizedKeysCommand /keys %i", `AuthorizedKeysCommand: "/keys %i": after % stands one of C, D, U, f, h, k, t, u, or another %`},
		{"AuthorizedKeysCommand /keys", `AuthorizedKeysCommand: it needs an AuthorizedKeysCommandUser, an account of the operating system that does nothing else`},
		{"Match user a\nAuthorizedPrincipalsCommand /p\nMatch user b\nAuthorizedPrincipalsCommandUser x", `AuthorizedPrincipalsCommand: it needs an AuthorizedPrincipalsCommandUser, an account of the operating system that does nothing else`},
		{"AuthorizedPrincipalsFile ~/p", `AuthorizedPrincipalsFile: "~/p": write %h for the home directory of the user`},
		{"AuthenticationMethods password publickey,keyboard-interactive", `AuthenticationMethods: each list has a method that is not enabled, so nobody gets in`},
		{"AuthenticationMethods publickey any", `AuthenticationMethods: "any" stands alone`},
		{"AuthenticationMethods publickey,hostbased", `AuthenticationMethods: the method "hostbased" is not served here`},
		{"AuthenticationMethods publickey,", `AuthenticationMethods: unknown method ""`},
		{"AuthenticationMethods publickey:pam", `AuthenticationMethods: unknown method "publickey:pam"`},
		{"PermitRootLogin maybe", `PermitRootLogin: unknown value "maybe": it wants yes, prohibit-password, forced-commands-only or no`},
		{"PubkeyAuthOptions touch", `PubkeyAuthOptions: unknown value "touch": it wants touch-required, verify-required or both, or none`},
		{"AllowUsers", `AllowUsers: it has no value: it wants names of users, or patterns of them, perhaps with @ and where they come from`},
		{"AllowUsers !alice", `AllowUsers: user "!alice" can't be negated: there are lines for Deny and for Allow`},
		{"UseDNS yes\nDenyUsers *@*.evil", `DenyUsers: "*@*.evil": names of clients aren't looked up, so it would let in whom it keeps out: write addresses`},
		{`DenyGroups ""`, `DenyGroups: group "" is empty: everybody is *`},
		{"AddressFamily inet4", `AddressFamily: unknown value "inet4": it wants any, inet or inet6`},
		{"AddressFamily inet\nListenAddress ::1", `ListenAddress: AddressFamily leaves ::1 out`},
		{"ProxyProtocolFrom 192.0.2.1/24", `ProxyProtocolFrom: network "192.0.2.1/24" has host bits set: write 192.0.2.0/24`},
		{"PidFile ~/pid", `PidFile: "~/pid": there are no home directories here: write the path in full`},
		{"VersionAddendum café", `VersionAddendum: "café": the version string is printable ASCII`},
		{"Ciphers aes128-gcm@openssh.com,arcfour", `Ciphers: unknown algorithm "arcfour"`},
		{"Ciphers aes128-*", `Ciphers: unknown algorithm "aes128-*"`},
		{"Ciphers aes256-cbc", `Ciphers: nothing of "aes256-cbc" is served: there are ` + strings.Join(algorithms.Ciphers.Standard, ",")},
		{"Ciphers -*", `Ciphers: nothing is left without "*"`},
		{"MACs hmac-sha2-256,,hmac-sha1", `MACs: the list has an empty name`},
		{"HostKeyAlgorithms ssh-x*", `HostKeyAlgorithms: unknown algorithm "ssh-x*"`},
		{"CASignatureAlgorithms ssh-ed25519-cert-v01@openssh.com", `CASignatureAlgorithms: unknown algorithm "ssh-ed25519-cert-v01@openssh.com"`},
		{"RekeyLimit 15", `RekeyLimit: "15" is less than 16 bytes`},
		{"RekeyLimit 1X", `RekeyLimit: "1X" is not an amount of data`},
		{"RekeyLimit 9E", `RekeyLimit: "9E" is out of range`},
		{"RekeyLimit 1G 1h 2", `RekeyLimit: "2" is one value too many`},
		{"RequiredRSASize 512", `RequiredRSASize: "512" is out of range`},
		{"PermitListen localhost", `PermitListen: port "localhost" is not a number`},
		{"PermitListen any 22", `PermitListen: "any" stands alone`},
		{"GatewayPorts some", `GatewayPorts: unknown value "some": it wants no, yes or clientspecified`},
		{"ForceCommand /bin/true", `ForceCommand: "/bin/true": no programs are run here: write internal-sftp, or none and say in AllowTcpForwarding and PermitOpen what may be opened`},
		{"ForceCommand internal-sftp -P write", `ForceCommand: internal-sftp doesn't take "-P" here`},
		{"Subsystem sftp", `Subsystem: "sftp" has no command: it wants internal-sftp`},
		{"Subsystem sftp /usr/lib/openssh/sftp-server", `Subsystem: "/usr/lib/openssh/sftp-server": no programs are run here: write sftp internal-sftp`},
		{"ChrootDirectory srv", `ChrootDirectory: "srv" is not an absolute path`},
		{"AcceptEnv LANG=C", `AcceptEnv: "LANG=C" is not the name of a variable`},
		{"PerSourceMaxStartups 0", `PerSourceMaxStartups: "0" is out of range`},
		{"PerSourceNetBlockSize 33", `PerSourceNetBlockSize: "33" is out of range`},
		{"PerSourceNetBlockSize 32:129", `PerSourceNetBlockSize: "129" is out of range`},
		{"PerSourcePenalties no authfail:5", `PerSourcePenalties: "no" stands alone`},
		{"PerSourcePenalties authfail", `PerSourcePenalties: "authfail": "" is not a time`},
		{"PerSourcePenalties overflow:none", `PerSourcePenalties: "overflow:none": unknown value "none": it wants deny-all or permissive`},
		{"PerSourcePenalties loud:5", `PerSourcePenalties: "loud:5": it wants crash, authfail, noauth, invaliduser, grace-exceeded, refuseconnection, max, min with a time, max-sources4 or max-sources6 with a number, or overflow or overflow6 with deny-all or permissive`},
		{"PerSourcePenaltyExemptList 10.0.0.1/8", `PerSourcePenaltyExemptList: network "10.0.0.1/8" has host bits set: write 10.0.0.0/8`},
		{"ChannelTimeout session", `ChannelTimeout: "session" is not type=time`},
		{"ChannelTimeout none session=1", `ChannelTimeout: "none" stands alone`},
		{"AuditFailure ignore", `AuditFailure: unknown value "ignore": it wants close or continue`},
		{"MetricsListen 127.0.0.1", `MetricsListen: port "" is not a number`},
		{"PubkeyAuthentication true", `PubkeyAuthentication: unknown value "true": it wants yes or no`},
		{"PasswordAuthentication yes", `PasswordAuthentication: it needs a PasswordFile: name one, and make it with culvertd passwd -f FILE USER`},
		{"AllowTcpForwarding some", `AllowTcpForwarding: unknown value "some": it wants yes, no, local or remote`},
		{"PermitOpen a:70000", `PermitOpen: port "70000" is out of range`},
		{"PermitOpen a", `PermitOpen: "a" has no port: write a:22, or a:* for every port`},
		{"PermitOpen any a:1", `PermitOpen: "any" stands alone`},
		{"PermitOpen a:1 none", `PermitOpen: "none" stands alone`},
		{"DenyOpen ftp/a:21", `DenyOpen: "ftp/a:21": the prefix means nothing here: write the host and port alone`},
		{"LoginGraceTime 1y", `LoginGraceTime: "1y" is not a time`},
		{"LoginGraceTime 4000w", `LoginGraceTime: time "4000w" is out of range`},
		{"LoginGraceTime 2147457105w", `LoginGraceTime: time "2147457105w" is out of range`}, // modulo 2^64 ns it isn't
		{"LoginGraceTime 9999999999", `LoginGraceTime: time "9999999999" is out of range`},
		{"MaxAuthTries 0", `MaxAuthTries: "0" is out of range`},
		{"MaxAuthTries six", `MaxAuthTries: "six" is not a number`},
		{"MaxConnections 0", `MaxConnections: "0" is out of range`},
		{"MaxConnections any", `MaxConnections: "any" is not a number`},
		{"MaxStartups 10:30", `MaxStartups: "10:30" is not start:rate:full`},
		{"MaxStartups 10:101:100", `MaxStartups: rate "101" is out of range`},
		{"MaxStartups 10:30:5", `MaxStartups: "10:30:5": full is less than start`},
		{"MaxStartups 1:2:3:4", `MaxStartups: "3:4" is not a number`},
		{"MaxSessions -1", `MaxSessions: "-1" is not a number`},
		{"MaxChannels 0", `MaxChannels: "0" is out of range`},
		{"MaxChannels 99999999999", `MaxChannels: "99999999999" is out of range`},
		{"MaxStripes 17", `MaxStripes: "17" is out of range`},
		{"MaxStripes none", `MaxStripes: "none" is not a number`},
		{"ConnectTimeout 0", `ConnectTimeout: time "0" is out of range`},
		{"ConnectTimeout 11m", `ConnectTimeout: time "11m" is out of range`},
		{"FTPDataPorts 1000-2000", `FTPDataPorts: "1000-2000": an announced data port below 1024 is never opened`},
		{"FTPDataPorts 2000-1999", `FTPDataPorts: port range "2000-1999" is the wrong way round`},
		{"FTPDataAddress ftp.corp", `FTPDataAddress: "ftp.corp" is neither an address nor a network`},
		{"FTPDataTimeout 2h", `FTPDataTimeout: time "2h" is out of range`},
		{"FTPActive maybe", `FTPActive: unknown value "maybe": it wants no, yes or forward`},
		{"DenyOpen ftps/a:990", `DenyOpen: "ftps/a:990": the prefix means nothing here: write the host and port alone`},
		{"FTPUpstreamTLS on", `FTPUpstreamTLS: unknown value "on": it wants off, prefer or require, and perhaps the targets that it is for, such as *.corp:21`},
		{"FTPUpstreamTLS a:21 off", `FTPUpstreamTLS: unknown value "a:21": it wants off, prefer or require, and perhaps the targets that it is for, such as *.corp:21`},
		{"FTPUpstreamTLS off a", `FTPUpstreamTLS: "a" has no port: write a:22, or a:* for every port`},
		{"FTPUpstreamTLS off ftp/a:21", `FTPUpstreamTLS: "ftp/a:21": the prefix means nothing here: write the host and port alone`},
		{"FTPUpstreamTLSPin SHA256:abc", `FTPUpstreamTLSPin: "SHA256:abc" is no pin: write SHA256: and the 43 characters of the key's hash in base64`},
		{"FTPUpstreamTLSPin a:21", `FTPUpstreamTLSPin: "a:21" is no pin: the first word is SHA256: and a hash in base64, or none`},
		{"FTPUpstreamTLSMaxVersion 1.1", `FTPUpstreamTLSMaxVersion: unknown value "1.1": it wants 1.2 or 1.3`},
		{"FTPUpstreamTLSCAFile ~/ca", `FTPUpstreamTLSCAFile: "~/ca": there are no home directories here: write the path in full`},
		{"FTPOpaqueTLS 1000-2000", `FTPOpaqueTLS: "1000-2000": a data port below 1024 is never opened`},
		{"FTPOpaqueTLS 2000-3000 4000-5000", `FTPOpaqueTLS: these are 2002 ports, and at most 1024 are opened without an announcement: name the passive ports of the FTP server`},
		{"FTPOpaqueTLS any", `FTPOpaqueTLS: port "any" is not a number`},
		{"FTPDeny secret", `FTPDeny: "secret" would match nothing, as a path begins with /; write "/**/secret" for the name in any directory`},
		{"FTPAllow /a any", `FTPAllow: "any" stands alone`},
		{"FTPAllow /a//b", `FTPAllow: "/a//b" has a name that is empty: one slash goes between two names`},
		{"FTPDeny /a/../b", `FTPDeny: "/a/../b" has .. in it: write the path as it is without`},
		{"FTPDeny /a**", `FTPDeny: "/a**" has "a**" in it: ** stands for whole names, between slashes`},
		{"FTPDeny /[ab]", `FTPDeny: "/[ab]" has [, { or \ in it, with which a path is always refused: there are *, ? and **`},
		{"FTPDeny /" + strings.Repeat("a/", 61), `FTPDeny: "/` + strings.Repeat("a/", 61) + `" has more than 60 names`},
		{"FTPAccess none", `FTPAccess: unknown value "none": it wants read-write, read-only or list-only`},
		{"LogLevel LOUD", `LogLevel: unknown value "LOUD": it wants QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG, DEBUG2 or DEBUG3`},
		{"Match", `Match: it has no criteria: it wants user, group, host, address, localaddress, localport or time with a value, invalid-user, or all`},
		{"Match all user alice", `Match: all stands alone`},
		{"Match user alice all", `Match: all stands alone`},
		{"Match user", `Match: criterion user has no value`},
		{"Match user=", `Match: criterion user has no value`},
		{"Match user a,,b", `Match: criterion user: the list "a,,b" has an empty pattern`},
		{"Match address 10.0.0.1/8", `Match: criterion address: network "10.0.0.1/8" has host bits set: write 10.0.0.0/8`},
		{"Match localport x", `Match: criterion localport: port "x" is not a number`},
		{"Match rdomain x", `Match: criterion rdomain is not served here`},
		{"Match invalid-user=yes", `Match: unknown criterion "invalid-user"`},
		{"Match exec x", `Match: unknown criterion "exec"`},
		{"UsePAM yes", "UsePAM: not served here: PAM isn't asked, so whom its modules keep out would come in; accounts are the bastion's own: write UsePAM no"},
		{"RefuseConnection yes", "RefuseConnection: not served here: ignoring it would let in whom it keeps out: write DenyUsers *"},
		{"X11Forwarding", "X11Forwarding: it has no value"},
		{"Match all\nUseDNS no", "UseDNS: it may not stand inside Match"},
		{"PermitOpne a:1", "PermitOpne: unknown keyword; did you mean PermitOpen?"},
		{"PasswordAuthentification no", "PasswordAuthentification: unknown keyword; did you mean PasswordAuthentication?"},
		{"Prot 22", "Prot: unknown keyword; did you mean Port?"},
		{"Matsh all", "Matsh: unknown keyword; did you mean Match?"},
		{"Xyzzy 1", "Xyzzy: unknown keyword"},
		{`Banner "/a`, `Banner: a quote isn't closed`},
		{"Banner /a\x00b", `the line has the control character '\x00'`},
		{"# " + strings.Repeat("x", maxLine), `the line is over 65536 bytes`},
	} {
		_, _, err := parse("sshd_config", "HostKey /key\n\n"+test.line+"\n", nil)
		if strings.Contains(test.line, "\n") && err != nil {
			// The error is at another line than the first, or at the second of two.
			_, after, _ := strings.Cut(err.Error(), ": ")
			err = errors.New("sshd_config:3: " + after)
		}
		if want := "sshd_config:3: " + test.want; err == nil || err.Error() != want {
			t.Errorf("%.60q:\n got %v\nwant %s", test.line, err, want)
		}
	}
}

func TestKeywordsThatMayNotStandInsideMatch(t *testing.T) {
	const never, later = "it may not stand inside Match", "inside Match it is not served by this version"
	want := map[string]string{
		"AuditLog": later, "LogLevel": later, "RekeyLimit": later,
	}
	for _, name := range []string{
		"Port", "AddressFamily", "ListenAddress", "ProxyProtocolFrom", "PidFile", "VersionAddendum", "TCPKeepAlive",
		"HostKey", "HostCertificate", "HostKeyAgent", "Ciphers", "MACs", "KexAlgorithms", "HostKeyAlgorithms",
		"PasswordFile", "LoginGraceTime", "MaxStartups", "PerSourceMaxStartups", "PerSourceNetBlockSize", "PerSourcePenalties",
		"PerSourcePenaltyExemptList", "DrainTimeout", "AuditFailure", "MetricsListen", "ControlSocket",
	} {
		want[name] = never
	}
	values := map[string]string{"PermitOpen": "a:1", "DenyOpen": "a:1", "PermitListen": "22", "Subsystem": "sftp internal-sftp"}
	for i := range keywords {
		k := &keywords[i]
		value := values[k.name]
		switch {
		case k.standard != nil:
			value = k.standard[0]
		case value == "":
			value = "/etc/culvert/file"
		}
		got := ""
		if _, _, err := parse("f", "HostKey /key\nMatch all\n"+k.name+" "+value, nil); err != nil {
			got = err.Error()
		}
		expected := ""
		if want[k.name] != "" {
			expected = "f:3: " + k.name + ": " + want[k.name]
		}
		if got != expected {
			t.Errorf("%s inside Match: got %q, want %q", k.name, got, expected)
		}
	}
}

func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	_, warnings, err := parse("sshd_config", "PermitOpen a:70000\nUseDNS yes\nMatch rdomain x\nMaxSessions x\n", []string{"Nonsense=1", "", "Match all"})
	want := strings.Join([]string{
		`-o:1: Nonsense: unknown keyword`,
		`-o:2: it has no keyword`,
		`-o:3: Match: it is for the file only`,
		`sshd_config:1: PermitOpen: port "70000" is out of range`,
		`sshd_config:3: Match: criterion rdomain is not served here`,
		`sshd_config:4: MaxSessions: "x" is not a number`,
		`sshd_config: HostKey: at least one is needed: make them with "culvertd keygen DIR"`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
	if len(warnings) != 1 {
		t.Errorf("got warnings %v, want the one of UseDNS", warnings)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, _, err := parse("f", strings.Repeat("nonsense\n", 1000), nil)
	lines := strings.Split(err.Error(), "\n")
	if want := "f:100: too many errors, the rest isn't read"; len(lines) != 101 || lines[100] != want {
		t.Errorf("got %d errors, the last %q, want 101 and %q", len(lines), lines[len(lines)-1], want)
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"UseDNS yes", "f:2: UseDNS: it is ignored: names of clients aren't looked up; a pattern of host names is compared with the address"},
		{"x11forwarding NO\nUsePAM no\nPrintMotd no\nStrictModes yes\nAllowStreamLocalForwarding no", ""},
		{"X11Forwarding yes", "f:2: X11Forwarding: it is ignored: there are no shells, displays or environments here"},
		{"AllowAgentForwarding no", ""},
		{"AllowAgentForwarding yes", "f:2: AllowAgentForwarding: it is ignored: agents aren't forwarded: no program here could use them"},
		{"AllowStreamLocalForwarding local", "f:2: AllowStreamLocalForwarding: it is ignored: Unix sockets aren't forwarded"},
		{"Subsystem sftp internal-sftp -f AUTH -l INFO", "f:2: Subsystem: how sftp logs can't be chosen: the audit log has every transfer"},
		{"Ciphers aes256-cbc,aes128-ctr", `f:2: Ciphers: "aes256-cbc" is left out: it is not served here`},
		{"MACs +hmac-sha1", `f:2: MACs: "hmac-sha1" is weak`},
		{"KexAlgorithms -diffie-*,arcfour", `f:2: KexAlgorithms: "arcfour" takes nothing away`},
		{"Match user a\nAuthenticationMethods password", "f:3: AuthenticationMethods: each list has a method that is not enabled, so nobody gets in"},
		{"Match user a\nAuthenticationMethods publickey password", ""},
		{"RekeyLimit 1G 1h", "f:2: RekeyLimit: the time is not kept: keys change after an amount of data only"},
		{"AuthenticationMethods publickey,keyboard-interactive:pam publickey", "f:2: AuthenticationMethods: keyboard-interactive asks for what PasswordFile has, neither PAM nor BSD authentication"},
		{"PermitOpen a:1\nPermitOpen b:2", "f:3: PermitOpen: it is not used: the first one counts, and that is f:2"},
		{"Match user a\nPermitOpen a:1\nMatch user b\nPermitOpen a:1\n", ""},
		{"DenyOpen a:1\nDenyOpen b:2\nPort 1\nPort 2", ""},
		{"Match all\nPermitOpen a:1\nMatch user b\nDenyOpen x:1\nPermitOpen b:1", "f:6: PermitOpen: it is never used: under Match all, f:3 comes first"},
		{"PermitOpen *:21 ftp/ftp.corp:21", `f:2: PermitOpen: "ftp/ftp.corp:21" has no effect: the word "*:21" before it matches first` + "\n" +
			`f:2: PermitOpen: stock sshd doesn't start on "ftp/ftp.corp:21"`},
		{"PermitOpen ftp/*:21 a:21", `f:2: PermitOpen: "a:21" has no effect: the word "ftp/*:21" before it matches first` + "\n" +
			`f:2: PermitOpen: stock sshd doesn't start on "ftp/*:21"`},
		{"PermitOpen [fe80::2]:22 [fe80::/16]:* [fe00::/8]:22 [2001:db8::2]:22 169.254.1.1:22\nDenyOpen [fe80::/10]:*", "" +
			`f:2: PermitOpen: "[fe80::2]:22" has no effect: a link-local address can't be connected to without a zone, and can't be asked for with one; name another address of the host` + "\n" +
			`f:2: PermitOpen: "[fe80::/16]:*" has no effect: a link-local address can't be connected to without a zone, and can't be asked for with one; name another address of the host` + "\n" +
			`f:2: PermitOpen: stock sshd doesn't start on "[fe80::/16]:*"`},
		{"PermitListen 2121 ftp/2121", `f:2: PermitListen: stock sshd doesn't start on "ftp/*:2121"`},
		{"PermitOpen a:21 ftp/*:21", `f:2: PermitOpen: stock sshd doesn't start on "ftp/*:21"`},
		{"FTPDeny /a\nMatch user x\nFTPAllow /b", "f:2: FTPDeny: it has no effect: nothing is read as FTP without ftp/ in front of a word of PermitOpen"},
		{"PermitOpen ftp/a:21\nFTPDeny /a/*\nMatch user x\nFTPDeny /x\nFTPAllow /x/y /a/b/c /a /*\nMatch user y\nFTPAllow /x", "" +
			`f:2: PermitOpen: stock sshd doesn't start on "ftp/a:21"` + "\n" +
			`f:6: FTPAllow: "/a/b/c" has no effect: FTPDeny /a/* in f:3 wins` + "\n" +
			`f:6: FTPAllow: "/x/y" has no effect: FTPDeny /x in f:5 wins`},
		{"PermitOpen ftp/a:21\nFTPAllow /a\nFTPAllow /b", "" +
			`f:2: PermitOpen: stock sshd doesn't start on "ftp/a:21"` + "\n" +
			"f:4: FTPAllow: it is not used: the first one counts, and that is f:3"},
		{"PermitOpen 10.0.0.0/8:22", `f:2: PermitOpen: stock sshd doesn't start on "10.0.0.0/8:22"`},
		{"PermitOpen a:22 b:80-90", `f:2: PermitOpen: stock sshd doesn't start on "b:80-90"`},
		{"PermitOpen a:22,23", `f:2: PermitOpen: stock sshd doesn't start on "a:22,23"`},
		{"PermitOpen a:22 *.corp:22", `f:2: PermitOpen: stock sshd takes "*.corp:22" literally: no host has this name`},
		{"PermitOpen a:22 *:22 [2001:db8::1]:*", ""},
		{"Match user !a\nMaxSessions 1", "f:2: Match: it never matches: user !a only excludes: write *, in front"},
		{"Match user a,!a\nMaxSessions 1", "f:2: Match: it never matches: user a,!a only excludes: write *, in front"},
		{"Match user a User b,c\nMaxSessions 1", "f:2: Match: it never matches: user a and user b,c exclude each other"},
		{"Match localport 22 address 192.0.2.1 localport 23\nMaxSessions 1", "f:2: Match: it never matches: localport 22 and localport 23 exclude each other"},
		{"Match group a invalid-user\nMaxSessions 1", "f:2: Match: it never matches: group a and invalid-user exclude each other"},
		{"Match group a group b time Mon\nMaxSessions 1", ""},
		{"Match user a,b user b,c address 10.0.0.0/8 address 10.1.0.0/16\nMaxSessions 1", ""},
		{"Match user a\nMaxSessions 1\nMatch all\nMaxSessions 2", "f:4: Match: what stands below counts before the lines outside of Match, not after them"},
		{"Match user a\nMaxSessions 1\nMatch all", ""},
		{"Match all\nMaxSessions 1", ""},
		{"UseDNS yes\nAllowUsers a@*.corp b@10.* c", "f:2: UseDNS: it is ignored: names of clients aren't looked up; a pattern of host names is compared with the address\n" +
			`f:3: AllowUsers: "a@*.corp": names of clients aren't looked up, so it lets nobody in: write addresses`},
		{"UseDNS no\nDenyUsers *@*.evil", ""},
		{"UseDNS yes\nMatch host 10.*\nMaxSessions 1\nMatch host *.corp\nMaxSessions 1", "f:2: UseDNS: it is ignored: names of clients aren't looked up; a pattern of host names is compared with the address\n" +
			"f:5: Match: names of clients aren't looked up: host is compared with the address"},
		{"PermitOpen *:21 a:21", ""},
		{"AuthorizedKeysFile /keys /k/%u /k%%u", `f:2: AuthorizedKeysFile: every key in "/keys" serves for every user name: put %u into the path, or the line under Match User` + "\n" +
			`f:2: AuthorizedKeysFile: every key in "/k%%u" serves for every user name: put %u into the path, or the line under Match User`},
		{"Match User a\nAuthorizedKeysFile /keys", ""},
		{"LoginGraceTime 0", "f:2: LoginGraceTime: without a limit, connections that never log in stay, and fill MaxStartups"},
	} {
		_, warnings, err := parse("f", "HostKey /key\n"+test.text, []string{"MaxSessions=3"})
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		var got []string
		for _, w := range warnings {
			if w.At.Line > 0 { // the rest is for TestSilenceIsNoted
				got = append(got, w.String())
			}
		}
		if got := strings.Join(got, "\n"); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.text, got, test.want)
		}
	}
	if _, warnings, _ := parse("f", "HostKey /key\nPermitOpen any\nMaxSessions 5", []string{"MaxSessions=3"}); len(warnings) > 0 {
		t.Errorf("an override must not warn: %v", warnings)
	}
}

func TestSilenceIsNoted(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "f: PermitOpen: there is no line of it, so nothing may be opened; stock sshd opens anything then",
		"PermitOpen none":              "",
		"Match user a\nPermitOpen a:1": "",
	} {
		_, warnings, err := parse("f", "HostKey /key\n"+text, nil)
		got := ""
		for _, w := range warnings {
			got += w.String()
		}
		if got != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestForeignKeywordsAreNotOurs(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range foreigns {
		if findKeyword(f.name) != nil || f.why == "" || seen[strings.ToLower(f.name)] {
			t.Errorf("%s: it is served, or there twice, or gives no reason", f.name)
		}
		seen[strings.ToLower(f.name)] = true
	}
}

func FuzzParse(f *testing.F) {
	f.Add("HostKey /key\nPermitOpen ftp/ftp.corp:21 # x\nMatch User a,!b Address 10.0.0.0/8\n\tDenyOpen \"*:*\"\n", "Port=1")
	f.Add("HostKey /key\nMaxStartups 1:2:3\nListenAddress [::1]:22\nLoginGraceTime 1h30m\n", "AllowTcpForwarding no")
	f.Add("Match all\n\\\"'#=", "")
	f.Fuzz(func(t *testing.T, text, override string) {
		c, _, err := parse("f", text, []string{override})
		if err != nil {
			if err.Error() == "" || c != nil {
				t.Fatalf("an error without a text, or with a configuration: %v", c)
			}
			return
		}
		s := c.Global()
		switch {
		case len(s.HostKeys) == 0, len(s.ListenAddress) == 0, s.MaxAuthTries < 1, s.MaxConnections < 0, s.MaxChannels < 1, s.MaxSessions < 0,
			s.ConnectTimeout <= 0, s.LoginGraceTime < 0, s.ClientAliveInterval < 0, s.FTP.DataTimeout <= 0,
			s.MaxStartups.Start < 1, s.MaxStartups.Full < s.MaxStartups.Start, s.MaxStartups.Rate < 1 || s.MaxStartups.Rate > 100:
			t.Fatalf("%q has the settings %+v", text, s)
		case c.PasswordAuthentication() && s.PasswordFile == "":
			t.Fatalf("%q has passwords without a file", text)
		}
		for _, r := range s.FTP.DataPorts {
			if r.First < 1024 || r.Last < r.First {
				t.Fatalf("%q has the data ports %v", text, r)
			}
		}
		if p := c.Policy(); p.Global.AllowTCPForwarding == nil {
			t.Fatalf("%q has no AllowTcpForwarding in its policy", text)
		}
	})
}

func TestWhatIsWrongIsToldInTheOrderOfTheLines(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"sshd_config": "Include more\nPasswordAuthentication yes\nUsePAM yes\nBanner none\nBanner none\nLogLevel LOUD\nPort 22\nCiphers 3des-cbc,aes128-ctr\nInclude more\n",
		"more":        "HostKey\nSubsystem sftp /bin/false\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Load(filepath.Join(dir, "sshd_config"), []string{"Nonsense=1"})
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatalf("got %v, want Errors", err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, filepath.Base(e.At.File)+":"+strconv.Itoa(e.At.Line))
	}
	want := []string{"-o:1", "sshd_config:2", "sshd_config:3", "sshd_config:6", "more:1", "more:1", "more:2", "more:2"}
	if !slices.Equal(got, want) {
		t.Errorf("errors: got %q, want %q", got, want)
	}
	last := 0
	for _, w := range loaded.Warnings {
		at := w.At.Line
		if at == 0 { // about the whole of the file
			at = math.MaxInt
		}
		if at < last {
			t.Errorf("warnings: %v stands after line %d", w, last)
		}
		last = at
	}
}
