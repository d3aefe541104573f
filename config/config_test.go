package config

import (
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/policy"
)

func mustParse(t *testing.T, text string, overrides ...string) *Config {
	t.Helper()
	c, _, err := parse("sshd_config", text, overrides)
	if err != nil {
		t.Fatalf("parse %q: %v", text, err)
	}
	return c
}

func TestFirstMatchingBlockWinsThenGlobalThenDefault(t *testing.T) {
	c := mustParse(t, `
HostKey /key
MaxSessions 5
Match User alice
	MaxSessions 6
	MaxChannels 7
Match all
	MaxSessions 8
	MaxChannels 9
`)
	for _, test := range []struct {
		user               string
		sessions, channels int
	}{{"alice", 6, 7}, {"bob", 8, 9}} {
		s := c.For(policy.Subject{User: test.user})
		if s.MaxSessions != test.sessions || s.MaxChannels != test.channels {
			t.Errorf("%s: got MaxSessions %d, MaxChannels %d, want %d, %d",
				test.user, s.MaxSessions, s.MaxChannels, test.sessions, test.channels)
		}
	}
	if g := c.Global(); g.MaxSessions != 5 || g.MaxChannels != 64 {
		t.Errorf("global: got MaxSessions %d, MaxChannels %d, want 5, 64", g.MaxSessions, g.MaxChannels)
	}
}

func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	_, _, err := parse("sshd_config", "HostKey /key\nPermitOpen a:70000\n\nMaxAuthTries x\n", []string{"Nonsense=1"})
	want := strings.Join([]string{
		`-o:1: Nonsense: unknown keyword`,
		`sshd_config:2: PermitOpen: port "70000" is out of range`,
		`sshd_config:4: MaxAuthTries: "x" is not a number`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}
