//go:build !race

package server

import (
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// What a channel's opening and a login allocate, on both ends, as everything runs in this process. It isn't parallel: what others allocate would count.
func TestOpensAndLoginsAllocateLittle(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.Log = slog.New(slog.DiscardHandler)
	rules := &policy.Policy{Global: policy.Rules{
		AllowTCPForwarding: &policy.Line[policy.Forwarding]{Value: policy.ForwardLocal},
		PermitOpen:         &policy.Line[[]policy.OpenPattern]{Source: "sshd_config:1", Value: []policy.OpenPattern{policy.AnyOpen()}},
	}}
	b.cfg.Decide = rules.Decide
	b.start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	client := b.mustDial("alice", ssh.PublicKeys(key))
	for _, test := range []struct {
		what string
		most uint64
		once func() error
	}{
		{"open", 430, func() error {
			c, err := client.Dial("tcp", l.Addr().String())
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, c); err != nil {
				return err
			}
			return c.Close()
		}},
		{"login", 1300, func() error {
			c, err := b.dial("alice", ssh.PublicKeys(key))
			if err != nil {
				return err
			}
			defer b.events.wait("connection.closed", "client", c.LocalAddr().String())
			return c.Close()
		}},
	} {
		const times = 100
		var before, after runtime.MemStats
		for i := range times + 10 {
			if i == 10 { // until then there is what is made once
				runtime.ReadMemStats(&before)
			}
			if err := test.once(); err != nil {
				t.Fatalf("%s: %v", test.what, err)
			}
		}
		runtime.ReadMemStats(&after)
		objects, bytes := (after.Mallocs-before.Mallocs)/times, (after.TotalAlloc-before.TotalAlloc)/times
		if objects > test.most {
			t.Errorf("%s: %d objects are allocated, want %d at most", test.what, objects, test.most)
		}
		t.Logf("%s: %d objects, %d KiB", test.what, objects, bytes>>10)
	}
}
