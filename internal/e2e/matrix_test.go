package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

const (
	big        = 64 << 20 // bytes
	smallFiles = 300
)

// TestMatrix is each server, each client, each path and each address family, by the bytes. Between culvert and culvertd the clients have stripes by turns: what one
// of them has with one family it hasn't with the other.
func TestMatrix(t *testing.T) {
	files := makeFiles(t)
	for i, addr := range []string{"127.0.0.1", "::1"} {
		for _, p := range []path{culvertCulvertd, culvertSSHD, sshCulvertd} {
			for j, kind := range peers.FTPServers() {
				t.Run(fmt.Sprintf("%s/%s/%s", addr, p, kind), func(t *testing.T) {
					t.Parallel()
					root := t.TempDir()
					files.linkInto(t, filepath.Join(root, "files"))
					server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr(addr)})
					open := map[path]*tunnel{p: p.open(t, server, nil, nil)}
					if p == culvertCulvertd {
						open[culvertStriped] = culvertStriped.open(t, server, nil, nil)
					}
					for k, client := range p.clients() {
						if server.Addr.Addr().Is6() && !client.IPv6() {
							continue
						}
						way := p
						if p == culvertCulvertd {
							way = alternately(i + j + k)
						}
						t.Run(string(client), func(t *testing.T) { files.cell(t, client, open[way].target, root) })
						if way == culvertStriped {
							open[way].bastion.await(`"event":"channel.closed"[^\n]*"result":"clean","stripes":[1-9]`)
						}
					}
				})
			}
		}
	}
}

// combination is a cell in which several things meet that have tests of their own: the client's mode, TLS on the last leg, the direction of the
// tunnel, the family. The combinations are chosen such that what can meet in pairs mostly does, with each server and each client in some.
type combination struct {
	path
	remote bool   // -R instead of -L
	active bool   // the client's mode
	tls    string // version, or "" for none
	server peers.FTPServer
	addr   string
	client peers.FTPClient
}

var combinations = []combination{
	{culvertCulvertd, false, true, "1.2", peers.VSFTPD, "127.0.0.1", peers.TNFTP},
	{culvertCulvertd, false, true, "1.3", peers.ProFTPD, "127.0.0.1", peers.LFTP},
	{culvertCulvertd, false, false, "1.3", peers.PureFTPD, "::1", peers.Wget},
	{culvertCulvertd, true, false, "", peers.ProFTPD, "::1", peers.Curl},
	{culvertCulvertd, true, true, "", peers.PureFTPD, "127.0.0.1", peers.NcFTP},
	{culvertStriped, false, true, "", peers.PureFTPD, "::1", peers.Ftplib},
	{culvertStriped, false, false, "1.3", peers.VSFTPD, "127.0.0.1", peers.Curl},
	{culvertStriped, true, true, "", peers.ProFTPD, "127.0.0.1", peers.NetFTP},
	{culvertSSHD, false, true, "1.3", peers.VSFTPD, "127.0.0.1", peers.NetFTP},
	{culvertSSHD, false, true, "1.2", peers.PureFTPD, "::1", peers.Ftplib},
	{culvertSSHD, false, false, "1.2", peers.ProFTPD, "::1", peers.Curl},
	{masterSSHD, false, false, "", peers.ProFTPD, "127.0.0.1", peers.LFTP},
	{masterSSHD, false, true, "", peers.PureFTPD, "::1", peers.Ftplib},
	{masterSSHD, false, false, "1.3", peers.VSFTPD, "127.0.0.1", peers.Wget},
	{masterCulvertd, false, false, "", peers.VSFTPD, "::1", peers.Curl},
	{culvertSSHD, true, false, "", peers.VSFTPD, "127.0.0.1", peers.LFTP},
	{culvertSSHD, true, true, "", peers.ProFTPD, "127.0.0.1", peers.TNFTP},
	{sshCulvertd, false, false, "1.2", peers.VSFTPD, "::1", peers.CurlSOCKS},
}

func (c combination) String() string {
	return fmt.Sprintf("%s/remote %t/active %t/TLS %s/%s/%s/%s", c.path, c.remote, c.active, c.tls, c.server, c.addr, c.client)
}

// TestCombinations goes on where TestMatrix ends, with pairs in place of everything with everything.
func TestCombinations(t *testing.T) {
	t.Parallel()
	files := makeFilesOf(t, 16<<20, 5)
	ca := peers.TestCA(t, "ca")
	id := ca.TestIdentity(t, peers.Certificate{Names: []string{"127.0.0.1", "::1"}})
	for _, c := range combinations {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			config := peers.FTPConfig{Root: t.TempDir(), Addr: netip.MustParseAddr(c.addr)}
			files.linkInto(t, filepath.Join(config.Root, "files"))
			if c.tls != "" {
				config.TLS = &peers.FTPTLS{Identity: id}
			}
			target := c.open(t, peers.TestFTP(t, c.server, config), ca)
			target.Active = c.active
			files.cell(t, c.client, target, config.Root)
		})
	}
}

