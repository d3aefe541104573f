package channels_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/relay"
)

func TestDirectTCPIPKeepsHalfClose(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, to.String(), ""), nil)
	ch := b.mustOpen("127.0.0.1", to.Port())
	go func() {
		io.WriteString(ch, "to be answered after the end")
		ch.CloseWrite()
	}()
	got, err := io.ReadAll(ch)
	if err != nil || string(got) != "to be answered after the end" {
		t.Errorf("got %q, %v", got, err)
	}
	ch.Close()
	e := b.audit.wait(t, "channel.closed")
	if e["result"] != "clean" || e["up"] != 28.0 || e["down"] != 28.0 {
		t.Errorf("audit: %v", e)
	}
	if e := b.audit.event("channel.opened"); e["rule"] != "sshd_config:1" || e["address"] != to.String() {
		t.Errorf("audit: %v", e)
	}
}

func TestDirectTCPIPRefusedByRule(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "127.0.0.1:1 *.corp:*", to.String()), func(c *channels.Config) {
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{to.Addr()}, nil }
	})
	if e := b.mustRefuse("127.0.0.1", to.Port(), ssh.Prohibited); e["rule"] != "sshd_config:2" {
		t.Errorf("DenyOpen: audit has %v", e)
	}
	if e := b.mustRefuse("127.0.0.1", 2, ssh.Prohibited); e["rule"] != "sshd_config:1" {
		t.Errorf("not in PermitOpen: audit has %v", e)
	}
	// The name is permitted; the address that it turns out to have isn't.
	if e := b.mustRefuse("a.corp", to.Port(), ssh.Prohibited); e["rule"] != "sshd_config:2" {
		t.Errorf("DenyOpen on the resolved address: audit has %v", e)
	}
}

func TestNameThatNoLinePermitsIsNotLookedUp(t *testing.T) {
	b := newBastion(t, permit(t, "*.corp:*", "secret.corp:*"), func(c *channels.Config) {
		c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			t.Errorf("%s was looked up", host)
			return nil, errors.New("no")
		}
	})
	b.mustRefuse("attacker.example", 80, ssh.Prohibited)
	b.mustRefuse("secret.corp", 80, ssh.Prohibited)
}

func TestDirectTCPIPDialsTheAddressThatWasDecidedOn(t *testing.T) {
	to := echo(t, "127.0.0.2:0")
	lookups := 0
	b := newBastion(t, permit(t, "db.corp:*", "127.0.0.1:*"), func(c *channels.Config) {
		c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			if lookups++; lookups > 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil // rebinding
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.2")}, nil
		}
	})
	ch := b.mustOpen("db.corp", to.Port())
	ch.Close()
	if e := b.audit.event("channel.opened"); e["address"] != to.String() || lookups != 1 {
		t.Errorf("opened %v after %d lookups, want %v after one", e["address"], lookups, to)
	}
}

func TestDirectTCPIPRefusesWhatIsNoDestination(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	for _, host := range []string{"", "a b", "a\nb", "a\x00", strings.Repeat("a", 256), "é", "fe80::1%lo"} {
		if _, err := b.open(host, 80); err == nil {
			t.Errorf("host %q: opened", host)
		}
	}
	for _, port := range []uint32{0, 65536, 1 << 31, 65536 + uint32(to.Port())} {
		_, _, err := b.client.OpenChannel("direct-tcpip", ssh.Marshal(struct {
			Host  string
			Port  uint32
			From  string
			FPort uint32
		}{"127.0.0.1", port, "", 0}))
		if err == nil {
			t.Errorf("port %d: opened", port)
		}
	}
	for _, extra := range []string{"", "\x00\x00\x00\x01", "\xff\xff\xff\xff"} {
		if _, _, err := b.client.OpenChannel("direct-tcpip", []byte(extra)); err == nil {
			t.Errorf("extra data %q: opened", extra)
		}
	}
}

func TestDeadDestinationHoldsUpNobody(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	asked := make(chan struct{})
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		c.Resolve = func(ctx context.Context, _ string) ([]netip.Addr, error) {
			close(asked)
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	dead := make(chan error, 1)
	go func() {
		_, err := b.open("dead.corp", 1)
		dead <- err
	}()
	<-asked
	b.mustOpen("127.0.0.1", to.Port()).Close()
	select {
	case err := <-dead:
		t.Fatalf("the dead destination answered: %v", err)
	default:
	}
	b.client.Close()
	<-dead
}

func TestFailedDialSaysConnectFailedAndNoMore(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("secret detail") }
	})
	_, err := b.open("no.corp", to.Port())
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "connect failed") {
		t.Errorf("got %v, want a fixed text", err)
	}
	if e := b.audit.event("channel.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "secret detail") {
		t.Errorf("audit: %v, want the cause in it", e)
	}
}

