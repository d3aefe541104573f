package ftp

import (
	"errors"
	"net/netip"
	"testing"
)

func TestEndpointOfAnnouncement(t *testing.T) {
	peer4, peer6 := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("2001:db8::5")
	for _, tt := range []struct {
		reply string
		peer  netip.Addr
		port  uint16 // 0 if it is refused
		named string // "" if none
		odd   bool   // a mismatch
		err   error
	}{
		{reply: "227 Entering Passive Mode (10,0,0,5,4,1)", port: 1025, named: "10.0.0.5"},
		{reply: "227 Entering Passive Mode (10,0,0,5,4,1).", port: 1025, named: "10.0.0.5"},
		{reply: "227 Entering passive mode. 10,0,0,5,4,1", port: 1025, named: "10.0.0.5"},
		{reply: "227 =10,0,0,5,4,1", port: 1025, named: "10.0.0.5"},
		{reply: "227 (10, 0, 0,  5, 4, 1)", port: 1025, named: "10.0.0.5"},
		{reply: "227 (010,000,000,005,004,001)", port: 1025, named: "10.0.0.5"},
		{reply: "227 10,0,0,5,255,255", port: 65535, named: "10.0.0.5"},
		{reply: "227 PASV 127.0.0.1 4 of 5, (10,0,0,5,4,1) 12,13", port: 1025, named: "10.0.0.5"},
		{reply: "227 (10,0,0,5,4,1) (10,0,0,5,4,1)", port: 1025, named: "10.0.0.5"},
		{reply: "227-(10,0,0,5,4,1)", port: 1025, named: "10.0.0.5"},
		{reply: "227 (192,168,1,9,4,1)", port: 1025, named: "192.168.1.9", odd: true},
		{reply: "227 (0,0,0,0,4,1)", port: 1025, named: "0.0.0.0", odd: true},
		{reply: "227 (10,0,0,5,4,1)", peer: peer6, port: 1025, named: "10.0.0.5", odd: true},

		{reply: "227 ", err: errNoSextuple},
		{reply: "227 Entering Passive Mode", err: errNoSextuple},
		{reply: "227 (10,0,0,5,260,1)", err: errByte},
		{reply: "227 (10,0,0,5,4,999)", err: errByte},
		{reply: "227 (266,0,0,5,4,1)", err: errByte},
		{reply: "227 (10,0,0,5,4,1,9)", err: errAmbiguous},
		{reply: "227 (10,0,0,5,4,1,)", err: errAmbiguous},
		{reply: "227 (10,0,0,5,4,1) (10,0,0,5,4,2)", err: errAmbiguous},
		{reply: "227 (10,0,0,5,4,1) 1,2,3,4,5,6,7", err: errAmbiguous},
		{reply: "227 (10,0,0,5,4)", err: errNoSextuple},
		{reply: "227 (10,0,0,5,4,0001)", err: errNoSextuple},
		{reply: "227 (0010,0,0,5,4,1)", err: errNoSextuple},
		{reply: "227 (10,,0,0,5,4,1)", err: errNoSextuple},
		{reply: "227 (10 ,0,0,5,4,1)", err: errNoSextuple},
		{reply: "227 (-1,0x0,0,5,4,1)", err: errNoSextuple},
		{reply: "227 (10,0,0,5,0,22)", err: errLowPort},
		{reply: "227 (10,0,0,5,0,0)", err: errLowPort},
		{reply: "227 (10,0,0,5,3,255)", err: errLowPort},
		{reply: "227 ftp.example.org,4,1", err: errNoSextuple},

		{reply: "229 Entering Extended Passive Mode (|||6446|)", port: 6446},
		{reply: "229 (|||6446|) or so", port: 6446},
		{reply: "229 (!!!06446!)", port: 6446},
		{reply: "229 (|1||6446|)", port: 6446},
		{reply: "229 (|1|10.0.0.5|6446|)", port: 6446, named: "10.0.0.5"},
		{reply: "229 (||10.0.0.5|6446|)", port: 6446, named: "10.0.0.5"},
		{reply: "229 (|2|2001:db8:0::5|6446|)", peer: peer6, port: 6446, named: "2001:db8::5"},
		{reply: "229 (|||6446|) (see RFC 2428)", port: 6446},

		{reply: "229 Entering Extended Passive Mode", err: errNoPort},
		{reply: "229 |||6446|", err: errNoPort},
		{reply: "229 (", err: errNoPort},
		{reply: "229 (|||6446)", err: errNoPort},
		{reply: "229 (|||6446|", err: errNoPort},
		{reply: "229 (|||6446||)", err: errNoPort},
		{reply: "229 (||6446|)", err: errNoPort},
		{reply: "229 (|||-1|)", err: errNoPort},
		{reply: "229 (||||)", err: errNoPort},
		{reply: "229 (|||0|)", err: errNoPort},
		{reply: "229 (|||65536|)", err: errNoPort},
		{reply: "229 (|||006446|)", err: errNoPort},
		{reply: "229 (555644655)", err: errNoPort},
		{reply: "229 (   6446 )", err: errNoPort},
		{reply: "229 (|||22|)", err: errLowPort},
		{reply: "229 (|||6446|) (|||6447|)", err: errAmbiguous},
		{reply: "229 (|1|10.0.0.6|6446|)", err: errOtherAddr},
		{reply: "229 (|2||6446|)", err: errOtherAddr},
		{reply: "229 (|3||6446|)", err: errOtherAddr},
		{reply: "229 (|2|2001:db8::5|6446|)", err: errOtherAddr},
		{reply: "229 (||ftp.example.org|6446|)", err: errOtherAddr},
		{reply: "229 (|2|2001:db8::5%eth0|6446|)", peer: peer6, err: errOtherAddr},
		{reply: "229 (|1|10.0.0.5|6446|)", peer: netip.IPv4Unspecified(), err: errOtherAddr},
	} {
		o := Options{Peer: peer4}
		if tt.peer.IsValid() {
			o.Peer = tt.peer
		}
		code := 227
		if tt.reply[:3] == "229" {
			code = 229
		}
		e, odd, err := o.endpoint(EPSV, code, tt.reply)
		if !errors.Is(err, tt.err) {
			t.Errorf("%q: error %v, want %v", tt.reply, err, tt.err)
			continue
		}
		if err != nil {
			if e != (Endpoint{}) {
				t.Errorf("%q: an error, and the endpoint %+v", tt.reply, e)
			}
			continue
		}
		var named netip.Addr
		if tt.named != "" {
			named = netip.MustParseAddr(tt.named)
		}
		want := Endpoint{Mode: EPSV, Addr: o.Peer, Port: tt.port, Announced: named, Reply: tt.reply}
		if e != want || odd != tt.odd {
			t.Errorf("%q: got %+v, mismatch %v; want %+v, mismatch %v", tt.reply, e, odd, want, tt.odd)
		}
	}
}

