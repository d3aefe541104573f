package e2e

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// middle is how far into the file of 64 MiB a transfer has come when the fault strikes: more than all buffers on
// the way hold together is still to come.
const middle = 8 << 20 // bytes

// transfer is one transfer that stands still in its middle.
type transfer struct {
	*tunnel
	wire    *gate // under SSH
	control *gate // a tap on the FTP control connection at the server's end
	server  *peers.FTP
}

// fault is something that goes wrong in the middle of a transfer.
type fault struct {
	name   string
	strike func(*transfer)

	// serverLives is set if the FTP server is there afterwards to do something about half a file.
	serverLives bool

	// paths are those that have what breaks.
	paths []path
}

func faults() []fault {
	return []fault{
		{"SSH connection reset", func(x *transfer) { x.wire.cut() }, true, []path{culvertCulvertd, culvertSSHD, sshCulvertd}},
		{"culvert killed", func(x *transfer) {
			x.client.signal(syscall.SIGKILL)
			x.client.ended()
			x.wire.release()
		}, true, []path{culvertCulvertd, culvertSSHD}},
		{"bastion terminated", func(x *transfer) {
			x.bastion.signal(syscall.SIGTERM)
			x.wire.release()
			if status := x.bastion.ended(); status != 0 {
				x.bastion.t.Errorf("culvertd ended with status %d after SIGTERM, want 0", status)
			}
		}, true, []path{culvertCulvertd, sshCulvertd}},
		{"bastion killed", func(x *transfer) {
			x.bastion.signal(syscall.SIGKILL)
			x.bastion.ended()
			x.wire.release()
		}, true, []path{culvertCulvertd, sshCulvertd}},
		{"FTP server killed", func(x *transfer) {
			x.server.Kill()
			x.wire.release()
		}, false, []path{culvertCulvertd, culvertSSHD, sshCulvertd}},
	}
}

// TestFaultIsNeverTakenForTheEndOfFile breaks downloads and uploads in their middle. The FTP client must say that it
// failed, and the FTP server must not keep a short file under the name of the whole one.
func TestFaultIsNeverTakenForTheEndOfFile(t *testing.T) {
	files := makeFiles(t)
	for _, f := range faults() {
		for _, p := range f.paths {
			for j, kind := range peers.FTPServers() {
				t.Run(fmt.Sprintf("%s/%s/%s", f.name, p, kind), func(t *testing.T) {
					t.Parallel()
					for k, client := range p.clients() {
						up, down := p, p
						if p == culvertCulvertd { // with stripes by turns
							down, up = alternately(j+k), alternately(j+k+1)
						}
						t.Run(string(client)+"/download", func(t *testing.T) { f.download(t, files, down, kind, client) })
						if client.Uploads() {
							t.Run(string(client)+"/upload", func(t *testing.T) { f.upload(t, files, up, kind, client) })
						}
					}
				})
			}
		}
	}
}

func (f fault) download(t *testing.T, files *files, p path, kind peers.FTPServer, c peers.FTPClient) {
	f.breakDownload(t, begin(t, p, kind, newGate(middle, false)), files, c)
}

func (f fault) breakDownload(t *testing.T, x *transfer, files *files, c peers.FTPClient) {
	t.Helper()
	files.linkInto(t, filepath.Join(x.server.Root, "files"))
	local := filepath.Join(t.TempDir(), "big")
	out, err := x.during(t, f.strike, func(ctx context.Context) (string, error) {
		return c.Download(ctx, x.target, "files/big", local)
	})
	if err == nil { // lftp tries again, with success where the FTP server alone was hit
		files.want(t, local, "big", out)
	}
}

func (f fault) upload(t *testing.T, files *files, p path, kind peers.FTPServer, c peers.FTPClient) {
	x := begin(t, p, kind, newGate(middle, true))
	out, err := x.during(t, f.strike, func(ctx context.Context) (string, error) {
		return c.Upload(ctx, x.target, filepath.Join(files.folder, "big"), "big")
	})
	name := filepath.Join(x.server.Root, "big")
	if err == nil {
		files.want(t, name, "big", out)
		return
	}
	if !f.serverLives || p == culvertSSHD {
		// A killed server leaves what it has. And OpenSSH's sshd, when its client is gone, ends its
		// connections in good order: it can't be made to do better from the other side.
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := x.server.Idle(ctx); err != nil {
		t.Fatal(err)
	}
	_, verdict, _ := cutLast(x.control.said.String(), "\n150 ")
	if verdict == "" || strings.Contains(verdict, "\n226") {
		t.Errorf("%s said of the upload: %q", kind, verdict)
	}
	if kind == peers.PureFTPD {
		return // it keeps the part, and says that it failed
	}
	if _, err := os.Stat(name); !os.IsNotExist(err) {
		t.Errorf("%s keeps a part of the upload as if it were the file (%v)", kind, err)
	}
}

// cutLast is strings.Cut around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func begin(t *testing.T, p path, kind peers.FTPServer, wire *gate) *transfer {
	t.Helper()
	server := peers.TestFTP(t, kind, peers.FTPConfig{Root: t.TempDir()})
	control := newTap()
	return &transfer{tunnel: p.open(t, server, control, wire), wire: wire, control: control, server: server}
}

// during runs do, and strike once do's transfer has come to its middle.
func (x *transfer) during(t *testing.T, strike func(*transfer), do func(context.Context) (string, error)) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	type result struct {
		out string
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := do(ctx)
		done <- result{out, err}
	}()
	select {
	case <-x.wire.reached:
		strike(x)
	case r := <-done:
		t.Fatalf("the transfer ended before its middle: %v\n%s", r.err, r.out)
	}
	r := <-done
	if ctx.Err() != nil {
		t.Fatalf("the client did not notice within %v:\n%s", 2*patience, r.out)
	}
	return r.out, r.err
}

// TestLostConnectionEndsCulvertAsItEndsSSH: exit status 255, and a word about it.
func TestLostConnectionEndsCulvertAsItEndsSSH(t *testing.T) {
	x := begin(t, culvertCulvertd, peers.VSFTPD, newGate(math.MaxInt64, false))
	x.wire.cut()
	if status := x.client.ended(); status != 255 {
		t.Errorf("culvert ended with status %d, want 255", status)
	}
	x.client.await(`(?i)connection.*(lost|closed|reset|gone)`)
}

// TestKilledClientLeavesTheTunnelUsable kills each FTP client in the middle of a download.
func TestKilledClientLeavesTheTunnelUsable(t *testing.T) {
	files := makeFiles(t)
	for _, client := range peers.FTPClients() {
		t.Run(string(client), func(t *testing.T) {
			t.Parallel()
			x := begin(t, culvertCulvertd, peers.VSFTPD, newGate(middle, false))
			files.linkInto(t, filepath.Join(x.server.Root, "files"))
			ctx, kill := context.WithCancel(t.Context())
			_, err := x.during(t, func(x *transfer) { kill(); x.wire.release() }, func(context.Context) (string, error) {
				return client.Download(ctx, x.target, "files/big", filepath.Join(t.TempDir(), "big"))
			})
			if err == nil {
				t.Error("the client was not killed")
			}
			idle, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := x.server.Idle(idle); err != nil {
				t.Fatal(err)
			}
			local := filepath.Join(t.TempDir(), "byte")
			out, err := client.Download(t.Context(), x.target, "files/byte", local)
			if err != nil {
				t.Fatalf("Download after the other client was killed: %v", err)
			}
			files.want(t, local, "byte", out)
		})
	}
}
