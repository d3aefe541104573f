package auth

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// searchKeys looks for a plain key in the text of a keys file.
func searchKeys(name string, data []byte, claimed policy.Subject, key ssh.PublicKey, now time.Time) (*policy.KeyRules, string, error) {
	l := lookup{claimed: claimed, settings: &Settings{}, key: key, now: now}
	o, err := l.search(name, data)
	if err != nil {
		return nil, l.line, err
	}
	g, err := l.grant(o)
	if err != nil {
		return nil, l.line, err
	}
	return &g.rules, l.line, nil
}

// findKey looks for a plain key in files.
func findKey(files []string, claimed policy.Subject, key ssh.PublicKey, now time.Time) (string, error) {
	l := lookup{claimed: claimed, settings: &Settings{AuthorizedKeysFile: files}, key: key, now: now}
	_, err := l.inFiles(account{})
	return l.line, err
}

func TestKeyOptions(t *testing.T) {
	east := time.FixedZone("east", 2*3600)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, east)
	for _, tt := range []struct {
		options string
		refused string // empty if the key serves
		noPorts bool
		opens   int
		listens int
	}{
		{options: ``},
		{options: `restrict`, noPorts: true},
		{options: `no-port-forwarding`, noPorts: true},
		{options: `restrict,port-forwarding`},
		{options: `port-forwarding,restrict`, noPorts: true},
		{options: `RESTRICT,Port-Forwarding,PermitOpen="a.corp:1"`, opens: 1},
		{options: `permitopen="a.corp:1",permitopen="ftp/b.corp:21"`, opens: 2},
		{options: `permitopen="a.corp"`, refused: "permitopen"},
		{options: `permitopen=a.corp:1`, refused: "double quotes"},
		{options: `permitopen="a.corp:1"x`, refused: "follows its closing quote"},
		{options: `pty,no-pty,agent-forwarding,no-agent-forwarding,X11-forwarding,no-X11-forwarding,user-rc,no-user-rc`},
		{options: `command="echo \"a, b\""`},
		{options: `command="a",command="b"`, refused: "twice"},
		{options: `permitlisten="8080",permitlisten="localhost:*"`, listens: 2},
		{options: `permitlisten="70000"`, refused: "permitlisten"},
		{options: `from="192.0.2.0/24"`},
		{options: `from="198.51.100.1,192.0.2.*"`},
		{options: `from="192.0.2.0/24,!192.0.2.7"`, refused: "from doesn't permit 192.0.2.7"},
		{options: `from="!198.51.100.1"`, refused: "from doesn't permit"},
		{options: `from="198.51.100.0/24"`, refused: "from doesn't permit"},
		{options: `from="192.0.2.7/24"`, refused: "host bits"},
		{options: `from="client.corp"`, refused: "from"},
		{options: `from=""`, refused: "from"},
		{options: `from="192.0.2.7",from="192.0.2.7"`, refused: "twice"},
		{options: `expiry-time="20261122"`, refused: "expired"},
		{options: `expiry-time="20261123"`},
		{options: `expiry-time="202611221200"`, refused: "expired"},
		{options: `expiry-time="20261122120001"`},
		{options: `expiry-time="202611221001Z"`}, // 12:01 in the east
		{options: `expiry-time="202611220959Z"`, refused: "expired"},
		{options: `expiry-time="20261123",expiry-time="20261121"`, refused: "expired"},
		{options: `expiry-time="20261121",expiry-time="20261123"`, refused: "expired"},
		{options: `expiry-time="20261301"`, refused: "is no time"},
		{options: `expiry-time="tomorrow"`, refused: "is no time"},
		{options: `principals="alice"`, refused: "for a cert-authority"},
		{options: `environment="A=b"`},
		{options: `environment="A"`, refused: "not NAME=value"},
		{options: `environment="A B=c"`, refused: "not NAME=value"},
		{options: `command=""`, refused: "no command to force"},
		{options: `verify-required,no-verify-required`},
		{options: `verify-required`}, // it is about hardware keys
		{options: `no-touch-required,touch-required`},
		{options: `tunnel="1"`, refused: "not served"},
		{options: `no-restrict`, refused: "not served"},
		{options: `no-no-pty`, refused: "not served"},
		{options: `restrict="yes"`, refused: "not served"},
		{options: `permitopen`, refused: "not served"},
		{options: `unheard-of`, refused: "not served"},
	} {
		t.Run(tt.options, func(t *testing.T) {
			key := newKey(t)
			data := []byte("\n# a comment\n" + strings.TrimSpace(tt.options+" "+line(key)) + "\n")
			claimed := policy.Subject{User: "alice", Addr: netip.MustParseAddr("192.0.2.7")}
			rules, at, err := searchKeys("keys/alice", data, claimed, key.PublicKey(), now)
			if at != "keys/alice:3" {
				t.Errorf("line: got %q, want keys/alice:3", at)
			}
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), "keys/alice:3") {
					t.Errorf("got %+v and error %v, want a refusal of keys/alice:3 because of %q", rules, err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if rules.NoPortForwarding != tt.noPorts || len(rules.PermitOpen) != tt.opens ||
				len(rules.PermitListen) != tt.listens || rules.Source != "keys/alice:3" {
				t.Errorf("got %+v, want NoPortForwarding %t, %d permitopen and %d permitlisten", rules, tt.noPorts, tt.opens, tt.listens)
			}
		})
	}
}

