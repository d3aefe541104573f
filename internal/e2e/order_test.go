package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/culvert-ssh/culvert/internal/peers"
)

// order is a server that says and does things in an order of its own when it sends a file.
type order struct {
	name string
	play func(x *puppetTransfer, file []byte)

	cut  bool // what it sends is a part
	mute bool // it takes leave without a word, so that a client need not believe in what it has
}

var orders = []order{
	{name: "226 before the first byte", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes\r\n226 Done")
		x.send(file)
		x.data.Close()
	}},
	{name: "226 in the middle", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes")
		x.send(file[:len(file)/2])
		x.say("226 Done")
		x.send(file[len(file)/2:])
		x.data.Close()
	}},
	{name: "226 and goodbye in the middle", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes")
		x.send(file[:len(file)/2])
		x.say("226 Done")
		x.control.Close()
		x.send(file[len(file)/2:])
		x.data.Close()
	}, mute: true},
	{name: "control is reset in the middle", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes")
		x.send(file[:len(file)/2])
		reset(x.control)
		x.send(file[len(file)/2:])
		x.data.Close()
	}, mute: true},
	{name: "226 and a break", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes\r\n226 Done")
		x.send(file[:len(file)/2])
		reset(x.data)
	}, cut: true},
	{name: "226, goodbye and a break", play: func(x *puppetTransfer, file []byte) {
		x.say("150 Here it comes\r\n226 Done")
		x.control.Close()
		x.send(file[:len(file)/2])
		reset(x.data)
	}, cut: true},
}

// send sends data. A receiver that is gone gets nothing, and says so itself.
func (x *puppetTransfer) send(data []byte) { _, _ = x.data.Write(data) }

// TestServersThatSayItInAnotherOrder has servers that announce the end of a file before its last byte, or leave before. The whole file
// must arrive whatever else happens; and where culvert and culvertd carry it, a part of it is an error for each client.
func TestServersThatSayItInAnotherOrder(t *testing.T) {
	t.Parallel()
	file := make([]byte, 3<<20) // more than one read, one packet or one window
	_, _ = rand.NewChaCha8([32]byte{1}).Read(file)
	for _, p := range []path{culvertCulvertd, culvertStriped, culvertSSHD, sshCulvertd, sshSSHD} {
		t.Run(string(p), func(t *testing.T) {
			t.Parallel()
			server := newPuppet(t)
			tun := p.open(t, server.FTP, nil, nil)
			for _, o := range orders {
				if o.cut && !p.bothAreOurs() { // see TestEndsAndAbortsAreToldApartAsFarAsThePathLets
					continue
				}
				stop := server.played(func(x *puppetTransfer) { o.play(x, file) })
				t.Run(o.name+"/bytes", func(t *testing.T) {
					d := login(t, tun.connect(t, 0), server.FTP)
					data := tun.connect(t, d.endpoint())
					d.command(150, "RETR file")
					got, err := io.ReadAll(data)
					switch {
					case o.cut && !errors.Is(err, syscall.ECONNRESET):
						t.Errorf("got %d bytes, %v, want a reset", len(got), err)
					case !o.cut && (err != nil || !bytes.Equal(got, file)):
						t.Errorf("got %d bytes, %v, want the %d of the file, and its end", len(got), err, len(file))
					}
				})
				for _, client := range p.clients() {
					if o.cut && client == peers.LFTP {
						continue // it goes on where it was, with a server that can't, until it believes the 226; without a tunnel as well
					}
					t.Run(o.name+"/"+string(client), func(t *testing.T) { o.wantHonest(t, client, tun.target, file) })
				}
				stop()
			}
		})
	}
}

// wantHonest wants the whole file, or an error.
func (o *order) wantHonest(t *testing.T, client peers.FTPClient, target peers.Target, file []byte) {
	local := filepath.Join(t.TempDir(), "file")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := client.Download(ctx, target, "file", local)
	switch {
	case err == nil:
		if got, err := os.ReadFile(local); err != nil || !bytes.Equal(got, file) {
			t.Errorf("the client is content with %d bytes of %d (%v), and says:\n%s", len(got), len(file), err, out)
		}
	case ctx.Err() != nil:
		t.Errorf("the client doesn't end: %v", err)
	case !o.cut && !o.mute:
		t.Error(err)
	}
}
