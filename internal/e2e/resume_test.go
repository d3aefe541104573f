package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// resumption is a client that goes on with a transfer where an earlier one had stopped.
type resumption struct {
	name string
	up   bool

	// run has the client complete the file there, of which the first half is there already. The program is given the
	// user's words, and where the file is at this end and at the server's.
	run func(ctx context.Context, t peers.Target, local, remote string) (string, error)
}

// curlWith runs curl with what only this transfer needs, and with SOCKS where culvert isn't.
func curlWith(ctx context.Context, t peers.Target, remote string, args ...string) (string, error) {
	args = append(args, "-q", "-sS", "--user", t.User+":"+t.Password, "ftp://"+t.Addr.String()+"/"+remote)
	if t.SOCKS.IsValid() {
		args = append(args, "--socks5-hostname", t.SOCKS.String())
	}
	return peers.Run(ctx, "", "curl", args...)
}

// lftpWith has lftp do one thing.
func lftpWith(ctx context.Context, t peers.Target, settings, command string) (string, error) {
	return peers.Run(ctx, "", "lftp", "--norc", "-c", fmt.Sprintf(
		"set cmd:fail-exit true; set net:max-retries 1; set net:timeout 20; set ftp:passive-mode true; %s open -u %s,%s ftp://%v; %s",
		settings, t.User, t.Password, t.Addr, command,
	))
}

var resumptions = []resumption{
	{"curl", false, func(ctx context.Context, t peers.Target, local, remote string) (string, error) {
		return curlWith(ctx, t, remote, "-C", "-", "-o", local)
	}},
	{"lftp", false, func(ctx context.Context, t peers.Target, local, remote string) (string, error) {
		return lftpWith(ctx, t, "", "get -c "+remote+" -o "+local)
	}},
	{"ncftpget", false, func(ctx context.Context, t peers.Target, local, remote string) (string, error) {
		w := words(t)
		return peers.Run(ctx, "", "ncftpget", "-u", w[2], "-p", w[3], "-P", w[1], "-F", "-r", "1", "-z", "-V", "-C", w[0], remote, local)
	}},
	{"wget", false, func(ctx context.Context, t peers.Target, local, remote string) (string, error) {
		return peers.Run(ctx, "", "wget", "--no-config", "--no-verbose", "--no-proxy", "--no-hsts", "--tries=1", "--timeout=20", "-c", "-O", local,
			fmt.Sprintf("ftp://%s:%s@%v/%s", t.User, t.Password, t.Addr, remote))
	}},
	{"curl", true, func(ctx context.Context, t peers.Target, local, remote string) (string, error) { // by SIZE and APPE
		return curlWith(ctx, t, remote, "-C", "-", "-T", local)
	}},
	{"lftp", true, func(ctx context.Context, t peers.Target, local, remote string) (string, error) { // by SIZE and REST, STOR
		return lftpWith(ctx, t, "set ftp:rest-stor true;", "put -c "+local+" -o "+remote)
	}},
}

// TestResumedTransfersAreWhole completes halves of files, both ways, by REST and by APPE.
func TestResumedTransfersAreWhole(t *testing.T) {
	t.Parallel()
	content := make([]byte, 3<<20+7)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(content)
	for i, p := range []path{culvertCulvertd, culvertSSHD, sshCulvertd, sshSSHD, culvertStriped} {
		for j, kind := range peers.FTPServers() {
			if !p.hasCulvert() && j != i%3 {
				continue // one client alone can't differ much
			}
			t.Run(fmt.Sprintf("%s/%s", p, kind), func(t *testing.T) {
				t.Parallel()
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir(), Lines: resumable[kind]})
				tun := p.open(t, server, nil, nil)
				for _, r := range resumptions {
					if !p.hasCulvert() && r.name != "curl" {
						continue
					}
					t.Run(fmt.Sprintf("%s, up %t", r.name, r.up), func(t *testing.T) { r.wantWhole(t, tun.target, server.Root, content) })
				}
			})
		}
	}
}

