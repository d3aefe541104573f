package channels_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

func TestPassiveClientThatLeavesEarlyTakesTheListenerWithIt(t *testing.T) {
	s := newActiveStage(t)
	client, at := s.pasv()
	s.data = s.b.mustOpen("127.0.0.1", client.Port())
	s.data.Close()
	s.noListener(at)
}

func TestPassiveClientIsResetWhereTheServerDoesNotConnect(t *testing.T) {
	for name, end := range map[string]func(s *activeStage){
		"550":            func(s *activeStage) { s.exchange("RETR f", "550 no") },
		"226":            func(s *activeStage) { s.exchange("NLST", "226 nothing there") },
		"REIN":           func(s *activeStage) { s.exchange("REIN", "220 again") },
		"QUIT":           func(s *activeStage) { s.exchange("QUIT", "221 bye"); s.server.Close() },
		"gone":           func(s *activeStage) { s.Close() },
		"PORT":           func(s *activeStage) { s.port() },
		"FTPDataTimeout": func(*activeStage) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newActiveStage(t, func(p *policy.Policy) {
				if name == "FTPDataTimeout" {
					p.Global.FTPDataTimeout.Value = 100 * time.Millisecond
				}
			})
			client, at := s.pasv()
			s.data = s.b.mustOpen("127.0.0.1", client.Port())
			end(s)
			if n, err := s.data.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d bytes", n)
			}
			s.data.Close()
			if e := s.b.audit.waitFor(t, "channel.closed", "c1-2"); e["result"] != "aborted" {
				t.Errorf("audit: %v", e)
			}
			s.noListener(at)
		})
	}
}

// unconnected is a transfer that the server takes for complete, and that the client hears has failed.
func (s *activeStage) unconnected(command, reply string) {
	s.t.Helper()
	s.ask(command)
	fmt.Fprint(s.server, reply+"\r\n")
	s.want("426 ")
}

func TestListeningForTheServerEnds(t *testing.T) {
	for name, end := range map[string]func(s *activeStage){
		"550":            func(s *activeStage) { s.exchange("RETR f", "550 no") },
		"226":            func(s *activeStage) { s.unconnected("NLST", "226 nothing there") },
		"REIN":           func(s *activeStage) { s.exchange("REIN", "220 again") },
		"gone":           func(s *activeStage) { s.Close() },
		"PORT":           func(s *activeStage) { s.port() },
		"FTPDataTimeout": func(*activeStage) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := newActiveStage(t, func(p *policy.Policy) {
				if name == "FTPDataTimeout" {
					p.Global.FTPDataTimeout.Value = 100 * time.Millisecond
				}
			})
			at := s.port()
			end(s)
			s.noListener(at)
		})
	}
	t.Run("the server refuses PORT", func(t *testing.T) {
		s := newActiveStage(t)
		s.say("PORT 192,0,2,7,200,10")
		at := s.told()
		fmt.Fprint(s.server, "500 no\r\n")
		s.want("502 ")
		s.noListener(at)
	})
}

// mustBeReset connects and must be reset, which may happen before the connection is seen.
func (s *activeStage) mustBeReset(from string, at netip.AddrPort) {
	s.t.Helper()
	c, err := s.connectFrom(from, at)
	if err == nil {
		_, err = io.Copy(io.Discard, c)
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		s.t.Errorf("a connection from %s met %v, want a reset", from, err)
	}
}

func TestOnlyTheServerMayConnect(t *testing.T) {
	s := newActiveStage(t)
	at := s.port()
	s.mustBeReset("127.0.0.2", at)
	if e := s.b.audit.wait(t, "ftp.refused"); !strings.Contains(fmt.Sprint(e["reason"]), "a data connection from 127.0.0.2:") {
		t.Errorf("audit: %v", e)
	}
	server := s.mustConnect(at)
	accept(t, <-s.offers).Close()
	server.Close()
}

func TestTooManyOthersCloseTheListener(t *testing.T) {
	s := newActiveStage(t)
	at := s.port()
	for range 10 {
		s.mustBeReset("127.0.0.2", at)
	}
	s.noListener(at)
	if e := s.b.audit.wait(t, "ftp.expired"); !strings.Contains(fmt.Sprint(e["reason"]), "10 connections of others") {
		t.Errorf("audit: %v", e)
	}
}

