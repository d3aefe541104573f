package ftp

import (
	"net/netip"
	"strings"
	"testing"
)

// loggedIn returns a session past login.
func loggedIn(o Options) *Session {
	s := NewSession(o)
	logIn(s)
	return s
}

func TestActiveModeSyntax(t *testing.T) {
	const (
		syntax = "501 Syntax error"
		other  = "501 The address is not"
		low    = "504"
		right  = "502 Active mode"
		use1   = "522 Network protocol not supported, use (1)"
		use2   = "522 Network protocol not supported, use (2)"
	)
	for _, tt := range []struct{ client, command, want string }{
		{"10.0.0.2", "PORT 10,0,0,2,200,10", right},
		{"10.0.0.2", "PORT 010,0,0,2,4,0", right},
		{"10.0.0.2", "PORT 10,0,0,2,3,255", low},
		{"10.0.0.2", "PORT 10,0,0,2,0,0", low},
		{"10.0.0.2", "PORT 10,0,0,3,200,10", other},
		{"10.0.0.2", "PORT 10,0,0,2,256,10", syntax},
		{"10.0.0.2", "PORT 10,0,0,2,200,10,1", syntax},
		{"10.0.0.2", "PORT 10,0,0,2,200", syntax},
		{"10.0.0.2", "PORT 10,0,0,2,200,", syntax},
		{"10.0.0.2", "PORT  10,0,0,2,200,10", syntax},
		{"10.0.0.2", "PORT 10, 0,0,2,200,10", syntax},
		{"10.0.0.2", "PORT 10,0,0,2,200,0010", syntax},
		{"10.0.0.2", "PORT +10,0,0,2,200,10", syntax},
		{"10.0.0.2", "PORT", syntax},
		{"fe80::1%eth0", "PORT 10,0,0,2,200,10", other},
		{"10.0.0.2", "EPRT |1|10.0.0.2|51210|", right},
		{"10.0.0.2", "EPRT !1!10.0.0.2!51210!", right},
		{"10.0.0.2", "EPRT |1|10.0.0.2|1023|", low},
		{"10.0.0.2", "EPRT |1|10.0.0.3|51210|", other},
		{"10.0.0.2", "EPRT |1|10.0.0.2|65536|", syntax},
		{"10.0.0.2", "EPRT |1|10.0.0.2|512100|", syntax},
		{"10.0.0.2", "EPRT |1|10.0.0.2||", syntax},
		{"10.0.0.2", "EPRT |1|10.0.0.2|51210", syntax},
		{"10.0.0.2", "EPRT |1|10.0.0.2|51210||", syntax},
		{"10.0.0.2", "EPRT |1|10.0.0.2|51210|x", syntax},
		{"10.0.0.2", "EPRT  |1|10.0.0.2|51210|", syntax},
		{"10.0.0.2", "EPRT ||10.0.0.2|51210|", syntax},
		{"10.0.0.2", "EPRT |1|010.0.0.2|51210|", syntax},
		{"10.0.0.2", "EPRT |1|fe80::1|51210|", syntax},
		{"10.0.0.2", "EPRT 11110.0.0.21512101", syntax},
		{"10.0.0.2", "EPRT |2|fe80::1|51210|", use1},
		{"10.0.0.2", "EPRT |3|what|51210|", use1},
		{"10.0.0.2", "EPRT", syntax},
		{"fe80::1%eth0", "EPRT |2|fe80::1|51210|", right},
		{"fe80::1%eth0", "EPRT |2|fe80::1%eth0|51210|", syntax},
		{"fe80::1%eth0", "EPRT |2|::ffff:10.0.0.2|51210|", other},
		{"fe80::1%eth0", "EPRT |1|10.0.0.2|51210|", use2},
	} {
		client := netip.MustParseAddr(tt.client)
		s := loggedIn(Options{Hop: client, Client: client})
		got := written(merge(s.FromClient([]byte(tt.command + "\r\n"))))
		reply, ok := strings.CutPrefix(got[len(got)-1], "client: ")
		if !ok || !strings.HasPrefix(reply, tt.want) {
			t.Errorf("client %s, %q: got %q, want %q", tt.client, tt.command, got, tt.want)
		}
	}
}

