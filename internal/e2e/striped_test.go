package e2e

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// TestTransferOutlivesItsSideConnections cuts side connections at random while a file goes over them, up and down, with each server. It comes
// later for that, but whole, and its client notices nothing.
func TestTransferOutlivesItsSideConnections(t *testing.T) {
	t.Parallel()
	const size = 24 << 20
	files := makeFilesOf(t, size, 0)
	for i, kind := range peers.FTPServers() {
		for _, upload := range []bool{false, true} {
			client := []peers.FTPClient{peers.Curl, peers.NcFTP, peers.TNFTP}[i]
			t.Run(fmt.Sprintf("%s/%s/upload %t", kind, client, upload), func(t *testing.T) {
				t.Parallel()
				x := begin(t, culvertStriped, kind, newGate(math.MaxInt64, upload))
				files.linkInto(t, filepath.Join(x.server.Root, "files"))
				ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
				defer cancel()
				over, struck := make(chan struct{}), make(chan int)
				go func() { struck <- x.cutSides(over) }()
				from, to := filepath.Join(files.folder, "big"), filepath.Join(x.server.Root, "big")
				transfer := func() (string, error) { return client.Upload(ctx, x.target, from, "big") }
				if !upload {
					to = filepath.Join(t.TempDir(), "big")
					transfer = func() (string, error) { return client.Download(ctx, x.target, "files/big", to) }
				}
				out, err := transfer()
				close(over)
				if n := <-struck; err != nil {
					t.Fatalf("after %d cuts: %v", n, err)
				} else if n == 0 {
					t.Error("no side connection was cut")
				}
				files.want(t, to, "big", out)
			})
		}
	}
}

// cutSides cuts one side connection after another, at random times, until over is closed. It returns how many.
func (x *transfer) cutSides(over <-chan struct{}) (cuts int) {
	for {
		late := time.NewTimer(time.Duration(rand.IntN(30)) * time.Millisecond) // when is the point
		select {
		case <-over:
			late.Stop()
			return cuts
		case <-late.C:
		}
		if n := x.wire.connections(); n > 1 {
			x.wire.cutOne(1 + rand.IntN(n-1)) // it may be gone already
			cuts++
		}
	}
}

// TestEndOfTheFirstConnectionIsTheEndOfItsStripes cuts the first connection alone, in the middle of a transfer that is on the side connections. As without
// stripes, no client takes a part for the whole, and no server keeps one.
func TestEndOfTheFirstConnectionIsTheEndOfItsStripes(t *testing.T) {
	t.Parallel()
	files := makeFiles(t)
	f := fault{"first SSH connection reset", func(x *transfer) {
		x.wire.cutOne(0)
		x.wire.release()
		if status := x.client.ended(); status != 255 {
			x.client.t.Errorf("culvert ended with status %d, want 255", status)
		}
	}, true, nil}
	for i, kind := range peers.FTPServers() {
		client := []peers.FTPClient{peers.TNFTP, peers.Curl, peers.NcFTP}[i]
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			t.Run("download", func(t *testing.T) { f.download(t, files, culvertStriped, kind, client) })
			t.Run("upload", func(t *testing.T) { f.upload(t, files, culvertStriped, kind, client) })
		})
	}
}