func TestActiveDataGoesOnAfterItsControlConnection(t *testing.T) {
	s := newActiveStage(t)
	server := s.mustConnect(s.port())
	s.data = accept(t, <-s.offers)
	s.exchange("RETR f", "150 go")
	s.server.Close()
	s.b.audit.waitFor(t, "channel.closed", "c1-1")
	io.WriteString(server, "a file")
	server.CloseWrite()
	if got, err := io.ReadAll(s.data); string(got) != "a file" {
		t.Errorf("the client read %q, %v", got, err)
	}
	s.complete(0)
	if e := s.b.audit.waitFor(t, "channel.closed", "c1-2"); e["result"] != "clean" {
		t.Errorf("audit: %v", e)
	}
}

func TestServersConnectionIsOneOfMaxChannels(t *testing.T) {
	other := echo(t, "127.0.0.1:0")
	s := newActiveStage(t, func(p *policy.Policy) {
		p.Global.PermitOpen.Value = append(p.Global.PermitOpen.Value, permit(t, other.String(), "").Global.PermitOpen.Value...)
	})
	for range 7 { // of 8, with the control channel
		s.b.mustOpen("127.0.0.1", other.Port())
	}
	s.mustBeReset("127.0.0.1", s.port())
	if e := s.b.audit.wait(t, "channel.refused"); e["reason"] != "MaxChannels is reached" || e["type"] != "forwarded-tcpip" {
		t.Errorf("audit: %v", e)
	}
}

func TestRecheckEndsActiveMode(t *testing.T) {
	refuses := func(s *activeStage) *policy.Policy {
		p := permit(t, "ftp/"+s.server.LocalAddr().String(), "")
		p.Global.FTPActive = &policy.Line[policy.Active]{Source: "sshd_config:9", Value: policy.ActiveYes}
		return p
	}
	for _, tt := range []struct {
		name  string
		begin func(s *activeStage) (at netip.AddrPort, server *net.TCPConn)
		event string
	}{
		{"while it waits for the server", func(s *activeStage) (netip.AddrPort, *net.TCPConn) { return s.port(), nil }, "ftp.expired"},
		{"while a client in passive mode may come", func(s *activeStage) (netip.AddrPort, *net.TCPConn) {
			_, at := s.pasv()
			return at, nil
		}, "ftp.expired"},
		{"while a client in passive mode waits", func(s *activeStage) (netip.AddrPort, *net.TCPConn) {
			client, at := s.pasv()
			s.b.mustOpen("127.0.0.1", client.Port())
			return at, nil
		}, "channel.closed"},
		{"while data moves", func(s *activeStage) (netip.AddrPort, *net.TCPConn) {
			at := s.port()
			server := s.mustConnect(at)
			ch := accept(t, <-s.offers)
			s.t.Cleanup(func() { ch.Close() })
			s.b.audit.waitFor(t, "channel.opened", "c1-2")
			go func() { io.Copy(io.Discard, ch); ch.Close() }()
			return at, server
		}, "channel.closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newActiveStage(t)
			at, server := tt.begin(s)
			s.b.change(func() *policy.Policy { p := permit(t, "ftp/*:*", ""); forwards(p); return p }()) // permits it as well
			if e := s.b.audit.event(tt.event); e != nil {
				t.Fatalf("what is permitted ended: %v", e)
			}
			s.b.change(refuses(s))
			if e := s.b.audit.wait(t, tt.event); !strings.Contains(fmt.Sprint(e["reason"]), "the policy changed: FTPActive is yes") {
				t.Errorf("audit: %v", e)
			}
			if server != nil {
				mustReset(t, server)
			} else {
				s.noListener(at)
			}
			s.say("PORT 192,0,2,7,200,10")
			s.want("502 ")
			s.exchange("NOOP", "200 ok") // the control channel stays
		})
	}
}

func TestListenerEndsWithTheClientThatMayNotTakeItsConnectionAnyMore(t *testing.T) {
	s := newActiveStage(t)
	client, at := s.pasv()
	s.b.policy.Store(permit(t, "ftp/"+s.server.LocalAddr().String(), "")) // which has no FTPActive; what is open isn't asked about yet
	s.b.mustRefuse("127.0.0.1", client.Port(), ssh.Prohibited)
	s.noListener(at)
}
