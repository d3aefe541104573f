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

	"github.com/culvert-ssh/culvert/algorithms"
	"github.com/culvert-ssh/culvert/internal/peers"
)

// listKinds are the keywords with lists of algorithms, and names outside of the default that sshd 9.2 has as well.
var listKinds = []struct {
	keyword string
	own     *algorithms.Kind
	more    []string
}{
	{"Ciphers", &algorithms.Ciphers, []string{"3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"}},
	{"MACs", &algorithms.MACs, []string{"hmac-sha1-96", "hmac-md5", "hmac-md5-96-etm@openssh.com"}},
	{"KexAlgorithms", &algorithms.KeyExchanges, []string{"diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1", "diffie-hellman-group-exchange-sha1"}},
	{"HostKeyAlgorithms", &algorithms.HostKeys, []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
	{"PubkeyAcceptedAlgorithms", &algorithms.UserKeys, []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
	{"CASignatureAlgorithms", &algorithms.Authorities, []string{"ssh-rsa", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
}

// TestAlgorithmsAreThoseOfSSHD holds that a list means what it means to sshd, given its default.
func TestAlgorithmsAreThoseOfSSHD(t *testing.T) {
	sshd := peers.TestConfig(t)
	ask := func(lines string) map[string][]string {
		path := filepath.Join(t.TempDir(), "sshd_config")
		if err := os.WriteFile(path, []byte("HostKey "+sshd.HostKey+"\n"+lines), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := sshd.Effective(context.Background(), path, "")
		if err != nil {
			t.Fatalf("%v\n%s", err, lines)
		}
		return linesByKeyword(out)
	}
	standard := ask("")
	names := func(lines []string) []string { return strings.Split(strings.Join(lines, ""), ",") }
	random := rand.New(rand.NewPCG(7, 7))
	for range howMany(t) / 5 {
		var text strings.Builder
		want := map[string][]string{}
		for _, kind := range listKinds {
			defaults := names(standard[strings.ToLower(kind.keyword)])
			as92 := algorithms.Kind{Standard: defaults, OnRequest: kind.more, Patterns: kind.own.Patterns}
			list := randomList(random, &as92)
			all, err := as92.Parse(list)
			if err != nil {
				continue // sshd ends with an empty list as well
			}
			fmt.Fprintf(&text, "%s %s\n", kind.keyword, list)
			want[kind.keyword] = all
		}
		theirs := ask(text.String())
		for keyword, all := range want {
			got := names(theirs[strings.ToLower(keyword)])
			if strings.ContainsAny(text.String(), "*?") {
				got, all = sorted(got), sorted(all) // the names that a pattern stands for have another order
			}
			if !slices.Equal(got, all) {
				t.Errorf("%s: sshd has %q, culvertd %q, of:\n%s", keyword, got, all, text.String())
			}
		}
	}
}

func randomList(random *rand.Rand, a *algorithms.Kind) string {
	sign := []string{"", "", "+", "-", "^"}[random.IntN(5)]
	var list []string
	for range 1 + random.IntN(4) {
		all := a.All()
		name := all[random.IntN(len(all))]
		if (a.Patterns || sign == "-") && random.IntN(3) == 0 {
			name = []string{name[:4] + "*", "*" + name[len(name)-3:], strings.Replace(name, name[2:3], "?", 1)}[random.IntN(3)]
		}
		list = append(list, name)
	}
	if sign == "-" && random.IntN(4) == 0 {
		list = append(list, "!"+a.Standard[random.IntN(len(a.Standard))])
	}
	return sign + strings.Join(list, ",")
}