// open puts the combination into operation, and returns what its client is told.
func (c combination) open(t *testing.T, server *peers.FTP, ca *peers.CA) peers.Target {
	t.Helper()
	if c.remote {
		r := remote{path: c.path}
		if c.hasCulvertd() {
			r.bastion = []string{"FTPActive yes"}
		}
		return r.open(t, server)
	}
	r := route{path: c.path}
	if c.tls != "" && c.hasCulvertd() {
		r.culvertd = []string{"FTPUpstreamTLS require", "FTPUpstreamTLSCAFile " + ca.Path, "FTPUpstreamTLSMaxVersion " + c.tls}
	} else if c.tls != "" {
		r.culvert = []string{"-o", "FTPUpstreamTLS=require", "-o", "FTPUpstreamTLSCAFile=" + ca.Path, "-o", "FTPUpstreamTLSMaxVersion=" + c.tls}
	}
	return r.open(t, server).target
}

// cell is one client on one path to one server. The server serves root, with the files in root/files.
func (f *files) cell(t *testing.T, c peers.FTPClient, target peers.Target, root string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	local := t.TempDir()

	out, err := c.List(ctx, target, "files/small")
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, name := range f.small {
		if !strings.Contains(out, name) {
			t.Fatalf("List: no %q in\n%s", name, out)
		}
	}
	for _, name := range f.single {
		if out, err := c.Download(ctx, target, "files/"+name, filepath.Join(local, name)); err != nil {
			t.Fatalf("Download: %v", err)
		} else {
			f.want(t, filepath.Join(local, name), name, out)
		}
	}
	if out, err := c.DownloadAll(ctx, target, "files/small", f.small, local); err != nil {
		t.Fatalf("DownloadAll: %v", err)
	} else {
		f.wantAll(t, local, out)
	}
	if !c.Uploads() {
		return
	}

	up := filepath.Join(root, "up")
	if err := os.Mkdir(up, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(up)
	for _, name := range f.single {
		if out, err := c.Upload(ctx, target, filepath.Join(f.folder, name), "up/"+name); err != nil {
			t.Fatalf("Upload: %v", err)
		} else {
			f.want(t, filepath.Join(up, name), name, out)
		}
	}
	if out, err := c.UploadAll(ctx, target, filepath.Join(f.folder, "small"), f.small, "up"); err != nil {
		t.Fatalf("UploadAll: %v", err)
	} else {
		f.wantAll(t, up, out)
	}
}

// files are what is transferred, in a folder, with their hashes.
type files struct {
	folder string
	single []string // in folder
	small  []string // in folder/small
	sums   map[string][sha256.Size]byte
}

// makeFiles writes files with contents that no compression and no conversion of line ends leaves alone.
func makeFiles(t *testing.T) *files {
	t.Helper()
	return makeFilesOf(t, big, smallFiles)
}

// makeFilesOf does so with a large file of so many bytes and so many small ones.
func makeFilesOf(t *testing.T, big, smallFiles int) *files {
	t.Helper()
	f := &files{folder: t.TempDir(), sums: map[string][sha256.Size]byte{}}
	if err := os.Mkdir(filepath.Join(f.folder, "small"), 0o755); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	write := func(dir, name string, size int) {
		content := make([]byte, size)
		_, _ = random.Read(content) // never fails
		f.sums[name] = sha256.Sum256(content)
		if err := os.WriteFile(filepath.Join(f.folder, dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, size := range map[string]int{"empty": 0, "byte": 1, "big": big} {
		f.single = append(f.single, name)
		write("", name, size)
	}
	for i := range smallFiles {
		name := fmt.Sprintf("small-%03d", i)
		f.small = append(f.small, name)
		write("small", name, i*i%5000) // some of them empty
	}
	return f
}

// linkInto makes the files appear in dir without a copy.
func (f *files) linkInto(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "small"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range f.single {
		if err := os.Link(filepath.Join(f.folder, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range f.small {
		if err := os.Link(filepath.Join(f.folder, "small", name), filepath.Join(dir, "small", name)); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *files) want(t *testing.T, path, name, out string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v; the client said:\n%s", err, out)
	}
	defer file.Close()
	h := sha256.New()
	n, err := io.Copy(h, file)
	if err != nil {
		t.Fatal(err)
	}
	if want := f.sums[name]; !bytes.Equal(h.Sum(nil), want[:]) {
		t.Fatalf("%s: got %d bytes with SHA-256 %x, want %x; the client said:\n%s", name, n, h.Sum(nil), want, out)
	}
}

func (f *files) wantAll(t *testing.T, dir, out string) {
	t.Helper()
	for _, name := range f.small {
		f.want(t, filepath.Join(dir, name), name, out)
	}
}
