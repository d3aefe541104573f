package server

import (
	"net"
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

// deadlines is a connection that counts how its deadlines are set.
type deadlines struct {
	net.Conn
	all, write int
}

func (d *deadlines) SetDeadline(time.Time) error      { d.all++; return nil }
func (d *deadlines) SetWriteDeadline(time.Time) error { d.write++; return nil }
func (d *deadlines) Write(p []byte) (int, error)      { return len(p), nil }

// gliderlabs/ssh takes deadlines away before each Read and Write, that of a Write that waits as well.
func TestDeadlineOfWritesStaysAndIsNotSetForEach(t *testing.T) {
	bottom := new(deadlines)
	h := &hearing{Conn: bottom, all: new(traffic)}
	top := &greeted{Conn: h}
	for range 100 {
		if err := top.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := top.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if bottom.all != 0 || bottom.write != 1 {
		t.Errorf("deadlines were set %d times, those of writes %d times; want 0 and 1", bottom.all, bottom.write)
	}
	h.armed = h.armed.Add(-writeTimeout / 5)
	if _, err := top.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if bottom.write != 2 {
		t.Errorf("after a fifth of the time the deadline was set %d times, want 2", bottom.write)
	}
}
