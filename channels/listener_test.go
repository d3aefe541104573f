package channels_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// listens makes the policy of a bastion grant every tcpip-forward on some addresses.
func listens(addrs ...string) func(*channels.Config) {
	return func(c *channels.Config) {
		decide := c.Decide
		c.Decide = func(r policy.Request) policy.Decision {
			if r.Action != policy.Listen {
				return decide(r)
			}
			// Only the policy can make a decision that allows.
			d := decide(policy.Request{Subject: r.Subject, Action: policy.Open, Target: policy.Target{Host: "127.0.0.1", Port: 1}})
			for _, a := range addrs {
				d.Bind = append(d.Bind, netip.MustParseAddr(a))
			}
			return d
		}
		c.MaxChannels = 100
	}
}

func newListening(t *testing.T, addrs ...string) *bastion {
	t.Helper()
	return newBastion(t, permit(t, "*:*", ""), listens(addrs...))
}

// forward sends a tcpip-forward, and returns the port, 0 if it was refused.
func (b *bastion) forward(host string, port uint32) uint16 {
	b.t.Helper()
	return b.request("tcpip-forward", host, port)
}

func (b *bastion) request(name, host string, port uint32) uint16 {
	b.t.Helper()
	ok, payload, err := b.client.SendRequest(name, true, ssh.Marshal(struct {
		Host string
		Port uint32
	}{host, port}))
	switch {
	case err != nil:
		b.t.Fatal(err)
	case !ok:
		return 0
	case port == 0 && len(payload) == 4:
		return uint16(binary.BigEndian.Uint32(payload))
	case len(payload) != 0:
		b.t.Fatalf("%s of port %d: answered with %q", name, port, payload)
	}
	return uint16(port)
}

// mustForward is forward to port 0 for what must succeed.
func (b *bastion) mustForward(host string) uint16 {
	b.t.Helper()
	port := b.forward(host, 0)
	if port == 0 {
		b.t.Fatalf("tcpip-forward %q refused: %v", host, b.audit.event("listen.refused"))
	}
	return port
}

func (b *bastion) cancel(host string, port uint16) bool {
	b.t.Helper()
	ok, _, err := b.client.SendRequest("cancel-tcpip-forward", true, ssh.Marshal(struct {
		Host string
		Port uint32
	}{host, uint32(port)}))
	if err != nil {
		b.t.Fatal(err)
	}
	return ok
}

// takeOffers hands on the channels that the bastion opens from now on.
func (b *bastion) takeOffers() <-chan ssh.NewChannel {
	offers := make(chan ssh.NewChannel, 100)
	b.offers.Store(&offers)
	return offers
}

func dialTCP(t *testing.T, host string, port uint16) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// mustReset reads until the end of c, which must be a reset.
func mustReset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
}

// mustBeReset connects and must be reset, which may happen before the connection is seen.
func mustBeReset(t *testing.T, port uint16) {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		_, err = io.Copy(io.Discard, c)
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ended with %v, want a reset", err)
	}
}

// accept takes a channel.
func accept(t *testing.T, nc ssh.NewChannel) ssh.Channel {
	t.Helper()
	ch, reqs, err := nc.Accept()
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(reqs)
	return ch
}

func TestForwardedTCPIPKeepsHalfClose(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	opened := b.audit.event("listen.opened")
	at := fmt.Sprintf("127.0.0.1:%d", port)
	if fmt.Sprint(opened["bound"]) != "["+at+"]" || opened["target"] != fmt.Sprintf("localhost:%d", port) || opened["rule"] != "sshd_config:1" {
		t.Errorf("audit: %v", opened)
	}
	c := dialTCP(t, "127.0.0.1", port)
	nc := <-offers
	var open struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &open); err != nil {
		t.Fatal(err)
	}
	from := c.LocalAddr().(*net.TCPAddr)
	if nc.ChannelType() != "forwarded-tcpip" || open.Host != "localhost" || open.Port != uint32(port) ||
		open.From != "127.0.0.1" || open.FPort != uint32(from.Port) {
		t.Errorf("the client is offered %s %+v", nc.ChannelType(), open)
	}
	ch := accept(t, nc)
	go func() {
		io.WriteString(c, "to be answered after the end")
		c.CloseWrite()
	}()
	up, err := io.ReadAll(ch)
	if err != nil {
		t.Fatal(err)
	}
	ch.Write(up)
	ch.CloseWrite()
	if down, err := io.ReadAll(c); err != nil || string(down) != "to be answered after the end" {
		t.Errorf("got %q, %v", down, err)
	}
	ch.Close()
	if e := b.audit.wait(t, "channel.opened"); e["type"] != "forwarded-tcpip" || e["address"] != from.String() || e["rule"] != "sshd_config:1" {
		t.Errorf("audit: %v", e)
	}
	if e := b.audit.wait(t, "channel.closed"); e["result"] != "clean" || e["up"] != 28.0 || e["down"] != 28.0 {
		t.Errorf("audit: %v", e)
	}
}

