package channels_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/internal/transcript"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// TestTranscripts plays the dialogues that the state machine is tested by to the bastion: a real SSH connection, and the server socket of
// the transcript. What is announced in the end, and nothing else that ever was, may be opened.
func TestTranscripts(t *testing.T) {
	all, err := transcript.Load("../ftp/testdata")
	if err != nil {
		t.Fatal(err)
	}
	ca := transcript.NewAuthorities(t, "127.0.0.5")
	theatres := make(map[string]*theatre)
	skipped := make(map[string]int)
	played := 0
	for _, tr := range all {
		if why := notHere(tr); why != "" {
			skipped[why]++
			continue
		}
		played++
		key := tr.Option("hop") + " " + tr.Option("access") + " " + tr.Option("foreign") + " " + tr.Option("tls") + " " + tr.Option("active")
		if theatres[key] == nil {
			theatres[key] = newTheatre(t, tr, ca)
		}
		t.Run(tr.Name, func(t *testing.T) {
			for _, piece := range []int{0, 1, 3} {
				if piece == 0 || !tr.Long() {
					theatres[key].play(t, tr, piece)
				}
			}
		})
	}
	for why, n := range skipped {
		t.Logf("%d of %d transcripts not played: %s", n, len(all), why)
	}
	if skips := len(all) - played; skips > mostSkipped {
		t.Errorf("%d of %d transcripts were not played, more than the %d that can't be", skips, len(all), mostSkipped)
	}
}

// mostSkipped is how many transcripts are of what the bastion isn't asked for.
const mostSkipped = 71

// notHere returns why a transcript can't be played to the bastion, or "". For its FTP client the server is where it is, and
// the client's own address is none.
func notHere(tr transcript.Transcript) string {
	hop, peer := tr.Option("hop"), tr.Option("peer")
	switch {
	case tr.Option("active") == "translated":
		return "on the channels of SSH clients culvert translates, and the bastion does not"
	case tr.Option("driver") == "culvert":
		return "only culvert gets there"
	case tr.Option("driver") == "none":
		return "no driver gets there: time has to pass, or the driver to do what none does"
	case peer == "unknown" || (hop == "::1") != (peer == "2001:db8::5") || hop != "" && hop != "::1" || peer != "" && peer != "2001:db8::5":
		return "to the bastion's client the server is where it is: there is no other hop"
	}
	for _, o := range tr.Options {
		switch o.Key {
		case "record", "measures", "access", "deny", "request", "foreign", "tls", "opaque", "active", "client", "driver", "hop", "peer", "without-tls":
		case "hold":
			return "it is for remote tunnels through other SSH servers"
		default:
			return fmt.Sprintf("option %s %s", o.Key, o.Value)
		}
	}
	for _, step := range tr.Steps {
		want := strings.Join(step.Want, "\n")
		switch forwarded := tr.Option("active") == "forwarded"; {
		case forwarded && step.Head == "listening" && strings.HasSuffix(step.Text, ":0"):
			return "the bastion listens where one can"
		case strings.Contains(string(step.Data), "EPRT ") && strings.Contains(want, "client: 522"), forwarded && strings.Contains(want, "client: 501 The address"):
			return "culvert holds that PORT and EPRT name its client, whom the bastion doesn't know"
		}
	}
	return ""
}

// toLoopback gives the hosts of the transcripts an address on this machine.
var toLoopback = strings.NewReplacer(
	"10.0.0.5", "127.0.0.5", "10,0,0,5", "127,0,0,5", "192,168,1,9", "127,168,1,9", "192.168.1.9", "127.168.1.9", "2001:db8::5", "::1", "2001:db8:0:0::5", "0:0:0::1",
)

// unknownClient has what is said of the transcript's hosts be about this machine, and the replies to PORT and EPRT be those to a client whose
// address isn't known: none is the wrong one.
func unknownClient(tr transcript.Transcript) func(string) string {
	const refused = "client: 502 Active mode is not offered here, use passive mode (PASV or EPSV) or connect through culvert"
	return func(line string) string {
		line = toLoopback.Replace(line)
		switch line {
		case "client: 502 Active mode is not offered here, use passive mode (PASV or EPSV)",
			"client: 501 The address is not that of the control connection", "client: 504 The port is below 1024":
			if tr.Option("active") == "" {
				return refused
			}
		}
		return line
	}
}

// quiet waits until every control channel that was opened since a mark is on record as closed, and returns how much is on record then. Data may
// go on.
func (j *journal) quiet(t *testing.T, mark int) (length int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		j.mu.Lock()
		text := bytes.Clone(j.text.Bytes()[mark:])
		j.mu.Unlock()
		if len(openControls(t, text)) == 0 {
			return mark + len(text)
		}
	}
	t.Fatal("the control channel of an earlier transcript doesn't end")
	return 0
}

