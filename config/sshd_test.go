package config

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
)

// howMany returns how many random files are tried: CULVERT_SSHD_FILES, or else what takes some seconds.
func howMany(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CULVERT_SSHD_FILES")
	if text == "" {
		return 80
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSettingsAreThoseOfSSHD holds that random files resolve for random connections as they do with a real sshd.
func TestSettingsAreThoseOfSSHD(t *testing.T) {
	sshd := peers.TestConfig(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CULVERT_SSHD_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	files := howMany(t)
	const workers = 4
	for worker := range uint64(workers) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, worker))
			for i := range files / workers {
				g := generator{Rand: random, dir: t.TempDir(), hostKey: sshd.HostKey, once: map[string]bool{}}
				path := g.file()
				spec, subject := g.connection()
				compareWithSSHD(t, sshd, path, spec, subject)
				if t.Failed() {
					text, _ := os.ReadFile(path)
					t.Fatalf("file %d of seed %d, -C %s:\n%s\n%s", i, seed, spec, text, g.included.String())
				}
			}
		})
	}
}

func compareWithSSHD(t *testing.T, sshd *peers.ConfigTester, path, spec string, subject policy.Subject) {
	t.Helper()
	out, err := sshd.Effective(context.Background(), path, spec)
	loaded, ourErr := Load(path, []string{"PasswordFile /users"}) // what sshd has PAM and shadow(5) for
	if err != nil || ourErr != nil {
		t.Errorf("sshd: %v\nculvertd: %v", err, ourErr)
		return
	}
	theirs := linesByKeyword(out)
	ours := linesByKeyword(dump(t, loaded.Config.For(subject, time.Time{})))
	for name, values := range compared {
		key := strings.ToLower(name)
		if values == nil {
			continue
		}
		want, got := theirs[key], ours[key]
		if normal := normalForms[name]; normal != nil {
			want, got = normal(want), normal(got)
		}
		if !slices.Equal(want, got) {
			t.Errorf("%s: sshd has %q, culvertd %q", name, want, got)
		}
	}
}

func linesByKeyword(text string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name = strings.ToLower(name)
		all[name] = append(all[name], value)
	}
	return all
}

// compared are the keywords that are compared, with values that both programs take; they include all keywords that OpenSSH 9.2 and
// culvertd share, see TestKeywordsAreCompared. The first value is what a file gets at the end of its
// global lines if the defaults differ (differentDefaults).
var compared = map[string][]string{
	"Port":                            {"22", "2222", "65535"},
	"AddressFamily":                   {"any"},
	"ListenAddress":                   {"127.0.0.1", "[::1]:9", "127.0.0.1:22", "::", "[127.0.0.1]:5", "0.0.0.0"},
	"PidFile":                         {"/run/sshd.pid", "none", "/run/a.pid"},
	"VersionAddendum":                 {"none", "a b  c", "culvert"},
	"TCPKeepAlive":                    {"yes", "no"},
	"HostCertificate":                 {"/nowhere/c-cert.pub"},
	"HostKeyAgent":                    {"none", "SSH_AUTH_SOCK", "/nowhere/agent"},
	"RekeyLimit":                      {"default", "512M", "1G none", "1K 1h", "default 30", "16 0", "5k 1m30"},
	"RequiredRSASize":                 {"2048", "1024", "4096"},
	"DenyUsers":                       {"a b", "c*@10.0.0.0/8", "x"},
	"AllowUsers":                      {"a", "root b", "d@*.corp"},
	"DenyGroups":                      {"a b*", "wheel"},
	"AllowGroups":                     {"staff", "ops root"},
	"AuthenticationMethods":           {"publickey,password publickey,keyboard-interactive", "publickey", "password,publickey", "publickey,publickey"},
	"PubkeyAuthentication":            {"yes"},
	"PasswordAuthentication":          {"yes"},
	"KbdInteractiveAuthentication":    {"yes"},
	"PermitRootLogin":                 {"yes", "no", "without-password", "forced-commands-only", "prohibit-password"},
	"AuthorizedKeysFile":              {".ssh/authorized_keys .ssh/authorized_keys2", "none", "/k/%u .ssh/authorized_keys", "%h/x", "/a/%U/%%"},
	"AuthorizedKeysCommand":           {"none", "/x %u", "/x", `/x "a b" %k`},
	"AuthorizedKeysCommandUser":       {"nobody", "daemon"},
	"TrustedUserCAKeys":               {"none", "/ca"},
	"AuthorizedPrincipalsFile":        {"none", "/p/%u"},
	"AuthorizedPrincipalsCommandUser": {"nobody", "daemon"},
	"RevokedKeys":                     {"none", "/krl"},
	"PubkeyAuthOptions":               {"none", "touch-required", "verify-required touch-required"},
	"AllowTcpForwarding":              {"yes", "all", "no", "local", "remote"},
	"DisableForwarding":               {"yes", "no"},
	"PermitOpen":                      {"any", "none", "a:1 b.Corp:21", "[2001:db8::1]:443 10.1.0.2:22", "c:*"},
	"PermitListen":                    {"any", "none", "8080 localhost:1", "[::1]:5", "*:9", "10.0.0.1:*"},
	"GatewayPorts":                    {"yes", "no", "clientspecified"},
	"PermitTTY":                       {"yes", "no"},
	"ForceCommand":                    {"none", "internal-sftp"},
	"ChrootDirectory":                 {"none", "/srv/%u", "%h", "/srv"},
	"Subsystem":                       {"sftp internal-sftp", "files internal-sftp"},
	"AcceptEnv":                       {"LANG LC_*", "A"},
	"LoginGraceTime":                  {"0", "1h30m", "20", "2M"},
	"MaxAuthTries":                    {"1", "1000", "6"},
	"MaxStartups":                     {"5", "10:100:200", "1:1:1"},
	"PerSourceMaxStartups":            {"none", "7"},
	"PerSourceNetBlockSize":           {"24:64", "0:0", "32:128"},
	"MaxSessions":                     {"0", "65535", "10"},
	"ClientAliveInterval":             {"0", "30", "1m"},
	"ClientAliveCountMax":             {"0", "3"},
	"ChannelTimeout":                  {"none", "session=5m direct-tcpip=1 *=1h", "session:*=30"},
	"UnusedConnectionTimeout":         {"5", "0", "1h"},
	"Banner":                          {"none", "/banner", "/a/../b"},
	"LogLevel":                        {"QUIET", "DEBUG1", "DEBUG2", "VERBOSE", "info", "ERROR", "FATAL"},
}

