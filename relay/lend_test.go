package relay_test

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// heap returns how many bytes are alive.
func heap() int {
	for range 3 { // a pool lets go of what nobody has taken from it since the last but one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// exchange sends a MiB each way.
func exchange(t *testing.T, left, right net.Conn) {
	t.Helper()
	const size = 1 << 20
	for _, way := range [][2]net.Conn{{left, right}, {right, left}} {
		sent := make(chan error)
		go func() {
			_, err := way[0].Write(make([]byte, size))
			sent <- err
		}()
		if _, err := io.ReadFull(way[1], make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func TestChannelsHoldLittleAfterTraffic(t *testing.T) {
	const chains = 16
	var all []*chain
	for range chains {
		all = append(all, newChain(t, true))
	}
	most := 120 << 10 // bytes for both ends of a channel: the ciphers of its connection keep what the largest packet needed
	if _, able := all[0].clientCh.(interface{ Await() }); !able {
		most = 800 << 10 // the buffers in which each end waits, and what the library keeps
	}
	before := heap()
	for _, c := range all {
		exchange(t, c.left, c.right)
	}
	got := (heap() - before) / chains
	t.Logf("%d bytes for both ends of a channel", got)
	if got > most {
		t.Errorf("%d bytes are held for both ends of each channel that has carried something, want %d at most", got, most)
	}
}
