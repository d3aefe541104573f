package channels_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/internal/transcript"
	"github.com/culvert-ssh/culvert/policy"
)

// TestTranscripts plays the dialogues that the state machine is tested by to the bastion: a real SSH connection, and the server socket of
// the transcript. What is announced in the end, and nothing else that ever was, may be opened.
func TestTranscripts(t *testing.T) {
	all, err := transcript.Load("../ftp/testdata")
	if err != nil {
		t.Fatal(err)
	}
	theatres := make(map[string]*theatre)
	played := 0
	for _, tr := range all {
		if why := notHere(tr); why != "" {
			continue
		}
		played++
		key := tr.Option("hop") + " " + tr.Option("access") + " " + tr.Option("foreign")
		if theatres[key] == nil {
			theatres[key] = newTheatre(t, tr)
		}
		t.Run(tr.Name, func(t *testing.T) {
			for _, piece := range []int{0, 1, 3} {
				if piece == 0 || !tr.Long() {
					theatres[key].play(t, tr, piece)
				}
			}
		})
	}
	if played < 400 {
		t.Errorf("only %d of %d transcripts were played", played, len(all))
	}
}

// notHere returns why a transcript can't be played to the bastion, or "". For its FTP client the server is where it is, and
// the client's own address is none.
func notHere(tr transcript.Transcript) string {
	for _, o := range tr.Options {
		switch {
		case o.Key == "record", o.Key == "access", o.Key == "deny", o.Key == "request", o.Key == "foreign", o.Key == "client" && o.Value == "unknown":
		case o.Key == "driver" && o.Value == "culvertd":
		case o.Key == "hop" && o.Value == "::1" && tr.Option("peer") == "2001:db8::5":
		case o.Key == "peer" && o.Value == "2001:db8::5" && tr.Option("hop") == "::1":
		default:
			return fmt.Sprintf("option %s %s", o.Key, o.Value)
		}
	}
	if tr.Silent() {
		return "nobody here knows when the bastion has read what it drops"
	}
	for _, s := range tr.Steps {
		line := strings.ToUpper(string(s.Data))
		if s.Head[0] == 'C' && (strings.Contains(line, "PORT ") || strings.Contains(line, "EPRT ")) && tr.Option("client") != "unknown" {
			return "active mode of a client that is known"
		}
	}
	return ""
}

// toLoopback gives the hosts of the transcripts an address on this machine.
var toLoopback = strings.NewReplacer(
	"10.0.0.5", "127.0.0.5", "10,0,0,5", "127,0,0,5", "192,168,1,9", "127,168,1,9", "192.168.1.9", "127.168.1.9", "2001:db8::5", "::1", "2001:db8:0:0::5", "0:0:0::1",
)

// A theatre is a bastion and an FTP server for transcripts that want the same policy.
type theatre struct {
	*bastion
	listener net.Listener
	at       netip.AddrPort
}

func newTheatre(t *testing.T, tr transcript.Transcript) *theatre {
	t.Helper()
	peer := netip.MustParseAddr("127.0.0.5")
	if tr.Option("hop") != "" {
		peer = netip.IPv6Loopback()
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(peer, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &theatre{listener: l, at: l.Addr().(*net.TCPAddr).AddrPort()}
	s.bastion = newBastion(t, transcriptPolicy(t, tr, s.at, false), func(c *channels.Config) { c.MaxChannels = 100 })
	return s
}

func (s *theatre) play(t *testing.T, tr transcript.Transcript, piece int) {
	t.Helper()
	s.policy.Store(transcriptPolicy(t, tr, s.at, false))
	channel, err := s.open(s.at.Addr().String(), s.at.Port())
	if err != nil {
		t.Fatal(err)
	}
	defer channel.Close()
	server, err := s.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	announced := make(map[transcript.Endpoint]bool)
	p := transcript.Player{
		Client: transcript.NewPeer("client", channel), Server: transcript.NewPeer("server", server.(*net.TCPConn)),
		Piece: piece, Rewrite: toLoopback.Replace,
		Announcing: func(e transcript.Endpoint, refused bool) {
			s.policy.Store(transcriptPolicy(t, tr, s.at, refused))
			announced[e] = true
		},
	}
	live := p.Play(t, tr)
	if t.Failed() {
		return
	}
	// Somebody else's endpoint, and one beside the server's.
	s.refuses(t, "127.0.0.77", 4711, ssh.Prohibited)
	s.refuses(t, s.at.Addr().String(), 4711, ssh.Prohibited)
	for e := range announced {
		code := ssh.Prohibited
		if live != nil && e == *live {
			code = ssh.ConnectionFailed // nobody listens there
		}
		s.refuses(t, e.Addr, e.Port, code)
	}
	p.End(t)
}

// refuses checks that a channel is refused with a code.
func (s *theatre) refuses(t *testing.T, host string, port uint16, code ssh.RejectionReason) {
	t.Helper()
	_, err := s.open(host, port)
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) || refused.Reason != code {
		t.Errorf("open %s:%d: %v, want it refused with %v", host, port, err, code)
	}
}

// transcriptPolicy is the policy that a transcript asks for. If closed, no data connection is permitted.
func transcriptPolicy(t *testing.T, tr transcript.Transcript, at netip.AddrPort, closed bool) *policy.Policy {
	t.Helper()
	p := permit(t, "ftp/"+at.String(), "")
	if closed {
		p.Global.FTPDataPorts = &policy.Line[[]policy.PortRange]{Value: []policy.PortRange{{First: 1, Last: 1}}}
	}
	switch tr.Option("access") {
	case "read-only":
		p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ReadOnly}
	case "list-only":
		p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.ListOnly}
	}
	for word := range strings.FieldsSeq(tr.Option("deny")) {
		denied, err := policy.ParsePathPattern(word)
		if err != nil {
			t.Fatal(err)
		}
		p.Global.FTPDeny = append(p.Global.FTPDeny, policy.Line[[]policy.PathPattern]{Value: []policy.PathPattern{denied}})
	}
	if foreign := tr.Option("foreign"); foreign != "" {
		network := netip.MustParsePrefix(strings.Replace(foreign, "192.168.1.", "127.168.1.", 1))
		p.Global.FTPDataAddress = &policy.Line[[]netip.Prefix]{Value: []netip.Prefix{network}}
	}
	return p
}
