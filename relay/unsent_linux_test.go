package relay_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

func TestLittleIsWrittenThatIsNotSent(t *testing.T) {
	const (
		window = 64 << 10  // of the peer, who doesn't read; the system doubles it
		most   = 512 << 10 // that, what may wait, and a write that has begun; without a bound it is some MiB
	)
	near, far := tcpPair(t)
	defer near.Abort()
	if err := far.SetReadBuffer(window); err != nil {
		t.Fatal(err)
	}
	s := relay.NewSocket(near.TCPConn)
	written := 0
	for {
		if err := s.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := s.Write(make([]byte, 32<<10))
		written += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil || written > most {
			t.Fatalf("%d bytes were taken that nobody reads, want %d at most (%v)", written, most, err)
		}
	}
	t.Logf("%d bytes were taken", written)
}