// differentDefaults are the keywords whose defaults differ, which docs/divergences.md says of each.
var differentDefaults = []string{
	"PasswordAuthentication", "KbdInteractiveAuthentication", "PidFile", "AuthorizedKeysFile", "PermitOpen", "PermitListen", "RequiredRSASize",
}

// normalForms make one of what is spelled in two ways.
var normalForms = map[string]func([]string) []string{
	"ListenAddress":      sorted,
	"PermitRootLogin":    replaced("without-password", "prohibit-password"),
	"ChannelTimeout":     eachWord("none", func(w string) (string, error) { return reform(channelTimeout, w) }),
	"AuthorizedKeysFile": eachWord("none", func(w string) (string, error) { return reform(userFile, w) }),
	"PermitOpen": eachWord("none any", func(w string) (string, error) {
		return reform(form[policy.OpenPattern]{policy.ParseOpenPattern, policy.OpenPattern.String}, w)
	}),
	"PermitListen": eachWord("none any", func(w string) (string, error) {
		return reform(form[policy.ListenPattern]{policy.ParseListenPattern, policy.ListenPattern.String}, w)
	}),
	"MaxStartups": replaced(":-1:", ":30:"),
	"LogLevel":    replaced("SILENT", "QUIET"),
}

func sorted(lines []string) []string {
	lines = slices.Clone(lines)
	slices.Sort(lines)
	return slices.Compact(lines)
}

func replaced(a, b string) func([]string) []string {
	return func(lines []string) []string {
		var all []string
		for _, line := range lines {
			all = append(all, strings.ReplaceAll(line, a, b))
		}
		return all
	}
}

// eachWord makes a function of one for words, which leaves some as they are; the first of them is what no line at all says.
func eachWord(but string, normal func(string) (string, error)) func([]string) []string {
	leave := strings.Fields(but)
	return func(lines []string) []string {
		if len(lines) == 0 {
			return leave[:1]
		}
		var all []string
		for _, word := range strings.Fields(lines[0]) {
			if n, err := normal(word); err == nil && !slices.Contains(leave, word) {
				word = n
			}
			all = append(all, word)
		}
		return all
	}
}

func reform[T any](f form[T], word string) (string, error) {
	v, err := f.parse(word)
	if err != nil {
		return "", err
	}
	return f.show(v), nil
}

// notIn92 are keywords that culvertd has as later versions have them, and that sshd 9.2 hasn't, or takes for what isn't meant: there an
// AuthorizedPrincipalsCommand counts unless there is an AuthorizedKeysCommand.
var notIn92 = []string{"PerSourcePenalties", "PerSourcePenaltyExemptList", "AuthorizedPrincipalsCommand"}