func TestForeignAddressOnlyIfAllowed(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.5")
	var asked []netip.Addr
	o := Options{Peer: peer, ForeignAddress: func(a netip.Addr) bool {
		asked = append(asked, a)
		return a == netip.MustParseAddr("10.0.0.6")
	}}
	for _, tt := range []struct {
		reply, addr string
		mismatch    bool
	}{
		{"227 (10,0,0,6,4,1)", "10.0.0.6", false},
		{"227 (10,0,0,7,4,1)", "10.0.0.5", true},
		{"227 (10,0,0,5,4,1)", "10.0.0.5", false},
		{"227 (0,0,0,0,4,1)", "10.0.0.5", true},
	} {
		e, mismatch, err := o.endpoint(PASV, 227, tt.reply)
		if err != nil || e.Addr != netip.MustParseAddr(tt.addr) || mismatch != tt.mismatch {
			t.Errorf("%q: got %v, mismatch %v, error %v; want %v, mismatch %v", tt.reply, e.Addr, mismatch, err, tt.addr, tt.mismatch)
		}
	}
	if len(asked) != 2 {
		t.Errorf("ForeignAddress was asked about %v, want only the two that differ and mean something", asked)
	}
}

func TestAnnouncementHasOneForm(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		at   string
		want string
	}{
		{PASV, "127.0.0.1:40001", "227 Entering Passive Mode (127,0,0,1,156,65)"},
		{PASV, "[::ffff:127.0.0.1]:1024", "227 Entering Passive Mode (127,0,0,1,4,0)"},
		{PASV, "[::1]:40001", ""},
		{PASV, "127.0.0.1:0", ""},
		{EPSV, "127.0.0.1:40001", "229 Entering Extended Passive Mode (|||40001|)"},
		{EPSV, "[::1]:40001", "229 Entering Extended Passive Mode (|||40001|)"},
		{EPSV, "[::1]:0", ""},
	} {
		if got := announcement(tt.mode, netip.MustParseAddrPort(tt.at)); got != tt.want {
			t.Errorf("announcement(%v, %s) = %q, want %q", tt.mode, tt.at, got, tt.want)
		}
	}
	if got := announcement(EPSV, netip.AddrPort{}); got != "" {
		t.Errorf("an address that is none was announced as %q", got)
	}
}
