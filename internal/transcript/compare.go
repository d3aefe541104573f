package transcript

import (
	"regexp"
	"strings"
)

// same reports whether a side hears what it is to hear, but for what the driver chooses.
func (p *playing) same(got, want string) bool {
	if want == anyGoodbye {
		return strings.HasPrefix(got, "client: 421 ")
	}
	if p.Listening != nil {
		got, want = told.ReplaceAllString(got, "$1"), told.ReplaceAllString(want, "$1")
	}
	return anyAddress(got) == anyAddress(want)
}

// anyGoodbye is heard by a client if only the driver knows why.
const anyGoodbye = "client: 421"

var (
	announcement = regexp.MustCompile(`^client: (227 Entering Passive Mode|229 Entering Extended Passive Mode) \([0-9,|]+\)$`)

	// numbered is a refusal to the client, whose number begins as the driver says.
	numbered = regexp.MustCompile(`^(client: 550 Permission denied here, number )\S+$`)

	// withoutTLS is what to do about a server that takes no TLS, which differs between the drivers.
	withoutTLS = regexp.MustCompile(`^(client: 421 The FTP server takes no TLS \(\d+\): ).+$`)

	// told is what the server hears of where it is to connect to.
	told = regexp.MustCompile(`^(server: PORT |server: EPRT \|[12]\|)[0-9a-f,:.]+(\|\d+\|)?$`)
)

// anyAddress takes the address out of an announcement to the client, and the number or the advice out of a refusal.
func anyAddress(line string) string {
	line = announcement.ReplaceAllString(line, "client: $1")
	return withoutTLS.ReplaceAllString(numbered.ReplaceAllString(line, "$1"), "$1")
}