func TestKeywordsAreCompared(t *testing.T) {
	ours := []string{
		"ProxyProtocolFrom", "PasswordFile", "DenyOpen", "MaxChannels", "MaxConnections", "MaxStripes", "ConnectTimeout", "DrainTimeout", "AuditLog", "AuditFailure",
		"MetricsListen", "ControlSocket",
	}
	elsewhere := []string{
		"HostKey",                                                                                                    // it is in every file
		"Ciphers", "MACs", "KexAlgorithms", "HostKeyAlgorithms", "PubkeyAcceptedAlgorithms", "CASignatureAlgorithms", // TestAlgorithmsAreThoseOfSSHD
	}
	for _, k := range keywords {
		if compared[k.name] == nil && !slices.Contains(ours, k.name) && !slices.Contains(elsewhere, k.name) &&
			!slices.Contains(notIn92, k.name) && !strings.HasPrefix(k.name, "FTP") {
			t.Errorf("%s is compared nowhere", k.name)
		}
	}
}

// generator makes random configurations that are valid for both programs.
type generator struct {
	*rand.Rand
	dir, hostKey string
	included     strings.Builder // what the other files have, for messages
	files        int
	once         map[string]bool // keywords of onlyOnce that have been there
}

func (g *generator) one(of ...string) string { return of[g.IntN(len(of))] }

// file writes a configuration and returns its path.
func (g *generator) file() string {
	var b strings.Builder
	said := map[string]bool{}
	b.WriteString("HostKey " + g.hostKey + "\nAuthorizedKeysCommandUser nobody\nAuthorizedPrincipalsCommandUser nobody\n")
	g.lines(&b, said, false, 0)
	for _, name := range differentDefaults {
		b.WriteString(name + " " + compared[name][0] + "\n")
	}
	for range g.IntN(5) {
		b.WriteString(g.match())
		g.lines(&b, map[string]bool{}, true, 0)
	}
	path := filepath.Join(g.dir, "sshd_config")
	g.write(path, b.String())
	return path
}

