package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

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
	played := 0
	for _, tr := range all {
		if why := notHere(tr); why != "" {
			continue
		}
		played++
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			for _, piece := range []int{0, 1, 3} {
				if piece == 0 || !tr.Long() {
					playTranscript(t, tr, piece)
				}
			}
		})
	}
	if played < 400 {
		t.Errorf("only %d of %d transcripts were played", played, len(all))
	}
}

// notHere returns why a transcript can't be played to culvert, or "".
func notHere(tr transcript.Transcript) string {
	for _, o := range tr.Options {
		switch {
		case o.Key == "peer", o.Key == "hop", o.Key == "record":
		case o.Key == "driver" && o.Value == "culvert":
		case o.Key == "active" && o.Value == "translated":
		case o.Key == "client" && o.Value == tr.Option("hop") && o.Value == "::1":
		default:
			return fmt.Sprintf("option %s %s", o.Key, o.Value)
		}
	}
	worked := false
	for _, s := range tr.Steps {
		switch worked = worked || s.Head == "announced"; {
		case s.Head == "refused" && strings.HasPrefix(s.Text, "nobody waits"):
			return "somebody waits here"
		case s.Head == "refused" && worked:
			return "what has worked once is opened when somebody comes"
		}
	}
	return ""
}

func playTranscript(t *testing.T, tr transcript.Transcript, piece int) {
	t.Helper()
	f := Forward{Host: tr.Option("peer"), HostPort: 21, FTP: true}
	switch f.Host {
	case "":
		f.Host = "10.0.0.5"
	case "unknown":
		f.Host = "ftp.corp"
	}
	hop := tr.Option("hop")
	if hop == "" {
		hop = "127.0.0.1"
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(hop, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client := dial(t, ln.Addr().String())
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	control := newFarEnd(t)
	near, server := &readStream{Stream: control.near}, &saying{TCPConn: control.far}
	near.changed.L = &near.mu
	control.near = near
	far := &farServer{t: t, control: control, host: f.Host, expected: make(map[string]bool), data: make(chan *net.TCPConn, 2*maxData)}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		serveFTP(ctx, &Config{Active: map[string]ftp.Active{"translated": ftp.ActiveTranslated}[tr.Option("active")]}, far, new(opaquePorts), f, accepted.(*net.TCPConn), slog.New(slog.DiscardHandler))
	}()
	defer func() { stop(); <-ended; far.end() }()

	waiting := newActivePorts(t, hop)
	p := transcript.Player{
		Rewrite: waiting.ports.Replace,
		Client:  transcript.NewPeer("client", client), Server: transcript.NewPeer("server", server), Piece: piece,
		Announcing: far.announcing, Read: func() { near.wait(server.said) },
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

// activePorts are the two ports that the clients of the transcripts wait at in active mode.
type activePorts struct {
	t        *testing.T
	at       map[string]*net.TCPListener
	ports    *strings.Replacer // of the transcripts, by those of today
	expected []string          // where a connection is to come
}

func newActivePorts(t *testing.T, hop string) *activePorts {
	t.Helper()
	w := &activePorts{t: t, at: make(map[string]*net.TCPListener)}
	var names []string
	for _, name := range []struct{ number, port string }{{"51210", "200,10"}, {"51211", "200,11"}} {
		ln, err := net.Listen("tcp", net.JoinHostPort(hop, "0"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		port := relay.AddrPort(ln.Addr()).Port()
		w.at[ln.Addr().String()] = ln.(*net.TCPListener)
		names = append(names, name.number, fmt.Sprint(port), name.port, fmt.Sprintf("%d,%d", port>>8, port&0xff))
	}
	w.ports = strings.NewReplacer(names...)
	return w
}

func (w *activePorts) expect(at string, begins bool) {
	if begins {
		w.expected = append(w.expected, at)
	}
}

// check holds that who waits was connected to when a transfer began, and nobody else.
func (w *activePorts) check() {
	w.t.Helper()
	for _, at := range w.expected {
		_ = w.at[at].SetDeadline(time.Now().Add(patience))
		c, err := w.at[at].Accept()
		if err != nil {
			w.t.Errorf("the client waits at %s: %v", at, err)
			return
		}
		w.t.Cleanup(func() { _ = c.Close() })
	}
	for at, ln := range w.at {
		last := dial(w.t, at)
		c, err := ln.Accept()
		if err != nil {
			w.t.Fatal(err)
		}
		if c.RemoteAddr().String() != last.LocalAddr().String() {
			w.t.Errorf("the client at %s was connected to, and nothing began", at)
		}
		_ = c.Close()
	}
}

// farServer is a Transport whose far end is in a transcript: it opens the control connection once, and what was announced.
type farServer struct {
	t       *testing.T
	control farEnd
	host    string

	offered   string // where the client was told to connect to last
	connected bool   // the test did

	mu       sync.Mutex
	asked    bool // for the control connection
	expected map[string]bool
	refused  bool              // what is announced now can't be reached
	data     chan *net.TCPConn // of the server, opened for what is announced now
	closers  []io.Closer
}

func (f *farServer) announcing(e transcript.Endpoint, refused bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expected[Forward{Host: f.host, HostPort: e.Port}.Target()] = true
	f.refused, f.offered, f.connected = refused, "", false
	for len(f.data) > 0 {
		<-f.data
	}
}

func (f *farServer) ReadsFTP() bool { return false }

func (f *farServer) Open(_ context.Context, host string, port uint16, _ netip.AddrPort) (relay.Stream, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	target := Forward{Host: host, HostPort: port}.Target()
	switch {
	case !f.asked && target == (Forward{Host: f.host, HostPort: 21}).Target():
		f.asked = true
		return f.control.near, nil
	case !f.expected[target]:
		f.t.Errorf("%s was opened, which nobody announced", target)
		return nil, errors.New("administratively prohibited")
	case f.refused:
		return nil, errors.New("connect failed")
	}
	end := newFarEnd(f.t)
	f.closers = append(f.closers, end.far)
	f.data <- end.far
	return end.near, nil
}

// Listen isn't asked for, as active mode is refused.
func (f *farServer) Listen(context.Context, Listening) (Arrival, error) {
	f.t.Error("a server was to be listened for")
	return nil, errors.New("administratively prohibited")
}

// connect makes the client's data connection: what it sends must get to the server.
func (f *farServer) connect() {
	f.t.Helper()
	f.connected = true
	c := dial(f.t, f.offered)
	f.mu.Lock()
	f.closers = append(f.closers, c)
	f.mu.Unlock()
	if _, err := c.Write([]byte("x")); err != nil {
		f.t.Errorf("write to %s: %v", f.offered, err)
	}
	select {
	case far := <-f.data:
		_ = far.SetDeadline(time.Now().Add(patience))
		got := make([]byte, 1)
		if _, err := far.Read(got); err != nil || got[0] != 'x' {
			f.t.Errorf("the server reads %q, %v from %s", got, err, f.offered)
		}
	case <-time.After(patience):
		f.t.Errorf("nothing was opened for the connection to %s", f.offered)
	}
}

func (f *farServer) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range append(f.closers, f.control.far) {
		_ = c.Close()
	}
}

// farEnd is a connection of the bastion: the stream that culvert has, and the server's socket.
type farEnd struct {
	near relay.Stream
	far  *net.TCPConn
}

func newFarEnd(t *testing.T) farEnd {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return farEnd{relay.NewTCP(near.(*net.TCPConn)), far.(*net.TCPConn)}
}

// readStream knows when all that was said has been read and dealt with: whoever reads on has done with what came before.
type readStream struct {
	relay.Stream
	mu      sync.Mutex
	changed sync.Cond
	reading bool
	read    int
	ended   bool
}

func (r *readStream) Read(p []byte) (int, error) {
	r.change(func() { r.reading = true })
	n, err := r.Stream.Read(p)
	r.change(func() { r.reading, r.read, r.ended = false, r.read+n, err != nil })
	return n, err
}

func (r *readStream) change(how func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how()
	r.changed.Broadcast()
}

func (r *readStream) wait(said int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.ended && !(r.reading && r.read == said) {
		r.changed.Wait()
	}
}

// saying counts what is said.
type saying struct {
	*net.TCPConn
	said int
}

func (s *saying) Write(p []byte) (int, error) {
	n, err := s.TCPConn.Write(p)
	s.said += n
	return n, err
}
