package client

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/internal/peers"
)

func TestUpstreamTLSOptions(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	const pin1, pin2 = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "SHA256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg"
	c := NewConfig(filepath.Dir(ca.Path), "me")
	for _, word := range []string{
		"FTPUpstreamTLS=Require", "FTPUpstreamTLS=off", "FTPUpstreamTLSCAFile=~/" + filepath.Base(ca.Path),
		"FTPUpstreamTLSPin=" + pin1, "FTPUpstreamTLSPin=" + pin2, "FTPUpstreamTLSMaxVersion=1.2",
	} {
		if err := c.SetOption(word); err != nil {
			t.Fatalf("SetOption(%q): %v", word, err)
		}
	}
	if c.UpstreamTLS != ftp.TLSRequire || c.UpstreamConfig.Roots == nil || c.UpstreamConfig.MaxVersion != 0x303 {
		t.Errorf("got %v, %+v; want require, the roots and 1.2", c.UpstreamTLS, c.UpstreamConfig)
	}
	if got := c.UpstreamConfig.Pins; len(got) != 2 || got[0].String() != pin1 || got[1].String() != pin2 {
		t.Errorf("got pins %v, want both", got)
	}

	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.Set("FTPUpstreamTLSCAFile", empty); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a CA file without a certificate: got %v", err)
	}
}

// Who names a pin, and nothing that would ask for TLS, is told before anything is sent.
func TestPinWithoutTLSIsAnError(t *testing.T) {
	for _, tc := range []struct {
		forward, tls string
		fails        bool
	}{
		{"ftp/2121:h:21", "off", true},
		{"2121:h:21", "off", true},
		{"ftp/2121:h:21", "prefer", false},
		{"ftps/2121:h:990", "off", false},
	} {
		c := NewConfig("", "me")
		for _, word := range []string{
			"LocalForward=" + tc.forward, "FTPUpstreamTLS=" + tc.tls, "FTPUpstreamTLSPin=SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
		} {
			if err := c.SetOption(word); err != nil {
				t.Fatal(err)
			}
		}
		c.Host = "127.0.0.1"
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that Run ends before it connects
		err := Run(ctx, c)
		if got := err != nil && strings.Contains(err.Error(), "FTPUpstreamTLSPin says nothing without TLS"); got != tc.fails {
			t.Errorf("-L %s with FTPUpstreamTLS=%s: got %v, want an error: %v", tc.forward, tc.tls, err, tc.fails)
		}
	}
}

// The bastion that reads FTP itself answers AUTH by 502, and can speak TLS itself.
func TestAdviceNamesWhoCanDoTLS(t *testing.T) {
	if got := withoutTLS(true); !strings.Contains(got, "ask its administrator for FTPUpstreamTLS there") {
		t.Errorf("culvertd: got %q", got)
	}
	if got := withoutTLS(false); strings.Contains(got, "administrator") || !strings.Contains(got, "FTPUpstreamTLS=prefer") {
		t.Errorf("another SSH server: got %q", got)
	}
}

// TestServerThatWantsTLSIsNamed goes to servers that refuse whoever doesn't speak TLS, without it.
func TestServerThatWantsTLSIsNamed(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	for _, kind := range []peers.FTPServer{peers.VSFTPD, peers.PureFTPD, peers.ProFTPD} {
		t.Run(string(kind), func(t *testing.T) {
			server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir(), TLS: &peers.FTPTLS{Identity: id}})
			_, cfg := bastion(t)
			f := forwardTo(server.Addr)
			f.Kind = FTP
			cfg.Forwards = []Forward{f}
			r := start(t, cfg)
			c := dial(t, r.ready())
			if _, err := io.WriteString(c, "USER anonymous\r\nPASS me\r\n"); err != nil {
				t.Fatal(err)
			}
			r.log.wait(t, "the FTP server wants TLS: with -o FTPUpstreamTLS=require culvert speaks it")
			_ = c.Close()
		})
	}
}
