package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// unpack writes the files of an archive, each after a line -- name --, into a folder of their own.
func unpack(t *testing.T, archive string) string {
	t.Helper()
	dir := t.TempDir()
	for file := range strings.SplitSeq("\n"+archive, "\n-- ") {
		name, text, found := strings.Cut(file, " --\n")
		if !found {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestIncludeReadsInOrder(t *testing.T) {
	dir := unpack(t, `
-- sshd_config --
Include conf.d/*.conf missing*
HostKey /main
MaxSessions 3
Match User alice
	Include inside
	MaxSessions 6
-- conf.d/20.conf --
HostKey /twenty
MaxSessions 2
-- conf.d/10.conf --
HostKey /ten
Match User bob
	MaxSessions 4
	PermitOpen b:1
-- conf.d/.hidden.conf --
Nonsense
-- conf.d/30.off --
Nonsense
-- inside --
MaxChannels 9
Match Address 192.0.2.0/24
	MaxSessions 5
	Banner /inner
Match User bob
	MaxChannels 1
`)
	l, err := Load(filepath.Join(dir, "sshd_config"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		user, addr string
		want       string
	}{
		{"carol", "192.0.2.1", `2 64 "" ["/ten" "/twenty" "/main"]`},
		{"bob", "192.0.2.1", `4 64 "" ["/ten" "/twenty" "/main"]`},
		{"alice", "192.0.2.1", `5 9 "/inner" ["/ten" "/twenty" "/main"]`},
		{"alice", "198.51.100.1", `6 9 "" ["/ten" "/twenty" "/main"]`},
	} {
		s := l.Config.For(policy.Subject{User: test.user, Addr: netip.MustParseAddr(test.addr)}, time.Time{})
		if got := fmt.Sprintf("%d %d %q %q", s.MaxSessions, s.MaxChannels, s.Banner, s.HostKeys); got != test.want {
			t.Errorf("%s from %s: got %s, want %s", test.user, test.addr, got, test.want)
		}
	}
	names := []string{"sshd_config", "conf.d/10.conf", "conf.d/20.conf", "inside"}
	hash := sha256.New()
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
		text, err := os.ReadFile(names[i])
		if err != nil {
			t.Fatal(err)
		}
		hash.Write(text)
	}
	if got, want := strings.Join(l.Files, " "), strings.Join(names, " "); got != want {
		t.Errorf("files: got %s, want %s", got, want)
	}
	if want := hex.EncodeToString(hash.Sum(nil)); l.SHA256 != want {
		t.Errorf("hash: got %s, want %s", l.SHA256, want)
	}
	// The policy resolves as the settings do.
	d := l.Config.Policy().Decide(policy.Request{
		Subject: policy.Subject{User: "bob"}, Action: policy.Open,
		Target: policy.Target{Host: "b", Port: 1, Addr: netip.MustParseAddr("192.0.2.9")},
	})
	if want := filepath.Join(dir, "conf.d/10.conf") + ":4"; !d.Allowed() || d.Rule != want {
		t.Errorf("policy: got %v by %s, want it by %s", d.Allowed(), d.Rule, want)
	}
}

func TestIncludeErrors(t *testing.T) {
	for _, test := range []struct{ name, archive, want string }{
		{"positions", "-- c --\nHostKey /k\nInclude other\n-- other --\n\nPort x\n", `D/other:2: Port: port "x" is not a number`},
		{"inside Match", "-- c --\nHostKey /k\nMatch all\nInclude other\n-- other --\nPort 22\n", `D/other:1: Port: it may not stand inside Match`},
		{"cycle", "-- c --\nHostKey /k\nInclude other\n-- other --\nInclude c\n", `D/other:1: Include: "D/c" includes itself`},
		{"depth", deep(), `D/f15:1: Include: "D/f16" is more than 16 files deep`},
		{"a directory", "-- c --\nHostKey /k\nInclude d\n-- d/x --\n", `D/c:2: Include: read configuration "D/d": read D/d: is a directory`},
		{"no value", "-- c --\nHostKey /k\nInclude\n", `D/c:2: Include: it has no value: it wants paths, in which * and ? may stand`},
		{"empty", "-- c --\nHostKey /k\nInclude \"\"\n", `D/c:2: Include: the path is empty`},
		{"home", "-- c --\nHostKey /k\nInclude ~/x\n", `D/c:2: Include: "~/x": write the path in full`},
		{"bad pattern", "-- c --\nHostKey /k\nInclude [\n", `D/c:2: Include: "[" is not a pattern of paths`},
		{"size", "-- c --\nHostKey /k\nInclude big\n-- big --\n" + strings.Repeat("# comment\n", maxSize/10), `D/c:2: Include: read configuration "D/big": it is over 1048576 bytes, or is with the files before it`},
	} {
		dir := unpack(t, test.archive)
		_, err := Load(filepath.Join(dir, "c"), nil)
		if err == nil || strings.ReplaceAll(err.Error(), dir, "D") != test.want {
			t.Errorf("%s:\n got %v\nwant %s", test.name, err, test.want)
		}
	}
	dir := unpack(t, "-- c --\nHostKey /k\nInclude missing missing*\nPermitOpen any\n")
	l, err := Load(filepath.Join(dir, "c"), nil)
	if want := filepath.Join(dir, "c") + `:2: Include: there is no file "missing"`; err != nil || len(l.Warnings) != 1 || l.Warnings[0].String() != want {
		t.Errorf("a missing file: got %v, %v, want %s", l.Warnings, err, want)
	}
	var all Errors
	if _, err := Load(filepath.Join(dir, "c"), []string{"Include /etc/x"}); !errors.As(err, &all) || all[0].Error() != "-o:1: Include: it is for the file only" {
		t.Errorf("-o: got %v", err)
	}
}

// deep is an archive in which each file includes the next.
func deep() string {
	var b strings.Builder
	b.WriteString("-- c --\nHostKey /k\nInclude f1\n")
	for i := range 20 {
		fmt.Fprintf(&b, "-- f%d --\nInclude f%d\n", i+1, i+2)
	}
	return b.String()
}

// The files of a directory that can't be read would be left out, and with them what they forbid.
func TestIncludeFromWhatCannotBeRead(t *testing.T) {
	dir := unpack(t, "-- c --\nHostKey /k\nInclude file/*.conf\n-- file --\n")
	_, err := Load(filepath.Join(dir, "c"), nil)
	if err == nil || !strings.Contains(err.Error(), "c:2: Include: look for ") {
		t.Errorf("got %v, want an error", err)
	}
}
