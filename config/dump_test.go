package config

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// readsBack holds that what s is dumped as is read as s.
func readsBack(t *testing.T, s Settings) {
	t.Helper()
	text := dump(t, s)
	c, warnings, err := parse("dump", text, nil)
	if err != nil {
		t.Fatalf("the dump doesn't read back: %v\n%s", err, text)
	}
	if diff := cmp.Diff(s, c.Global(), compareWords, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("the dump reads back as something else, want -, got +:\n%s\n%s", diff, text)
	}
	for _, w := range warnings {
		if findForeign(w.Keyword) != nil {
			t.Errorf("the dump has what is warned of: %s", w)
		}
	}
	if again := dump(t, c.Global()); again != text {
		t.Errorf("the second dump is another: %s", cmp.Diff(text, again))
	}
}

func dump(t *testing.T, s Settings) string {
	t.Helper()
	var b strings.Builder
	if err := s.Dump(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDumpShowsEveryKeyword(t *testing.T) {
	lines := strings.Split(dump(t, mustParse(t, example()).Global()), "\n")
	for _, k := range keywords {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, strings.ToLower(k.name)+" ") }) {
			t.Errorf("no line for %s", k.name)
		}
	}
	for _, want := range []string{
		"port 22", "listenaddress 0.0.0.0:22", "listenaddress [::]:22", "logingracetime 120", "permitrootlogin prohibit-password",
		"persourcepenalties crash:90 authfail:5 noauth:1 invaliduser:5 grace-exceeded:10 refuseconnection:10 max:600 min:15 max-sources4:65536 max-sources6:65536 overflow:permissive overflow6:permissive",
		"allowusers a", "allowusers b", "acceptenv LANG", "subsystem sftp internal-sftp", "rekeylimit 0 0", "x11forwarding no", "usepam no",
		"ftpupstreamtls require a:21", "ftpupstreamtls off", "ftpupstreamtlspin " + pinA + " a:21", "ftpopaquetls none",
		"permitopen ftp/a:21", "denyopen b:1 c:2", "permitlisten *:8080", `banner "/a b"`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in:\n%s", want, strings.Join(lines, "\n"))
		}
	}
}

// example has a line for every keyword that is shown only if it is said.
func example() string {
	return `HostKey /key
HostCertificate /key-cert.pub
PasswordFile /users
DenyUsers x
AllowUsers a b
DenyGroups x
AllowGroups g
AcceptEnv LANG
Subsystem sftp internal-sftp
PermitOpen ftp/a:21
DenyOpen b:1 c:2
PermitListen 8080
Banner "/a b"
FTPUpstreamTLS require a:21
FTPUpstreamTLS off
FTPUpstreamTLSPin ` + pinA + ` a:21
`
}

func TestDumpReadsBack(t *testing.T) {
	readsBack(t, mustParse(t, "HostKey /key").Global())
	readsBack(t, mustParse(t, example()).Global())
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		text := "HostKey /key\nPasswordFile /users\n" + randomLines(random)
		c, _, err := parse("random", text, nil)
		if err != nil && strings.Contains(err.Error(), "nobody gets in") {
			continue // the methods were switched off
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if readsBack(t, c.Global()); t.Failed() {
			t.Fatalf("of:\n%s", text)
		}
	}
}

const (
	pinA = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
	pinB = "SHA256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0"
)

