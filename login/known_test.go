package login

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// TestHostsAreFoundWhereSSHFindsThem has lines with random patterns, and asks ssh-keygen which of them are about a host.
func TestHostsAreFoundWhereSSHFindsThem(t *testing.T) {
	key := newSigner(t).PublicKey()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	pattern := func() string {
		host := one("h.corp", "H.Corp", "h*", "h.corp*", "*", "?.corp", "h.cor?", "**corp", "::1", "g", "", "127.0.0.1")
		return one("", "", "!") + one(host, host, "["+host+"]:2222", "["+host+"]:*", "["+host+"]:22*", host+":2222", "*2222")
	}
	folder := t.TempDir()
	for i := range 60 {
		var text strings.Builder
		for range 8 {
			names := one(pattern(), pattern()+","+pattern(), xknownhosts.HashHostname(one("h.corp", "[h.corp]:2222", "H.corp", "::1")))
			if strings.Trim(names, "!") == "" {
				names = "x"
			}
			fmt.Fprintf(&text, "%s%s %s\n", one("", "", "# ", "\t"), names, line(key))
		}
		file := filepath.Join(folder, fmt.Sprint(i))
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{"h.corp:22", "h.corp:2222", "[::1]:22", "127.0.0.1:2222"} {
			name := xknownhosts.Normalize(addr)
			out, _ := exec.Command("ssh-keygen", "-F", name, "-f", file).Output() // it fails if there are none
			var want, got []int
			for l := range strings.Lines(string(out)) {
				var number int
				if n, _ := fmt.Sscanf(l, "# Host "+name+" found: line %d", &number); n == 1 {
					want = append(want, number)
				}
			}
			err := eachKnown(file, func(_, names string, key knownKey) {
				if nameIn(names, name) {
					got = append(got, key.at.Line)
				}
			})
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("seed %d: %s: got lines %v, %v; ssh-keygen finds %v in\n%s", seed, name, got, err, want, text.String())
			}
		}
	}
}

func TestLinesThatAreNotUnderstoodAreErrors(t *testing.T) {
	key := line(newSigner(t).PublicKey())
	for _, text := range []string{"h", "h ssh-ed25519", "h ssh-ed25519 AAAA", "@revoked", "@cert-authority h", "@unknown h " + key, "@ h " + key, "@revoked @cert-authority h " + key} {
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, []byte("# one\n"+text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readKnown([]string{file}, "h:22"); err == nil || !strings.Contains(err.Error(), file+":2: ") {
			t.Errorf("%q: got %v, want an error at its line", text, err)
		}
	}
}