// openControls returns the requests of the control channels that are open by what is on record.
func openControls(t *testing.T, text []byte) map[string]bool {
	t.Helper()
	open := make(map[string]bool)
	for line := range bytes.Lines(text) {
		var e struct{ Event, Request, FTP string }
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		switch {
		case e.Event == "channel.opened" && e.FTP == "control":
			open[e.Request] = true
		case e.Event == "channel.closed":
			delete(open, e.Request)
		}
	}
	return open
}

// refusals waits until so many things have been put on record as refused.
func (j *journal) refusals(t *testing.T, mark, want int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		j.mu.Lock()
		got := bytes.Count(j.text.Bytes()[mark:], []byte(`"event":"ftp.refused"`))
		j.mu.Unlock()
		if got >= want {
			return
		}
	}
	t.Errorf("less than %d refusals are on record", want)
}

// A theatre is a bastion and an FTP server for transcripts that want the same policy.
type theatre struct {
	*bastion
	toCulvert <-chan ssh.NewChannel
	ca        *transcript.Authorities
	listener  net.Listener
	at        netip.AddrPort
	mark      int // how much was on record when the last transcript began
}

func newTheatre(t *testing.T, tr transcript.Transcript, ca *transcript.Authorities) *theatre {
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
	s := &theatre{ca: ca, listener: l, at: l.Addr().(*net.TCPAddr).AddrPort()}
	s.bastion = newBastion(t, transcriptPolicy(t, tr, s.at, false), func(c *channels.Config) {
		c.MaxChannels = 100
		c.Authorities = func(string) *x509.CertPool { return ca.Roots }
	})
	if tr.Option("active") == "forwarded" { // it is for culvert
		if ok, _, err := s.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
			t.Fatal(err)
		}
		s.toCulvert = s.takeOffers()
	}
	return s
}

func (s *theatre) play(t *testing.T, tr transcript.Transcript, piece int) {
	t.Helper()
	s.policy.Store(transcriptPolicy(t, tr, s.at, false))
	s.mark = s.audit.quiet(t, s.mark)
	opened := make(chan ssh.Channel, 1)
	go func() {
		channel, err := s.open(s.at.Addr().String(), s.at.Port())
		if err != nil {
			t.Error(err)
		}
		opened <- channel
	}()
	accepted, err := s.listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	server := accepted.(transcript.Conn)
	if tr.Option("tls") == "implicit" { // before the channel is there
		secured := tls.Server(accepted, s.ca.Secured)
		if err := secured.Handshake(); err != nil {
			t.Error(err)
			accepted.Close() // so that opening it ends
		}
		server = secured
	}
	channel := <-opened
	if t.Failed() {
		return
	}
	defer channel.Close()
	announced := make(map[transcript.Endpoint]bool)
	p := transcript.Player{
		Client: transcript.NewPeer("client", &wordy{Channel: channel}), Server: transcript.NewPeer("server", server),
		Piece: piece, Rewrite: unknownClient(tr),
		Secured: s.ca.Secured, Untrusted: s.ca.Untrusted,
		Read: func(dropped int) { s.audit.refusals(t, s.mark, dropped) },
		Asking: func(_ string, answer transcript.Step) {
			s.policy.Store(transcriptPolicy(t, tr, s.at, answer.Head == "refused"))
		},
		Announcing: func(e transcript.Endpoint, refused bool) {
			s.policy.Store(transcriptPolicy(t, tr, s.at, refused))
			announced[e] = true
		},
	}
	if tr.Option("active") == "forwarded" {
		var told string
		p.Listening = func(line string) { told = line }
		p.Offered = func(e transcript.Endpoint, reply string, begins bool) {
			if e.Listening && begins {
				s.connects(t, told, e.Client, reply)
			}
		}
	}
	live := p.Play(t, tr)
	if t.Failed() {
		return
	}
	// Somebody else's endpoint, and one beside the server's.
	s.refuses(t, "127.0.0.77", 4711, ssh.Prohibited)
	s.refuses(t, s.at.Addr().String(), 4711, ssh.Prohibited)
	for e := range announced {
		if e.Listening {
			continue
		}
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
	if mode := tr.Option("tls"); mode != "" {
		v := map[string]policy.TLS{"prefer": policy.TLSPrefer, "require": policy.TLSRequire, "implicit": policy.TLSImplicit}[mode]
		if v == policy.TLSImplicit {
			p = permit(t, "ftps/"+at.String(), "")
		} else {
			upstreamRules(v)(p)
		}
		p.Global.FTPUpstreamTLSCAFile = &policy.Line[string]{Value: "/ca"}
	}
	if tr.Option("opaque") != "" && !closed {
		p.Global.FTPOpaqueTLS = &policy.Line[[]policy.PortRange]{Value: []policy.PortRange{{First: 50000, Last: 50000}}}
	}
	if tr.Option("active") == "forwarded" && !closed {
		forwards(p)
	}
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
