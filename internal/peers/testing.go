package peers

import (
	"context"
	"testing"
)

// TestFTP starts a server for the duration of a test, and shows its log if the test fails.
func TestFTP(tb testing.TB, kind FTPServer, c FTPConfig) *FTP {
	tb.Helper()
	s, err := StartFTP(kind, c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { end(tb, string(kind), s.inetd) })
	return s
}

// TestSSHD starts OpenSSH's sshd for the duration of a test, and shows its log if the test fails.
func TestSSHD(tb testing.TB, c SSHDConfig) *SSHD {
	tb.Helper()
	s, err := StartSSHD(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { end(tb, "sshd", s.inetd) })
	return s
}

// TestConfig asks OpenSSH's sshd about configurations for the duration of a test.
func TestConfig(tb testing.TB) *ConfigTester {
	tb.Helper()
	t, err := NewConfigTester()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(); err != nil {
			tb.Error(err)
		}
	})
	return t
}

// TestHAProxy starts haproxy for the duration of a test.
func TestHAProxy(tb testing.TB, c HAProxyConfig) *HAProxy {
	tb.Helper()
	h, err := StartHAProxy(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func end(tb testing.TB, name string, d *inetd) {
	tb.Helper()
	if err := d.Close(); err != nil {
		tb.Errorf("close %s: %v", name, err)
	}
	if tb.Failed() {
		tb.Logf("%s at %s:\n%s", name, d.listener.Addr(), d.Log())
	}
}

// TestSSH starts OpenSSH's ssh for the duration of a test, and shows its log if the test fails.
func TestSSH(tb testing.TB, c SSHConfig) *SSH {
	tb.Helper()
	s, err := StartSSH(context.Background(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("ssh to %s:\n%s", c.Server, s.Log())
		}
		if err := s.Close(); err != nil {
			tb.Errorf("close ssh: %v", err)
		}
	})
	return s
}

// TestKey makes a key for the duration of a test.
func TestKey(tb testing.TB, name string) Key {
	tb.Helper()
	key, err := NewKey(tb.TempDir(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// TestCA makes an authority for the duration of a test.
func TestCA(tb testing.TB, name string) *CA {
	tb.Helper()
	ca, err := NewCA(tb.TempDir(), name)
	if err != nil {
		tb.Fatal(err)
	}
	return ca
}

// TestIdentity has the authority issue a certificate for the duration of a test.
func (ca *CA) TestIdentity(tb testing.TB, c Certificate) Identity {
	tb.Helper()
	id, err := ca.Issue(tb.TempDir(), "server", c)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}
