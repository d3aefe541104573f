//go:build linux

package client

import (
	"io"
	"net/netip"
	"strings"
	"testing"
)

func TestNobodyUsesARedirectListenerDirectly(t *testing.T) {
	_, cfg := bastion(t)
	f, err := ParseForward("ftp-redirect/0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Forwards = []Forward{f}
	said, err := io.ReadAll(dial(t, start(t, cfg).ready()))
	if err != nil || !strings.HasPrefix(string(said), "421 culvert: the connection was not redirected") {
		t.Errorf("got %q, %v; want a 421 that says why", said, err)
	}
}

// A bastion on this machine whose connections are redirected as well comes back to us with each.
func TestLoopOfRedirectionsEnds(t *testing.T) {
	var u unanswered
	at, other := netip.MustParseAddrPort("192.0.2.1:21"), netip.MustParseAddrPort("192.0.2.2:21")
	var answered []func()
	for range maxUnanswered {
		a, err := u.await(at)
		if err != nil {
			t.Fatal(err)
		}
		answered = append(answered, a)
	}
	if _, err := u.await(at); err == nil {
		t.Error("one more is taken")
	}
	if a, err := u.await(other); err != nil {
		t.Errorf("to another server: %v, want no error", err)
	} else {
		a()
	}
	answered[0]()
	answered[0]() // counts once
	if _, err := u.await(at); err != nil {
		t.Errorf("after one was answered: %v, want no error", err)
	}
	if _, err := u.await(at); err == nil {
		t.Error("two more are taken")
	}
	for _, a := range answered[1:] {
		a()
	}
	if len(u.to) != 1 || u.to[at] != 1 {
		t.Errorf("left are %v, want the one to %v", u.to, at)
	}
}