func TestForwardedTCPIPTellsAnAbortFromAnEnd(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok || err != nil {
		t.Fatalf("%s: %v, %v", relay.EndOfDataRequest, ok, err)
	}
	offers := b.takeOffers()
	port := b.mustForward("localhost")

	c := dialTCP(t, "127.0.0.1", port)
	ch := accept(t, <-offers)
	io.WriteString(ch, "half of it")
	ch.CloseWrite() // without the word
	mustReset(t, c)
	ch.Close()

	c = dialTCP(t, "127.0.0.1", port)
	nc := <-offers
	raw, reqs, err := nc.Accept()
	if err != nil {
		t.Fatal(err)
	}
	stream := relay.NewChannel(raw, reqs, relay.ChannelConfig{Wire: relay.NewWire(c), EndOfData: true})
	io.WriteString(c, "half of it")
	io.ReadFull(stream, make([]byte, 10))
	c.SetLinger(0)
	c.Close() // a reset
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, relay.ErrAborted) {
		t.Errorf("a reset reaches the client as %v, want an abort", err)
	}
	stream.Abort()

	c = dialTCP(t, "127.0.0.1", port)
	if raw, reqs, err = (<-offers).Accept(); err != nil {
		t.Fatal(err)
	}
	stream = relay.NewChannel(raw, reqs, relay.ChannelConfig{Wire: relay.NewWire(c), EndOfData: true})
	io.WriteString(stream, "all of it")
	stream.CloseWrite()
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "all of it" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := stream.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an end reaches the client as %v", err)
	}
	stream.Close()
}

func TestCancelFreesThePortAndKeepsConnections(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	c := dialTCP(t, "127.0.0.1", port)
	ch := accept(t, <-offers)

	for _, wrong := range []struct {
		host string
		port uint16
	}{{"127.0.0.1", port}, {"", port}, {"localhost", port ^ 1}, {"localhost", 0}} {
		if b.cancel(wrong.host, wrong.port) {
			t.Errorf("cancelled %v, which was not asked for", wrong)
		}
	}
	if !b.cancel("localhost", port) {
		t.Fatal("cancel refused")
	}
	if b.cancel("localhost", port) {
		t.Error("cancelled twice")
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
	if e := b.audit.wait(t, "listen.closed"); e["reason"] != "cancelled by the client" {
		t.Errorf("audit: %v", e)
	}
	io.WriteString(c, "still")
	if _, err := io.ReadFull(ch, make([]byte, 5)); err != nil {
		t.Errorf("a connection that was accepted: %v", err)
	}
	ch.Close()
	if got := b.forward("localhost", uint32(port)); got != port {
		t.Errorf("the same again: %d, want %d", got, port)
	}
}

func TestListenTakesOnePortOnEveryAddressOrNone(t *testing.T) {
	b := newListening(t, "127.0.0.1", "127.0.0.2", "203.0.113.1") // the last isn't this machine's
	offers := b.takeOffers()
	port := b.mustForward("")
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		dialTCP(t, host, port).Close()
		accept(t, <-offers).Close()
	}
	b.cancel("", port)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := b.forward("", uint32(port)); got != 0 {
		t.Errorf("listening on port %d though it is another's on one of the addresses", got)
	}
	if e := b.audit.event("listen.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "address already in use") {
		t.Errorf("audit: %v", e)
	}
	first, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the first address was not given back: %v", err)
	}
	first.Close()
}

func TestListenRefused(t *testing.T) {
	b := newBastion(t, permit(t, "", ""), nil)
	if b.forward("localhost", 0) != 0 {
		t.Error("a policy that permits nothing granted a listener")
	}
	if e := b.audit.event("listen.refused"); e["target"] != "localhost:0" || e["request"] != "c1-1" || e["reason"] == "" {
		t.Errorf("audit: %v", e)
	}
	b = newListening(t, "127.0.0.1")
	for _, payload := range []string{"", "\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x01\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00junk"} {
		for _, name := range []string{"tcpip-forward", "cancel-tcpip-forward"} {
			if ok, _, err := b.client.SendRequest(name, true, []byte(payload)); ok || err != nil {
				t.Errorf("%s %q: %v, %v, want a refusal", name, payload, ok, err)
			}
		}
	}
	if b.forward(strings.Repeat("a", 256), 0) != 0 {
		t.Error("a host of 256 bytes was taken")
	}
	granted := 0
	for range 100 {
		if b.forward("localhost", 0) != 0 {
			granted++
		}
	}
	if granted != 64 {
		t.Errorf("%d remote forwardings were granted, want 64", granted)
	}
	last := b.conn().Channels()[0].Address.Port()
	if !b.cancel("localhost", last) {
		t.Fatalf("port %d can't be cancelled", last)
	}
	for deadline := time.Now().Add(10 * time.Second); b.forward("localhost", 0) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("after a cancel there is no room for another")
		}
	}
}

