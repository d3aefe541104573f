package server

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// greet makes the exchange with a client that sends what is given, and returns its identification and everything that it was sent.
func greet(t *testing.T, g *greeting, sends string) (id, got string, err error) {
	t.Helper()
	client, server := net.Pipe()
	g.Conn = server
	sent, received := make(chan error, 1), make(chan string, 1)
	go func() {
		_, err := io.WriteString(client, sends)
		sent <- err
	}()
	go func() {
		all, _ := io.ReadAll(client)
		received <- string(all)
	}()
	id, err = g.exchange()
	if err == nil {
		rest := make([]byte, len(sends))
		if _, err := io.ReadFull(g, rest); err != nil || string(rest) != sends {
			t.Errorf("the library reads %q, %v, want %q", rest, err, sends)
		}
	}
	server.Close()
	<-sent
	return id, <-received, err
}

func TestIdentification(t *testing.T) {
	const ours = "SSH-2.0-culvert_test\r\n"
	longest := "SSH-2.0-" + strings.Repeat("x", maxIdentification-len("SSH-2.0-\n"))
	for _, tt := range []struct {
		sends, id, got, err string
	}{
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nabc", "SSH-2.0-OpenSSH_9.2p1 Debian-2", ours, ""},
		{"SSH-2.0-x\n", "SSH-2.0-x", ours, ""},
		{"SSH-1.99-x\r\n", "SSH-1.99-x", ours, ""},
		{longest + "\n", longest, ours, ""},
		{longest + "x\n", "", ours + "Invalid SSH identification string.\r\n", "not an SSH client"},
		{"SSH-1.5-x\r\n", "", ours + "Protocol major versions differ.\r\n", "doesn't speak SSH 2"},
		{"GET / HTTP/1.1\r\n", "", ours + "Invalid SSH identification string.\r\n", `"GET "`},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nSSH-2.0-x\r\n", "", ours + "Invalid SSH identification string.\r\n", `"PROX"`},
		{"\r\nSSH-2.0-x\r\n", "", ours + "Invalid SSH identification string.\r\n", "not an SSH client"},
		{"hello", "", ours + "Invalid SSH identification string.\r\n", "not an SSH client"},
	} {
		id, got, err := greet(t, &greeting{ours: "SSH-2.0-culvert_test"}, tt.sends)
		if id != tt.id || got != tt.got || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%.30q: got %.30q, sent %q, error %v; want %.30q, %q, %q", tt.sends, id, got, err, tt.id, tt.got, tt.err)
		}
	}
}

func TestLibrarySaysNothingElseThanWasSaid(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	g := &greeting{Conn: server, ours: "SSH-2.0-a"}
	if n, err := g.Write([]byte("SSH-2.0-b\r\n")); n != 0 || !errors.Is(err, errGreeting) {
		t.Errorf("got %d, %v, want %v", n, err, errGreeting)
	}
	if n, err := g.Write([]byte("SSH-2.0-a\r\n")); n != 11 || err != nil {
		t.Errorf("got %d, %v, want it swallowed", n, err)
	}
	go func() { _, _ = g.Write([]byte("SSH-2.0-a\r\n")) }()
	again := make([]byte, 11)
	if _, err := io.ReadFull(client, again); err != nil || string(again) != "SSH-2.0-a\r\n" {
		t.Errorf("what is written later: got %q, %v, want it sent", again, err)
	}
}

func TestVersionAddendum(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.cfg.VersionAddendum = "no entry for the unauthorised"
	b.start()
	want := "SSH-2.0-culvert_test no entry for the unauthorised\r\n"
	line := make([]byte, len(want))
	if _, err := io.ReadFull(b.connect(), line); err != nil || string(line) != want {
		t.Errorf("got %q, %v, want %q", line, err, want)
	}
	b.mustDial("alice", ssh.PublicKeys(key))
	for _, bad := range []string{"a\r\nb", "ä", strings.Repeat("x", maxAddendum+1)} {
		l := b.cfg.Live
		l.VersionAddendum = bad
		if err := b.Update(l); err == nil || !strings.Contains(err.Error(), "VersionAddendum") {
			t.Errorf("%.20q: got error %v, want it refused", bad, err)
		}
	}
}
