package auth

import (
	"crypto/ed25519"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// fixedKey is the same in each run, so that what a fuzz target found can be tried again.
func fixedKey(tb testing.TB, seed byte) ssh.Signer {
	tb.Helper()
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A principals file lets in by a line whose last word is one of the certificate's principals, and by no other; what the options
// before it say isn't lost.
func FuzzPrincipalLine(f *testing.F) {
	for _, seed := range []string{"staff", "restrict staff", `from="192.0.2.8" staff`, `command="a b" staff # all`, "\tstaff\r\n", "a staff", `"staff`, "x\nno-pty\tstaff"} {
		f.Add(seed)
	}
	cert := &ssh.Certificate{ValidPrincipals: []string{"staff"}}
	f.Fuzz(func(t *testing.T, text string) {
		l := lookup{
			claimed: policy.Subject{User: "alice", Addr: netip.MustParseAddr("192.0.2.7")}, settings: &Settings{},
			now: time.Unix(1_800_000_000, 0).UTC(), certificate: cert,
		}
		o, found, err := l.searchPrincipals("f", []byte(text))
		if err != nil || !found {
			return
		}
		for n, line := range lines([]byte(text)) {
			if o.rules.Source != "f:"+strconv.Itoa(n) {
				continue
			}
			said, _, _ := strings.Cut(string(line), "#")
			words := strings.FieldsFunc(said, func(r rune) bool { return strings.ContainsRune(" \t\r", r) })
			if len(words) == 0 || words[len(words)-1] != "staff" {
				t.Errorf("%q let staff in", line)
			}
			if strings.ToLower(words[0]) == "restrict" && !o.rules.NoPTY && len(words) > 1 {
				t.Errorf("%q: restrict is lost", line)
			}
			return
		}
		t.Errorf("%q: let in by %q, which is no line", text, o.rules.Source)
	})
}

// Of a certificate nothing is permitted that no extension permits, and no critical option is passed over.
func FuzzCertificateOptions(f *testing.F) {
	for _, seed := range [][4]string{
		{"force-command", "uptime", "permit-pty", ""},
		{"source-address", "192.0.2.0/24", "permit-port-forwarding", ""},
		{"source-address", "192.0.2.7,!", "", ""},
		{"verify-required", "", "no-touch-required", ""},
		{"x", "", "permit-pty", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	authority, key := fixedKey(f, 1), fixedKey(f, 2)
	claimed := policy.Subject{User: "alice", Addr: netip.MustParseAddr("192.0.2.7")}
	f.Fuzz(func(t *testing.T, name, value, extension, extensionValue string) {
		cert := &ssh.Certificate{
			Key: key.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"alice"}, ValidBefore: ssh.CertTimeInfinity,
			Permissions: ssh.Permissions{CriticalOptions: map[string]string{name: value}, Extensions: map[string]string{extension: extensionValue}},
		}
		if err := cert.SignCert(zeros{}, authority); err != nil {
			t.Fatal(err)
		}
		o, err := (&Settings{}).certificateOptions(cert, claimed, time.Unix(1_800_000_000, 0))
		if err != nil {
			return
		}
		if !slices.Contains([]string{forceCommand, sourceAddress, verifyRequired}, name) {
			t.Errorf("critical option %q is passed over", name)
		}
		if name == forceCommand && (value == "" || o.rules.ForceCommand != value) || name == verifyRequired && !o.verify {
			t.Errorf("%s %q is lost: %+v", name, value, o)
		}
		if name == sourceAddress && !strings.Contains(value, "192.") && !strings.Contains(value, "/") && !strings.Contains(strings.ToLower(value), "c000") {
			t.Errorf("source-address %q permits 192.0.2.7", value)
		}
		r := o.rules
		if !r.NoPTY && extension != "permit-pty" || !r.NoPortForwarding && extension != "permit-port-forwarding" ||
			!r.NoAgentForwarding && extension != "permit-agent-forwarding" || o.noTouch && extension != noTouchRequired {
			t.Errorf("extension %q permits %+v", extension, r)
		}
	})
}