func TestConnectionThatTheClientRefusesIsReset(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	port := b.mustForward("localhost")
	mustBeReset(t, port)
	e := b.audit.wait(t, "channel.refused")
	if e["type"] != "forwarded-tcpip" || !strings.Contains(fmt.Sprint(e["reason"]), "not now") {
		t.Errorf("audit: %v", e)
	}
}

func TestForwardedChannelsCountForMaxChannels(t *testing.T) {
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		listens("127.0.0.1")(c)
		c.MaxChannels = 1
	})
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	c := dialTCP(t, "127.0.0.1", port)
	ch := accept(t, <-offers)
	mustBeReset(t, port)
	if e := b.audit.wait(t, "channel.refused"); e["reason"] != "MaxChannels is reached" {
		t.Errorf("audit: %v", e)
	}
	c.Close()
	ch.Close()
	b.audit.wait(t, "channel.closed")
}

func TestClientThatDoesNotAnswerGetsFewOffers(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	for range 60 {
		dialTCP(t, "127.0.0.1", port)
	}
	var unanswered []ssh.NewChannel
	for range 32 {
		unanswered = append(unanswered, <-offers)
	}
	// What is asked now is answered after everything that came before.
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok || err != nil {
		t.Fatal(ok, err)
	}
	select {
	case <-offers:
		t.Error("a 33rd channel was offered")
	default:
	}
	for _, nc := range unanswered {
		accept(t, nc).Close()
	}
	for range 60 - 32 {
		accept(t, <-offers).Close()
	}
}

func TestListenersEndWithTheirConnection(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	port := b.mustForward("localhost")
	b.client.Close()
	if e := b.audit.wait(t, "listen.closed"); e["reason"] != "SSH connection closed" {
		t.Errorf("audit: %v", e)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	l.Close()
}

func TestOneConnectionCannotCancelAnothers(t *testing.T) {
	b, other := newListening(t, "127.0.0.1"), newListening(t, "127.0.0.1")
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	if other.cancel("localhost", port) {
		t.Error("cancelled what another connection asked for")
	}
	dialTCP(t, "127.0.0.1", port).Close()
	accept(t, <-offers).Close()
}

func TestRecheckEndsListenersAndWhatCameThroughThem(t *testing.T) {
	b := newListening(t, "127.0.0.1")
	offers := b.takeOffers()
	port := b.mustForward("localhost")
	c := dialTCP(t, "127.0.0.1", port)
	ch := accept(t, <-offers)
	b.audit.wait(t, "channel.opened")
	// The word that listens knows is left; nothing may be opened where the connection came from.
	b.change(permit(t, "127.0.0.1:1", ""))
	io.WriteString(c, "still")
	if _, err := io.ReadFull(ch, make([]byte, 5)); err != nil {
		t.Errorf("after a change that permits it: %v", err)
	}
	if got := b.conn().Channels(); len(got) != 2 || got[0].Type != "tcpip-forward" || got[1].Type != "forwarded-tcpip" {
		t.Errorf("after a change that permits it, open are %v", got)
	}
	b.change(permit(t, "", ""))
	mustReset(t, c)
	ch.Close()
	if e := b.audit.wait(t, "listen.closed"); e["reason"] != "the policy changed: not in PermitOpen" {
		t.Errorf("audit: %v", e)
	}
	if e := b.audit.wait(t, "channel.closed"); e["reason"] != "the policy changed: not in PermitOpen" || e["rule"] != "sshd_config:1" {
		t.Errorf("audit: %v", e)
	}
}

// A connection comes to a listener of which the new policy is being asked already, and that isn't closed yet.
func TestNothingSlipsThroughAListenerThatIsBeingClosed(t *testing.T) {
	var (
		port    uint16
		asked   atomic.Bool // about the listener, by the new policy
		offers  <-chan ssh.NewChannel
		changed atomic.Bool
	)
	b := newBastion(t, permit(t, "*:*", ""), func(cfg *channels.Config) {
		listens("127.0.0.1")(cfg)
		decide := cfg.Decide
		cfg.Decide = func(r policy.Request) policy.Decision {
			if changed.Load() && asked.CompareAndSwap(false, true) {
				c := dialTCP(t, "127.0.0.1", port)
				ch := accept(t, <-offers)
				io.WriteString(c, "x")
				ch.Read(make([]byte, 1)) // it is open when this arrives, or was closed
			}
			return decide(r)
		}
	})
	offers = b.takeOffers()
	port = b.mustForward("localhost")
	if _, _, err := b.client.SendRequest("any", true, nil); err != nil { // when it is answered, the listener can be looked up
		t.Fatal(err)
	}
	changed.Store(true)
	b.change(permit(t, "", ""))
	if e := b.audit.wait(t, "channel.closed"); e["type"] != "forwarded-tcpip" || e["reason"] != "the policy changed: not in PermitOpen" {
		t.Errorf("audit: %v", e)
	}
}
