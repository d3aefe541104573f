package channels_test

import (
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
	played := 0
	for _, tr := range all {
		if why := notHere(tr); why != "" {
			continue
		}
		played++
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			playTranscript(t, tr)
		})
	}
	if played < 130 {
		t.Errorf("only %d of %d transcripts were played", played, len(all))
	}
}

// notHere returns why a transcript can't be played to the bastion, or "". For its FTP client the server is where it is, and
// the client's own address is none.
func notHere(tr transcript.Transcript) string {
	for _, o := range tr.Options {
		switch {
		case o.Key == "record", o.Key == "access", o.Key == "foreign", o.Key == "client" && o.Value == "unknown":
		case o.Key == "driver" && o.Value == "culvertd":
		case o.Key == "hop" && o.Value == "::1" && tr.Option("peer") == "2001:db8::5":
		case o.Key == "peer" && o.Value == "2001:db8::5" && tr.Option("hop") == "::1":
		default:
			return fmt.Sprintf("option %s %s", o.Key, o.Value)
		}
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
	"10.0.0.5", "127.0.0.5", "10,0,0,5", "127,0,0,5", "192,168,1,9", "127,168,1,9", "192.168.1.9", "127.168.1.9", "2001:db8::5", "::1",
)

func playTranscript(t *testing.T, tr transcript.Transcript) {
	t.Helper()
	peer := netip.MustParseAddr("127.0.0.5")
	if tr.Option("hop") != "" {
		peer = netip.IPv6Loopback()
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(peer, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	b := newBastion(t, transcriptPolicy(t, tr, at, false), func(c *channels.Config) { c.MaxChannels = 100 })
	for _, piece := range []int{0, 1, 3} {
		s := played{bastion: b, tr: tr, at: at, announced: make(map[transcript.Endpoint]bool)}
		s.play(l, piece)
		if t.Failed() {
			return
		}
	}
}

// played is one way through a transcript.
type played struct {
	*bastion
	tr        transcript.Transcript
	at        netip.AddrPort
	announced map[transcript.Endpoint]bool
}

func (s *played) play(l net.Listener, piece int) {
	s.t.Helper()
	channel := s.mustOpen(s.at.Addr().String(), s.at.Port())
	defer channel.Close()
	server, err := l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	defer server.Close()
	p := transcript.Player{
		Client: transcript.NewPeer("client", channel), Server: transcript.NewPeer("server", server.(*net.TCPConn)),
		Piece: piece, Rewrite: toLoopback.Replace,
		Announcing: func(e transcript.Endpoint, refused bool) {
			s.policy.Store(transcriptPolicy(s.t, s.tr, s.at, refused))
			s.announced[e] = true
		},
	}
	live := p.Play(s.t, s.tr)
	if s.t.Failed() {
		return
	}
	// Somebody else's endpoint, and one beside the server's.
	s.mustRefuse("127.0.0.77", 4711, ssh.Prohibited)
	s.mustRefuse(s.at.Addr().String(), 4711, ssh.Prohibited)
	for e := range s.announced {
		if live != nil && e == *live {
			s.mustRefuse(e.Addr, e.Port, ssh.ConnectionFailed) // nobody listens there
			continue
		}
		s.mustRefuse(e.Addr, e.Port, ssh.Prohibited)
	}
	p.End(s.t)
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
	if foreign := tr.Option("foreign"); foreign != "" {
		network := netip.MustParsePrefix(strings.Replace(foreign, "192.168.1.", "127.168.1.", 1))
		p.Global.FTPDataAddress = &policy.Line[[]netip.Prefix]{Value: []netip.Prefix{network}}
	}
	return p
}