// someValues are valid values of each keyword. The paths among them are as awkward as paths may be.
var someValues = map[string][]string{
	"Port":                            {"22", "2222", "65535"},
	"AddressFamily":                   {"any"},
	"ListenAddress":                   {"127.0.0.1", "[::1]:9", "127.0.0.1:0", "fe80::1%eth0", "::"},
	"ProxyProtocolFrom":               {"none", "192.0.2.1 10.0.0.0/8", "2001:db8::/32"},
	"PidFile":                         {"none", "/run/a.pid", `"/a b#c"`, `"/a\"b"`, `'/a\\\'b'`},
	"VersionAddendum":                 {"none", "a b  c", "= =x", `it's" not'`, "a # b"},
	"TCPKeepAlive":                    {"yes", "no"},
	"HostKey":                         {"/other", `"/k y"`, `/k\ y`},
	"HostCertificate":                 {"/c-cert.pub"},
	"HostKeyAgent":                    {"none", "SSH_AUTH_SOCK", "/agent"},
	"Ciphers":                         {"aes128-ctr", "+aes128-cbc", "-aes*", "^aes256-gcm@openssh.com"},
	"MACs":                            {"hmac-sha2-512,hmac-sha1", "-*etm*", "+hmac-sha1-96"},
	"KexAlgorithms":                   {"curve25519-sha256", "-*25519*", "^ecdh-sha2-nistp521"},
	"HostKeyAlgorithms":               {"ssh-ed25519", "ssh-*", "-ecdsa*"},
	"PubkeyAcceptedAlgorithms":        {"*ed25519*", "^rsa-sha2-256", "-*cert*"},
	"CASignatureAlgorithms":           {"ssh-ed25519", "-rsa*"},
	"RekeyLimit":                      {"default", "512M", "1G none", "1K 1h", "default 30"},
	"RequiredRSASize":                 {"1024", "4096"},
	"DenyUsers":                       {"a b", "c*@10.0.0.0/8,!192.0.2.*"},
	"AllowUsers":                      {"a", `"b c"`, "d@*.corp"},
	"DenyGroups":                      {"a b*"},
	"AllowGroups":                     {"staff", "ops"},
	"AuthenticationMethods":           {"any", "publickey,password publickey,keyboard-interactive:pam", "publickey"},
	"PubkeyAuthentication":            {"yes", "no"},
	"PasswordAuthentication":          {"yes", "no"},
	"KbdInteractiveAuthentication":    {"yes", "no"},
	"PasswordFile":                    {"/users2"},
	"PermitRootLogin":                 {"yes", "no", "without-password", "forced-commands-only"},
	"AuthorizedKeysFile":              {"none", "/k/%u .ssh/authorized_keys", "%h/x", `"/a b/%u"`},
	"AuthorizedKeysCommand":           {"none", `/x %u "a b" #c`, `/x`},
	"AuthorizedKeysCommandUser":       {"nobody", "keys"},
	"TrustedUserCAKeys":               {"none", "/ca"},
	"AuthorizedPrincipalsFile":        {"none", "/p/%u", ".p"},
	"AuthorizedPrincipalsCommand":     {"none", "/p %i"},
	"AuthorizedPrincipalsCommandUser": {"nobody"},
	"RevokedKeys":                     {"none", "/krl"},
	"PubkeyAuthOptions":               {"none", "touch-required", "verify-required touch-required"},
	"AllowTcpForwarding":              {"yes", "all", "no", "local", "remote"},
	"DisableForwarding":               {"yes", "no"},
	"PermitOpen":                      {"any", "none", "a:1 ftp/*.corp:21,2121", "[2001:db8::/32]:443 10.1.0.0/16:22"},
	"DenyOpen":                        {"any", "none", "a:1", "[::1]:* 127.0.0.0/8:1-5"},
	"PermitListen":                    {"any", "none", "8080 localhost:1", "[::1]:5", "ftp/2121 ftp/localhost:*"},
	"GatewayPorts":                    {"yes", "no", "clientspecified"},
	"PermitTTY":                       {"yes", "no"},
	"ForceCommand":                    {"none", "internal-sftp", "internal-sftp -l INFO"},
	"ChrootDirectory":                 {"none", "/srv/%u", "%h"},
	"Subsystem":                       {"sftp internal-sftp", "files internal-sftp -f AUTH"},
	"AcceptEnv":                       {"LANG LC_*", `"A B"`},
	"FTPDataPorts":                    {"any", "50000-50100 60000"},
	"FTPDataAddress":                  {"control", "10.4.0.0/16 2001:db8::1"},
	"FTPDataTimeout":                  {"1m", "5"},
	"FTPActive":                       {"no", "yes", "forward"},
	"FTPPredial":                      {"yes", "no"},
	"FTPUpstreamTLS":                  {"off", "prefer a:21 10.0.0.0/8:21,990", "require", "REQUIRE [::1]:*"},
	"FTPUpstreamTLSCAFile":            {"none", `"/c a"`},
	"FTPUpstreamTLSPin":               {"none", pinA + " " + pinB + "= *.corp:21", "none a:21", pinB},
	"FTPUpstreamTLSMaxVersion":        {"1.2", "1.3"},
	"FTPOpaqueTLS":                    {"none", "50000-50100 60000"},
	"FTPAccess":                       {"read-write", "read-only", "list-only"},
	"FTPDeny":                         {"any", "none", "/a /b/*/c?/**/d", `"/a b/" /x`},
	"FTPAllow":                        {"any", "none", "/ /a", "/pub/** /home/*/in"},
	"LoginGraceTime":                  {"0", "1h30m", "20"},
	"MaxAuthTries":                    {"1", "1000"},
	"MaxConnections":                  {"none", "1", "100"},
	"MaxStartups":                     {"5", "10:100:200"},
	"PerSourceMaxStartups":            {"none", "7"},
	"PerSourceNetBlockSize":           {"24", "24:64", "0:0"},
	"PerSourcePenalties":              {"yes", "no", "authfail:1m max:1h", "overflow:deny-all", "overflow6:deny-all min:0", "max-sources4:5 crash:0"},
	"PerSourcePenaltyExemptList":      {"none", "10.0.0.0/8,!10.1.0.0/16,192.0.2.*", "::1"},
	"MaxSessions":                     {"0", "65535"},
	"MaxChannels":                     {"1", "100"},
	"MaxStripes":                      {"0", "16"},
	"ConnectTimeout":                  {"1", "1m"},
	"ClientAliveInterval":             {"0", "30"},
	"ClientAliveCountMax":             {"0", "3"},
	"ChannelTimeout":                  {"none", "session=5m direct-tcpip=0 *=1h", `"a b"=5`},
	"UnusedConnectionTimeout":         {"none", "0", "1h"},
	"DrainTimeout":                    {"none", "1h"},
	"Banner":                          {"none", "/banner"},
	"AuditLog":                        {"stderr", "/log"},
	"AuditFailure":                    {"close", "continue"},
	"LogLevel":                        {"QUIET", "debug1", "DEBUG2", "VERBOSE"},
	"MetricsListen":                   {"none", "127.0.0.1:0", "[::1]:9"},
	"ControlSocket":                   {"none", "/run/c.sock"},
}

func randomLines(random *rand.Rand) string {
	var b strings.Builder
	b.WriteString("AuthorizedKeysCommandUser a\nAuthorizedPrincipalsCommandUser b\n")
	for range random.IntN(20) {
		k := keywords[random.IntN(len(keywords))]
		values := someValues[k.name]
		fmt.Fprintf(&b, "%s %s\n", k.name, values[random.IntN(len(values))])
	}
	return b.String()
}

func TestSomeValuesAreThereForEveryKeyword(t *testing.T) {
	for _, k := range keywords {
		if len(someValues[k.name]) == 0 {
			t.Errorf("%s has none", k.name)
		}
		for _, value := range someValues[k.name] {
			text := "HostKey /key\nPasswordFile /users\nAuthorizedKeysCommandUser a\nAuthorizedPrincipalsCommandUser b\n" + withMethods(k.name) + k.name + " " + value
			readsBack(t, mustParse(t, text).Global())
		}
	}
}

// withMethods switches the methods on that the values of a keyword name.
func withMethods(keyword string) string {
	if keyword == methodsName {
		return "PasswordAuthentication yes\nKbdInteractiveAuthentication yes\n"
	}
	return ""
}
