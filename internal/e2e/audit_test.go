package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// record is what a line of the audit log says of a transfer.
type record struct {
	Event, Direction, Path, Result, Reason, Request string
	Bytes                                           int64
	Code                                            int
}

// transfers reads the transfers in an audit log so far.
func transfers(t *testing.T, path string) (all []record) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("audit line %q: %v", line, err)
		}
		if r.Event == "ftp.transfer" {
			all = append(all, r)
		}
	}
	return all
}

// awaitTransfer waits for a transfer of a file in a direction that is on record after the first skip ones.
func awaitTransfer(t *testing.T, log, direction, name string, skip int) record {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		all := transfers(t, log)
		for _, r := range all[min(skip, len(all)):] {
			if r.Direction == direction && filepath.Base(r.Path) == name {
				return r
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no %s of %s is on record, among %+v", direction, name, all)
		}
	}
}

// audited opens a path whose bastion writes its audit log to a file.
func audited(t *testing.T, p path, server *peers.FTP, wire *gate) (tun *tunnel, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "audit.jsonl")
	return p.open(t, server, nil, wire, "AuditLog "+log), log
}

// verify has culvertd itself prove that an audit log is whole.
func verify(t *testing.T, log string) {
	t.Helper()
	if out, err := exec.Command(filepath.Join(binaries, "culvertd"), "audit", "verify", log).CombinedOutput(); err != nil {
		t.Errorf("audit verify: %v, %s", err, out)
	}
}

// TestTransfersAreOnRecordWithTheirBytes is each server and each client, both directions.
func TestTransfersAreOnRecordWithTheirBytes(t *testing.T) {
	files := makeFiles(t)
	for _, p := range []path{culvertCulvertd, sshCulvertd} {
		for _, kind := range peers.FTPServers() {
			t.Run(fmt.Sprintf("%s/%s", p, kind), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				files.linkInto(t, filepath.Join(root, "files"))
				server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr("127.0.0.1")})
				tun, log := audited(t, p, server, nil)
				for _, client := range p.clients() {
					t.Run(string(client), func(t *testing.T) { files.recorded(t, client, tun.target, root, log) })
				}
				verify(t, log)
			})
		}
	}
}

func (f *files) recorded(t *testing.T, c peers.FTPClient, target peers.Target, root, log string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	want := func(direction, name string, skip int) {
		t.Helper()
		info, err := os.Stat(filepath.Join(f.folder, name))
		if err != nil {
			t.Fatal(err)
		}
		r := awaitTransfer(t, log, direction, name, skip)
		if r.Result != "complete" || r.Bytes != info.Size() || r.Code/100 != 2 || r.Request == "" {
			t.Errorf("got %+v, want %d bytes, complete", r, info.Size())
		}
	}
	for _, name := range f.single {
		skip := len(transfers(t, log))
		if out, err := c.Download(ctx, target, "files/"+name, filepath.Join(t.TempDir(), name)); err != nil {
			t.Fatalf("Download: %v\n%s", err, out)
		}
		want("download", name, skip)
	}
	if !c.Uploads() {
		return
	}
	for _, name := range f.single {
		skip := len(transfers(t, log))
		if out, err := c.Upload(ctx, target, filepath.Join(f.folder, name), "up-"+name); err != nil {
			t.Fatalf("Upload: %v\n%s", err, out)
		}
		r := awaitTransfer(t, log, "upload", "up-"+name, skip)
		if info, err := os.Stat(filepath.Join(root, "up-"+name)); err != nil || r.Bytes != info.Size() || r.Result != "complete" {
			t.Errorf("got %+v, want the size of the file, complete (%v)", r, err)
		}
	}
}

// TestTransferThatBreaksIsOnRecordAsAborted cuts the SSH connection, and kills the FTP client, in the middle of a file.
func TestTransferThatBreaksIsOnRecordAsAborted(t *testing.T) {
	files := makeFiles(t)
	cut := func(x *transfer, _ func()) { x.wire.cut() }
	kill := func(x *transfer, kill func()) { kill(); x.wire.release() }
	for _, tt := range []struct {
		name      string
		path      path
		direction string
		strike    func(x *transfer, kill func())
	}{
		{"cut", culvertCulvertd, "download", cut},
		{"cut", culvertCulvertd, "upload", cut},
		{"cut", sshCulvertd, "download", cut},
		{"cut", sshCulvertd, "upload", cut},
		{"killed", culvertCulvertd, "download", kill}, // to FTP, a killed client's upload ends as a complete one does
	} {
		t.Run(fmt.Sprintf("%s/%s %s", tt.path, tt.direction, tt.name), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr("127.0.0.1")})
			wire := newGate(middle, tt.direction == "upload")
			tun, log := audited(t, tt.path, server, wire)
			x := &transfer{tunnel: tun, wire: wire, server: server}
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			client, name := tt.path.clients()[0], "big"
			_, err := x.during(t, func(x *transfer) { tt.strike(x, kill) }, func(context.Context) (string, error) {
				if tt.direction == "upload" {
					name = "up-big"
					return client.Upload(ctx, x.target, filepath.Join(files.folder, "big"), name)
				}
				return client.Download(ctx, x.target, "files/big", filepath.Join(t.TempDir(), "big"))
			})
			if err == nil {
				t.Error("the transfer succeeded")
			}
			if r := awaitTransfer(t, log, tt.direction, name, 0); r.Result != "aborted" || r.Bytes >= big || r.Bytes == 0 {
				t.Errorf("got %+v, want it aborted, with a part of the bytes", r)
			}
			verify(t, log)
		})
	}
}
