package stripe_test

import (
	"fmt"
	"io"
	"testing"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// BenchmarkStream is what a byte costs that goes through SSH: by a plain channel, by a stream without stripes, and with some. -benchtime 1x is 1 MiB.
func BenchmarkStream(b *testing.B) {
	b.Run("channel", func(b *testing.B) {
		r := newRig(b)
		client, server := r.open(stripe.Config{})
		moveAll(b, client.Channel, server.Channel)
	})
	for _, stripes := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(stripes, " stripes"), func(b *testing.B) {
			r := newRig(b)
			client, server, _ := r.striped(stripes)
			moveAll(b, client, server)
		})
	}
}

func moveAll(b *testing.B, from, to relay.Stream) {
	const size = 1 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	b.ResetTimer()
	go func() {
		buf := make([]byte, 256<<10)
		for range b.N * size / len(buf) {
			if _, err := from.Write(buf); err != nil {
				return // the reader says so
			}
		}
		from.CloseWrite()
	}()
	buf := make([]byte, 256<<10)
	for n := 0; ; {
		m, err := to.Read(buf)
		n += m
		if err == io.EOF && n == b.N*size {
			return
		}
		if err != nil {
			b.Fatalf("after %d bytes of %d: %v", n, b.N*size, err)
		}
	}
}
