package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/client"
)

func TestOptionsOfTheSSHConnectionGoToTheSSH(t *testing.T) {
	for _, test := range []struct {
		line string
		want string // the ssh's words; or an error, in brackets
	}{
		{"--via ssh -L 1:h:2 b", "ssh -- b"},
		{"-p 22 -i key -L 1:h:2 --via ssh -J a,c -l me b -C", "ssh -p 22 -i key -J a,c -l me -C -- b"},
		{"--via /opt/ssh -L 1:h:2 -o ProxyUseFdpass=yes -o FTPActive=no -o LocalForward=3:h:4 b", "/opt/ssh -o ProxyUseFdpass=yes -- b"},
		{"-vN4 -K --via=ssh -L 1:h:2 me@b", "ssh -v -4 -K -- me@b"},
		{"-K -L 1:h:2 b", "[Kerberos]"},
		{"-C -L 1:h:2 b", "[--via ssh]"},
		{"--via ssh -S /x -L 1:h:2 b", "[-S]"},
		{"--via ssh --via ssh -L 1:h:2 b", "[one ssh]"},
		{"--via -x -L 1:h:2 b", "[not the name of an ssh]"},
	} {
		cfg := client.NewConfig("", "me")
		err := parse(strings.Fields(test.line), cfg)
		if inside, ok := strings.CutPrefix(test.want, "["); ok {
			if inside = strings.TrimSuffix(inside, "]"); err == nil || !strings.Contains(err.Error(), inside) {
				t.Errorf("%q: got %v, want an error with %q", test.line, err, inside)
			}
			continue
		}
		if err != nil || !slices.Equal(cfg.Via, strings.Fields(test.want)) {
			t.Errorf("%q: got %q, %v, want %q", test.line, cfg.Via, err, test.want)
		}
		if len(cfg.Forwards) == 0 {
			t.Errorf("%q: the forwards are gone", test.line)
		}
	}
}
