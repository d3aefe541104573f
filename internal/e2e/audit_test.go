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

// audited is a tunnel whose bastion writes its audit log to a file.
func audited(t *testing.T, server *peers.FTP, wire *gate) (tun *tunnel, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "audit.jsonl")
	tun = &tunnel{target: server.Target()}
	tun.bastion = startCulvertd(t, server.Addr.Addr(), "PermitOpen ftp/"+server.Addr.String(), "AuditLog "+log)
	ssh := tun.bastion.addr
	if wire != nil {
		ssh = wire.open(t, ssh)
	}
	tun.client, tun.target.Addr = startCulvert(t, ssh, user, tun.bastion.key, server.Addr)
	return tun, log
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
	for _, kind := range peers.FTPServers() {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			files.linkInto(t, filepath.Join(root, "files"))
			server := peers.TestFTP(t, kind, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr("127.0.0.1")})
			tun, log := audited(t, server, nil)
			for _, client := range peers.FTPClients() {
				t.Run(string(client), func(t *testing.T) { files.recorded(t, client, tun.target, root, log) })
			}
			verify(t, log)
		})
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
	for _, direction := range []string{"download", "upload"} {
		for _, what := range []string{"connection", "client"} {
			if direction == "upload" && what == "client" {
				continue // to FTP, a killed client's upload ends as a complete one does
			}
			t.Run(fmt.Sprintf("%s of the %s", direction, what), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				files.linkInto(t, filepath.Join(root, "files"))
				server := peers.TestFTP(t, peers.VSFTPD, peers.FTPConfig{Root: root, Addr: netip.MustParseAddr("127.0.0.1")})
				wire := newGate(middle, direction == "upload")
				tun, log := audited(t, server, wire)
				x := &transfer{tunnel: tun, wire: wire, server: server}
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				strike := func(x *transfer) { x.wire.cut() }
				if what == "client" {
					strike = func(x *transfer) { kill(); x.wire.release() }
				}
				name := "big"
				_, err := x.during(t, strike, func(context.Context) (string, error) {
					if direction == "upload" {
						name = "up-big"
						return peers.Curl.Upload(ctx, x.target, filepath.Join(files.folder, "big"), name)
					}
					return peers.Curl.Download(ctx, x.target, "files/big", filepath.Join(t.TempDir(), "big"))
				})
				if err == nil {
					t.Error("the transfer succeeded")
				}
				if r := awaitTransfer(t, log, direction, name, 0); r.Result != "aborted" || r.Bytes >= big || r.Bytes == 0 {
					t.Errorf("got %+v, want it aborted, with a part of the bytes", r)
				}
				verify(t, log)
			})
		}
	}
}
