package stripe_test

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/culvert-ssh/culvert/stripe"
)

// transfer sends data from one end to the other and returns what came and how it ended.
func transfer(from, to *stripe.Stream, data []byte) (got []byte, sent, read error) {
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, sent = from.Write(data); sent == nil {
			sent = from.CloseWrite()
		}
	})
	got, read = io.ReadAll(to)
	wg.Wait()
	return got, sent, read
}

func TestBytesGoOverStripesBothWays(t *testing.T) {
	for _, stripes := range []int{0, 1, 4, stripe.Max} {
		r := newRig(t)
		client, server, _ := r.striped(stripes)
		want := random(5 << 20)
		var wg sync.WaitGroup
		check := func(name string, from, to *stripe.Stream) {
			got, sent, read := transfer(from, to, want)
			if sent != nil || read != nil || !bytes.Equal(got, want) {
				t.Errorf("%d stripes, %s: %d bytes of %d came; sent %v, read %v", stripes, name, len(got), len(want), sent, read)
			}
		}
		wg.Go(func() { check("up", client, server) })
		wg.Go(func() { check("down", server, client) })
		wg.Wait()
		if err := client.Close(); err != nil {
			t.Errorf("%d stripes: Close: %v", stripes, err)
		}
		<-server.Done()
	}
}