func TestMaxChannelsBoundsWhatIsOpen(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) { c.MaxChannels = 2 })
	first := b.mustOpen("127.0.0.1", to.Port())
	b.mustOpen("127.0.0.1", to.Port())
	b.mustRefuse("127.0.0.1", to.Port(), ssh.ResourceShortage)
	first.CloseWrite()
	io.ReadAll(first)
	first.Close()
	b.audit.wait(t, "channel.closed")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := b.open("127.0.0.1", to.Port()); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("after one was closed: %v", err)
		}
	}
}

func TestNothingHappensOffTheRecord(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	b.audit.fill(errors.New("disk full"))
	if _, err := b.open("127.0.0.1", to.Port()); err == nil {
		t.Error("a channel was opened that is not on record")
	}
	if err := b.client.Wait(); err == nil {
		t.Error("the connection went on")
	}
}

func TestNameThatIsNotOnRecordIsNotLookedUp(t *testing.T) {
	var b *bastion
	lookedUp := false
	b = newBastion(t, permit(t, "*.corp:*", ""), func(c *channels.Config) {
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			lookedUp = true
			if b.audit.event("channel.asked") == nil {
				t.Error("a name was looked up that is not on record")
			}
			return nil, errors.New("no such name")
		}
	})
	b.mustRefuse("a.corp", 80, ssh.ConnectionFailed)
	if !lookedUp {
		t.Error("the name was not looked up")
	}
	lookedUp = false
	b.audit.fill(errors.New("disk full"))
	if _, err := b.open("b.corp", 80); err == nil {
		t.Error("a channel was opened that is not on record")
	}
	if lookedUp {
		t.Error("with a full disk, a name was looked up")
	}
}

func TestNothingIsDialledOffTheRecord(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBastion(t, permit(t, "*:*", ""), nil)
	b.audit.fill(errors.New("disk full"))
	if _, err := b.open("127.0.0.1", uint16(ln.Addr().(*net.TCPAddr).Port)); err == nil {
		t.Error("a channel was opened that is not on record")
	}
	ln.(*net.TCPListener).SetDeadline(time.Now()) // what was dialled before the refusal is there
	if c, err := ln.Accept(); err == nil {
		c.Close()
		t.Error("it was dialled")
	}
	ln.Close()
}

func TestAskedAndDecidedAreOneWrite(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	b.mustOpen("127.0.0.1", to.Port())
	b.audit.mu.Lock()
	defer b.audit.mu.Unlock()
	asked, decided := strings.Index(b.audit.text.String(), "channel.asked"), strings.Index(b.audit.text.String(), "channel.decided")
	if b.audit.writes != 2 || asked < 0 || decided < asked {
		t.Errorf("an open channel took %d writes, want 2: it was asked for and decided on, and it is open; on record is\n%s", b.audit.writes, &b.audit.text)
	}
}

func TestUnknownChannelsAndRequestsAreRefused(t *testing.T) {
	b := newBastion(t, permit(t, "*:*", ""), nil)
	for _, kind := range []string{"x11", "forwarded-tcpip", "tun@openssh.com", "\x00"} {
		_, _, err := b.client.OpenChannel(kind, nil)
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) || refused.Reason != ssh.UnknownChannelType {
			t.Errorf("channel %q: %v", kind, err)
		}
	}
	for _, name := range []string{"streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com", "nonsense"} {
		if ok, _, err := b.client.SendRequest(name, true, nil); ok || err != nil {
			t.Errorf("request %q: %v, %v, want a refusal", name, ok, err)
		}
	}
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok || err != nil {
		t.Errorf("request %q: %v, %v, want success", relay.EndOfDataRequest, ok, err)
	}
}

func TestLongTypeOfAChannelDoesNotFillTheLog(t *testing.T) {
	b := newBastion(t, permit(t, "*:*", ""), nil)
	if _, _, err := b.client.OpenChannel(strings.Repeat("\x01", 100_000), nil); err == nil {
		t.Error("it is opened")
	}
	if got, _ := b.audit.event("channel.refused")["type"].(string); got == "" || len(got) > 255 { // as much as of a host
		t.Errorf("on record: a type of %d bytes, want 1 to %d", len(got), 255)
	}
}

func TestUnixSocketsAreRefusedOnTheRecord(t *testing.T) {
	b := newBastion(t, permit(t, "*:*", ""), nil)
	_, _, err := b.client.OpenChannel("direct-streamlocal@openssh.com", ssh.Marshal(struct {
		Path string
		R1   string
		R2   uint32
	}{"/run/secret.sock", "", 0}))
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
		t.Errorf("direct-streamlocal: %v, want it prohibited", err)
	}
	if e := b.audit.event("channel.refused"); e["target"] != "/run/secret.sock" || e["reason"] == "" {
		t.Errorf("audit: %v", e)
	}
	path := ssh.Marshal(struct{ Path string }{"/run/mine.sock"})
	if ok, _, err := b.client.SendRequest("streamlocal-forward@openssh.com", true, path); ok || err != nil {
		t.Errorf("streamlocal-forward: %v, %v", ok, err)
	}
	if e := b.audit.event("listen.refused"); e["target"] != "/run/mine.sock" || e["reason"] == "" {
		t.Errorf("audit: %v", e)
	}
}