func TestFirstLineThatServesCounts(t *testing.T) {
	key := newKey(t)
	data := []byte(`expiry-time="20200101" ` + line(key) + "\n" + "restrict " + line(key) + "\n" + line(key) + "\n")
	rules, at, err := searchKeys("f", data, policy.Subject{User: "alice"}, key.PublicKey(), time.Now())
	if err != nil || at != "f:2" || !rules.NoPortForwarding {
		t.Errorf("got %+v of %q, error %v, want f:2", rules, at, err)
	}
}

func TestLineThatCannotBeReadIsNamed(t *testing.T) {
	key := newKey(t)
	for _, bad := range []string{
		strings.Replace(line(key), "AAAA", "!!!!", 1),
		`command="never ends ` + line(key),
		strings.Replace(line(key), "ssh-ed25519", "ssh-rsa", 1),
		`command="` + strings.Repeat("x", maxKeyLine) + `" ` + line(key),
	} {
		_, at, err := searchKeys("f", []byte("\n"+bad+"\n"), policy.Subject{User: "alice"}, key.PublicKey(), time.Now())
		if err == nil || at != "" || !strings.Contains(err.Error(), "f:2 can't be read") {
			t.Errorf("%.60q: got line %q, error %v, want f:2 named", bad, at, err)
		}
	}
}

