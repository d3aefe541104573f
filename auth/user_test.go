package auth

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestValidUser(t *testing.T) {
	for _, name := range []string{"alice", "a", "alice.b-c_d+e@corp.example", "0day", strings.Repeat("x", maxUserName)} {
		if err := ValidUser(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../x", ".ssh", "-rf", "a/b", "/etc/passwd", "a:b", "a b", "a\nb", "a\x00b", "a%u", "*", "é",
		strings.Repeat("x", maxUserName+1),
	} {
		if err := ValidUser(name); err == nil {
			t.Errorf("%q is valid", name)
		}
	}
}

func FuzzValidUserStaysInItsDirectory(f *testing.F) {
	for _, seed := range []string{"alice", "..", "a/../b", "a\x00", "-x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if ValidUser(name) != nil {
			return
		}
		path, err := expand("/keys/%u", account{}.tokens(name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Clean(path) != path || filepath.Dir(path) != "/keys" {
			t.Errorf("%q leads to %q", name, path)
		}
	})
}
