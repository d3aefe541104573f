//go:build unix

package client

import (
	"net/netip"
	"strings"
	"testing"
)

// TestFTPOverSSHIsForTheBastionItself: ssh doesn't say who connects to a port of the SSH server.
func TestFTPOverSSHIsForTheBastionItself(t *testing.T) {
	m := newMaster(nil) // it is not asked
	for _, bind := range []string{"*", "0.0.0.0", "::", "10.0.0.1", "bastion.corp"} {
		f := Forward{Kind: FTP, Bind: bind, Host: "127.0.0.1", HostPort: 21}
		if _, err := m.Remote(t.Context(), NewConfig("", "me"), f); err == nil || !strings.Contains(err.Error(), "bind to 127.0.0.1") {
			t.Errorf("-R ftp/ at %q: got %v, want an error that says where to listen", bind, err)
		}
	}
	told := netip.MustParseAddr("10.0.0.1")
	if _, err := m.Listen(t.Context(), Listening{Host: "10.0.0.2", Told: told}); err == nil || !strings.Contains(err.Error(), "doesn't say who connects") {
		t.Errorf("a server elsewhere that connects: got %v, want an error", err)
	}
}

func TestOriginatorsOfPortsOfTheBastion(t *testing.T) {
	for bound, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:0", "::1": "[::1]:0", "127.0.0.2": "127.0.0.2:0",
		"": "", "localhost": "", "0.0.0.0": "", "10.0.0.1": "",
	} {
		got := originator(bound)
		if want == "" && got.IsValid() || want != "" && got.String() != want {
			t.Errorf("at %q: got %v, want %q", bound, got, want)
		}
	}
}