func TestKeysFileThatOthersCouldHaveWritten(t *testing.T) {
	key := newKey(t)
	claimed := policy.Subject{User: "alice"}
	find := func(dir string) error {
		_, err := findKey([]string{filepath.Join(dir, "%u")}, claimed, key.PublicKey(), time.Now())
		return err
	}
	for name, tt := range map[string]struct {
		spoil func(dir, file string) error
		want  string // empty if it serves
	}{
		"good":                 {func(dir, file string) error { return nil }, ""},
		"readable":             {func(dir, file string) error { return os.Chmod(file, 0o644) }, ""},
		"group-writable file":  {func(dir, file string) error { return os.Chmod(file, 0o660) }, "chmod 0640"},
		"world-writable file":  {func(dir, file string) error { return os.Chmod(file, 0o602) }, "chmod 0600"},
		"group-writable dir":   {func(dir, file string) error { return os.Chmod(dir, 0o770) }, "chmod go-w"},
		"world-writable above": {func(dir, file string) error { return os.Chmod(filepath.Dir(dir), 0o777) }, "chmod go-w"},
		"missing":              {func(dir, file string) error { return os.Remove(file) }, "there is no"},
		"link to a good file": {func(dir, file string) error {
			if err := os.Rename(file, file+".real"); err != nil {
				return err
			}
			return os.Symlink(file+".real", file)
		}, ""},
		"link to a bad directory": {func(dir, file string) error {
			bad := filepath.Join(t.TempDir(), "bad")
			if err := os.Mkdir(bad, 0o700); err != nil {
				return err
			}
			if err := os.Rename(file, filepath.Join(bad, "keys")); err != nil {
				return err
			}
			if err := os.Chmod(bad, 0o777); err != nil {
				return err
			}
			return os.Symlink(filepath.Join(bad, "keys"), file)
		}, "chmod go-w"},
		"directory": {func(dir, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Mkdir(file, 0o700)
		}, "not a regular file"},
		"fifo": {func(dir, file string) error {
			if err := os.Remove(file); err != nil {
				return err
			}
			return syscall.Mkfifo(file, 0o600)
		}, "not a regular file"},
		"too long": {func(dir, file string) error { return os.Truncate(file, maxFileSize+1) }, "longer than"},
		"somebody else's": {func(dir, file string) error {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file to somebody else")
			}
			return os.Chown(file, 12345, 0)
		}, "belongs to user id 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "keys")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "alice")
			if err := os.WriteFile(file, []byte(line(key)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(dir, file); err != nil {
				t.Fatal(err)
			}
			err := find(dir)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestKeysFilesAreTriedInOrder(t *testing.T) {
	dir := t.TempDir()
	key := newKey(t)
	if err := os.WriteFile(filepath.Join(dir, "alice%"), []byte("expiry-time=\"20200101\" "+line(key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []string{filepath.Join(dir, "none-%u"), filepath.Join(dir, "%u%%"), filepath.Join(dir, "more-%u")}
	claimed := policy.Subject{User: "alice"}
	at, err := findKey(files, claimed, key.PublicKey(), time.Now())
	if err == nil || at != filepath.Join(dir, "alice%")+":1" {
		t.Errorf("got line %q, error %v, want the line that holds the key and doesn't serve", at, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "more-alice"), []byte(line(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	if at, err := findKey(files, claimed, key.PublicKey(), time.Now()); err != nil || at != filepath.Join(dir, "more-alice")+":1" {
		t.Errorf("got line %q, error %v, want that of the last file", at, err)
	}
	for _, files := range [][]string{nil, {"relative/%u"}, {dir + "/%h"}, {dir + "/%"}} {
		if _, err := findKey(files, claimed, key.PublicKey(), time.Now()); err == nil {
			t.Errorf("%q: got no error", files)
		}
	}
}

// A line with options serves only if each of them is understood, whatever the parser of the key thinks of it.
func FuzzKeyLine(f *testing.F) {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "restrict ", `permitopen="a:1",from="192.0.2.7" `, `command="\"" `, `a"b,c" `, `from="192.0.2.8" `} {
		f.Add(seed)
	}
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	claimed := policy.Subject{User: "alice", Addr: netip.MustParseAddr("192.0.2.7")}
	f.Fuzz(func(t *testing.T, options string) {
		rules, at, err := searchKeys("f", []byte(options+text), claimed, key, time.Unix(1_800_000_000, 0).UTC())
		if err != nil {
			if rules != nil {
				t.Errorf("rules together with error %v", err)
			}
			return
		}
		if rules == nil || rules.Source != at || at == "" {
			t.Fatalf("got %+v of %q without error", rules, at)
		}
		first := options[strings.LastIndexByte(options, '\n')+1:]
		lower := strings.ToLower(first)
		if strings.HasPrefix(strings.TrimSpace(lower), "restrict ") && !rules.NoPortForwarding {
			t.Errorf("%q: restrict is lost", options)
		}
	})
}
