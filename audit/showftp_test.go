package audit

import (
	"net/netip"
	"testing"
)

func TestShowTellsOfActiveMode(t *testing.T) {
	at, server := netip.MustParseAddrPort("10.1.60.1:40001"), netip.MustParseAddr("10.1.60.4")
	for _, tt := range []struct {
		event Event
		want  string
	}{
		{FTPListening{Control: "12-1", Address: at, Server: server}, "12-1 waits at 10.1.60.1:40001 for the data connection of 10.1.60.4"},
		{
			FTPListening{Control: "12-1", Address: at, Server: server, Waiting: netip.MustParseAddrPort("127.0.0.1:51210")},
			"12-1 waits at 10.1.60.1:40001 for the data connection of 10.1.60.4, for a client at 127.0.0.1:51210",
		},
		{
			FTPConnected{Control: "12-1", Address: at, From: netip.AddrPortFrom(server, 20)},
			"12-1 has a data connection from 10.1.60.4:20, at 10.1.60.1:40001",
		},
	} {
		if _, got := describe(tt.event); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
