package server

import (
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func TestSilentClientIsDisconnected(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.all.ClientAliveInterval, b.all.ClientAliveCountMax = 20*time.Millisecond, 2
	b.start()
	conn := b.connect()
	client, _, reqs, err := ssh.NewClientConn(conn, b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // nobody answers what comes in reqs
	b.events.wait("connection.closed", "reason", "didn't answer")
	if got := (<-reqs).Type; got != "keepalive@openssh.com" {
		t.Errorf("request: got %q, want keepalive@openssh.com", got)
	}
}

func TestClientThatAnswersStays(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.all.ClientAliveInterval, b.all.ClientAliveCountMax = 20*time.Millisecond, 25
	b.start()
	conn := b.connect()
	client, _, reqs, err := ssh.NewClientConn(conn, b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
	if err != nil {
		t.Fatal(err)
	}
	for range 30 { // without answers, 25 would be the last
		r, ok := <-reqs
		if !ok {
			t.Fatal("the connection was closed")
		}
		if err := r.Reply(false, nil); err != nil {
			t.Fatal(err)
		}
	}
	client.Close()
	if got := b.events.wait("connection.closed"); !got.has([]string{"reason", "closed by the client"}) {
		t.Errorf("got %v, want that the client closed the connection", got)
	}
}

func TestConnectionThatAsksForNothingIsUnused(t *testing.T) {
	b := newBastion(t)
	key, _ := b.user("alice")
	b.all.UnusedConnectionTimeout = 50 * time.Millisecond
	b.start()
	client, _, _, err := ssh.NewClientConn(b.connect(), b.addr, b.clientConfig("alice", ssh.PublicKeys(key)))
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Wait()
	b.events.wait("connection.closed", "reason", "UnusedConnectionTimeout")
}
