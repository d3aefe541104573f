package stripe_test

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// hostile is a client that says what it likes to a stream of the server's.
type hostile struct {
	*rig
	primary ssh.Channel
	side    ssh.Channel
	server  *stripe.Stream
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	h := &hostile{rig: newRig(t)}
	var reqs <-chan *ssh.Request
	var err error
	if h.primary, reqs, err = h.first.client.OpenChannel("direct-tcpip", nil); err != nil {
		t.Fatal(err)
	}
	h.wg.Go(func() { ssh.DiscardRequests(reqs) })
	h.server = <-h.opened
	t.Cleanup(h.server.Abort)
	return h
}

// agree has the server agree on stripes, and attaches one.
func (h *hostile) agree() {
	h.t.Helper()
	token := stripe.NewToken()
	if ok, err := h.primary.SendRequest(stripe.Request, true, token.Payload()); !ok || err != nil {
		h.t.Fatalf("the server refuses stripes (%v)", err)
	}
	var reqs <-chan *ssh.Request
	var err error
	if h.side, reqs, err = h.connect().client.OpenChannel(stripe.ChannelType, token.Payload()); err != nil {
		h.t.Fatal(err)
	}
	h.wg.Go(func() { ssh.DiscardRequests(reqs) })
}

// say sends a request with numbers on the primary channel.
func (h *hostile) say(name string, numbers ...uint64) {
	var payload []byte
	for _, n := range numbers {
		payload = binary.BigEndian.AppendUint64(payload, n)
	}
	h.primary.SendRequest(name, false, payload)
}

// changeOver has what comes up from here on come in blocks.
func (h *hostile) changeOver(n uint64) {
	h.agree()
	h.say("stripes-from@culvert", n)
	h.primary.CloseWrite()
}

// block sends a block.
func (h *hostile) block(offset uint64, length uint32, data []byte) {
	p := binary.BigEndian.AppendUint64(nil, offset)
	p = binary.BigEndian.AppendUint32(p, length)
	h.side.Write(append(p, data...))
}

// down has the server send over stripes, which it does as soon as one is there.
func (h *hostile) down() {
	h.agree()
	go func() { // ends with the stream
		for h.server.Stripes() == 0 {
			if _, err := h.server.Write([]byte("x")); err != nil {
				return
			}
		}
		h.server.Write(make([]byte, 1000))
	}()
	io.ReadFull(h.side, make([]byte, 13))
}

func TestBreachEndsTheStream(t *testing.T) {
	const far = 2 << 20
	for name, breach := range map[string]func(h *hostile){
		"stripes that nobody agreed on": func(h *hostile) { h.say("stripes-from@culvert", 0); h.primary.CloseWrite() },
		"a second change":               func(h *hostile) { h.changeOver(0); h.say("stripes-from@culvert", 0) },
		"a malformed change":            func(h *hostile) { h.agree(); h.say("stripes-from@culvert", 0, 0); h.primary.CloseWrite() },
		"less on the primary channel":   func(h *hostile) { h.changeOver(1) },
		"more on the primary channel":   func(h *hostile) { h.primary.Write([]byte("ab")); h.changeOver(1) },
		"an offset without end":         func(h *hostile) { h.changeOver(0); h.block(math.MaxUint64-1, 3, []byte("abc")) },
		"an empty block":                func(h *hostile) { h.changeOver(0); h.block(0, 0, nil) },
		"a block too long":              func(h *hostile) { h.changeOver(0); h.block(0, 256<<10+1, nil) },
		"a block before the change":     func(h *hostile) { h.primary.Write([]byte("ab")); h.changeOver(2); h.block(1, 1, []byte("b")) },
		"a block after the limit":       func(h *hostile) { h.changeOver(0); h.block(far-1, 2, []byte("ab")) },
		"a block that reaches into one": func(h *hostile) { h.changeOver(0); h.block(10, 2, []byte("ab")); h.block(9, 2, []byte("ab")) },
		"a block that begins in one":    func(h *hostile) { h.changeOver(0); h.block(10, 2, []byte("ab")); h.block(11, 2, []byte("ab")) },
		"a block around one":            func(h *hostile) { h.changeOver(0); h.block(10, 2, []byte("ab")); h.block(9, 4, []byte("abcd")) },
		"an end before what was sent":   func(h *hostile) { h.changeOver(0); h.block(0, 2, []byte("ab")); h.say(relay.EndOfDataRequest, 1) },
		"a block after the end":         func(h *hostile) { h.changeOver(0); h.say(relay.EndOfDataRequest, 1); h.block(1, 1, []byte("a")) },
		"more blocks than there may be": func(h *hostile) { h.changeOver(0); h.crumbs(2000) },
		"an ack of what was never sent": func(h *hostile) { h.agree(); h.say("stripes-ack@culvert", 0, far) },
		"an ack of more than was sent":  func(h *hostile) { h.down(); h.say("stripes-ack@culvert", far-1, far) },
		"an ack that goes back": func(h *hostile) {
			h.down()
			h.say("stripes-ack@culvert", 2, 2+far)
			h.say("stripes-ack@culvert", 1, 2+far)
		},
		"a limit that shrinks":             func(h *hostile) { h.down(); h.say("stripes-ack@culvert", 2, 1000) },
		"a limit that nobody has room for": func(h *hostile) { h.down(); h.say("stripes-ack@culvert", 2, 2+16<<20+1) },
		"a malformed ack":                  func(h *hostile) { h.down(); h.say("stripes-ack@culvert", 2) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			breach(h)
			got, err := io.ReadAll(h.server)
			if !errors.Is(err, relay.ErrAborted) || err == relay.ErrAborted {
				t.Errorf("the server read %d bytes, and %v; want %v for a reason", len(got), err, relay.ErrAborted)
			}
			<-h.server.Done()
			if _, err := io.Copy(io.Discard, h.primary); err != nil { // ends as the channel is closed
				t.Error(err)
			}
		})
	}
}

// crumbs sends every second byte, so that none can be handed on.
func (h *hostile) crumbs(n int) {
	go func() { // ends with the stream
		for i := range n {
			h.block(uint64(2*i+1), 1, []byte("a"))
		}
	}()
}

func TestStripesAreForWhomTheyWereAgreedWith(t *testing.T) {
	h := newHostile(t)
	h.agree()
	if ok, err := h.primary.SendRequest(stripe.Request, true, stripe.NewToken().Payload()); ok || err != nil {
		t.Errorf("a second token for one stream: got %t, %v; want it refused", ok, err)
	}
	h = newHostile(t)
	for _, payload := range [][]byte{nil, make([]byte, 36), stripe.NewToken().Payload()} {
		if ok, _ := h.primary.SendRequest(stripe.Request, true, payload); ok {
			t.Errorf("the server took %x for its only token", payload)
		}
	}
}

func TestBlockThatCameTwiceIsHandedOnOnce(t *testing.T) {
	h := newHostile(t)
	h.primary.Write([]byte("0"))
	h.changeOver(1)
	h.block(3, 2, []byte("34"))
	h.block(3, 2, []byte("34"))
	h.block(1, 2, []byte("12"))
	h.block(1, 2, []byte("12"))
	h.say(relay.EndOfDataRequest, 5)
	if got, err := io.ReadAll(h.server); string(got) != "01234" || err != nil {
		t.Errorf("got %q, %v; want %q", got, err, "01234")
	}
}