// resumable is what servers need to be told before they go on with an upload.
var resumable = map[peers.FTPServer][]string{
	peers.ProFTPD: {"HiddenStores off", "AllowStoreRestart on"},
}

func (r *resumption) wantWhole(t *testing.T, target peers.Target, root string, content []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	local := t.TempDir()
	name := "down-" + r.name
	if r.up {
		name = "up-" + r.name
	}
	from, to := filepath.Join(root, name), filepath.Join(local, name)
	if r.up {
		from, to = to, from
	}
	half := len(content) / 2
	part := bytes.Repeat([]byte{'?'}, half) // which would be overwritten if the transfer began anew
	if err := errors.Join(os.WriteFile(from, content, 0o644), os.WriteFile(to, part, 0o644)); err != nil {
		t.Fatal(err)
	}
	want := append(part, content[half:]...)
	out, err := r.run(ctx, target, filepath.Join(local, name), name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		common := 0
		for common < min(len(got), len(want)) && got[common] == want[common] {
			common++
		}
		t.Errorf("got %d bytes, of which %d are right, want %d; the client said:\n%s", len(got), common, len(want), strings.TrimSpace(out))
	}
}

// TestCompressedTransfersAreWhole is MODE Z, in which the end of the data is in the data; the tunnel must leave it alone.
func TestCompressedTransfersAreWhole(t *testing.T) {
	t.Parallel()
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1"}})
	deflate, err := peers.Module("mod_deflate")
	if err != nil {
		t.Fatal(err)
	}
	// They are small: proftpd's mod_deflate damages larger uploads, and what can't be compressed, without a tunnel as well.
	files := map[string][]byte{"text": bytes.Repeat([]byte("all work and no play\n"), 1000), "noise": make([]byte, 10_000), "nothing": nil}
	_, _ = rand.NewChaCha8([32]byte{3}).Read(files["noise"])
	book := bytes.Repeat([]byte("all work and no play\n"), 100_000)
	inTheClear, byTLS := peers.FTPConfig{}, peers.FTPConfig{TLS: &peers.FTPTLS{Identity: id}}
	for _, tt := range []struct {
		name   string
		route  route
		server peers.FTPConfig
	}{
		{"culvertd", route{path: culvertCulvertd}, inTheClear},
		{"sshd", route{path: culvertSSHD}, inTheClear},
		{"culvertd and TLS", route{path: culvertCulvertd, culvertd: []string{"FTPUpstreamTLS require", "FTPUpstreamTLSCAFile " + ca.Path}}, byTLS},
		{"sshd and TLS", route{path: culvertSSHD, culvert: []string{"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path}}, byTLS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.server.Root, tt.server.Lines = t.TempDir(), append(slices.Clip(deflate), "DeflateEngine on")
			server := peers.TestFTP(t, peers.ProFTPD, tt.server)
			tun := tt.route.open(t, server)
			local := t.TempDir()
			want := map[string][]byte{filepath.Join(local, "book"): book}
			if err := os.WriteFile(filepath.Join(server.Root, "book"), book, 0o644); err != nil {
				t.Fatal(err)
			}
			commands := "lcd " + local + "; get book"
			for name, content := range files {
				if err := os.WriteFile(filepath.Join(local, name), content, 0o644); err != nil {
					t.Fatal(err)
				}
				commands += fmt.Sprintf("; put %s; get %s -o %s.back", name, name, name)
				want[filepath.Join(server.Root, name)] = content
				want[filepath.Join(local, name+".back")] = content
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			out, err := lftpWith(ctx, tun.target, "set ftp:use-mode-z true;", commands)
			if err != nil {
				t.Fatal(err)
			}
			for path, content := range want {
				if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: got %d bytes, %v, want the %d that it has; lftp said:\n%s", path, len(got), err, len(content), out)
				}
			}
			if !strings.Contains(server.Log(), "MODE Z -> 200") {
				t.Errorf("nothing was compressed:\n%s", server.Log())
			}
		})
	}
}
