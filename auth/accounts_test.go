package auth

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const testSecret = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

func TestAccountLines(t *testing.T) {
	for line, want := range map[string]Account{
		"alice:" + noHash:        {Name: "alice", Known: true, hash: noHash},
		"alice:!" + noHash:       {Name: "alice", Known: true, hash: noHash, Locked: true},
		"alice:*":                {Name: "alice", Known: true},
		"alice:!*:groups=":       {Name: "alice", Known: true, Locked: true, ownGroups: true},
		"alice:*:groups=ftp,ops": {Name: "alice", Known: true, ownGroups: true, Groups: []string{"ftp", "ops"}},
		"alice:" + noHash + ":totp=" + testSecret + ":groups=ftp@corp": {Name: "alice", Known: true, hash: noHash, secret: testSecret, ownGroups: true, Groups: []string{"ftp@corp"}},
	} {
		got, err := parseAccount(line)
		if err != nil || !same(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", line, got, err, want)
		}
		if written := got.line(); written != line+"\n" {
			t.Errorf("%s: got %q back", line, written)
		}
	}
}

func same(a, b Account) bool {
	groups := slices.Equal(a.Groups, b.Groups)
	a.Groups, b.Groups = nil, nil
	return groups && a.Name == b.Name && a.Known == b.Known && a.Locked == b.Locked && a.hash == b.hash && a.secret == b.secret && a.ownGroups == b.ownGroups
}

func TestAccountFileWithAnErrorServesNobody(t *testing.T) {
	for line, want := range map[string]string{
		"alice:":                              "no hash of ours",
		"alice:!":                             "no hash of ours",
		"alice:!!*":                           "no hash of ours",
		"alice:**":                            "no hash of ours",
		"alice:*:":                            `field "" is not known`,
		"alice:*:shell=/bin/sh":               `field "shell" is not known`,
		"alice:*:Groups=a":                    `field "Groups" is not known`,
		"alice:*:groups=a:groups=b":           `field "groups" is not known, or stands there twice`,
		"alice:*:groups=a,":                   `group ""`,
		"alice:*:groups=a b":                  `group "a b"`,
		"alice:*:groups=" + tooMany():         "more than 64 groups",
		"alice:*:totp=":                       "totp= wants",
		"alice:*:totp=ABCDEFGH":               "totp= wants",
		"alice:*:totp=" + testSecret + "====": "totp= wants",
		"alice:*:totp=abcdefghijklmnopqrstuvwxyz":                           "totp= wants",
		"alice:*:totp=ABCDEFGHIJKLMNOPQRSTUVWXYZ" + strings.Repeat("A", 80): "totp= wants",
		"alice:*:totp=ABCDEFGHIJKLMNOPQRSTUVWXYB":                           "totp= wants", // bits over
		"alice:*:totp=" + testSecret + ":totp=" + testSecret:                `field "totp"`,
	} {
		path := filepath.Join(t.TempDir(), "accounts")
		if err := os.WriteFile(path, []byte("bob:*\n"+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"alice", "bob", "carol"} {
			a, err := Accounts{File: path}.Account(name)
			if err == nil || !strings.Contains(err.Error(), path+":2: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: got %+v, error %v, want %q", line, name, a, err, want)
			}
			if a.Known {
				t.Errorf("%s, %s: known in a broken file", line, name)
			}
		}
	}
}

func tooMany() string { return strings.TrimSuffix(strings.Repeat("g,", maxGroups+1), ",") }

func TestAccountIsOursOrTheSystems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(self.Gid)
	if err != nil {
		t.Fatal(err)
	}
	nobody := "nobody-by-this-name"
	check := func(what, name string, known bool, groups ...string) {
		t.Helper()
		a, err := Accounts{File: path}.Account(name)
		if err != nil || a.Known != known || a.Name != name {
			t.Errorf("%s: got %+v, %v, want known %t", what, a, err, known)
		}
		for _, g := range groups {
			if !slices.Contains(a.Groups, g) {
				t.Errorf("%s: got groups %q, want %q among them", what, a.Groups, g)
			}
		}
		if len(groups) == 0 && len(a.Groups) > 0 {
			t.Errorf("%s: got groups %q, want none", what, a.Groups)
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("a user of the system", self.Username, true, group.Name)
	check("nobody", nobody, false)
	check("no name", "../etc", false)
	if err := SetPassword(path, self.Username, "p"); err != nil {
		t.Fatal(err)
	}
	check("with a password of ours, the system's groups", self.Username, true, group.Name)
	if err := SetGroups(path, self.Username, nil); err != nil {
		t.Fatal(err)
	}
	check("with no groups, by our word", self.Username, true)
	if err := SetGroups(path, nobody, []string{"ftp", "ops"}); err != nil {
		t.Fatal(err)
	}
	check("ours alone", nobody, true, "ftp", "ops")
	path = ""
	check("without a file", self.Username, true, group.Name)
	check("without a file, nobody", nobody, false)
}

func TestAccountIsEditedInParts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(SetGroups(path, "alice", []string{"ops"}))
	must(SetSecret(path, "alice", testSecret))
	must(SetPassword(path, "alice", "sesame"))
	must(SetLocked(path, "alice", true))
	list, err := ListAccounts(path)
	if err != nil || len(list) != 1 || !list[0].Locked || !list[0].HasPassword() || !list[0].HasCode() || !slices.Equal(list[0].Groups, []string{"ops"}) {
		t.Fatalf("got %+v, %v, want all of it", list, err)
	}
	if got := list[0].passwordHash(); got != noHash {
		t.Errorf("locked: got hash %q, want one that nothing matches", got)
	}
	must(SetPassword(path, "alice", "barley"))
	must(SetSecret(path, "alice", ""))
	if list, err = ListAccounts(path); err != nil || !list[0].Locked || list[0].HasCode() {
		t.Errorf("after a new password: got %+v, %v, want it locked still, and without codes", list, err)
	}
	must(SetLocked(path, "alice", false))
	checkPassword(t, path, "alice", "barley", true)
	for name, err := range map[string]error{
		"lock":   SetLocked(path, "bob", true),
		"secret": SetSecret(path, "bob", ""),
	} {
		if !errors.Is(err, ErrNoSuchUser) {
			t.Errorf("%s bob: got %v, want ErrNoSuchUser", name, err)
		}
	}
	if SetSecret(path, "bob", "short") == nil || SetGroups(path, "bob", []string{"a,b:c"}) == nil {
		t.Error("a broken secret or group was written")
	}
}

func FuzzAccounts(f *testing.F) {
	f.Add([]byte("alice:" + noHash + "\n"))
	f.Add([]byte("# x\n\nalice:x"))
	f.Add([]byte("alice:!*:totp=" + testSecret + ":groups=a,b\nbob:*:groups="))
	f.Fuzz(func(t *testing.T, data []byte) {
		accounts, err := parseAccounts("f", data)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, a := range accounts {
			if ValidUser(a.Name) != nil || !a.Known || !strings.HasPrefix(a.passwordHash(), hashPrefix) {
				t.Errorf("got %+v", a)
			}
			again.WriteString(a.line())
		}
		reread, err := parseAccounts("f", []byte(again.String()))
		if err != nil || !slices.EqualFunc(accounts, reread, same) {
			t.Errorf("%q: got %+v back, error %v, want %+v", again.String(), reread, err, accounts)
		}
	})
}
