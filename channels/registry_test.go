package channels_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
)

func TestChannelsShowsWhatIsOpenWithItsBytes(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	session, _ := b.session()
	ch := b.mustOpen("localhost", to.Port())
	io.WriteString(ch, "hello")
	io.ReadFull(ch, make([]byte, 5))

	var got []channels.Info
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got = b.conn().Channels()
		if len(got) == 2 && got[1].Up == 5 && got[1].Down == 5 || time.Now().After(deadline) {
			break
		}
	}
	if len(got) != 2 {
		t.Fatalf("got %v, want a session and a direct-tcpip channel", got)
	}
	if got[0].Type != "session" || got[0].Request != "c1-1" || got[0].Since.IsZero() {
		t.Errorf("the session is %+v", got[0])
	}
	line, err := json.Marshal(got[1])
	if err != nil {
		t.Fatal(err)
	}
	want := channels.Info{
		Request: "c1-2", Type: "direct-tcpip", Target: net.JoinHostPort("localhost", portOf(to)), Address: to,
		Rule: "sshd_config:1", Since: got[1].Since, Up: 5, Down: 5,
	}
	if got[1] != want || !strings.Contains(string(line), `"up":5`) {
		t.Errorf("got %s, want %+v", line, want)
	}
	session.Close()
	ch.Close()
	for deadline := time.Now().Add(10 * time.Second); len(b.conn().Channels()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after they were closed: %v", b.conn().Channels())
		}
	}
}

func portOf(a netip.AddrPort) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

func TestRecheckAbortsWhatThePolicyPermitsNoMoreAndNothingElse(t *testing.T) {
	reset := make(chan error, 1)
	gone := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		_, err := io.Copy(io.Discard, c)
		reset <- err
	})
	stays := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	session, _ := b.session()
	first, second := b.mustOpen("127.0.0.1", gone.Port()), b.mustOpen("127.0.0.1", stays.Port())
	b.change(permit(t, "*:*", gone.String()))

	if n, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the channel that isn't permitted: read %d, %v", n, err)
	}
	if err := <-reset; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("its destination met %v, want a reset", err)
	}
	first.Close()
	e := b.audit.wait(t, "channel.closed")
	if e["result"] != "aborted" || e["rule"] != "sshd_config:2" || e["reason"] != "the policy changed: DenyOpen "+gone.String() {
		t.Errorf("audit: %v", e)
	}
	io.WriteString(second, "still here")
	if _, err := io.ReadFull(second, make([]byte, 10)); err != nil {
		t.Errorf("the channel that is permitted: %v", err)
	}
	if got := b.conn().Channels(); len(got) != 2 {
		t.Errorf("open are %v, want the session and a channel", got)
	}
	session.Close()
}

func TestRecheckReachesWhatIsBeingOpened(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	var b *bastion
	var changed atomic.Bool
	b = newBastion(t, permit(t, "*:*", ""), func(c *channels.Config) {
		decide := c.Decide
		c.Decide = func(r policy.Request) policy.Decision {
			d := decide(r)
			if r.Target.Addr.IsValid() && changed.CompareAndSwap(false, true) {
				b.change(permit(t, "", "")) // after the decision, and before the channel is open
			}
			return d
		}
	})
	ch, err := b.open("127.0.0.1", to.Port())
	if err == nil {
		if n, err := ch.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d, %v from what was permitted a moment ago", n, err)
		}
		ch.Close()
	}
	if e := b.audit.wait(t, "channel.closed"); !strings.HasPrefix(e["reason"].(string), "the policy changed: ") {
		t.Errorf("audit: %v", e)
	}
}

func TestRecheckAbortsWhatIsToBeReadAsFTP(t *testing.T) {
	to := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, "*:*", ""), nil)
	ch := b.mustOpen("127.0.0.1", to.Port())
	b.change(permit(t, "ftp/*:*", ""))
	ch.Read(make([]byte, 1))
	ch.Close()
	if e := b.audit.wait(t, "channel.closed"); e["reason"] != "the policy changed: it is to be read as FTP" {
		t.Errorf("audit: %v", e)
	}
}

func TestRecheckEndsExpectations(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, nil)
	d := b.login(s)
	d.say("PASV")
	d.want("227")
	b.change(permit(t, "ftp/*:*", "")) // permits it as well
	if e := b.audit.event("ftp.expired"); e != nil {
		t.Errorf("an expectation that is permitted ended: %v", e)
	}
	p := permit(t, "ftp/*:*", "")
	p.Global.FTPDataPorts = &policy.Line[[]policy.PortRange]{Source: "sshd_config:9", Value: []policy.PortRange{{First: 1024, Last: 1024}}}
	b.change(p)
	if e := b.audit.wait(t, "ftp.expired"); e["reason"] != "the policy changed: not in FTPDataPorts, sshd_config:9" {
		t.Errorf("audit: %v", e)
	}
	d.say("NOOP") // the control channel stays
	d.want("200")
	d.Close()
}

func TestDataChannelFollowsItsControlChannel(t *testing.T) {
	const notBoth = "PermitOpen and the key's permitopen don't both say ftp/"
	for _, tt := range []struct {
		name          string
		change        func(p *policy.Policy, s *ftpServer)
		control, data string // why they end, if they do
	}{
		{"not permitted", func(p *policy.Policy, s *ftpServer) {
			p.Global.PermitOpen.Value = nil
		}, "not in PermitOpen", "not in PermitOpen"},
		{"no FTP any more", func(p *policy.Policy, s *ftpServer) {
			*p = *permit(t, s.at.String(), "")
		}, "", notBoth},
		{"the data's own address", func(p *policy.Policy, s *ftpServer) {
			*p = *permit(t, "ftp/"+s.at.String(), s.data.String())
		}, "", "DenyOpen"},
		{"less access", func(p *policy.Policy, s *ftpServer) {
			p.Global.FTPAccess = &policy.Line[policy.Access]{Source: "sshd_config:8", Value: policy.ReadOnly}
		}, "FTPAccess permits less", "FTPAccess permits less"},
		{"paths that were not denied", func(p *policy.Policy, _ *ftpServer) {
			p.Global.FTPDeny = []policy.Line[[]policy.PathPattern]{{Source: "sshd_config:9", Value: []policy.PathPattern{policy.AnyPath()}}}
		}, "FTPDeny or FTPAllow are others", "FTPDeny or FTPAllow are others"},
		{"no change", func(*policy.Policy, *ftpServer) {}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newFTPServer(t, honest)
			b := newFTPBastion(t, s, nil)
			d := b.login(s)
			d.say("PASV")
			d.want("227")
			data := b.mustOpen("127.0.0.1", s.data.Port())
			p := permit(t, "ftp/"+s.at.String(), "")
			tt.change(p, s)
			b.change(p)

			for _, end := range []struct{ request, reason string }{{"c1-1", tt.control}, {"c1-2", tt.data}} {
				if end.reason == "" {
					continue
				}
				e := b.audit.waitFor(t, "channel.closed", end.request)
				if !strings.HasPrefix(e["reason"].(string), "the policy changed: "+end.reason) {
					t.Errorf("request %s: audit has %v, want %q", end.request, e, end.reason)
				}
			}
			if tt.control == "" {
				d.say("NOOP")
				d.want("200")
			}
			if tt.data == "" {
				io.WriteString(data, "echo")
				if _, err := io.ReadFull(data, make([]byte, 4)); err != nil {
					t.Errorf("data: %v", err)
				}
			}
			d.Close()
			data.Close()
		})
	}
}
