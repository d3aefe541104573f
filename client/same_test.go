package client

import (
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

func TestConfigsThatSayTheSameAreTheSame(t *testing.T) {
	ca := peers.TestCA(t, "corp").Path
	lines := []string{
		"Port 2222", "IdentityFile ~/.ssh/id", "LocalForward ftp/2121:ftp.corp:21", "RemoteForward 2122:localhost:21", "FTPUpstreamTLSCAFile " + ca,
		"IdleTimeout 1m", "FTPActive no", "ProxyJump a,b",
	}
	config := func(without int) *Config {
		cfg := NewConfig("/home/alice", "alice")
		for i, line := range lines {
			if i == without {
				continue
			}
			if err := cfg.SetOption(line); err != nil {
				t.Fatal(err)
			}
		}
		cfg.Notice = func(string) {}
		return cfg
	}
	all := config(-1)
	if !all.Same(config(-1)) {
		t.Error("two that were read from the same lines differ")
	}
	other := config(-1)
	if other.StripesBudget = nil; !all.Same(other) {
		t.Error("what is shared with others makes a difference")
	}
	for i, line := range lines {
		if all.Same(config(i)) || config(i).Same(all) {
			t.Errorf("the lack of %q makes no difference", line)
		}
	}
}
