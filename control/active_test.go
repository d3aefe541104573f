package control_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/ftp"
)

// active is a session whose client is in active mode.
func active(mode ftp.Active) *ftp.Session {
	return ftp.NewSession(ftp.Options{Peer: loopback, Hop: loopback, Client: loopback, Active: mode})
}

func TestSuccessIsKeptFromAClientThatNobodyConnectedTo(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{{nil, "226 done"}, {errors.New("no"), "426 The data connection to you could not be made"}} {
		s := startSession(t, &endpoints{end: func() error { return tt.err }}, active(ftp.ActiveTranslated))
		s.login()
		s.clientSays("PORT 127,0,0,1,200,10")
		s.serverHears("PASV")
		s.serverSays("227 Entering Passive Mode (127,0,0,1,4,1).")
		s.clientHears("200 PORT command successful")
		s.clientSays("STOR f")
		s.serverHears("STOR f")
		s.serverSays("150 go on", "226 done")
		s.clientHears("150 go on", tt.want)
	}
}

func TestServerIsToldWhereItIsListenedFor(t *testing.T) {
	var opened ftp.Endpoint // owned by Run until the client has heard
	s := startSession(t, &endpoints{
		listen: func() (netip.AddrPort, error) { return netip.MustParseAddrPort("10.0.0.1:5000"), nil },
		open:   func(e ftp.Endpoint) (netip.AddrPort, error) { opened = e; return e.Client, nil },
	}, active(ftp.ActiveForwarded))
	s.login()
	s.clientSays("PORT 127,0,0,1,200,10")
	s.serverHears("PORT 10,0,0,1,19,136")
	s.serverSays("200 PORT command successful")
	s.clientHears("200 PORT command successful")
	if want := netip.MustParseAddrPort("127.0.0.1:51210"); !opened.Listening || opened.Client != want {
		t.Errorf("opened %+v, want the server's connection for %v", opened, want)
	}
}

func TestClientHearsThatNobodyListensForTheServer(t *testing.T) {
	s := startSession(t, &endpoints{}, active(ftp.ActiveForwarded))
	s.login()
	s.clientSays("PORT 127,0,0,1,200,10")
	if line, err := s.cr.ReadString('\n'); !strings.HasPrefix(line, "502 ") {
		t.Errorf("PORT: %q, %v; want 502", line, err)
	}
	s.clientSays("NOOP")
	s.serverHears("NOOP")
}
