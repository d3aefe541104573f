package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// suddenly are things that go wrong while everything moves.
func suddenly() []fault {
	paths := []path{culvertCulvertd, culvertStriped, culvertSSHD, masterCulvertd, masterSSHD}
	masters := paths[3:]
	signal := func(s syscall.Signal) func(*transfer) { return func(x *transfer) { x.client.signal(s) } }
	return []fault{
		{"culvert killed", signal(syscall.SIGKILL), true, paths},
		{"culvert terminated", signal(syscall.SIGTERM), true, paths},
		{"culvert hung up", signal(syscall.SIGHUP), true, paths},
		{"culvert frozen", func(x *transfer) { freeze(x.client.signal) }, true, paths},
		{"culvert frozen and killed", func(x *transfer) {
			freeze(func(s syscall.Signal) {
				if s == syscall.SIGCONT {
					s = syscall.SIGKILL
				}
				x.client.signal(s)
			})
		}, true, paths},
		{"ssh killed", func(x *transfer) { _ = x.master.Process().Process.Kill() }, true, masters},
		{"ssh terminated", func(x *transfer) { _ = x.master.Process().Process.Signal(syscall.SIGTERM) }, true, masters},
		{"SSH connection reset", func(x *transfer) { x.wire.cut() }, true, paths},
		{"FTP server killed", func(x *transfer) { x.server.Kill() }, false, paths},
	}
}

func freeze(signal func(syscall.Signal)) {
	signal(syscall.SIGSTOP)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // what the others do meanwhile is the point
	signal(syscall.SIGCONT)
}

// TestSuccessIsWholeWhateverHappens strikes at random, where [TestFaultIsNeverTakenForTheEndOfFile] has the transfer stand still: the ends
// of several programs, and what is in their buffers, come in any order. A transfer that its client takes for a success is whole.
func TestSuccessIsWholeWhateverHappens(t *testing.T) {
	t.Parallel()
	const size = 12 << 20
	files := makeFilesOf(t, size, 0)
	for i, f := range suddenly() {
		p := f.paths[rand.IntN(len(f.paths))]
		kind := peers.FTPServers()[i%len(peers.FTPServers())]
		clients := p.clients()
		client := clients[rand.IntN(len(clients))]
		// lftp 4.9.2, which tries again, may send 192 KiB of a file then, end in order, and wait for ever.
		upload := client.Uploads() && client != peers.LFTP && rand.IntN(2) == 0
		after := rand.Int64N(size)
		t.Run(fmt.Sprintf("%s/%s/%s/%s/upload %t/%d", f.name, p, kind, client, upload, after), func(t *testing.T) {
			t.Parallel()
			x := begin(t, p, kind, newGate(after, upload))
			x.wire.release() // it tells when, and holds nothing
			files.linkInto(t, filepath.Join(x.server.Root, "files"))
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			struck := make(chan struct{})
			go func() {
				defer close(struck)
				select {
				case <-x.wire.reached:
					f.strike(x)
				case <-ctx.Done():
				}
			}()
			var out string
			var err error
			name := filepath.Join(t.TempDir(), "big")
			if upload {
				name = filepath.Join(x.server.Root, "big")
				out, err = client.Upload(ctx, x.target, filepath.Join(files.folder, "big"), "big")
			} else {
				out, err = client.Download(ctx, x.target, "files/big", name)
			}
			if ctx.Err() != nil {
				t.Fatalf("the client did not notice within %v:\n%s", 2*patience, out)
			}
			<-struck // it has come as far, or had no success at all
			if err == nil {
				files.want(t, name, "big", out)
			}
		})
	}
}
