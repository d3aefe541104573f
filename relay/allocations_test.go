//go:build !race

package relay_test

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
)

// patched reports whether x/crypto is built with our patches (see patches/README.md), without which it allocates for every packet that it receives.
func patched() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, m := range info.Deps {
		if m.Path == "golang.org/x/crypto" {
			return m.Replace != nil
		}
	}
	return false
}

// joined are the two streams of a Join with their other ends.
type joined struct {
	near relay.Stream
	from io.ReadWriteCloser
	far  relay.Stream
	to   io.ReadWriteCloser
}

// It isn't parallel: what others allocate would count.
func TestRelayedBytesAllocateLittle(t *testing.T) {
	const size = 64 // MiB
	ofSSH := 1400
	if patched() {
		ofSSH = 100
	}
	for _, test := range []struct {
		name string
		most int // KiB allocated for each MiB
		make func(t *testing.T) joined
	}{
		{"TCP to TCP", 16, func(t *testing.T) joined {
			near, other := tcpPair(t)
			far, end := tcpPair(t)
			return joined{near, other, far, end}
		}},
		{"TCP to SSH", ofSSH, func(t *testing.T) joined {
			near, other := tcpPair(t)
			p := newSSHPair(t, nil)
			return joined{near, other, p.clientStream(true), p.serverCh}
		}},
		{"SSH to TCP", ofSSH, func(t *testing.T) joined {
			p := newSSHPair(t, nil)
			far, end := tcpPair(t)
			return joined{p.clientStream(true), p.serverCh, far, end}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := test.make(t)
			ctx, stop := context.WithCancel(context.Background())
			ended := make(chan error)
			go func() { ended <- relay.Join(ctx, j.near, j.far, nil) }()
			defer func() {
				stop()
				j.from.Close()
				j.to.Close()
				<-ended
			}()
			block := make([]byte, 256<<10)
			move := func(mib int) {
				sent := make(chan error)
				go func() {
					var err error
					for range mib * 4 {
						if _, err = j.from.Write(block); err != nil {
							break
						}
					}
					sent <- err
				}()
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{io.LimitReader(j.to, int64(mib)<<20)}, make([]byte, len(block))); err != nil {
					t.Fatal(err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
			move(4) // what is made once
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			move(size)
			runtime.ReadMemStats(&after)
			if got := int(after.TotalAlloc-before.TotalAlloc) >> 10 / size; got > test.most {
				t.Errorf("%d KiB are allocated for each MiB, want %d at most", got, test.most)
			} else {
				t.Logf("%d KiB for each MiB", got)
			}
		})
	}
}
