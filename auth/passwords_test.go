package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
)

func TestPasswordFileIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	set := func(user, password string) {
		t.Helper()
		if err := SetPassword(path, user, password); err != nil {
			t.Fatal(err)
		}
	}
	set("alice", "one")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %#o, want 0600", got)
	}
	comment := []byte("# by hand\n")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(comment, strings.TrimSuffix(string(data), "\n")...), 0o600); err != nil {
		t.Fatal(err)
	}
	set("bob", "two")
	set("alice", "three")
	checkPassword(t, path, "alice", "one", false)
	checkPassword(t, path, "alice", "three", true)
	checkPassword(t, path, "bob", "two", true)
	data, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 4 || lines[0] != "# by hand" || !strings.HasPrefix(lines[1], "alice:$argon2id$") || !strings.HasPrefix(lines[2], "bob:") {
		t.Errorf("file: got %q, want the comment, alice, bob, in their order", data)
	}
	if err := DeletePassword(path, "alice"); err != nil {
		t.Fatal(err)
	}
	if err := DeletePassword(path, "alice"); !errors.Is(err, ErrNoSuchUser) {
		t.Errorf("delete again: got %v, want ErrNoSuchUser", err)
	}
	checkPassword(t, path, "bob", "two", true)
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func checkPassword(t *testing.T, path, user, password string, want bool) {
	t.Helper()
	accounts, err := readAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := newPasswords().match(t.Context(), accounts[user].passwordHash(), []byte(password))
	if err != nil || got != want {
		t.Errorf("%s with %q: got %t, %v, want %t", user, password, got, err, want)
	}
}

func TestPasswordsSetAtOnceAreAllThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	users := []string{"a", "b"}
	var wg sync.WaitGroup
	for _, u := range users {
		wg.Go(func() {
			if err := SetPassword(path, u, u); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	accounts, err := readAccounts(path)
	if err != nil || len(accounts) != len(users) {
		t.Errorf("got %d users, error %v, want %d", len(accounts), err, len(users))
	}
}

func TestSetPasswordRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	for _, tt := range [][2]string{{"../x", "p"}, {"a:b", "p"}, {"", "p"}, {"alice", ""}, {"alice", strings.Repeat("x", maxPassword+1)}} {
		if err := SetPassword(path, tt[0], tt[1]); err == nil {
			t.Errorf("user %q, %d bytes: got no error", tt[0], len(tt[1]))
		}
	}
	broken := []byte("alice:plain\n")
	if err := os.WriteFile(path, broken, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SetPassword(path, "bob", "p"); err == nil || !strings.Contains(err.Error(), path+":1: ") {
		t.Errorf("broken file: got error %v, want its first line named", err)
	}
	if got, _ := os.ReadFile(path); string(got) != string(broken) {
		t.Errorf("broken file: got %q, want it untouched", got)
	}
}

func TestSetPasswordKeepsALink(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := os.WriteFile(real, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	if err := SetPassword(link, "alice", "p"); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("link: got %q, %v, want %q", to, err, real)
	}
	checkPassword(t, real, "alice", "p", true)
}

func TestPasswordFileWithAnErrorServesNobody(t *testing.T) {
	for text, want := range map[string]string{
		"alice:" + noHash + "\nalice:" + noHash: "f:2: user \"alice\" stands there twice",
		"alice":                                 "f:1: no hash of ours",
		"alice:$2y$10$abc":                      "f:1: no hash of ours",
		"alice:" + strings.Replace(noHash, "m=65536", "m=4194304", 1): "f:1: no hash of ours",
		"alice:" + hashPrefix + "AAAA$AAAA":                           "f:1: no hash of ours",
		"alice:" + strings.Replace(noHash, "A", "!", 1):               "f:1: broken hash",
		"../x:" + noHash: "f:1: user name",
	} {
		if got, err := parseAccounts("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, error %v, want %q", text, got, err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := readAccounts(path); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("readable file: got error %v, want one that says chmod 0600", err)
	}
}

func TestNoPasswordMatchesNoHash(t *testing.T) {
	for _, password := range []string{"", strings.Repeat("\x00", 32)} {
		if ok, err := newPasswords().match(t.Context(), noHash, []byte(password)); ok || err != nil {
			t.Errorf("%q: got %t, %v, want false", password, ok, err)
		}
	}
}

func TestHashesWaitForTheirTurn(t *testing.T) {
	p := newPasswords()
	for range maxHashing {
		p.running <- struct{}{} // others are at it
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := p.match(ctx, noHash, []byte("p")); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %t, %v, want no hash to be computed", ok, err)
	}
}

func TestHashingHoldsItsMemoryNoLonger(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as culvertd has it
	p := newPasswords()
	for range 3 {
		if _, err := p.match(t.Context(), noHash, []byte("p")); err != nil {
			t.Fatal(err)
		}
		var heap runtime.MemStats
		runtime.ReadMemStats(&heap)
		if heap.HeapAlloc > 32<<20 {
			t.Errorf("%d MiB are held after a password was compared", heap.HeapAlloc>>20)
		}
	}
}
