package sshconfig

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestShortNamesAreCompletedAsBySSH asks a real ssh, for which a file takes the place of the DNS.
func TestShortNamesAreCompletedAsBySSH(t *testing.T) {
	wrapper, err := peers.Find("libnss_wrapper.so")
	if err != nil {
		t.Fatal(err)
	}
	dir := write(t, "hosts", "10.0.0.1 web.a.corp\n10.0.0.2 www.b.corp web.b.corp\n10.0.0.3 single\n10.0.0.4 deep.x.a.corp\n", "yes", `
CanonicalizeHostname yes
CanonicalDomains a.corp B.corp
Host *.b.corp
  User bob
Match canonical host web.a.corp
  Port 7
Match originalhost web
  BindAddress 10.9.9.9
Match user bob
  HostKeyAlias bobs
`, "dots", `
CanonicalizeHostname true
CanonicalizeMaxDots 2
CanonicalDomains a.corp
Host short
  HostName deep.x
Host *.a.corp
  User alice
`, "jump", `
CanonicalizeHostname yes
CanonicalDomains a.corp
ProxyJump bastion
Match canonical
  User second
`, "always", `
CanonicalizeHostname always
CanonicalDomains none
CanonicalizeFallbackLocal yes
ProxyJump bastion
Match !canonical
  User first
`)
	env := []string{"LD_PRELOAD=" + wrapper, "NSS_WRAPPER_HOSTS=" + filepath.Join(dir, "hosts")}
	names := zone{"web.a.corp.": "web.a.corp.", "www.b.corp.": "www.b.corp.", "web.b.corp.": "www.b.corp.", "single": "single.", "deep.x.a.corp.": "deep.x.a.corp."}
	for _, file := range []string{"yes", "dots", "jump", "always"} {
		for _, host := range []string{"web", "WWW", "nowhere", "single", "web.x.y", "short", "deep.x", "10.0.0.1"} {
			path := filepath.Join(dir, file)
			out, err := peers.EffectiveSSH(t.Context(), env, "-F", path, host)
			if err != nil {
				t.Errorf("%s of %q: %v", host, file, err)
				continue
			}
			var lines lines
			r, q := readerFor(t, path, commandLine{host: host})
			r.Into, r.Names = &lines, names
			got, err := r.Read(t.Context(), q)
			if err != nil {
				t.Errorf("%s of %q: %v", host, file, err)
				continue
			}
			theirs, ours := valuesOf(out), settled(t, lines, got, r, q)
			if want := theirs["hostname"]; !slices.Equal(want, []string{got}) {
				t.Errorf("%s of %q: ssh has %q, we %q", host, file, want, got)
			}
			for keyword, standard := range map[string]string{"user": r.User, "port": "22", "bindaddress": "", "hostkeyalias": ""} {
				ours := strings.Join(ours[keyword], " ")
				if ours == "" {
					ours = standard
				}
				if want := strings.Join(theirs[keyword], " "); ours != want {
					t.Errorf("%s of %q: %s: ssh has %q, we %q", host, file, keyword, want, ours)
				}
			}
		}
	}
}
