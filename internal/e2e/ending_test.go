package e2e

import (
	"errors"
	"io"
	"math"
	"net"
	"syscall"
	"testing"
)

// ending is one way in which a data connection ends.
type ending struct {
	name     string
	verb     string
	end      func(sender *net.TCPConn, wire *gate)
	complete func(path) bool
}

// endings are the ways in which a data connection ends, and where the other side takes it for the end of the file. Nobody
// may change this table without docs/protocol.md, which tells users of it.
var endings = []ending{
	{"the server ends a download", "RETR", inOrder, always},
	{"the client ends an upload", "STOR", inOrder, always},
	{"the server breaks a download off", "RETR", brokenOff, unlessBothAreOurs},
	{"the client breaks an upload off", "STOR", brokenOff, unlessBothAreOurs},
	{"the SSH connection is lost in a download", "RETR", lost, func(p path) bool { return !p.hasCulvert() }},
	{"the SSH connection is lost in an upload", "STOR", lost, func(p path) bool { return !p.hasCulvertd() }},
}

func inOrder(sender *net.TCPConn, _ *gate)   { _ = sender.CloseWrite() } // the receiver would hear no end if it failed
func brokenOff(sender *net.TCPConn, _ *gate) { reset(sender) }
func lost(_ *net.TCPConn, wire *gate)        { wire.cut() }

func always(path) bool              { return true }
func unlessBothAreOurs(p path) bool { return !p.bothAreOurs() }

// TestEndsAndAbortsAreToldApartAsFarAsThePathLets is what each pair of programs makes of each ending. Between culvert and
// culvertd, what is not complete is never taken to be; OpenSSH's protocol has no word for it.
func TestEndsAndAbortsAreToldApartAsFarAsThePathLets(t *testing.T) {
	t.Parallel()
	for _, p := range []path{culvertCulvertd, culvertStriped, culvertSSHD, sshCulvertd, sshSSHD, masterCulvertd, masterSSHD} {
		for _, e := range endings {
			t.Run(string(p)+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				server, wire := newPuppet(t), newGate(math.MaxInt64, false)
				e.play(t, p.open(t, server.FTP, nil, wire), server, wire, e.complete(p))
			})
		}
	}
}

// play transfers something that ends so. Whether the receiver is to take that for complete is said by complete.
func (e ending) play(t *testing.T, tun *tunnel, server *puppet, wire *gate, complete bool) {
	t.Helper()
	d := login(t, tun.connect(t, 0), server.FTP)
	sender := tun.connect(t, d.endpoint())
	if err := d.PrintfLine("%s file", e.verb); err != nil {
		t.Fatal(err)
	}
	x := server.next()
	receiver := x.data
	if e.verb == "RETR" {
		sender, receiver = receiver, sender
	}
	x.say("150 Here it comes")
	d.reply(150)
	const part = "a part of the file, or all of it"
	if _, err := io.WriteString(sender, part); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(part))
	if _, err := io.ReadFull(receiver, got); err != nil || string(got) != part {
		t.Fatalf("got %q, %v, want %q", got, err, part)
	}
	e.end(sender, wire)
	rest, err := io.ReadAll(receiver)
	switch {
	case len(rest) > 0:
		t.Errorf("%q came that nobody sent", rest)
	case complete && err != nil:
		t.Errorf("got %v, want an end in order", err)
	case !complete && !errors.Is(err, syscall.ECONNRESET):
		t.Errorf("got %v, want a reset", err)
	}
	close(x.over)
}
