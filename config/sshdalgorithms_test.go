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

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// listKinds are the keywords with lists of algorithms, and names outside of the default that sshd 9.2 has as well.
var listKinds = []struct {
	keyword string
	own     *algorithms
	more    []string
}{
	{"Ciphers", &ciphers, []string{"3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"}},
	{"MACs", &macs, []string{"hmac-sha1-96", "hmac-md5", "hmac-md5-96-etm@openssh.com"}},
	{"KexAlgorithms", &keyExchanges, []string{"diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1", "diffie-hellman-group-exchange-sha1"}},
	{"HostKeyAlgorithms", &hostKeyAlgorithms, []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
	{"PubkeyAcceptedAlgorithms", &pubkeyAlgorithms, []string{"ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "ssh-dss-cert-v01@openssh.com", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
	{"CASignatureAlgorithms", &caAlgorithms, []string{"ssh-rsa", "ssh-dss", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"}},
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
			as92 := algorithms{standard: defaults, onRequest: kind.more, patterns: kind.own.patterns}
			list := randomList(random, &as92)
			all, err := as92.parse(list)
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

func randomList(random *rand.Rand, a *algorithms) string {
	sign := []string{"", "", "+", "-", "^"}[random.IntN(5)]
	var list []string
	for range 1 + random.IntN(4) {
		all := a.all()
		name := all[random.IntN(len(all))]
		if (a.patterns || sign == "-") && random.IntN(3) == 0 {
			name = []string{name[:4] + "*", "*" + name[len(name)-3:], strings.Replace(name, name[2:3], "?", 1)}[random.IntN(3)]
		}
		list = append(list, name)
	}
	if sign == "-" && random.IntN(4) == 0 {
		list = append(list, "!"+a.standard[random.IntN(len(a.standard))])
	}
	return sign + strings.Join(list, ",")
}

// x/crypto/ssh drops a name that it doesn't know without a word.
func TestAlgorithmsAreThere(t *testing.T) {
	good, bad := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	certificates := []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoSKED25519v01, ssh.CertAlgoSKECDSA256v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01,
		ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA256v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSAv01,
	}
	for i, has := range [][]string{
		slices.Concat(good.Ciphers, bad.Ciphers),
		slices.Concat(good.MACs, bad.MACs),
		append(slices.Concat(good.KeyExchanges, bad.KeyExchanges), "curve25519-sha256@libssh.org"), // its other name, which isn't listed
		slices.Concat(good.HostKeys, bad.HostKeys),
		slices.Concat(good.PublicKeyAuths, bad.PublicKeyAuths, certificates),
		slices.Concat(good.PublicKeyAuths, bad.PublicKeyAuths),
	} {
		kind := listKinds[i]
		for _, name := range slices.Concat(kind.own.standard, kind.own.onRequest) {
			if !slices.Contains(has, name) {
				t.Errorf("%s: x/crypto/ssh has no %s", kind.keyword, name)
			}
		}
		weak := func(name string) bool {
			return slices.Contains(kind.own.onRequest, name) || name == "ssh-dss" || strings.HasPrefix(name, "arcfour") || strings.HasPrefix(name, "ssh-rsa")
		}
		for _, name := range has {
			if !slices.Contains(kind.own.standard, name) && !weak(name) && !strings.HasPrefix(name, "ssh-dss") {
				t.Errorf("%s: x/crypto/ssh has %s, and we don't", kind.keyword, name)
			}
		}
		for _, name := range slices.Concat(bad.Ciphers, bad.MACs, bad.KeyExchanges, bad.HostKeys) {
			if slices.Contains(kind.own.standard, name) {
				t.Errorf("%s: %s is weak, and in the default", kind.keyword, name)
			}
		}
	}
}