// Each verb that some server has is here, with the most that a client may do and still have it pass.
func TestAccessByVerb(t *testing.T) {
	const everyone, readers, writers = ListOnly, ReadOnly, ReadWrite
	for _, tt := range []struct {
		most  Access
		verbs string
	}{
		{everyone, "USER PASS ACCT REIN QUIT CWD XCWD CDUP XCUP PWD XPWD TYPE STRU REST STAT SIZE MDTM MLST SYST HELP FEAT OPTS LANG CLNT NOOP ABOR"},
		{readers, "MD5 XCRC XMD5 XSHA1 XSHA256 HASH"},
		{writers, "ALLO SMNT SITE DELE RMD XRMD MKD XMKD RNFR RNTO MFMT MFCT MFF COMB XRCP THMB PRET XYZZY"},
	} {
		for verb := range strings.FieldsSeq(tt.verbs) {
			for _, access := range []Access{ReadWrite, ReadOnly, ListOnly, ListOnly + 1} {
				s := loggedIn(Options{Access: access})
				got := written(s.FromClient([]byte(strings.ToLower(verb) + " x\r\n")))
				passes := len(got) == 1 && got[0] == "server: "+verb+" x"
				refused := strings.HasPrefix(got[len(got)-1], "client: 550 Permission denied here, number ")
				want := access <= tt.most
				if passes != want || refused == want {
					t.Errorf("%s with access %d: got %q, want it to pass: %v", verb, access, got, want)
				}
			}
		}
	}
}

func TestTransfersByAccess(t *testing.T) {
	for _, tt := range []struct {
		most  Access
		verbs string
	}{
		{ListOnly, "LIST NLST MLSD"},
		{ReadOnly, "RETR"},
		{ReadWrite, "STOR STOU APPE"},
	} {
		for verb := range strings.FieldsSeq(tt.verbs) {
			for _, access := range []Access{ReadWrite, ReadOnly, ListOnly} {
				s := loggedIn(Options{Access: access, Hop: netip.MustParseAddr("127.0.0.1")})
				s.FromClient([]byte("PASV\r\n"))
				s.FromServer([]byte("227 (10,0,0,5,4,1)\r\n"))
				s.Announced(netip.MustParseAddrPort("127.0.0.1:40001"))
				got := written(s.FromClient([]byte(verb + "\r\n")))
				passes := len(got) == 1 && got[0] == "server: "+verb
				if want := access <= tt.most; passes != want {
					t.Errorf("%s with access %d: got %q, want it to pass: %v", verb, access, got, want)
				}
			}
		}
	}
}

func TestMDTMThatSetsTheTime(t *testing.T) {
	for arg, sets := range map[string]bool{
		"20260102030405 f": true, "20260102030405+60 a b": true, " 20260102030405 f": true,
		"f": false, "20260102030405": false, "2026 report": false, "report 20260102030405": false,
	} {
		if got := setsTime(parseCommand([]byte("MDTM " + arg))); got != sets {
			t.Errorf("MDTM %s sets the time: %v, want %v", arg, got, sets)
		}
	}
}

func TestZeroOptionsAreStrict(t *testing.T) {
	s := loggedIn(Options{})
	for _, tt := range []struct{ command, want string }{
		{"PASV", "425"},
		{"EPSV 1", "522"},
		{"EPSV 2", "522"},
		{"PORT 127,0,0,1,200,10", "502"},
		{"EPRT |1|127.0.0.1|51210|", "502"},
	} {
		got := written(s.FromClient([]byte(tt.command + "\r\n")))
		if !strings.HasPrefix(got[len(got)-1], "client: "+tt.want) {
			t.Errorf("%s: got %q, want %s", tt.command, got, tt.want)
		}
	}
}

func TestForwardedActiveModeTakesTheAddressOfAnUnknownClientForAName(t *testing.T) {
	for _, tt := range []struct {
		command, want string
		client        string // that the driver is to listen for
	}{
		{"PORT 192,0,2,7,200,10", "", "192.0.2.7:51210"},
		{"EPRT |1|127.0.0.1|1024|", "", "127.0.0.1:1024"},
		{"EPRT |2|2001:db8::7|51210|", "", "[2001:db8::7]:51210"},
		{"PORT 192,0,2,7,3,255", "504", ""},
		{"PORT 192,0,2,256,200,10", "501", ""},
		{"EPRT |2|127.0.0.1|51210|", "501", ""},
		{"EPRT |3|x|51210|", "522", ""},
	} {
		peer := netip.MustParseAddr("10.0.0.5")
		s := loggedIn(Options{Active: ActiveForwarded, Peer: peer, Hop: peer})
		effects := s.FromClient([]byte(tt.command + "\r\n"))
		if l, ok := effects[len(effects)-1].(Listen); ok != (tt.client != "") || ok && l.Client.String() != tt.client {
			t.Errorf("%s: %+v, want to listen for %q", tt.command, effects, tt.client)
			continue
		}
		if got := written(effects); tt.want != "" && !strings.HasPrefix(got[len(got)-1], "client: "+tt.want) {
			t.Errorf("%s: got %q, want %s", tt.command, got, tt.want)
		}
	}
}
