package e2e

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// startDynamic starts culvert as a SOCKS proxy that takes the connections to target for FTP's.
func startDynamic(t *testing.T, ssh netip.AddrPort, login string, key peers.Key, target netip.AddrPort, args ...string) (*program, netip.AddrPort) {
	t.Helper()
	p := startCulvertWith(t, ssh, login, key, append(args, "-D", "127.0.0.1:0", "-o", fmt.Sprintf("FTPPorts=%d", target.Port()))...)
	return p, netip.MustParseAddrPort(p.await(`SOCKS is at ([^ ,\n]+)`)[1])
}

// dynamicPaths have culvert -D at their beginning.
var dynamicPaths = []path{culvertCulvertd, culvertSSHD}

func TestFTPThroughTheSOCKSProxy(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 1<<20, 5)
	for _, p := range dynamicPaths {
		for _, kind := range peers.FTPServers() {
			t.Run(string(p)+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				files.linkInto(t, filepath.Join(root, "files"))
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root})
				tun := route{path: p, dynamic: true}.open(t, server)
				for _, client := range []peers.FTPClient{peers.CurlSOCKS, peers.CurlSOCKS4} {
					t.Run(string(client), func(t *testing.T) { files.cell(t, client, tun.target, root) })
				}
				tun.client.await(`culvert < 229 .*instead`)
			})
		}
	}
}

// TestEndsAndAbortsThroughTheSOCKSProxy is the table of protocol.md for clients that go through culvert -D.
func TestEndsAndAbortsThroughTheSOCKSProxy(t *testing.T) {
	t.Parallel()
	for _, p := range dynamicPaths {
		for _, e := range endings {
			t.Run(string(p)+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				server, wire := newPuppet(t), newGate(math.MaxInt64, false)
				e.play(t, route{path: p, wire: wire, dynamic: true}.open(t, server.FTP), server, wire, e.complete(p))
			})
		}
	}
}

// TestClientsThatKnowNoSOCKS are FTP clients that proxychains has go through the SOCKS proxy: whatever they do with what they are told, they
// ask for it there.
func TestClientsThatKnowNoSOCKS(t *testing.T) {
	t.Parallel()
	wrapper, err := peers.Find("libproxychains.so.4")
	if err != nil {
		t.Fatal(err)
	}
	const text = "hello through proxychains\n"
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "hello"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root})
	tun := route{path: culvertCulvertd, dynamic: true}.open(t, server)
	conf := filepath.Join(t.TempDir(), "proxychains.conf")
	lines := fmt.Sprintf("strict_chain\nquiet_mode\nproxy_dns\n[ProxyList]\nsocks5 127.0.0.1 %d\n", tun.target.SOCKS.Port())
	if err := os.WriteFile(conf, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	at := server.Addr
	url := fmt.Sprintf("ftp://%s:%s@%s/hello", server.User, server.Password, at)
	for name, words := range map[string][]string{
		"wget":    {"wget", "--no-config", "-q", "-O", "-", url},
		"curl":    {"curl", "-q", "-sS", url},
		"lftp":    {"lftp", "--norc", "-c", "set net:max-retries 1; cat " + url},
		"tnftp":   {"tnftp", "-V", "-o", "-", url},
		"ncftp":   {"ncftpget", "-u", server.User, "-p", server.Password, "-P", fmt.Sprint(at.Port()), "-r", "1", "-V", "-c", at.Addr().String(), "hello"},
		"urllib":  {"python3", "-c", "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode(), end='')", url},
		"through": {"curl", "-q", "-sS", "--disable-epsv", url},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			program, err := peers.Find(words[0])
			if err != nil {
				t.Fatal(err)
			}
			out, err := peers.Run(ctx, "", "env", append([]string{
				"LD_PRELOAD=" + wrapper, "PROXYCHAINS_CONF_FILE=" + conf, program,
			}, words[1:]...)...)
			if err != nil || !strings.Contains(out, text) {
				t.Errorf("got %q, %v; want the file", out, err)
			}
		})
	}
}
