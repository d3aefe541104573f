package server

import (
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestConnectionsAreListed(t *testing.T) {
	b := newBastion(t)
	signer, _ := b.user("alice")
	b.start()
	if got := b.Connections(); len(got) != 0 {
		t.Errorf("got %+v, want nobody", got)
	}
	stranger := b.connect()
	b.events.waitFor(stranger)
	client := b.mustDial("alice", ssh.PublicKeys(signer))
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil { // what it says comes after it is registered
		t.Fatal(err)
	}

	all := b.Connections()
	if len(all) != 2 {
		t.Fatalf("got %+v, want two connections", all)
	}
	if got := all[0]; got.User != "" || got.Client.String() != stranger.LocalAddr().String() || got.Since.IsZero() || len(got.Channels) != 0 {
		t.Errorf("the stranger: got %+v", got)
	}
	got := all[1]
	if got.User != "alice" || got.Key != ssh.FingerprintSHA256(signer.PublicKey()) || got.Client.String() != client.LocalAddr().String() ||
		got.Local.String() != b.addr || !strings.HasPrefix(got.Software, "SSH-2.0-Go") || got.ID <= all[0].ID {
		t.Errorf("alice: got %+v", got)
	}
	if got.Up < 1000 || got.Down < 1000 {
		t.Errorf("bytes: got %d up and %d down, want what a handshake takes at least", got.Up, got.Down)
	}
	if len(got.Channels) != 1 || got.Channels[0].Type != "session" {
		t.Errorf("channels: got %+v, want the session", got.Channels)
	}
	if up, down := b.Traffic(); up < got.Up || down < got.Down {
		t.Errorf("traffic: got %d up and %d down, want alice's %d and %d at least", up, down, got.Up, got.Down)
	}
}

func TestKillEndsOneConnection(t *testing.T) {
	b := newBastion(t)
	signer, _ := b.user("alice")
	b.start()
	victim, other := b.mustDial("alice", ssh.PublicKeys(signer)), b.mustDial("alice", ssh.PublicKeys(signer))
	session, err := victim.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := session.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Shell(); err != nil {
		t.Fatal(err)
	}
	all := b.Connections()
	i := slices.IndexFunc(all, func(c Info) bool { return c.Client.String() == victim.LocalAddr().String() })
	if !b.Kill(all[i].ID) {
		t.Fatalf("no connection %s, and yet it is listed: %+v", all[i].ID, all)
	}
	told, _ := io.ReadAll(stderr)
	if !strings.Contains(string(told), "the administrator ends this connection") {
		t.Errorf("the session was told %q", told)
	}
	b.events.wait("connection.closed", "conn", all[i].ID, "reason", "ended by the administrator")
	if b.Kill(all[i].ID) || b.Kill("") {
		t.Error("what isn't there was killed")
	}
	if _, _, err := other.SendRequest("still-there", true, nil); err != nil {
		t.Errorf("the other connection: %v", err)
	}
	if n := b.events.count("penalty"); n != 0 {
		t.Errorf("%d penalties for somebody who did nothing", n)
	}
}
