package config

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// oddValues are tried with every keyword.
var oddValues = []string{
	"", `""`, "none", "any", "yes", "no", "YES", "True", "0", "1", "-1", "007", "5x", "65535", "65536", "2147483647", "2147483648", "99999999999999999999",
	"a b", "a,b", "a,,b", "1m", "1M30", "1y", "1.5", "5 6", "1:2:3", "3:2:1", "32:128", "33:1", "*", "!a", "/x", "~/x", "x/y", "%u", "%z", "/%", "host:22", "host:0", "host:65536", "host", "[::1]:22",
	"::1", "::1:22", "[::1]", "127.0.0.1", "127.0.0.1:22", "10.0.0.0/8", "10.0.0.1/8", "1K", "10", "16", "1T", "1k 1h", "default", "session=5m", "=5",
	"publickey", "publickey,password", "publickey,x", "keyboard-interactive:pam", "sftp internal-sftp", "sftp /bin/true", "local", "clientspecified", "prohibit-password",
	"touch-required", "SSH_AUTH_SOCK", "A=b", "user@10.0.0.0/8", "user@10.0.0.1/8", "inet", "INFO", "debug1", `"a`, `'a b'`, `a\ b`, "= =x", "# comment", "yes # comment", "yes#comment", "yes no",
}

// differs is a difference between sshd and culvertd that is meant.
type differs struct {
	name string
	row  string // that says it in docs/divergences.md
	// is reports whether a line with which the two disagree is one of these.
	is func(keyword, value string) bool
}

func TestErrorsAreThoseOfSSHD(t *testing.T) {
	sshd := peers.TestConfig(t)
	type line struct{ keyword, value string }
	var lines []line
	for _, k := range keywords {
		if compared[k.name] == nil && k.name != "HostKey" {
			continue
		}
		for _, value := range oddValues {
			lines = append(lines, line{k.name, value})
		}
	}
	rand.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	for _, l := range lines[:min(len(lines), howMany(t))] {
		text := fmt.Sprintf("HostKey %s\nAuthorizedKeysCommandUser nobody\nAuthorizedPrincipalsCommandUser nobody\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes\n%s %s\n", sshd.HostKey, l.keyword, l.value)
		path := filepath.Join(t.TempDir(), "sshd_config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, theirs := sshd.Effective(context.Background(), path, "")
		_, ours := Load(path, []string{"PasswordFile /users"})
		if (theirs == nil) == (ours == nil) {
			continue
		}
		meant := func(d differs) bool { return d.is(l.keyword, l.value) }
		if theirs != nil || !slices.ContainsFunc(differences, meant) {
			t.Errorf("%s %s:\n    sshd: %v\nculvertd: %v", l.keyword, l.value, strings.TrimSpace(fmt.Sprint(theirs)), ours)
		}
	}
}

// differences are all of them. sshd takes each of these lines; what culvertd takes beyond sshd has words that no odd value has.
var differences = []differs{
	{"no programs", "| `ForceCommand`, `Subsystem` |", func(k, v string) bool { return k == "ForceCommand" || k == "Subsystem" }},
	{"home of root", "| `~` in a path |", func(_, v string) bool { return v == "~/x" }},
	{"tokens", "| tokens such as `%z` that don't exist |", func(k, v string) bool {
		return (v == "%z" || v == "/%") && (strings.HasPrefix(k, "Authorized") || k == "ChrootDirectory")
	}},
	{"absolute root", "| a relative `ChrootDirectory` |", func(k, v string) bool { return k == "ChrootDirectory" && v[0] != '/' }},
	{"no value", "| a keyword without a value |", func(_, v string) bool { return v == "# comment" }},
	{"negated names", "| `!` in `AllowUsers` and its kin |", func(k, v string) bool {
		return v == "!a" && slices.Contains([]string{"AllowUsers", "DenyUsers", "AllowGroups", "DenyGroups"}, k)
	}},
	{"addresses in full", "| `ListenAddress` | names", func(k, v string) bool { return k == "ListenAddress" }},
	{"addresses in full", "| spellings like `127.1`", func(k, v string) bool { return k == "PermitOpen" && (v == "32:128" || v == "33:1") }},
	{"ranges", "| numbers |", func(k, v string) bool {
		return slices.Contains([]string{"MaxAuthTries", "MaxSessions", "ClientAliveCountMax", "RequiredRSASize", "PerSourceMaxStartups"}, k) &&
			strings.Trim(v, "=0123456789") == ""
	}},
	{"numbers", "| `MaxStartups 5x`,", func(k, v string) bool {
		return (k == "MaxStartups" || k == "PerSourceNetBlockSize") && strings.Trim(v, "0123456789") != ""
	}},
	{"methods", "| `AuthenticationMethods` with `none`", func(k, v string) bool { return k == "AuthenticationMethods" && v == "none" }},
}

func TestDifferencesAreDocumented(t *testing.T) {
	text := readDocument(t, "../docs/divergences.md")
	for _, d := range differences {
		if !strings.Contains(text, "\n"+d.row) {
			t.Errorf("%s: docs/divergences.md has no row %q", d.name, d.row)
		}
	}
}
