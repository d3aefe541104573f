package main

import (
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/client"
)

func TestDialogueIsForPeople(t *testing.T) {
	lines := []client.DialogueLine{
		{Speaker: client.SaidByServer, Text: "220 hello"},
		{Speaker: client.SaidByClient, ToServer: true, Text: "EPSV 1"},
		{Speaker: client.SaidByCulvert, ToServer: true, Text: "EPSV", Instead: true},
		{Speaker: client.SaidByCulvert, ToServer: true, Text: "NOOP"},
		{Speaker: client.SaidByServer, Text: "550 no"},
		{Speaker: client.SaidByCulvert, Text: "502 no"},
		{Speaker: client.SaidByCulvert, Text: " AUTH TLS", Dropped: true},
	}
	for _, tt := range []struct {
		color bool
		want  string
	}{
		{false, `
14:03:07.512 3 server  < 220 hello
14:03:07.512 3 client  > EPSV 1
14:03:07.512 3 culvert > EPSV  [instead]
14:03:07.512 3 culvert > NOOP  [added]
14:03:07.512 3 server  < 550 no
14:03:07.512 3 culvert < 502 no  [answered here]
14:03:07.512 3 culvert <  AUTH TLS  [left out]
`},
		{true, `
14:03:07.512 3 ^[32mserver  < 220 hello^[0m
14:03:07.512 3 ^[36mclient  > EPSV 1^[0m
14:03:07.512 3 ^[1;33mculvert > EPSV  [instead]^[0m
14:03:07.512 3 ^[1;33mculvert > NOOP  [added]^[0m
14:03:07.512 3 ^[31mserver  < 550 no^[0m
14:03:07.512 3 ^[1;33mculvert < 502 no  [answered here]^[0m
14:03:07.512 3 ^[1;33mculvert <  AUTH TLS  [left out]^[0m
`},
	} {
		var got strings.Builder
		got.WriteString("\n")
		d := &dialogue{out: &printer{w: &got}, color: tt.color, now: func() time.Time {
			return time.Date(2026, 11, 25, 14, 3, 7, 512e6, time.Local)
		}}
		for _, l := range lines {
			d.line(3, l)
		}
		if said := strings.ReplaceAll(got.String(), "\x1b", "^"); said != tt.want {
			t.Errorf("got%swant%s", said, tt.want)
		}
	}
}
