package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/internal/transcript"
	"github.com/culvert-ssh/culvert/relay"
)

// TestTranscripts plays the dialogues that the state machine is tested by to culvert: a real listener, and behind the transport the FTP
// server of the transcript.
func TestTranscripts(t *testing.T) {
	all, err := transcript.Load("../ftp/testdata")
	if err != nil {
		t.Fatal(err)
	}
	ca := transcript.NewAuthorities(t, "10.0.0.5")
	skipped := make(map[string]int)
	played := 0
	for _, tr := range all {
		if why := notHere(tr); why != "" {
			skipped[why]++
			continue
		}
		played++
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{0, 1, 3} {
				if piece == 0 || !tr.Long() {
					playTranscript(t, tr, ca, piece)
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

// mostSkipped is how many transcripts are of what culvert isn't asked for, or doesn't do.
const mostSkipped = 65

// notHere returns why a transcript can't be played to culvert, or "".
func notHere(tr transcript.Transcript) string {
	for _, o := range tr.Options {
		switch o.Key {
		case "peer", "record", "measures", "active", "tls", "opaque", "without-tls":
			continue
		case "driver":
			if o.Value == "culvert" {
				continue
			}
			return "no driver gets there: time has to pass, or the driver to do what none does"
		case "access", "deny":
			return "culvert has no rules about commands and paths"
		case "foreign":
			return "culvert leaves it to the bastion where else a server may announce"
		case "hop", "client":
			if at, err := netip.ParseAddr(o.Value); err != nil || !at.IsLoopback() {
				return "culvert knows its client, which the test has on loopback"
			}
			if c := tr.Option("client"); c != "" && c != tr.Option("hop") {
				return "both ends of a connection are of one family"
			}
		case "hold":
			return "it is for remote tunnels through other SSH servers"
		default:
			return fmt.Sprintf("option %s %s", o.Key, o.Value)
		}
	}
	worked := ""
	for _, s := range tr.Steps {
		switch {
		case s.Head == "announced", s.Head == "listening":
			worked = s.Head
		case s.Head == "refused" && worked != "" && !strings.HasPrefix(s.Text, "nobody waits") && !strings.HasPrefix(s.Text, "no address"):
			return "what has worked once is opened when somebody comes, and what is listened for when the server does"
		}
	}
	return ""
}

// nobodyWaits reports whether the clients in active mode can't be connected to.
func nobodyWaits(tr transcript.Transcript) bool {
	return slices.ContainsFunc(tr.Steps, func(s transcript.Step) bool {
		return s.Head == "refused" && strings.HasPrefix(s.Text, "nobody waits")
	})
}

func transcriptConfig(tr transcript.Transcript, ca *transcript.Authorities) *Config {
	cfg := &Config{
		Active:      map[string]ftp.Active{"translated": ftp.ActiveTranslated, "forwarded": ftp.ActiveForwarded}[tr.Option("active")],
		UpstreamTLS: map[string]ftp.TLS{"prefer": ftp.TLSPrefer, "require": ftp.TLSRequire}[tr.Option("tls")],
	}
	cfg.UpstreamConfig.Roots = ca.Roots
	return cfg
}

func playTranscript(t *testing.T, tr transcript.Transcript, ca *transcript.Authorities, piece int) {
	t.Helper()
	f := Forward{Kind: FTP, Host: tr.Option("peer"), HostPort: 21}
	if tr.Option("tls") == "implicit" {
		f.Kind = FTPS
	}
	switch f.Host {
	case "":
		f.Host = "10.0.0.5"
	case "unknown":
		f.Host = "ftp.corp"
	}
	hop := tr.Option("hop")
	if hop == "" {
		hop = ownLoopback()
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(hop, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := dialFrom(t, hop, ln.Addr().String())
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	control := newFarEnd(t)
	near, server := &readStream{Stream: control.near}, &saying{TCPConn: control.far}
	near.changed.L = &near.mu
	control.near = near
	far := &farServer{t: t, control: control, host: f.Host, hop: hop, expected: make(map[string]bool), secured: ca.Secured}
	var talk transcript.Conn = server
	if f.Kind == FTPS {
		talk = tls.Server(server, ca.Secured)
	}
	opaque := &opaquePorts{open: far.Open}
	if tr.Option("opaque") != "" {
		opaque.ports = []uint16{0} // any
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s := &serving{Forward: f, cfg: transcriptConfig(tr, ca), sessions: straight{far}, opaque: opaque, log: slog.New(slog.DiscardHandler)}
		s.serveFTP(ctx, accepted.(*net.TCPConn))
	}()
	defer func() { stop(); <-ended; far.end() }()

	waiting := newActivePorts(t, hop)
	if nobodyWaits(tr) {
		waiting.close()
	}
	p := transcript.Player{
		Rewrite: waiting.ports.Replace,
		Client:  transcript.NewPeer("client", client), Server: transcript.NewPeer("server", talk), Piece: piece,
		Secured: ca.Secured, Untrusted: ca.Untrusted,
		Asking: func(question string, answer transcript.Step) {
			far.listening(answer)
			if question == "unread" && answer.Head == "refused" {
				opaque.ports = []uint16{relay.AddrPort(ln.Addr()).Port()} // in use
			}
		},
		Announcing: far.announcing, Read: func(int) { near.wait(server.said) },
		Offered: func(e transcript.Endpoint, reply string, begins bool) {
			if e.Client != "" {
				waiting.expect(e.Client, begins)
				return
			}
			far.offered = dataAddress(t, hop, reply)
			if begins {
				far.connect()
			}
		},
	}
	live := p.Play(t, tr)
	if t.Failed() {
		return
	}
	waiting.check()
	switch {
	case live != nil && live.Client != "":
	case live == nil && far.offered != "" && !far.connected:
		wantRefused(t, far.offered)
	case live != nil && !far.connected:
		far.connect()
	}
	_ = client.CloseWrite()
	p.End(t)
	_ = client.Close()
}

// dataAddress reads what the client was told.
func dataAddress(t *testing.T, hop, reply string) string {
	t.Helper()
	var a [6]int
	if _, err := fmt.Sscanf(reply, "229 Entering Extended Passive Mode (|||%d|)", &a[0]); err == nil {
		return net.JoinHostPort(hop, fmt.Sprint(a[0]))
	}
	if _, err := fmt.Sscanf(reply, "227 Entering Passive Mode (%d,%d,%d,%d,%d,%d)", &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]); err != nil {
		t.Fatalf("%q: %v", reply, err)
	}
	at := fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
	if at != hop {
		t.Errorf("data connections are announced at %s, want the control connection's own %s", at, hop)
	}
	return net.JoinHostPort(at, fmt.Sprint(a[4]<<8|a[5]))
}