func (g *generator) write(path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// lines writes some lines of one scope, some of them into other files.
func (g *generator) lines(b *strings.Builder, said map[string]bool, inMatch bool, depth int) {
	for range g.IntN(12) {
		switch {
		case g.IntN(12) == 0 && depth < 3:
			g.include(b, inMatch, depth)
		case g.IntN(12) == 0:
			b.WriteString(g.one("\n", "# a comment\n", "   # Port 1\n", "\t\n", "\r\n"))
		default:
			b.WriteString(g.line(said, inMatch))
		}
	}
}

// include writes files that a line names, by name or by a pattern.
func (g *generator) include(b *strings.Builder, inMatch bool, depth int) {
	g.files++
	dir := filepath.Join(g.dir, fmt.Sprintf("d%d", g.files))
	if err := os.Mkdir(dir, 0o700); err != nil {
		panic(err)
	}
	names := []string{"a.conf", "b.conf", "c.off", ".d.conf"}
	for _, name := range names[:1+g.IntN(len(names))] {
		var text strings.Builder
		g.lines(&text, map[string]bool{}, inMatch, depth+1)
		if g.IntN(3) == 0 {
			text.WriteString(g.match())
			g.lines(&text, map[string]bool{}, true, depth+1)
		}
		g.write(filepath.Join(dir, name), text.String())
		fmt.Fprintf(&g.included, "-- %s --\n%s", filepath.Join(dir, name), text.String())
	}
	b.WriteString("Include " + g.one(filepath.Join(dir, "*.conf"), filepath.Join(dir, "*.conf")+" "+filepath.Join(dir, "no*"), filepath.Join(dir, "a.conf"), filepath.Join(dir, "?.*"), `"`+filepath.Join(dir, "*")+`"`) + "\n")
}

// onlyGlobal are keywords that sshd 9.2 has outside of Match only, and culvertd anywhere as later ones.
var onlyGlobal = []string{"Subsystem"}

// onlyOnce are keywords whose second line means something else in sshd 9.2 than in later ones, or nothing that is meant.
var onlyOnce = []string{"Subsystem", "MaxStartups", "PerSourceMaxStartups", "PerSourceNetBlockSize"}

func (g *generator) line(said map[string]bool, inMatch bool) string {
	for {
		k := &keywords[g.IntN(len(keywords))]
		values := compared[k.name]
		switch {
		case values == nil, slices.Contains(onlyOnce, k.name) && g.once[k.name], inMatch && (k.where != anywhere || slices.Contains(onlyGlobal, k.name)):
			continue
		}
		g.once[k.name] = true
		name := g.one(append(k.aliases, k.name, k.name, strings.ToLower(k.name), strings.ToUpper(k.name))...)
		if strings.EqualFold(name, "DSAAuthentication") && inMatch {
			name = k.name // the alias is global only
		}
		return g.style(name, g.one(values...), k.wholeLine || k.name == "ForceCommand")
	}
}

// style writes a line in one of the ways in which one may be written.
func (g *generator) style(name, value string, wholeLine bool) string {
	line := g.one("", "", " ", "\t", "    ") + name + g.one(" ", " ", "\t", "=", " = ", "  ", " =")
	if wholeLine {
		return line + value + g.one("", "", " ", "\t") + "\n"
	}
	words := strings.Fields(value)
	for i, word := range words {
		switch g.IntN(6) {
		case 0:
			words[i] = `"` + word + `"`
		case 1:
			words[i] = `'` + word + `'`
		}
	}
	return line + strings.Join(words, g.one(" ", "  ", "\t")) + g.one("", "", "", " ", "\t", " # comment", " \r", "\f") + "\n"
}

var (
	someUsers  = []string{"root", "daemon", "nobody", "sys", "alice-who-isnt-there"}
	someAddrs  = []string{"192.0.2.7", "198.51.100.1", "10.1.2.3", "2001:db8::7", "::1"}
	someHosts  = []string{"client.corp", "Other.Example.ORG", "192.0.2.7"}
	someLocals = []string{"192.0.2.1", "2001:db8::1", "127.0.0.1"}
)

func (g *generator) match() string {
	if g.IntN(6) == 0 {
		return g.one("Match all\n", "match ALL # everybody\n", "Match = all\n")
	}
	line := g.one("Match", "MATCH", "match") + g.one(" ", "\t", "  ")
	values := map[string][]string{
		"user":         {"root", "root,daemon", "!root,*", "!root", "d*", "?ys", "alice*,nobody", "Root", "*"},
		"group":        {"root", "daemon,sys", "!root,*", "nogroup", "r??t", "!root"},
		"host":         {"*.corp", "client.corp", "*.example.org", "!client.corp,*", "192.0.2.*", "OTHER.*"},
		"address":      {"192.0.2.0/24", "192.0.2.7", "!192.0.2.7,192.0.2.0/24", "10.0.0.0/8,2001:db8::/32", "192.0.2.*", "::1", "0.0.0.0/0", "*"},
		"localaddress": {"192.0.2.1", "192.0.2.0/24", "2001:db8::/64", "127.*"},
		"localport":    {"22", "2222"},
	}
	names := []string{"user", "group", "host", "address", "localaddress", "localport"}
	var pairs []string
	for range 1 + g.IntN(3) {
		name := g.one(names...)
		value := g.one(values[name]...)
		pairs = append(pairs, g.one(name, strings.ToUpper(name), strings.ToUpper(name[:1])+name[1:])+g.one(" ", " ", "\t")+g.one(value, value, `"`+value+`"`))
	}
	return line + strings.Join(pairs, " ") + g.one("", "", " # comment", " ") + "\n"
}

// connection returns what -C says and the same as a subject.
func (g *generator) connection() (string, policy.Subject) {
	var (
		words []string
		s     policy.Subject
	)
	if g.IntN(8) > 0 {
		s.User = g.one(someUsers...)
		s.Groups = systemGroups(s.User)
		words = append(words, "user="+s.User)
	}
	if g.IntN(8) > 0 {
		s.Addr = netip.MustParseAddr(g.one(someAddrs...))
		s.Host = g.one(someHosts...)
		words = append(words, "addr="+s.Addr.String(), "host="+s.Host)
	}
	{ // sshd 9.2 insists on it for Match LocalPort
		local := netip.MustParseAddr(g.one(someLocals...))
		port := g.one("22", "2222", "23")
		n, _ := strconv.Atoi(port)
		s.LocalAddr = netip.AddrPortFrom(local, uint16(n))
		words = append(words, "laddr="+local.String(), "lport="+port)
	}
	if words == nil {
		return g.connection()
	}
	return strings.Join(words, ","), s
}

func systemGroups(name string) []string {
	u, err := user.Lookup(name)
	if err != nil {
		return nil
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var names []string
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil {
			names = append(names, g.Name)
		}
	}
	return names
}
